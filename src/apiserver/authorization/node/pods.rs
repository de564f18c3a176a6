//! What the pods of each node need.
//!
//! It is brought up to date by whoever asks and finds it old; a pod is read once, since what it needs does not change (apart from
//! ephemeral containers).

use std::collections::HashMap;
use std::sync::Arc;

use objects::{Moved, Object, Revision, Shelf};
use parking_lot::Mutex;
use serde_json::Value;

/// In which way a pod needs an object of its namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Needed {
    Itself,
    Secret,
    ConfigMap,
    Claim,
    ResourceClaim,
    ServiceAccount,
}

type Need = (Needed, String);

struct Pod {
    uid: String,
    node: String,
    namespace: String,
    needs: Vec<Need>,
    /// Containers may still be added to it.
    grown: bool,
}

#[derive(Default)]
struct Known {
    read: Option<Revision>,
    pods: HashMap<Arc<str>, Pod>,
    /// How many pods of a node need an object: node, namespace, need.
    counts: HashMap<(String, String, Need), usize>,
}

/// All pods that are bound.
pub(super) struct Pods {
    shelf: Shelf,
    known: Mutex<Known>,
}

impl Pods {
    pub fn new(shelf: Shelf) -> Self {
        Self { shelf, known: Mutex::default() }
    }

    /// Whether a pod on `node` needs this.
    pub fn need(&self, node: &str, what: Needed, namespace: &str, name: &str) -> bool {
        let mut known = self.known.lock();
        if known.read.is_none_or(|read| read < self.shelf.last_change()) {
            let changes = known.read.and_then(|read| self.shelf.since(read));
            let (changes, reached) = changes.unwrap_or_else(|| {
                known.pods.clear();
                known.counts.clear();
                self.shelf.all()
            });
            for change in changes {
                known.take_in(change);
            }
            known.read = Some(reached);
        }
        known.counts.contains_key(&(node.to_owned(), namespace.to_owned(), (what, name.to_owned())))
    }
}

