//! The house rules that a machine can check. Each failure reads like a compiler's: `file:line: error: …`.

mod imports;
mod manifests;
mod prebuilt;
mod sources;

use std::path::{Path, PathBuf};

/// The root of the project.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file under `folder` whose name ends in `end`, in order.
pub fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                found.extend(files(&path, end));
            }
        } else if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Fails with all of `errors`, if there are any.
#[track_caller]
pub fn report(errors: &[String]) {
    assert!(errors.is_empty(), "\n{}\n", errors.join("\n"));
}
