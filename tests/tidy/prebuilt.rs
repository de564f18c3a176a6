//! The prebuilt samples are those of the sources that lie beside them.

use std::collections::BTreeMap;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::{files, report, root};

fn written_down(workloads: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(workloads.join("prebuilt/SOURCES")).unwrap();
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    rows.filter_map(|line| line.split_once("  ")).map(|(hash, path)| (path.to_owned(), hash.to_owned())).collect()
}

#[test]
fn prebuilt_samples_are_built_from_these_sources() {
    let workloads = root().join("workloads");
    let written = written_down(&workloads);
    let mut errors = Vec::new();
    for (path, hash) in &written {
        match std::fs::read(workloads.join(path)) {
            Ok(ref bytes) if hex::encode(Sha256::digest(bytes)) == *hash => {}
            Ok(_) => {
                errors.push(format!("workloads/{path}: error: changed since workloads/build.sh ran; run it again"))
            }
            Err(error) => errors.push(format!("workloads/{path}: error: {error}")),
        }
    }
    for end in [".rs", "Cargo.toml", ".wasm"] {
        for path in files(&workloads, end) {
            let name = path.strip_prefix(&workloads).unwrap().to_string_lossy().replace('\\', "/");
            if !written.contains_key(&name) {
                errors.push(format!("workloads/{name}: error: workloads/build.sh has not seen it; run it"));
            }
        }
    }
    report(&errors);
}
