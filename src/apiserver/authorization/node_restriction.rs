//! What a node may write: about itself, and about the pods that are bound to it.

use api::{Status, meta};
use async_trait::async_trait;
use objects::{Admission, Objects, Operation, Review, Shelf, Sub};
use serde_json::Value;

const MIRROR: &str = "kubernetes.io/config.mirror";
const LEASES: &str = "kube-node-lease";

/// Labels that a node may give itself although they are Kubernetes' own.
const OWN_LABELS: &[&str] = &[
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.kubernetes.io/region",
    "failure-domain.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/instance-type",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];
const OWN_LABEL_DOMAINS: &[&str] = &["kubelet.kubernetes.io", "node.kubernetes.io"];

/// Holds nodes to what is theirs.
pub struct NodeRestriction {
    pods: Shelf,
}

impl std::fmt::Debug for NodeRestriction {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("NodeRestriction")
    }
}

impl NodeRestriction {
    /// Over the pods of `objects`.
    pub fn new(objects: &Objects) -> Self {
        Self { pods: objects.shelf("", "pods") }
    }

    fn pod(&self, node: &str, review: &Review<'_>) -> Result<(), String> {
        let node_of = |pod: &Value| text(pod, "/spec/nodeName").to_owned();
        match (review.operation, review.sub.name()) {
            (Operation::Create, "") => {
                if meta_annotation(&review.object, MIRROR).is_empty() {
                    return Err(format!(
                        "pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"
                    ));
                }
                if node_of(&review.object) != node {
                    return Err(format!("node {node:?} can only create pods with spec.nodeName set to itself"));
                }
                Ok(())
            }
            (Operation::Delete, "") if review.old.map(node_of).as_deref() == Some(node) => Ok(()),
            (Operation::Delete, "") => {
                Err(format!("node {node:?} can only delete pods with spec.nodeName set to itself"))
            }
            (Operation::Update, "status") if review.old.map(node_of).as_deref() != Some(node) => {
                Err(format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself"))
            }
            (Operation::Update, "status") => {
                let labels = |pod: &Value| pod.pointer("/metadata/labels").cloned();
                if review.old.is_some_and(|old| labels(old) != labels(&review.object)) {
                    return Err(format!("node {node:?} cannot update labels through pod status"));
                }
                // They name ConfigMaps and Secrets, which a node may read where a pod of its own needs them.
                if review.old.is_some_and(|old| !super::node::same_grants(old, &review.object)) {
                    return Err(format!("node {node:?} cannot update annotations of coracle.dev through pod status"));
                }
                Ok(())
            }
            (Operation::Create, "eviction") => {
                let pod = self.pods.get(review.namespace, review.name).map(|pod| node_of(&pod.value()));
                match pod {
                    Some(at) if at != node => {
                        Err(format!("node {node:?} can only evict pods with spec.nodeName set to itself"))
                    }
                    _ => Ok(()),
                }
            }
            (operation, sub) => Err(format!(
                "unexpected operation {:?}, node {node:?} can only create and delete mirror pods{}",
                operation.name(),
                if sub.is_empty() { "" } else { " and update pod status" }
            )),
        }
    }

    /// A token is for a pod of the node.
    fn token(&self, node: &str, review: &Review<'_>) -> Result<(), String> {
        let reference = |field: &str| text(&review.object, &format!("/spec/boundObjectRef/{field}"));
        if reference("apiVersion") != "v1" || reference("kind") != "Pod" || reference("name").is_empty() {
            return Err("node requested token not bound to a pod".to_owned());
        }
        if reference("uid").is_empty() {
            return Err("node requested token with a pod binding without a uid".to_owned());
        }
        let pod = self.pods.get(review.namespace, reference("name"));
        let Some(pod) = pod.filter(|pod| *pod.meta.uid == *reference("uid")) else {
            return Err(format!(
                "the UID in the bound object reference ({}) does not match the UID in record. The object might have been \
                 deleted and then recreated",
                reference("uid")
            ));
        };
        if text(&pod.value(), "/spec/nodeName") != node {
            return Err("node requested token bound to a pod scheduled on a different node".to_owned());
        }
        Ok(())
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn meta_annotation<'a>(object: &'a Value, name: &str) -> &'a str {
    let annotations = object.pointer("/metadata/annotations");
    annotations.and_then(|all| all.get(name)).and_then(Value::as_str).unwrap_or_default()
}

fn own_node(node: &str, review: &Review<'_>) -> Result<(), String> {
    if review.name != node {
        return Err(format!("node {node:?} is not allowed to modify node {:?}", review.name));
    }
    if review.operation == Operation::Delete || review.sub != Sub::None && review.sub != Sub::Status {
        return if review.operation == Operation::Delete {
            Err(format!("node {node:?} is not allowed to delete nodes"))
        } else {
            Ok(())
        };
    }
    let empty = Value::Null;
    let labels = |object: &Value| object.pointer("/metadata/labels").cloned().unwrap_or_default();
    let old = review.old.unwrap_or(&empty);
    let (had, wants) = (labels(old), labels(&review.object));
    let all = had.as_object().into_iter().chain(wants.as_object()).flat_map(|map| map.keys());
    let mut changed: Vec<&str> = all
        .filter(|key| had.get(key.as_str()) != wants.get(key.as_str()) && !may_label(key))
        .map(String::as_str)
        .collect();
    changed.sort_unstable();
    changed.dedup();
    if !changed.is_empty() {
        let verb = if review.old.is_some() { "modify" } else { "set" };
        return Err(format!("node {node:?} is not allowed to {verb} labels: {}", changed.join(", ")));
    }
    let taints = |object: &Value| object.pointer("/spec/taints").cloned();
    if review.old.is_some_and(|old| taints(old) != taints(&review.object)) {
        return Err(format!("node {node:?} is not allowed to modify taints"));
    }
    Ok(())
}

/// Whether a node may give itself a label.
fn may_label(key: &str) -> bool {
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    let within = |parent: &str| domain == parent || domain.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'));
    if within("node-restriction.kubernetes.io") {
        return false;
    }
    if !within("kubernetes.io") && !within("k8s.io") {
        return true;
    }
    OWN_LABELS.contains(&key) || OWN_LABEL_DOMAINS.iter().any(|parent| within(parent))
}

#[async_trait]
impl Admission for NodeRestriction {
    async fn validate(&self, review: &Review<'_>) -> Result<(), Status> {
        let Some(node) = review.user.as_node() else { return Ok(()) };
        let name = if review.name.is_empty() { meta::name(&review.object) } else { review.name };
        let answer = match (review.kind.group.as_str(), review.kind.plural.as_str()) {
            ("", "pods") => self.pod(node, review),
            ("", "nodes") => own_node(node, review),
            ("", "serviceaccounts") if review.sub.name() == "token" => self.token(node, review),
            ("coordination.k8s.io", "leases") => match (review.namespace == Some(LEASES), name == node) {
                (true, true) => Ok(()),
                (false, _) => Err(format!("can only access leases in the {LEASES:?} system namespace")),
                (true, false) => Err("can only access node lease with the same name as the requesting node".to_owned()),
            },
            ("storage.k8s.io", "csinodes") if name != node => {
                Err("can only access CSINode with the same name as the requesting node".to_owned())
            }
            _ => Ok(()),
        };
        answer.map_err(|why| {
            let resource = api::status::qualified(&review.kind.group, &review.kind.plural);
            let mut status = Status::new(403, "Forbidden", format!("{resource} {name:?} is forbidden: {why}"));
            status.group.clone_from(&review.kind.group);
            status.kind.clone_from(&review.kind.plural);
            name.clone_into(&mut status.name);
            status
        })
    }
}

#[cfg(test)]
mod tests {
    use super::may_label;

    #[test]
    fn nodes_keep_their_hands_off_reserved_labels() {
        for (key, wanted) in [
            ("app", true),
            ("example.com/x", true),
            ("kubernetes.io/hostname", true),
            ("node.kubernetes.io/anything", true),
            ("x.kubelet.kubernetes.io/y", true),
            ("kubernetes.io/other", false),
            ("foo.k8s.io/x", false),
            ("node-restriction.kubernetes.io/x", false),
            ("a.node-restriction.kubernetes.io/x", false),
            ("notkubernetes.io/x", true),
        ] {
            assert_eq!(may_label(key), wanted, "{key}");
        }
    }
}
