//! Discovery documents, made from a [`KindSet`].

#[cfg(test)]
pub(crate) mod tests;

use std::cmp::Reverse;
use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::kind::{Kind, KindSet};

/// Which form of the aggregated document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregated {
    /// `apidiscovery.k8s.io/v2`
    V2,
    /// `apidiscovery.k8s.io/v2beta1`
    V2Beta1,
}

impl Aggregated {
    /// `apidiscovery.k8s.io/v2`
    pub fn api_version(self) -> &'static str {
        match self {
            Self::V2 => "apidiscovery.k8s.io/v2",
            Self::V2Beta1 => "apidiscovery.k8s.io/v2beta1",
        }
    }
    /// The `Content-Type` of the answer.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::V2 => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            Self::V2Beta1 => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
        }
    }
}

/// Kubernetes' own groups with their priorities: which of several that offer a resource is taken first.
const GROUPS: [(&str, i64); 22] = [
    ("apiregistration.k8s.io", 20_000),
    ("", 18_000),
    ("apps", 17_800),
    ("events.k8s.io", 17_750),
    ("authentication.k8s.io", 17_700),
    ("authorization.k8s.io", 17_600),
    ("autoscaling", 17_500),
    ("batch", 17_400),
    ("certificates.k8s.io", 17_300),
    ("networking.k8s.io", 17_200),
    ("policy", 17_100),
    ("rbac.authorization.k8s.io", 17_000),
    ("storage.k8s.io", 16_800),
    ("admissionregistration.k8s.io", 16_700),
    ("apiextensions.k8s.io", 16_700),
    ("scheduling.k8s.io", 16_600),
    ("coordination.k8s.io", 16_500),
    ("node.k8s.io", 16_300),
    ("discovery.k8s.io", 16_200),
    ("flowcontrol.apiserver.k8s.io", 16_100),
    ("internal.apiserver.k8s.io", 16_000),
    ("resource.k8s.io", 15_900),
];

/// How a group that Kubernetes has is ordered among the others (`groupPriorityMinimum`).
pub fn group_priority(group: &str) -> Option<i64> {
    GROUPS.iter().find(|(name, _)| *name == group).map(|(_, priority)| *priority)
}

/// What `/status` and `/scale` can do.
const SUBRESOURCE_VERBS: [&str; 3] = ["get", "patch", "update"];

/// `GET /api`: APIVersions. `server_address` is what `serverAddressByClientCIDRs` names.
pub fn core_versions(server_address: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": server_address }],
    })
}

/// `GET /apis`: APIGroupList.
pub fn groups(kinds: &KindSet) -> Value {
    let groups: Vec<Value> =
        group_names(kinds).into_iter().filter(|name| !name.is_empty()).map(|name| group_body(kinds, name)).collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

/// `GET /apis/GROUP`: APIGroup.
pub fn group(kinds: &KindSet, group: &str) -> Option<Value> {
    if group.is_empty() || !kinds.iter().any(|kind| kind.group == group) {
        return None;
    }
    let mut body = group_body(kinds, group);
    body["kind"] = json!("APIGroup");
    body["apiVersion"] = json!("v1");
    Some(body)
}

/// `GET /api/v1` or `/apis/GROUP/VERSION`: APIResourceList.
pub fn resources(kinds: &KindSet, group: &str, version: &str) -> Option<Value> {
    let mut list = Vec::new();
    for kind in in_version(kinds, group, version) {
        list.push(plain_resource(kind));
        list.extend(subresources(kind).iter().map(|sub| plain_subresource(kind, sub)));
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    (!list.is_empty()).then(
        || json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": list }),
    )
}

/// `GET /api` (`core`) or `/apis` aggregated: APIGroupDiscoveryList.
pub fn aggregated(kinds: &KindSet, core: bool, form: Aggregated) -> Value {
    let items: Vec<Value> = group_names(kinds)
        .into_iter()
        .filter(|name| name.is_empty() == core)
        .map(|name| {
            let versions: Vec<Value> =
                versions(kinds, name).into_iter().map(|version| aggregated_version(kinds, name, version)).collect();
            let metadata = if core {
                json!({ "creationTimestamp": null })
            } else {
                json!({ "name": name, "creationTimestamp": null })
            };
            json!({ "metadata": metadata, "versions": versions })
        })
        .collect();
    json!({ "kind": "APIGroupDiscoveryList", "apiVersion": form.api_version(), "metadata": {}, "items": items })
}

/// The groups: Kubernetes' own in its order, then the others by name.
pub(crate) fn group_names(kinds: &KindSet) -> Vec<&str> {
    let names: BTreeSet<&str> = kinds.iter().map(|kind| kind.group.as_str()).collect();
    let mut names: Vec<&str> = names.into_iter().collect();
    names.sort_by_key(|name| Reverse(group_priority(name).unwrap_or_default()));
    names
}

/// The kinds of a group version by their plurals.
fn in_version<'a>(kinds: &'a KindSet, group: &str, version: &str) -> Vec<&'a Kind> {
    let rows = kinds.iter().map(AsRef::as_ref);
    let mut found: Vec<&Kind> = rows.filter(|kind: &&Kind| kind.group == group && kind.version == version).collect();
    found.sort_by(|a, b| a.plural.cmp(&b.plural));
    found
}

/// A group's versions, the preferred one first.
pub(crate) fn versions<'a>(kinds: &'a KindSet, group: &str) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    for kind in kinds.iter().filter(|kind| kind.group == group) {
        if !found.contains(&kind.version.as_str()) {
            found.push(&kind.version);
        }
    }
    found.sort_by_key(|version| (Reverse(rank(version)), *version));
    found
}

