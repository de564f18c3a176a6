//! `docs/kubernetes-api.md` lists what is served.

use super::*;

const PAGE: &str = include_str!("../../../../docs/kubernetes-api.md");
const ALL: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// The row that stands in the page for a kind.
fn written(kind: &Kind) -> String {
    let missing: Vec<&str> = ALL.into_iter().filter(|verb| !kind.verbs.iter().any(|allowed| allowed == verb)).collect();
    let verbs = match missing.as_slice() {
        [] => "all".to_owned(),
        [one] => format!("all but {one}"),
        _ => {
            let mut verbs = kind.verbs.clone();
            verbs.sort();
            verbs.join(", ")
        }
    };
    let scope = if kind.namespaced() { "namespace" } else { "cluster" };
    let shown = |sub: &crate::discovery::Sub| {
        let mut verbs = sub.verbs.clone();
        verbs.sort();
        match verbs.join(", ").as_str() {
            "get, patch, update" => format!("`{}`", sub.name),
            verbs => format!("`{}` ({verbs})", sub.name),
        }
    };
    let subs: Vec<String> = crate::discovery::subresources(kind).iter().map(shown).collect();
    let (version, plural, name) = (kind.api_version(), &kind.plural, &kind.kind);
    let (short, subs) = (kind.short_names.join(", "), subs.join(", "));
    format!("| `{version}` | `{plural}` | {name} | {short} | {scope} | {verbs} | {subs} |")
}

#[test]
fn the_page_about_the_api_lists_every_kind() {
    let missing: Vec<String> =
        builtin().iter().map(|kind| written(kind)).filter(|row| !PAGE.contains(row.as_str())).collect();
    assert!(missing.is_empty(), "docs/kubernetes-api.md lacks\n{}", missing.join("\n"));
}
