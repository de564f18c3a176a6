//! What every source file and every room's manifest has.

use crate::{files, report, root};

#[test]
fn every_source_file_says_what_it_is() {
    let mut errors = Vec::new();
    for folder in ["src", "tests", "benches", "workloads"] {
        for path in files(&root().join(folder), ".rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            if !text.starts_with("//!") {
                errors.push(format!("{}:1: error: starts without //! and a sentence", path.display()));
            }
        }
    }
    report(&errors);
}

#[test]
fn every_room_says_what_it_owns_and_what_it_does_not_know() {
    let mut errors = Vec::new();
    for path in files(&root().join("src"), "/lib.rs") {
        let text = std::fs::read_to_string(&path).unwrap();
        for word in ["*Owns*", "*Does not know*", "*Entry point*"] {
            if !text.contains(word) {
                errors.push(format!("{}:1: error: the head does not say {word}", path.display()));
            }
        }
    }
    report(&errors);
}

#[test]
fn every_room_takes_the_lints_of_the_workspace() {
    let mut errors = Vec::new();
    for path in files(&root().join("src"), "Cargo.toml") {
        let text = std::fs::read_to_string(&path).unwrap();
        if !text.contains("[lints]\nworkspace = true") {
            errors.push(format!("{}: error: add [lints] workspace = true", path.display()));
        }
        for (at, line) in text.lines().enumerate() {
            if line.starts_with(|letter: char| letter.is_ascii_lowercase())
                && line.contains("version = \"")
                && !line.starts_with("version")
            {
                errors.push(format!(
                    "{}:{}: error: versions stand in the workspace's Cargo.toml",
                    path.display(),
                    at + 1
                ));
            }
        }
    }
    report(&errors);
}

#[test]
fn unsafe_code_is_forbidden_but_where_wasmtime_demands_it() {
    let mut errors = Vec::new();
    for path in files(&root().join("src"), "/lib.rs") {
        let text = std::fs::read_to_string(&path).unwrap();
        let runtime = path.ends_with("runtime/lib.rs");
        if !runtime && !text.contains("#![forbid(unsafe_code)]") {
            errors.push(format!("{}:1: error: add #![forbid(unsafe_code)]", path.display()));
        }
    }
    report(&errors);
}