/// Kubernetes' order of versions: stable before beta before alpha, higher numbers first, anything else last.
fn rank(version: &str) -> Option<(u8, u32, u32)> {
    let rest = version.strip_prefix('v')?;
    let (stage, major, minor) = if let Some((major, minor)) = rest.split_once("beta") {
        (1, major, minor)
    } else if let Some((major, minor)) = rest.split_once("alpha") {
        (0, major, minor)
    } else {
        (2, rest, "0")
    };
    Some((stage, major.parse().ok()?, minor.parse().ok()?))
}

fn group_body(kinds: &KindSet, group: &str) -> Value {
    let versions: Vec<Value> = versions(kinds, group)
        .into_iter()
        .map(|version| json!({ "groupVersion": format!("{group}/{version}"), "version": version }))
        .collect();
    let preferred = versions.first().cloned();
    json!({ "name": group, "versions": versions, "preferredVersion": preferred })
}

/// A subresource as discovery shows it.
pub(crate) struct Sub {
    pub name: String,
    pub group: String,
    pub version: String,
    pub kind: String,
    pub verbs: Vec<String>,
}

/// A kind's subresources, sorted by name.
pub(crate) fn subresources(kind: &Kind) -> Vec<Sub> {
    let verbs = || SUBRESOURCE_VERBS.iter().map(|verb| (*verb).to_owned()).collect();
    let mut list = Vec::new();
    if kind.status {
        let (group, version) = (kind.group.clone(), kind.version.clone());
        list.push(Sub { name: "status".to_owned(), group, version, kind: kind.kind.clone(), verbs: verbs() });
    }
    if kind.scale.is_some() {
        let (group, version) = ("autoscaling".to_owned(), "v1".to_owned());
        list.push(Sub { name: "scale".to_owned(), group, version, kind: "Scale".to_owned(), verbs: verbs() });
    }
    for extra in &kind.extra_subresources {
        // An empty version means the kind's own group version.
        let (group, version) =
            if extra.version.is_empty() { (&kind.group, &kind.version) } else { (&extra.group, &extra.version) };
        list.push(Sub {
            name: extra.name.clone(),
            group: group.clone(),
            version: version.clone(),
            kind: extra.kind.clone(),
            verbs: extra.verbs.clone(),
        });
    }
    list.sort_by(|a, b| a.name.cmp(&b.name));
    list
}

fn names(target: &mut Map<String, Value>, kind: &Kind) {
    if !kind.short_names.is_empty() {
        target.insert("shortNames".to_owned(), json!(kind.short_names));
    }
    if !kind.categories.is_empty() {
        target.insert("categories".to_owned(), json!(kind.categories));
    }
}

fn plain_resource(kind: &Kind) -> Value {
    let mut body = Map::new();
    body.insert("name".to_owned(), json!(kind.plural));
    body.insert("singularName".to_owned(), json!(kind.singular));
    body.insert("namespaced".to_owned(), json!(kind.namespaced()));
    body.insert("kind".to_owned(), json!(kind.kind));
    body.insert("verbs".to_owned(), json!(kind.verbs));
    names(&mut body, kind);
    if kind.verbs.iter().any(|verb| verb == "watch") {
        body.insert("storageVersionHash".to_owned(), json!(storage_version_hash(kind)));
    }
    Value::Object(body)
}

/// What stands for the form that objects are stored in: clients that migrate stored objects compare it.
fn storage_version_hash(kind: &Kind) -> String {
    let (group, version) = match &kind.form {
        Some(form) => (&form.group, &form.version),
        None => (&kind.group, &kind.version),
    };
    let digest = Sha256::digest(format!("{group}/{version}/{}", kind.kind));
    STANDARD.encode(digest.get(..8).unwrap_or_default())
}

fn plain_subresource(kind: &Kind, sub: &Sub) -> Value {
    let mut body = json!({
        "name": format!("{}/{}", kind.plural, sub.name), "singularName": "", "namespaced": kind.namespaced(),
        "kind": sub.kind, "verbs": sub.verbs,
    });
    if (&sub.group, &sub.version) != (&kind.group, &kind.version) {
        if !sub.group.is_empty() {
            body["group"] = json!(sub.group);
        }
        body["version"] = json!(sub.version);
    }
    body
}

fn aggregated_version(kinds: &KindSet, group: &str, version: &str) -> Value {
    let resources: Vec<Value> = in_version(kinds, group, version).into_iter().map(aggregated_resource).collect();
    json!({ "version": version, "freshness": "Current", "resources": resources })
}

fn aggregated_resource(kind: &Kind) -> Value {
    let mut body = Map::new();
    body.insert("resource".to_owned(), json!(kind.plural));
    body.insert("responseKind".to_owned(), response_kind(&kind.group, &kind.version, &kind.kind));
    body.insert("scope".to_owned(), json!(if kind.namespaced() { "Namespaced" } else { "Cluster" }));
    body.insert("singularResource".to_owned(), json!(kind.singular));
    body.insert("verbs".to_owned(), json!(kind.verbs));
    names(&mut body, kind);
    let subs: Vec<Value> = subresources(kind)
        .iter()
        .map(|sub| {
            json!({ "subresource": sub.name, "responseKind": response_kind(&sub.group, &sub.version, &sub.kind), "verbs": sub.verbs })
        })
        .collect();
    if !subs.is_empty() {
        body.insert("subresources".to_owned(), Value::Array(subs));
    }
    Value::Object(body)
}

fn response_kind(group: &str, version: &str, kind: &str) -> Value {
    json!({ "group": group, "version": version, "kind": kind })
}
