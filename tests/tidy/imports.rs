//! Rooms import only what ARCHITECTURE.md's table lets them.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::{report, root};

/// The rows between the lines `<!-- imports -->` and `<!-- /imports -->`: `| room | imports |`.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let inside = text.split("<!-- imports -->").nth(1).unwrap().split("<!-- /imports -->").next().unwrap();
    inside
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let names =
                |cell: &str| cell.split_whitespace().map(|name| name.trim_matches(['`', ',']).to_owned()).collect();
            let room = cells[0].trim_matches('`').to_owned();
            (room, if cells[1] == "none" { BTreeSet::new() } else { names(cells[1]) })
        })
        .collect()
}

/// What cargo says that each room imports of ours, tests aside.
fn actual() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let room = |name: &Value| name.as_str().unwrap().strip_prefix("coracle-").map(str::to_owned);
    let mut rooms = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let Some(name) = room(&package["name"]) else { continue };
        let normal = package["dependencies"].as_array().unwrap().iter().filter(|row| row["kind"].is_null());
        rooms.insert(name, normal.filter_map(|row| room(&row["name"])).collect());
    }
    rooms
}

#[test]
fn rooms_import_only_downward_and_only_as_listed() {
    let (allowed, actual) = (table(), actual());
    let mut errors = Vec::new();
    for (room, imports) in &actual {
        match allowed.get(room) {
            None => errors.push(format!("ARCHITECTURE.md: error: room `{room}` has no row in the table of imports")),
            Some(allowed) => errors.extend(imports.difference(allowed).map(|import| {
                format!("src/{room}/Cargo.toml: error: `{room}` may not import `{import}` (ARCHITECTURE.md says which)")
            })),
        }
    }
    errors.extend(
        allowed
            .keys()
            .filter(|room| !actual.contains_key(*room))
            .map(|room| format!("ARCHITECTURE.md: error: the table lists `{room}`, which is no room under src/")),
    );
    report(&errors);
}
