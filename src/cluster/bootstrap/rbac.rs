//! The roles and bindings that Kubernetes ships, and those of Coracle's own parts.
//!
//! They stand in text files beside this one, a line a rule. At each start what is missing is added: a role or binding that
//! has the annotation `rbac.authorization.kubernetes.io/autoupdate: "false"` is left alone, everything else gets back the
//! rules and subjects that it came with and keeps those that were added.

mod text;

use api::{Status, meta};
use objects::{DeleteOptions, Objects, Sub, WriteOptions};
use serde_json::{Value, json};

use text::RoleText;

pub(super) const GROUP: &str = "rbac.authorization.k8s.io";
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

const CLUSTER_ROLES: &str = include_str!("rbac/cluster_roles.txt");
const CONTROLLER_ROLES: &str = include_str!("rbac/controller_roles.txt");
const CORACLE_ROLES: &str = include_str!("rbac/coracle_roles.txt");
const NAMESPACE_ROLES: &str = include_str!("rbac/namespace_roles.txt");
const BINDINGS: &str = include_str!("rbac/bindings.txt");

/// Everything that a cluster begins with.
pub(super) fn objects() -> Vec<Value> {
    let controllers = text::roles(CONTROLLER_ROLES).into_iter().map(|role| {
        let name = format!("system:controller:{}", role.name);
        RoleText { name, ..role }
    });
    let roles: Vec<RoleText> =
        text::roles(CLUSTER_ROLES).into_iter().chain(controllers).chain(text::roles(CORACLE_ROLES)).collect();
    let mut all: Vec<Value> = roles.iter().map(|role| cluster_role(role, &roles)).collect();
    for role in &roles {
        let prefixes = ["system:controller:", "coracle:controller:"];
        if let Some(account) = prefixes.iter().find_map(|prefix| role.name.strip_prefix(prefix)) {
            let subject = format!("SA:kube-system/{account}");
            all.push(binding(&role.name, &role.name, &[subject.as_str()]));
        }
    }
    all.extend(text::roles(NAMESPACE_ROLES).iter().map(|role| {
        let mut object = base("Role", &role.name);
        object["rules"] = role.rules.clone().into();
        object
    }));
    all.extend(text::bindings(BINDINGS).iter().map(|(name, role, subjects)| binding(name, role, subjects)));
    all
}

fn base(kind: &str, place: &str) -> Value {
    let mut object = json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": kind,
        "metadata": {
            "name": place,
            "labels": { "kubernetes.io/bootstrapping": "rbac-defaults" },
            "annotations": { AUTOUPDATE: "true" },
        },
    });
    if let Some((namespace, name)) = place.split_once('/') {
        meta::set(&mut object, "namespace", namespace);
        meta::set(&mut object, "name", name);
    }
    object
}

fn aggregated(label: &str) -> String {
    format!("{GROUP}/{label}")
}

fn cluster_role(role: &RoleText, all: &[RoleText]) -> Value {
    let mut object = base("ClusterRole", &role.name);
    for label in &role.labels {
        object["metadata"]["labels"][aggregated(label)] = json!("true");
    }
    if let Some(label) = &role.gathers {
        let selector = json!({ "matchLabels": { aggregated(label): "true" } });
        object["aggregationRule"] = json!({ "clusterRoleSelectors": [selector] });
    }
    object["rules"] = gathered(role, all).into();
    object
}

/// A role's rules; of one that gathers others, theirs, so that it can be used before the controller has looked at it.
fn gathered(role: &RoleText, all: &[RoleText]) -> Vec<Value> {
    let Some(label) = &role.gathers else { return role.rules.clone() };
    let mut from: Vec<&RoleText> = all.iter().filter(|other| other.labels.contains(label)).collect();
    from.sort_by(|a, b| a.name.cmp(&b.name));
    let mut rules = Vec::new();
    for rule in from.into_iter().flat_map(|other| gathered(other, all)) {
        if !rules.contains(&rule) {
            rules.push(rule);
        }
    }
    rules
}

fn binding(place: &str, role: &str, subjects: &[&str]) -> Value {
    let namespaced = place.contains('/');
    let (binding, kind) = if namespaced { ("RoleBinding", "Role") } else { ("ClusterRoleBinding", "ClusterRole") };
    let mut object = base(binding, place);
    object["roleRef"] = json!({ "apiGroup": GROUP, "kind": kind, "name": role });
    let subjects: Vec<Value> = subjects.iter().filter_map(|subject| text::subject(subject)).collect();
    if !subjects.is_empty() {
        object["subjects"] = subjects.into();
    }
    object
}

