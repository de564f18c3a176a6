//! The parameters of a binding: none, one object, or each of a selection.

use std::sync::Arc;

use api::{Kind, LabelSelector};
use objects::{ListOptions, Object, Revisions};
use serde_json::Value;

use super::super::matching::Asked;
use super::configured::{Binding, ParamKind, Policy};

/// What the expressions of a policy are evaluated with, once each: `None` where the policy has no parameters.
///
/// # Errors
/// Why the binding cannot be used for this request.
pub(super) async fn collect(
    asked: &Asked<'_>,
    policy: &Policy,
    binding: &Binding,
) -> Result<Vec<Option<Value>>, String> {
    let (Some(param_kind), Some(reference)) = (&policy.param_kind, &binding.param_ref) else { return Ok(vec![None]) };
    let text = |field: &str| reference.get(field).and_then(Value::as_str).unwrap_or_default();
    let Some(kind) = kind_of(asked, param_kind) else { return Err(not_served(param_kind)) };
    let namespace = match (kind.namespaced(), text("namespace")) {
        (false, "") => None,
        (false, _) => {
            return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".to_owned());
        }
        (true, "") if asked.namespace.is_empty() => {
            return Err(
                "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources".to_owned()
            );
        }
        (true, "") => Some(asked.namespace),
        (true, named) => Some(named),
    };
    let found = match (text("name"), reference.get("selector").filter(|selector| selector.is_object())) {
        ("", None) => return Err("one of name or selector must be provided".to_owned()),
        ("", selector) => selected(asked, &kind, namespace, selector).await?,
        (_, Some(_)) => return Err("paramRef.name and paramRef.selector are mutually exclusive".to_owned()),
        (name, None) => named(asked, &kind, namespace, name).await?,
    };
    if found.is_empty() && text("parameterNotFoundAction") == "Deny" {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".to_owned());
    }
    Ok(found.iter().map(|object| Some(object.value())).collect())
}

/// Why the policy cannot be used: the kind of its parameters is not there.
pub(super) fn unknown(asked: &Asked<'_>, policy: &Policy) -> Option<String> {
    let kind = policy.param_kind.as_ref()?;
    kind_of(asked, kind).is_none().then(|| not_served(kind))
}

fn not_served(kind: &ParamKind) -> String {
    let slash = if kind.api_version.contains('/') { "" } else { "/" };
    format!("failed to find resource referenced by paramKind: '{slash}{}, Kind={}'", kind.api_version, kind.kind)
}

/// The kind that parameters are of, if it is served.
fn kind_of(asked: &Asked<'_>, param_kind: &ParamKind) -> Option<Arc<Kind>> {
    let (group, version) = param_kind.group_version();
    asked.kinds.by_kind(group, version, &param_kind.kind).cloned()
}

async fn named(
    asked: &Asked<'_>,
    kind: &Kind,
    namespace: Option<&str>,
    name: &str,
) -> Result<Vec<Arc<Object>>, String> {
    let objects = asked.review.objects;
    // What the cache has is enough; what it does not have may have come a moment ago.
    let any = Revisions { resource_version: Some("0".to_owned()) };
    let found = match objects.get(kind, namespace, name, &any).await {
        Err(status) if status.code == 404 => objects.get(kind, namespace, name, &Revisions::default()).await,
        found => found,
    };
    match found {
        Ok(object) => Ok(vec![object]),
        Err(status) if status.code == 404 => Ok(Vec::new()),
        Err(status) => Err(status.message),
    }
}

async fn selected(
    asked: &Asked<'_>,
    kind: &Kind,
    namespace: Option<&str>,
    selector: Option<&Value>,
) -> Result<Vec<Arc<Object>>, String> {
    let label_selector = LabelSelector::from_json(selector).map_err(|error| error.to_string())?;
    let options = ListOptions { label_selector, ..ListOptions::default() };
    let listed = asked.review.objects.list(kind, namespace, &options).await;
    listed.map(|listed| listed.items).map_err(|status| status.message)
}
