//! Whoever has a policy read parameters must be allowed to read them: what they hold shows in what is refused.

use std::sync::Arc;

use api::{AccessRequest, FieldError, Status};
use async_trait::async_trait;
use objects::{Admission, Operation, Review, Sub};
use serde_json::Value;

use super::GROUP;
use super::configured::ParamKind;
use crate::authorization::Authorizer;

/// Looks at policies and bindings that are written.
pub(super) struct ParameterAccess {
    authorizer: Arc<dyn Authorizer>,
}

impl ParameterAccess {
    pub fn new(authorizer: Arc<dyn Authorizer>) -> Self {
        Self { authorizer }
    }

    /// May the user do `verb` with the objects of the kind?
    async fn may(&self, review: &Review<'_>, kind: &ParamKind, verb: &str, (namespace, name): (&str, &str)) -> bool {
        let (group, version) = kind.group_version();
        let kinds = review.objects.kinds();
        let resource = kinds.by_kind(group, version, &kind.kind).map_or("*", |kind| &kind.plural).to_owned();
        let access = AccessRequest {
            user: review.user.clone(),
            verb: verb.to_owned(),
            group: group.to_owned(),
            version: version.to_owned(),
            resource,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..AccessRequest::default()
        };
        self.authorizer.authorize(&access).await.is_allowed()
    }

    async fn policy(&self, review: &Review<'_>) -> Option<FieldError> {
        let kind = ParamKind::of(&review.object)?;
        let old = review.old.and_then(|old| old.pointer("/spec/paramKind"));
        if old == review.object.pointer("/spec/paramKind") || self.may(review, &kind, "get", ("*", "*")).await {
            return None;
        }
        let detail = format!(
            "user {} must have \"get\" permission on all objects of the referenced paramKind (kind={}, apiVersion={})",
            review.user.name, kind.kind, kind.api_version
        );
        Some(FieldError::forbidden("spec.paramKind", &detail))
    }

    async fn binding(&self, review: &Review<'_>, policies: &str) -> Option<FieldError> {
        let spec = review.object.get("spec")?;
        let reference = spec.get("paramRef").filter(|reference| reference.is_object())?;
        let same = |field: &str| review.old.and_then(|old| old.get("spec")?.get(field)) == spec.get(field);
        if review.old.is_some() && same("paramRef") && same("policyName") {
            return None;
        }
        let policy = spec.get("policyName").and_then(Value::as_str)?;
        let policy = review.objects.shelf(GROUP, policies).get(None, policy);
        let text = |field: &str| reference.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
        let (verb, name) = text("name").map_or(("list", "*"), |name| ("get", name));
        let any = || ParamKind { api_version: "*/*".to_owned(), kind: "*".to_owned() };
        let kind = match policy {
            Some(policy) => ParamKind::of(&policy.value())?,
            None => any(),
        };
        if self.may(review, &kind, verb, (text("namespace").unwrap_or("*"), name)).await {
            return None;
        }
        let user = &review.user.name;
        let detail = format!("user {user} does not have \"{verb}\" permission on the object referenced by paramRef");
        Some(FieldError::forbidden("spec.paramRef", &detail))
    }
}

#[async_trait]
impl Admission for ParameterAccess {
    async fn validate(&self, review: &Review<'_>) -> Result<(), Status> {
        let writes = matches!(review.operation, Operation::Create | Operation::Update) && review.sub == Sub::None;
        if review.kind.group != GROUP || !writes {
            return Ok(());
        }
        let fault = match review.kind.plural.as_str() {
            "validatingadmissionpolicies" | "mutatingadmissionpolicies" => self.policy(review).await,
            "validatingadmissionpolicybindings" => self.binding(review, "validatingadmissionpolicies").await,
            "mutatingadmissionpolicybindings" => self.binding(review, "mutatingadmissionpolicies").await,
            _ => None,
        };
        match fault {
            Some(fault) => Err(Status::invalid(&review.kind.group, &review.kind.kind, review.name, &[fault])),
            None => Ok(()),
        }
    }
}
