//! Each manifest is applied by a test; each sample has a prebuilt file.

use crate::{files, report, root};

#[test]
fn every_manifest_is_applied_by_a_test() {
    let tests: String =
        files(&root().join("tests/it"), ".rs").iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let mut errors = Vec::new();
    for path in files(&root().join("manifests"), ".yaml") {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !tests.contains(&format!("manifests/{name}")) {
            errors.push(format!("{}: error: no test in tests/it applies manifests/{name}", path.display()));
        }
    }
    report(&errors);
}

#[test]
fn every_test_file_is_part_of_the_test_binary() {
    let main = std::fs::read_to_string(root().join("tests/it/main.rs")).unwrap();
    let mut errors = Vec::new();
    for entry in std::fs::read_dir(root().join("tests/it")).unwrap().flatten() {
        let path = entry.path();
        let Some(name) = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()) else { continue };
        if path.extension().is_some_and(|end| end == "rs") && name != "main" && !main.contains(&format!("mod {name};"))
        {
            errors.push(format!("{}: error: tests/it/main.rs does not say `mod {name};`", path.display()));
        }
    }
    report(&errors);
}
