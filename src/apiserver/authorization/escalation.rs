//! Nobody grants what they may not do themselves.
//!
//! Roles may hold only rules that their writer has, or who may `escalate`; bindings may only give roles whose rules their
//! writer has, or that the writer may `bind`.

use std::sync::Arc;

use api::{AccessRequest, Status, UserInfo};
use async_trait::async_trait;
use objects::{Admission, Operation, Review, Sub};
use serde::Deserialize;
use serde_json::Value;

use super::index::RoleRef;
use super::rules::{PolicyRule, descriptions, missing, quoted};
use super::{Authorizer, Rbac};

const GROUP: &str = "rbac.authorization.k8s.io";

/// Watches over who writes roles and bindings.
pub struct Escalation {
    rbac: Rbac,
    authorizer: Arc<dyn Authorizer>,
}

impl std::fmt::Debug for Escalation {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Escalation")
    }
}

impl Escalation {
    /// `rbac` knows what somebody has, `authorizer` who may go beyond it.
    pub fn new(rbac: Rbac, authorizer: Arc<dyn Authorizer>) -> Self {
        Self { rbac, authorizer }
    }

    async fn may(&self, review: &Review<'_>, verb: &str, resource: &str, name: &str) -> bool {
        let request = AccessRequest {
            user: review.user.clone(),
            verb: verb.to_owned(),
            group: GROUP.to_owned(),
            version: "v1".to_owned(),
            resource: resource.to_owned(),
            namespace: review.namespace.unwrap_or_default().to_owned(),
            name: name.to_owned(),
            ..AccessRequest::default()
        };
        self.authorizer.authorize(&request).await.is_allowed()
    }

    /// Refuses rules that the writer does not have.
    fn covered(&self, review: &Review<'_>, rules: &[PolicyRule]) -> Result<(), String> {
        let UserInfo { name, groups, .. } = review.user;
        let (held, errors) = self.rbac.held(review.user, review.namespace.unwrap_or_default());
        let missing = missing(&held, rules);
        if missing.is_empty() {
            return Ok(());
        }
        let mut message = format!(
            "user {name:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
            quoted(groups),
            descriptions(missing).join("\n")
        );
        if !errors.is_empty() {
            message.push_str(&format!("; resolution errors: [{}]", errors.join(", ")));
        }
        Err(message)
    }

    async fn role(&self, review: &Review<'_>) -> Result<(), Status> {
        if self.may(review, "escalate", &review.kind.plural, review.name).await {
            return Ok(());
        }
        let rules = Vec::<PolicyRule>::deserialize(&review.object["rules"]).unwrap_or_default();
        self.covered(review, &rules).map_err(|why| forbidden(review, &why))?;
        let gathers = review.object.get("aggregationRule").is_some_and(|rule| !rule.is_null());
        let everything = [PolicyRule::all_resources(), PolicyRule::all_paths()];
        if gathers && self.covered(review, &everything).is_err() {
            return Err(forbidden(review, "must have cluster-admin privileges to use the aggregationRule"));
        }
        Ok(())
    }

    async fn binding(&self, review: &Review<'_>) -> Result<(), Status> {
        let role = RoleRef::deserialize(&review.object["roleRef"]).unwrap_or_default();
        let resource = if role.kind == "Role" { "roles" } else { "clusterroles" };
        if self.may(review, "bind", resource, &role.name).await {
            return Ok(());
        }
        let rules = self.rbac.of_role(&role, review.namespace.unwrap_or_default())?;
        self.covered(review, &rules).map_err(|why| forbidden(review, &why))
    }
}

fn forbidden(review: &Review<'_>, why: &str) -> Status {
    let resource = api::status::qualified(&review.kind.group, &review.kind.plural);
    let mut status = Status::new(403, "Forbidden", format!("{resource} {:?} is forbidden: {why}", review.name));
    status.group.clone_from(&review.kind.group);
    status.kind.clone_from(&review.kind.plural);
    review.name.clone_into(&mut status.name);
    status
}

/// Whether only what the garbage collector writes is different.
fn only_collected(new: &Value, old: &Value) -> bool {
    let without = |object: &Value| {
        let mut object = object.clone();
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            for field in ["ownerReferences", "finalizers", "managedFields", "resourceVersion"] {
                metadata.remove(field);
            }
        }
        object
    };
    without(new) == without(old)
}

#[async_trait]
impl Admission for Escalation {
    async fn validate(&self, review: &Review<'_>) -> Result<(), Status> {
        let written = matches!(review.operation, Operation::Create | Operation::Update) && review.sub == Sub::None;
        if review.kind.group != GROUP || !written || review.user.is_in(UserInfo::MASTERS) {
            return Ok(());
        }
        if review.old.is_some_and(|old| only_collected(&review.object, old)) {
            return Ok(());
        }
        match review.kind.plural.as_str() {
            "roles" | "clusterroles" => self.role(review).await,
            "rolebindings" | "clusterrolebindings" => self.binding(review).await,
            _ => Ok(()),
        }
    }
}
