//! The node authorizer: a node may read what the pods need that are bound to it, and write about itself.
//!
//! What a write says beyond its path is held by [`super::NodeRestriction`].

mod pods;

use api::{AccessRequest, UserInfo};
use async_trait::async_trait;
use objects::{Objects, Shelf};

pub(super) use self::pods::same_grants;
use self::pods::{Needed, Pods};
use super::rules::PolicyRule;
use super::{Authorizer, Decision, Rule};

const LEASES: &str = "kube-node-lease";
const READ: &[&str] = &["get", "list", "watch"];

/// What every node may do, whatever runs on it: verbs, API group, resources.
const EVERY_NODE: &[(&[&str], &str, &[&str])] = &[
    (&["create"], "authentication.k8s.io", &["tokenreviews"]),
    (&["create"], "authorization.k8s.io", &["subjectaccessreviews", "localsubjectaccessreviews"]),
    (READ, "", &["services"]),
    (&["create", "update", "patch"], "", &["events"]),
    (&["create", "update", "patch"], "events.k8s.io", &["events"]),
    (&["get"], "", &["endpoints"]),
    (&["create", "get", "list", "watch"], "certificates.k8s.io", &["certificatesigningrequests"]),
    (READ, "storage.k8s.io", &["csidrivers"]),
    (READ, "node.k8s.io", &["runtimeclasses"]),
];

/// Decides about nodes; has no opinion about anybody else.
pub struct NodeAuthorizer {
    pods: Pods,
    volumes: Shelf,
    everybody: Vec<PolicyRule>,
}

impl std::fmt::Debug for NodeAuthorizer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("NodeAuthorizer")
    }
}

impl NodeAuthorizer {
    /// Over the pods of `objects`.
    pub fn new(objects: &Objects) -> Self {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let rule = |&(verbs, group, resources): &(&[&str], &str, &[&str])| PolicyRule {
            verbs: texts(verbs),
            api_groups: texts(&[group]),
            resources: texts(resources),
            ..PolicyRule::default()
        };
        Self {
            pods: Pods::new(objects.shelf("", "pods")),
            volumes: objects.shelf("", "persistentvolumes"),
            everybody: EVERY_NODE.iter().map(rule).collect(),
        }
    }

    /// `Ok` is a yes, `Err` the reason why not.
    fn decide(&self, node: &str, request: &AccessRequest) -> Result<(), String> {
        let AccessRequest { verb, group, resource, subresource, name, path, .. } = request;
        if resource.is_empty() {
            let known = self.everybody.iter().any(|rule| rule.allows_path(verb, path));
            return if known { Ok(()) } else { Err(String::new()) };
        }
        match (group.as_str(), resource.as_str()) {
            ("", "secrets") => self.read(node, Needed::Secret, request),
            ("", "configmaps") => self.read(node, Needed::ConfigMap, request),
            ("", "persistentvolumeclaims") if subresource == "status" => {
                only(verb, &["update", "patch"], "can only get/update/patch this type")?;
                self.needed(node, Needed::Claim, request)
            }
            ("", "persistentvolumeclaims") => self.get(node, Needed::Claim, request),
            ("resource.k8s.io", "resourceclaims") => self.get(node, Needed::ResourceClaim, request),
            ("", "persistentvolumes") => self.volume(node, request),
            ("", "serviceaccounts") => self.token(node, request),
            ("", "nodes") => own_node(node, request),
            ("", "pods") => self.pod(node, request),
            ("coordination.k8s.io", "leases") => own_lease(node, request),
            ("storage.k8s.io", "csinodes") => own_csi_node(node, request),
            ("resource.k8s.io", "resourceslices") => own_slices(node, request),
            _ if self.everybody.iter().any(|rule| rule.allows(verb, group, resource, subresource, name)) => Ok(()),
            _ => Err(String::new()),
        }
    }

    fn needed(&self, node: &str, what: Needed, request: &AccessRequest) -> Result<(), String> {
        if request.name.is_empty() {
            return Err("No Object name found".to_owned());
        }
        if self.pods.need(node, what, &request.namespace, &request.name) { Ok(()) } else { Err(unrelated(node)) }
    }

    fn get(&self, node: &str, what: Needed, request: &AccessRequest) -> Result<(), String> {
        only(&request.verb, &["get"], "can only get individual resources of this type")?;
        if !request.subresource.is_empty() {
            return Err("cannot get subresource".to_owned());
        }
        self.needed(node, what, request)
    }

    fn read(&self, node: &str, what: Needed, request: &AccessRequest) -> Result<(), String> {
        only(&request.verb, READ, "can only read resources of this type")?;
        if !request.subresource.is_empty() {
            return Err("cannot read subresource".to_owned());
        }
        if request.namespace.is_empty() {
            return Err("can only read namespaced object of this type".to_owned());
        }
        self.needed(node, what, request)
    }

