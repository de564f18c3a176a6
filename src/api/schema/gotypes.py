"""Reads the struct types that a Go program carries for reflection: names, fields, tags.

Kubernetes' clients are built from the same structs as its server. What OpenAPI leaves out (protobuf numbers, which fields
are pointers, the Go names that error messages use) stands in these tables.
"""

import struct


class GoTypes:
    """The named structs of one ELF64 executable (little-endian, Go 1.22 or later)."""

    def __init__(self, path):
        self.data = open(path, "rb").read()
        self.sections = self._sections()
        self.types_base = self.sections[".rodata"][0] if ".rodata" in self.sections else 0
        self.structs = {}
        self._walked = set()
        self._find_base()
        self._walk_all()

    def _sections(self):
        data = self.data
        shoff = struct.unpack_from("<Q", data, 0x28)[0]
        size, count, names = struct.unpack_from("<HHH", data, 0x3A)
        raw = []
        for i in range(count):
            name, _type, _flags, addr, off, length = struct.unpack_from("<IIQQQQ", data, shoff + i * size)
            raw.append((name, addr, off, length))
        strtab = raw[names][2]
        out = {}
        for name, addr, off, length in raw:
            end = data.index(b"\0", strtab + name)
            out[data[strtab + name : end].decode()] = (addr, off, length)
        return out

    def _find_base(self):
        # `types` of moduledata: offsets in .typelink count from it. In static executables it is the start of the
        # read-only data, or shortly behind it: take the base for which the first links are sane types.
        self._ranges = [r for r in self.sections.values() if r[0]]

    def _off(self, addr):
        for base, off, length in self._ranges:
            if base <= addr < base + length:
                return off + addr - base
        raise KeyError(hex(addr))

    def _u8(self, addr):
        return self.data[self._off(addr)]

    def _ptr(self, addr):
        return struct.unpack_from("<Q", self.data, self._off(addr))[0]

    def _i32(self, addr):
        return struct.unpack_from("<i", self.data, self._off(addr))[0]

    def _varint(self, off):
        value = shift = 0
        while True:
            byte = self.data[off]
            off += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value, off

    def _name(self, addr):
        off = self._off(addr)
        flags = self.data[off]
        length, at = self._varint(off + 1)
        name = self.data[at : at + length].decode()
        tag = ""
        if flags & 2:
            length, start = self._varint(at + length)
            tag = self.data[start : start + length].decode()
        return name, tag

    def _walk_all(self):
        _addr, off, length = self.sections[".typelink"]
        links = struct.unpack_from(f"<{length // 4}i", self.data, off)
        for link in links:
            try:
                self.describe(self.types_base + link)
            except (KeyError, IndexError, UnicodeDecodeError):
                continue

    def _kind(self, addr):
        return self._u8(addr + 23) & 31

    def _type_name(self, addr):
        name, _ = self._name(self.types_base + self._i32(addr + 40))
        if self._u8(addr + 20) & 2:  # a leading star is stored for the pointer's sake
            name = name[1:]
        return name

    def _package(self, addr, header):
        if not self._u8(addr + 20) & 1:
            return ""
        offset = self._i32(addr + header)
        return self._name(self.types_base + offset)[0] if offset else ""

    HEADERS = {25: 80, 22: 56, 23: 56, 21: 104}

    def describe(self, addr):
        """A description of the type at `addr`; structs are noted in `self.structs`."""
        kind = self._kind(addr)
        named = bool(self._u8(addr + 20) & 4)
        name = self._type_name(addr)
        if kind == 22:
            return {"ptr": self.describe(self._ptr(addr + 48))}
        if kind == 23:
            out = {"slice": self.describe(self._ptr(addr + 48))}
        elif kind == 21:
            out = {"map": self.describe(self._ptr(addr + 56)), "key": self.describe(self._ptr(addr + 48))}
        elif kind == 25:
            key = f"{self._package(addr, 80)}.{name.split('.')[-1]}" if named else name
            if key not in self._walked:
                self._walked.add(key)
                fields = []
                first, count = self._ptr(addr + 56), self._ptr(addr + 64)
                self.structs[key] = fields
                for i in range(count):
                    entry = first + 24 * i
                    field, tag = self._name(self._ptr(entry))
                    fields.append({"go": field, "tag": tag, "type": self.describe(self._ptr(entry + 8))})
            return {"struct": key}
        else:
            out = {"scalar": kind}
        if named:
            out["name"] = name
        return out
