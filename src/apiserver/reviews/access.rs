//! The questions that an authorizer answers: may this user do that?

use api::{AccessRequest, FieldError, Status, UserInfo};
use serde_json::{Map, Value, json};

use super::{AUTHORIZATION, texts};
use crate::authorization::Decision;
use crate::server::Call;

fn invalid(kind: &str, error: FieldError) -> Status {
    Status::invalid(AUTHORIZATION, kind, "", &[error])
}

/// Whom an access review is about.
pub(super) fn subject(object: &Value, kind: &str) -> Result<UserInfo, Status> {
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let text = |field: &str| spec.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (name, groups) = (text("user"), texts(spec.get("groups")));
    if name.is_empty() && groups.is_empty() {
        let detail = "at least one of user or group must be specified";
        return Err(invalid(kind, FieldError::invalid("spec.user", &json!(name), detail)));
    }
    let extra = spec.get("extra").and_then(Value::as_object).into_iter().flatten();
    Ok(UserInfo {
        name,
        uid: text("uid"),
        groups,
        extra: extra.map(|(key, values)| (key.to_lowercase(), texts(Some(values)))).collect(),
    })
}

/// A local question is about resources of its own namespace.
pub(super) fn check_local(object: &Value, namespace: &str, kind: &str) -> Result<(), Status> {
    if object.pointer("/spec/nonResourceAttributes").is_some_and(|value| !value.is_null()) {
        let value = object.pointer("/spec/nonResourceAttributes").unwrap_or(&Value::Null);
        let detail = "disallowed on this kind of request";
        return Err(invalid(kind, FieldError::invalid("spec.nonResourceAttributes", value, detail)));
    }
    let asked = object.pointer("/spec/resourceAttributes/namespace").and_then(Value::as_str).unwrap_or_default();
    if asked != namespace {
        let error =
            FieldError::invalid("spec.resourceAttributes.namespace", &json!(asked), "must match metadata.namespace");
        return Err(invalid(kind, error));
    }
    Ok(())
}

pub(super) async fn answer(call: &Call, object: &Value, kind: &str, user: UserInfo) -> Result<Value, Status> {
    let request = request(object.get("spec").unwrap_or(&Value::Null), kind, user)?;
    let decision = call.server.authorizer.authorize(&request).await;
    let mut status = json!({ "allowed": decision.is_allowed() });
    if matches!(decision, Decision::Deny(_)) {
        status["denied"] = json!(true);
    }
    if !decision.reason().is_empty() {
        status["reason"] = json!(decision.reason());
    }
    Ok(status)
}

fn request(spec: &Value, kind: &str, user: UserInfo) -> Result<AccessRequest, Status> {
    let attributes = |name: &str| spec.get(name).and_then(Value::as_object);
    let text =
        |map: &Map<String, Value>, key: &str| map.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    match (attributes("resourceAttributes"), attributes("nonResourceAttributes")) {
        (Some(asked), None) => Ok(AccessRequest {
            user,
            verb: text(asked, "verb"),
            group: text(asked, "group"),
            version: text(asked, "version"),
            resource: text(asked, "resource"),
            subresource: text(asked, "subresource"),
            namespace: text(asked, "namespace"),
            name: text(asked, "name"),
            path: String::new(),
            field_selector: selector(asked, "fieldSelector", kind)?,
            label_selector: selector(asked, "labelSelector", kind)?,
        }),
        (None, Some(asked)) => {
            Ok(AccessRequest { user, verb: text(asked, "verb"), path: text(asked, "path"), ..AccessRequest::default() })
        }
        (Some(_), Some(asked)) => {
            let detail = "cannot be specified in combination with resourceAttributes";
            let value = Value::Object(asked.clone());
            Err(invalid(kind, FieldError::invalid("spec.nonResourceAttributes", &value, detail)))
        }
        (None, None) => {
            let detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            Err(invalid(kind, FieldError::invalid("spec.resourceAttributes", &Value::Null, detail)))
        }
    }
}

/// A selector of the attributes as a query would have it. What cannot be written so narrows nothing.
fn selector(asked: &Map<String, Value>, field: &str, kind: &str) -> Result<String, Status> {
    let Some(selector) = asked.get(field).filter(|selector| selector.is_object()) else { return Ok(String::new()) };
    let path = format!("spec.resourceAttributes.{field}");
    let raw = selector["rawSelector"].as_str().unwrap_or_default();
    let requirements = selector["requirements"].as_array().map_or(&[][..], Vec::as_slice);
    if !raw.is_empty() && !requirements.is_empty() {
        let detail = "may not specified at the same time as requirements";
        return Err(invalid(kind, FieldError::invalid(format!("{path}.rawSelector"), &json!(raw), detail)));
    }
    if raw.is_empty() && requirements.is_empty() {
        let detail = "when fieldSelector is specified, requirements or rawSelector is required";
        let detail = detail.replace("fieldSelector", field);
        return Err(invalid(kind, FieldError::required(format!("{path}.requirements"), &detail)));
    }
    if !raw.is_empty() {
        return Ok(raw.to_owned());
    }
    let mut terms = Vec::new();
    for (at, requirement) in requirements.iter().enumerate() {
        let (key, operator) = (requirement["key"].as_str(), requirement["operator"].as_str().unwrap_or_default());
        let Some(key) = key.filter(|key| !key.is_empty()) else {
            return Err(invalid(
                kind,
                FieldError::required(format!("{path}.requirements[{at}].key"), "must be specified"),
            ));
        };
        let values = texts(requirement.get("values"));
        let labels = field == "labelSelector";
        match (operator, values.as_slice()) {
            ("In", [value]) => terms.push(format!("{key}={value}")),
            ("NotIn", [value]) => terms.push(format!("{key}!={value}")),
            ("In" | "NotIn", [_, ..]) if labels => {
                terms.push(format!("{key} {} ({})", operator.to_lowercase(), values.join(",")));
            }
            ("In" | "NotIn", []) => {
                let detail = "must be specified when `operator` is 'In' or 'NotIn'";
                let field = format!("{path}.requirements[{at}].values");
                return Err(invalid(kind, FieldError::required(field, detail)));
            }
            ("Exists", []) if labels => terms.push(key.to_owned()),
            ("DoesNotExist", []) if labels => terms.push(format!("!{key}")),
            _ => {}
        }
    }
    Ok(terms.join(","))
}