impl Known {
    fn take_in(&mut self, change: Moved) {
        let Moved { place, object } = change;
        let same = |object: &Object, pod: &Pod| *object.meta.uid == *pod.uid && !pod.grown;
        if let (Some(object), Some(pod)) = (&object, self.pods.get(&place))
            && same(object, pod)
        {
            return;
        }
        if let Some(pod) = self.pods.remove(&place) {
            for need in pod.needs {
                let key = (pod.node.clone(), pod.namespace.clone(), need);
                if let Some(count) = self.counts.get_mut(&key) {
                    *count -= 1;
                    if *count == 0 {
                        self.counts.remove(&key);
                    }
                }
            }
        }
        let Some(object) = object.filter(|object| !object.field("spec.nodeName").is_empty()) else { return };
        let (node, value) = (object.field("spec.nodeName").to_owned(), object.value());
        let namespace = object.meta.namespace.to_string();
        let needs = needs(&value);
        for need in &needs {
            *self.counts.entry((node.clone(), namespace.clone(), need.clone())).or_default() += 1;
        }
        let grown = !each(&value, "/spec/ephemeralContainers").is_empty();
        self.pods.insert(place, Pod { uid: object.meta.uid.to_string(), node, namespace, needs, grown });
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn each<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The settings of a pod: annotations of `coracle.dev`, for all of its containers or for one.
fn settings(pod: &Value) -> impl Iterator<Item = (&str, &str)> {
    let annotations = pod.pointer("/metadata/annotations").and_then(Value::as_object);
    annotations.into_iter().flatten().filter_map(|(key, value)| {
        let (domain, setting) = key.split_once('/')?;
        (domain == "coracle.dev" || domain.ends_with(".coracle.dev"))
            .then(|| (setting, value.as_str().unwrap_or_default()))
    })
}

/// Whether two states of a pod have the same settings.
pub(in crate::authorization) fn same_grants(old: &Value, new: &Value) -> bool {
    settings(old).eq(settings(new))
}

/// What a pod's settings name: sources of configuration, and Secrets to log in to stores with.
fn annotated(pod: &Value) -> Vec<(Needed, &str)> {
    let mut found = Vec::new();
    for (setting, value) in settings(pod) {
        for item in value.split([',', '\n']).map(str::trim) {
            match setting {
                "config" => {
                    found.extend(item.strip_prefix("configmap/").map(|name| (Needed::ConfigMap, name)));
                    found.extend(item.strip_prefix("secret/").map(|name| (Needed::Secret, name)));
                }
                "keyvalue" | "blobstore" => {
                    let query = item.split_once('?').map_or("", |(_, query)| query);
                    let secrets = query.split('&').filter_map(|pair| pair.strip_prefix("secret="));
                    found.extend(secrets.map(|name| (Needed::Secret, name)));
                }
                _ => {}
            }
        }
    }
    found
}

/// Everything that a pod names.
fn needs(pod: &Value) -> Vec<Need> {
    let mut found = vec![
        (Needed::Itself, text(pod, "/metadata/name")),
        (Needed::ServiceAccount, text(pod, "/spec/serviceAccountName")),
    ];
    found.extend(each(pod, "/spec/imagePullSecrets").iter().map(|secret| (Needed::Secret, text(secret, "/name"))));
    for list in ["/spec/initContainers", "/spec/containers", "/spec/ephemeralContainers"] {
        for container in each(pod, list) {
            for source in each(container, "/envFrom") {
                found.push((Needed::ConfigMap, text(source, "/configMapRef/name")));
                found.push((Needed::Secret, text(source, "/secretRef/name")));
            }
            for variable in each(container, "/env") {
                found.push((Needed::ConfigMap, text(variable, "/valueFrom/configMapKeyRef/name")));
                found.push((Needed::Secret, text(variable, "/valueFrom/secretKeyRef/name")));
            }
        }
    }
    let mut own_claims = Vec::new();
    for volume in each(pod, "/spec/volumes") {
        found.push((Needed::ConfigMap, text(volume, "/configMap/name")));
        found.push((Needed::Secret, text(volume, "/secret/secretName")));
        found.push((Needed::Claim, text(volume, "/persistentVolumeClaim/claimName")));
        for source in each(volume, "/projected/sources") {
            found.push((Needed::ConfigMap, text(source, "/configMap/name")));
            found.push((Needed::Secret, text(source, "/secret/name")));
        }
        for driver in ["csi/nodePublishSecretRef", "cephfs/secretRef", "iscsi/secretRef", "rbd/secretRef"] {
            found.push((Needed::Secret, text(volume, &format!("/{driver}/name"))));
        }
        if volume.get("ephemeral").is_some() {
            let name = format!("{}-{}", text(pod, "/metadata/name"), text(volume, "/name"));
            own_claims.push((Needed::Claim, name));
        }
    }
    found.extend(annotated(pod));
    for claim in each(pod, "/status/resourceClaimStatuses") {
        found.push((Needed::ResourceClaim, text(claim, "/resourceClaimName")));
    }
    let named = found.into_iter().filter(|(_, name)| !name.is_empty());
    let mut all: Vec<Need> = named.map(|(what, name)| (what, name.to_owned())).chain(own_claims).collect();
    all.sort();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_needs_what_it_names() {
        let pod = json!({
            "metadata": {
                "name": "p",
                "annotations": {
                    "coracle.dev/config": "configmap/settings, secret/login",
                    "app.coracle.dev/blobstore": "files=s3://b?endpoint=http://h&secret=key,other",
                    "example.com/config": "secret/not-this-one",
                },
            },
            "spec": {
                "serviceAccountName": "sa",
                "imagePullSecrets": [{ "name": "pull" }],
                "containers": [{
                    "envFrom": [{ "secretRef": { "name": "all" } }],
                    "env": [{ "valueFrom": { "configMapKeyRef": { "name": "map", "key": "k" } } }],
                }],
                "volumes": [
                    { "name": "a", "secret": { "secretName": "vol" } },
                    { "name": "b", "projected": { "sources": [{ "configMap": { "name": "root" } }] } },
                    { "name": "c", "ephemeral": {} },
                    { "name": "d", "persistentVolumeClaim": { "claimName": "data" } },
                ],
            },
        });
        let shown: Vec<String> = needs(&pod).iter().map(|(what, name)| format!("{what:?} {name}")).collect();
        let wanted = [
            "Itself p",
            "Secret all",
            "Secret key",
            "Secret login",
            "Secret pull",
            "Secret vol",
            "ConfigMap map",
            "ConfigMap root",
            "ConfigMap settings",
            "Claim data",
            "Claim p-c",
            "ServiceAccount sa",
        ];
        assert_eq!(shown, wanted);
    }
}