    /// A volume belongs to the claim that it is bound to.
    fn volume(&self, node: &str, request: &AccessRequest) -> Result<(), String> {
        let volume = self.volumes.get(None, &request.name).map(|volume| volume.value());
        // A node lets go of what lay on it.
        if request.verb == "patch"
            && request.subresource.is_empty()
            && volume.as_ref().is_some_and(|it| lies_on(it, node))
        {
            return Ok(());
        }
        only(&request.verb, &["get"], "can only get individual resources of this type")?;
        let text = |pointer: &str| {
            let found = volume.as_ref().and_then(|volume| volume.pointer(pointer)).and_then(serde_json::Value::as_str);
            found.unwrap_or_default().to_owned()
        };
        let (namespace, claim) = (text("/spec/claimRef/namespace"), text("/spec/claimRef/name"));
        if self.pods.need(node, Needed::Claim, &namespace, &claim) { Ok(()) } else { Err(unrelated(node)) }
    }

    fn token(&self, node: &str, request: &AccessRequest) -> Result<(), String> {
        if request.verb != "create" || request.name.is_empty() {
            return Err("can only create tokens for individual service accounts".to_owned());
        }
        if request.subresource != "token" {
            return Err("can only create token subresource of serviceaccount".to_owned());
        }
        self.needed(node, Needed::ServiceAccount, request)
    }

    fn pod(&self, node: &str, request: &AccessRequest) -> Result<(), String> {
        match (request.subresource.as_str(), request.verb.as_str()) {
            ("", "get") => self.get(node, Needed::Itself, request),
            ("", "list" | "watch") if request.demanded("spec.nodeName").as_deref() == Some(node) => Ok(()),
            ("", "list" | "watch") if !request.name.is_empty() => self.needed(node, Needed::Itself, request),
            ("", "list" | "watch") => Err("can only list/watch pods with spec.nodeName field selector".to_owned()),
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => Ok(()),
            _ => Err(String::new()),
        }
    }
}

/// Whether this volume of the local provisioner has its folder on `node`.
fn lies_on(volume: &serde_json::Value, node: &str) -> bool {
    let is_local = volume.pointer("/spec/csi/driver").is_some_and(|driver| driver == "local-path.coracle.dev");
    let at = volume.pointer("/spec/nodeAffinity/required/nodeSelectorTerms/0/matchExpressions/0/values/0");
    is_local && at.is_some_and(|at| at == node)
}

fn unrelated(node: &str) -> String {
    format!("no relationship found between node '{node}' and this object")
}

fn only(verb: &str, verbs: &[&str], why: &str) -> Result<(), String> {
    if verbs.contains(&verb) { Ok(()) } else { Err(why.to_owned()) }
}

fn own_node(node: &str, request: &AccessRequest) -> Result<(), String> {
    match (request.subresource.as_str(), request.verb.as_str()) {
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Ok(()),
        ("", "get" | "list" | "watch") if request.name == node => Ok(()),
        ("", "get" | "list" | "watch") if request.name.is_empty() => {
            Err(format!("node '{node}' cannot read all nodes, only its own Node object"))
        }
        ("", "get" | "list" | "watch") => {
            Err(format!("node '{node}' cannot read '{}', only its own Node object", request.name))
        }
        _ => Err(String::new()),
    }
}

const OWN: &[&str] = &["get", "create", "update", "patch", "delete"];

fn own_lease(node: &str, request: &AccessRequest) -> Result<(), String> {
    only(&request.verb, OWN, "can only get, create, update, patch, or delete a node lease")?;
    if request.namespace != LEASES {
        return Err(format!("can only access leases in the {LEASES:?} system namespace"));
    }
    // The name of what is created stands in its body.
    if request.verb != "create" && request.name != node {
        return Err("can only access node lease with the same name as the requesting node".to_owned());
    }
    Ok(())
}

fn own_csi_node(node: &str, request: &AccessRequest) -> Result<(), String> {
    only(&request.verb, OWN, "can only get, create, update, patch, or delete a CSINode")?;
    if !request.subresource.is_empty() {
        return Err("cannot authorize CSINode subresources".to_owned());
    }
    if request.verb != "create" && request.name != node {
        return Err("can only access CSINode with the same name as the requesting node".to_owned());
    }
    Ok(())
}

fn own_slices(node: &str, request: &AccessRequest) -> Result<(), String> {
    if request.verb == "create" || request.demanded("spec.nodeName").as_deref() == Some(node) {
        return Ok(());
    }
    Err("can only list/watch/deletecollection resourceslices with nodeName field selector".to_owned())
}

#[async_trait]
impl Authorizer for NodeAuthorizer {
    async fn authorize(&self, request: &AccessRequest) -> Decision {
        if !request.user.is_in("system:nodes") || !request.user.name.starts_with("system:node:") {
            return Decision::NoOpinion(String::new());
        }
        let Some(node) = request.user.as_node() else {
            return Decision::NoOpinion(format!("unknown node for user {:?}", request.user.name));
        };
        match self.decide(node, request) {
            Ok(()) => Decision::Allow(String::new()),
            Err(reason) => Decision::NoOpinion(reason),
        }
    }

    async fn rules(&self, user: &UserInfo, _namespace: &str) -> (Vec<Rule>, bool) {
        // What a node may do depends on what runs there and is no list of rules.
        (Vec::new(), user.as_node().is_none())
    }
}