/// Brings what is there to what it came with.
///
/// # Errors
/// The first refusal.
pub(super) async fn reconcile(objects: &Objects, wanted: &Value, options: &WriteOptions) -> Result<(), Status> {
    let Some(there) = super::find(objects, wanted) else { return super::create(objects, wanted, options).await };
    let there = there.value();
    let keep = there.pointer("/metadata/annotations").and_then(|all| all.get(AUTOUPDATE)).and_then(Value::as_str);
    let Some(kind) = super::kind(objects, wanted).filter(|_| keep != Some("false")) else { return Ok(()) };
    let (namespace, name) = (super::namespace(wanted), meta::name(wanted));
    if there["roleRef"] != wanted["roleRef"] {
        // What a binding gives never changes: it is made anew.
        let delete = DeleteOptions { user: options.user.clone(), ..DeleteOptions::default() };
        objects.delete(&kind, namespace, name, &delete).await?;
        return super::create(objects, wanted, options).await;
    }
    let merged = merged(&there, wanted);
    if merged == there {
        return Ok(());
    }
    objects.update(&kind, namespace, name, Sub::None, merged, options).await.map(drop)
}

/// `there` with everything of `wanted` that it lacks.
fn merged(there: &Value, wanted: &Value) -> Value {
    let mut merged = there.clone();
    for map in ["labels", "annotations"] {
        let entries = wanted["metadata"][map].as_object().into_iter().flatten();
        let entries: Vec<(String, Value)> = entries.map(|(key, value)| (key.clone(), value.clone())).collect();
        if !merged["metadata"][map].is_object() {
            merged["metadata"][map] = json!({});
        }
        for (key, value) in entries {
            merged["metadata"][map][key] = value;
        }
    }
    // The rules of a role that gathers others are the controller's.
    if wanted.get("aggregationRule").is_some() {
        if merged.get("aggregationRule").is_none_or(Value::is_null) {
            merged["aggregationRule"] = wanted["aggregationRule"].clone();
        }
        add(&mut merged["aggregationRule"], &wanted["aggregationRule"], "clusterRoleSelectors");
        return merged;
    }
    if lacks_rules(&there["rules"], &wanted["rules"]) {
        add(&mut merged, wanted, "rules");
    }
    add(&mut merged, wanted, "subjects");
    merged
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn add(to: &mut Value, from: &Value, field: &str) {
    let missing: Vec<Value> =
        items(&from[field]).iter().filter(|item| !items(&to[field]).contains(item)).cloned().collect();
    if missing.is_empty() {
        return;
    }
    match to[field].as_array_mut() {
        Some(list) => list.extend(missing),
        None => to[field] = missing.into(),
    }
}

fn lacks_rules(there: &Value, wanted: &Value) -> bool {
    items(wanted).iter().any(|rule| !items(there).contains(rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_files_is_understood() {
        let all = objects();
        let find = |kind: &str, name: &str| {
            all.iter().find(|object| object["kind"] == kind && meta::name(object) == name).cloned().unwrap_or_default()
        };
        assert_eq!(
            find("ClusterRole", "cluster-admin")["rules"][1],
            json!({ "verbs": ["*"], "nonResourceURLs": ["*"] })
        );
        assert_eq!(find("ClusterRoleBinding", "cluster-admin")["subjects"][0]["name"], "system:masters");
        let edit = find("ClusterRole", "edit");
        assert_eq!(edit["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-admin"], "true");
        let view = find("ClusterRole", "view");
        assert!(items(&view["rules"]).iter().all(|rule| items(&edit["rules"]).contains(rule)));
        let controller = find("ClusterRoleBinding", "system:controller:replicaset-controller");
        assert_eq!(controller["subjects"][0]["namespace"], "kube-system");
        for object in &all {
            assert!(!meta::name(object).is_empty());
            for rule in items(&object["rules"]) {
                assert!(!items(&rule["verbs"]).is_empty(), "{object}");
            }
            if object["kind"].as_str().is_some_and(|kind| kind.ends_with("Binding")) {
                let role = object["roleRef"]["name"].as_str().unwrap();
                let kind = object["roleRef"]["kind"].as_str().unwrap();
                assert!(!find(kind, role).is_null(), "{role} is bound and not there");
            }
        }
    }

    #[test]
    fn a_start_gives_back_what_was_taken_and_keeps_what_was_added() {
        let wanted = binding("x", "role", &["User:a", "Group:b"]);
        let mut there = wanted.clone();
        there["subjects"] = json!([text::subject("Group:b"), text::subject("User:c")]);
        let names: Vec<Value> =
            items(&merged(&there, &wanted)["subjects"]).iter().map(|one| one["name"].clone()).collect();
        assert_eq!(names, ["b", "c", "a"]);
        assert_eq!(merged(&wanted, &wanted), wanted);
    }
}
