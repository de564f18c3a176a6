//! How the files beside this one are read.

use serde_json::{Value, json};

use super::GROUP;

/// A role as it stands in a file.
#[derive(Clone, Debug, Default)]
pub(super) struct RoleText {
    pub name: String,
    pub labels: Vec<String>,
    pub gathers: Option<String>,
    pub rules: Vec<Value>,
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
}

/// The roles of a file.
pub(super) fn roles(text: &str) -> Vec<RoleText> {
    let mut roles: Vec<RoleText> = Vec::new();
    for line in lines(text) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if !line.starts_with(' ') {
            roles.push(head(&words));
        } else if let (Some(role), Some(rule)) = (roles.last_mut(), rule(&words)) {
            role.rules.push(rule);
        }
    }
    roles
}

fn head(words: &[&str]) -> RoleText {
    let mut role = RoleText::default();
    let mut words = words.iter();
    role.name = words.next().map(|name| (*name).to_owned()).unwrap_or_default();
    while let Some(word) = words.next() {
        match word.strip_prefix('+') {
            Some(label) => role.labels.push(label.to_owned()),
            None => role.gathers = words.next().map(|label| (*label).to_owned()),
        }
    }
    role
}

fn rule(words: &[&str]) -> Option<Value> {
    let split = |word: &str| word.split(',').map(str::to_owned).collect::<Vec<_>>();
    match *words {
        ["events"] => rule(&["create,patch,update", "core,events.k8s.io", "events"]),
        [verbs, "paths", paths] => Some(json!({ "verbs": spelled(verbs), "nonResourceURLs": split(paths) })),
        [verbs, groups, resources, ref names @ ..] => {
            let groups: Vec<String> =
                split(groups).into_iter().map(|group| if group == "core" { String::new() } else { group }).collect();
            let mut rule = json!({ "verbs": spelled(verbs), "apiGroups": groups, "resources": split(resources) });
            if let [names] = names {
                rule["resourceNames"] = json!(split(names));
            }
            Some(rule)
        }
        _ => None,
    }
}

fn spelled(verbs: &str) -> Vec<&str> {
    match verbs {
        "read" => vec!["get", "list", "watch"],
        "write" => vec!["create", "delete", "deletecollection", "patch", "update"],
        "edit" => vec!["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        verbs => verbs.split(',').collect(),
    }
}

/// The bindings of a file: place, role, subjects.
pub(super) fn bindings(text: &str) -> Vec<(&str, &str, Vec<&str>)> {
    lines(text)
        .filter_map(|line| {
            let mut words = line.split_whitespace().peekable();
            let place = words.next()?;
            let own = place.split_once('/').map_or(place, |(_, name)| name);
            let role = if words.next_if_eq(&"->").is_some() { words.next()? } else { own };
            Some((place, role, words.collect()))
        })
        .collect()
}

/// `User:jane`, `Group:system:masters`, `SA:NAMESPACE/NAME`
pub(super) fn subject(text: &str) -> Option<Value> {
    let (kind, name) = text.split_once(':')?;
    if kind == "SA" {
        let (namespace, name) = name.split_once('/')?;
        return Some(json!({ "kind": "ServiceAccount", "name": name, "namespace": namespace }));
    }
    Some(json!({ "apiGroup": GROUP, "kind": kind, "name": name }))
}
