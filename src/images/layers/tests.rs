//! Archives that are friendly, and those that are not.

use std::io::Write;

use super::*;

enum Entry<'a> {
    File(&'a str, &'a [u8]),
    Folder(&'a str),
    Link(&'a str, &'a str),
    Hard(&'a str, &'a str),
}
use Entry::*;

fn tar(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        let (path, kind, content): (&str, _, &[u8]) = match entry {
            File(path, content) => (path, tar::EntryType::Regular, content),
            Folder(path) => (path, tar::EntryType::Directory, b""),
            Link(path, target) | Hard(path, target) => {
                header.set_link_name_literal(target).unwrap();
                let kind = if matches!(entry, Link(..)) { tar::EntryType::Symlink } else { tar::EntryType::Link };
                (path, kind, b"")
            }
        };
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        // Past the checks of the crate, as an attacker would.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        builder.append(&header, content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    zipped.write_all(bytes).unwrap();
    zipped.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

fn read(dir: &Path, layers: &[Vec<u8>], bytes_max: u64) -> Result<Tree, LayerError> {
    let keep = |(number, bytes): (usize, &Vec<u8>)| {
        let path = dir.join(format!("layer-{number}"));
        std::fs::write(&path, bytes).unwrap();
        Layer { digest: Digest::of(bytes), path, title: None, is_archive: false }
    };
    Tree::read(layers.iter().enumerate().map(keep).collect(), bytes_max)
}

const WASM: &[u8] = b"\0asm\x0d\0\x01\0";

#[test]
fn upper_layers_replace_and_delete_what_is_below() {
    let dir = tempfile::tempdir().unwrap();
    let lower = tar(&[
        Folder("etc/"),
        File("etc/motd", b"hello"),
        File("app.wasm", b"\0asm old"),
        File("old/a", b"a"),
        File("old/b", b"b"),
        File("gone", b"x"),
        File("turns", b"into a folder"),
    ]);
    let upper = tar(&[
        File(".wh.gone", b""),
        File("old/.wh..wh..opq", b""),
        File("old/c", b"c"),
        File("app.wasm", WASM),
        File("turns/into", b"a file below"),
        Hard("copy.wasm", "app.wasm"),
        Link("link", "etc/motd"),
        Link("escape", "../../etc/passwd"),
        Link("absolute", "/etc/passwd"),
    ]);
    for (lower, upper) in [(gzip(&lower), zstd(&upper)), (lower, upper)] {
        let tree = read(dir.path(), &[lower, upper], 1 << 20).unwrap();
        assert_eq!(tree.wasm(), ["app.wasm"]);
        assert_eq!(tree.file("app.wasm", 100).unwrap(), WASM);
        assert!(tree.file("app.wasm", 4).is_err());
        let folder = tempfile::tempdir().unwrap();
        tree.write(folder.path()).unwrap();
        let text = |path: &str| std::fs::read(folder.path().join(path)).ok();
        assert_eq!(text("etc/motd").as_deref(), Some(&b"hello"[..]));
        assert_eq!(text("old/c").as_deref(), Some(&b"c"[..]));
        assert_eq!(text("copy.wasm").as_deref(), Some(WASM));
        assert_eq!(text("turns/into").as_deref(), Some(&b"a file below"[..]));
        for gone in ["gone", "old/a", "escape", "absolute"] {
            assert!(folder.path().join(gone).symlink_metadata().is_err(), "{gone}");
        }
        #[cfg(unix)]
        assert_eq!(text("link").as_deref(), Some(&b"hello"[..]));
    }
}

#[test]
fn what_leaves_the_image_or_grows_without_end_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for path in ["../evil", "a/../../evil", "a\\b"] {
        let error = read(dir.path(), &[tar(&[File(path, b"x")])], 1 << 20).unwrap_err().1;
        assert!(error.contains("leaves the image"), "{error}");
    }
    let bomb = gzip(&tar(&[File("zeros", &vec![0; 4 << 20])]));
    assert!(bomb.len() < 100 << 10);
    let error = read(dir.path(), &[bomb], 1 << 20).unwrap_err().1;
    assert!(error.contains("unpacks to more"), "{error}");
    // Through a link of a lower layer nothing is written: the link gives way.
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().to_str().unwrap().to_owned();
    let layers = [tar(&[Link("out", &target)]), tar(&[File("out/evil", b"x")])];
    let folder = tempfile::tempdir().unwrap();
    read(dir.path(), &layers, 1 << 20).unwrap().write(folder.path()).unwrap();
    assert_eq!(std::fs::read(folder.path().join("out/evil")).unwrap(), b"x");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn a_layer_that_is_no_archive_is_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let plain = vec![WASM.to_vec(), gzip(WASM), b"read me".to_vec()];
    let tree = read(dir.path(), &plain, 1 << 20).unwrap();
    assert_eq!((tree.paths.len(), tree.wasm().len()), (3, 2));
}
