//! Wasm files inside of layers that are tar archives.

use std::io::Read;

use bytes::Bytes;

/// What a layer may grow to when it is unpacked.
const UNPACKED_BYTES_MAX: u64 = 512 << 20;
const BLOCK: usize = 512;

/// All Wasm files of a layer: the layer itself, or what a tar archive (gzipped or not) holds.
pub(crate) fn wasm_files(layer: Bytes) -> Result<Vec<Bytes>, String> {
    if layer.starts_with(b"\0asm") {
        return Ok(vec![layer]);
    }
    let tar = if layer.starts_with(b"\x1f\x8b") { unzip(&layer)? } else { layer };
    if tar.starts_with(b"\0asm") {
        return Ok(vec![tar]);
    }
    if tar.starts_with(b"\x28\xb5\x2f\xfd") {
        return Err("it is compressed with zstd, which is not read".to_owned());
    }
    Ok(files(&tar))
}

fn unzip(bytes: &[u8]) -> Result<Bytes, String> {
    let mut unpacked = Vec::new();
    let mut reader = flate2::read::MultiGzDecoder::new(bytes).take(UNPACKED_BYTES_MAX + 1);
    reader.read_to_end(&mut unpacked).map_err(|error| error.to_string())?;
    if unpacked.len() as u64 > UNPACKED_BYTES_MAX {
        return Err(format!("it unpacks to more than {} MiB", UNPACKED_BYTES_MAX >> 20));
    }
    Ok(unpacked.into())
}

/// The regular files of a tar archive that start like Wasm. A truncated archive ends where it ends.
fn files(tar: &Bytes) -> Vec<Bytes> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(header) = tar.get(at..at + BLOCK) {
        let Some(size) = octal(&header[124..136]) else { break };
        let start = at + BLOCK;
        let Some(end) = start.checked_add(size).filter(|end| *end <= tar.len()) else { break };
        let regular = matches!(header[156], b'0' | 0);
        if regular && tar[start..end].starts_with(b"\0asm") {
            found.push(tar.slice(start..end));
        }
        at = start + size.div_ceil(BLOCK) * BLOCK;
    }
    found
}

/// The number in a header field; `None` for an empty block, which ends the archive.
fn octal(field: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(field).ok()?;
    let digits = text.trim_matches(['\0', ' ']);
    usize::from_str_radix(digits, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn tar(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tar = Vec::new();
        for (name, content) in entries {
            let mut header = [0u8; BLOCK];
            header[..name.len()].copy_from_slice(name.as_bytes());
            header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
            header[156] = b'0';
            tar.extend_from_slice(&header);
            tar.extend_from_slice(content);
            tar.resize(tar.len().div_ceil(BLOCK) * BLOCK, 0);
        }
        tar.resize(tar.len() + 2 * BLOCK, 0);
        tar
    }

    #[test]
    fn wasm_files_are_found_in_archives() {
        let tar = tar(&[("etc/motd", b"hello"), ("app.wasm", b"\0asm\x0d\0\x01\0")]);
        let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        zipped.write_all(&tar).unwrap();
        for layer in [tar, zipped.finish().unwrap()] {
            let files = wasm_files(layer.into()).unwrap();
            assert_eq!(files, [Bytes::from_static(b"\0asm\x0d\0\x01\0")]);
        }
        assert_eq!(wasm_files(Bytes::from_static(b"plain text")).unwrap(), Vec::<Bytes>::new());
    }
}
