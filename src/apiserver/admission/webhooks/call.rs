//! One question to one webhook: the AdmissionReview that goes out, and what of the answer is believed.

use api::{Status, status::Cause};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use objects::Review;
use serde_json::{Value, json};

use super::super::matching::{Asked, Matched};
use super::super::request;
use super::configured::Webhook;

/// What a webhook said.
pub(super) struct Answer {
    /// The operations of its JSON patch; empty when it changes nothing.
    pub patch: Option<Value>,
}

/// Why a webhook's answer does not let the request through.
pub(super) enum Trouble {
    /// It said no.
    Denied(Status),
    /// It could not be asked, or its answer is nonsense. Counts by its failure policy.
    Failed(String),
    /// Nothing that a failure policy forgives.
    Refused(Status),
}

impl Trouble {
    /// The refusal, or nothing where the failure is forgiven.
    pub fn refusal(self, webhook: &Webhook) -> Option<Status> {
        match self {
            Self::Denied(status) | Self::Refused(status) => Some(status),
            Self::Failed(why) if webhook.fails_open => {
                tracing::warn!(webhook = %webhook.name, %why, "a webhook failed; its policy is to go on");
                None
            }
            Self::Failed(why) => Some(internal(&format!("failed calling webhook {:?}: {why}", webhook.name))),
        }
    }
}

/// A 500 with its cause, as API machinery makes it.
pub(super) fn internal(message: &str) -> Status {
    let mut status = Status::internal(message);
    status.causes = vec![Cause { message: message.to_owned(), ..Cause::default() }];
    status
}

/// Asks the webhook, passes its warnings and notes on, and answers what it said.
pub(super) async fn ask(
    webhook: &Webhook,
    asked: &Asked<'_>,
    matched: &Matched,
    mutating: bool,
) -> Result<Answer, Trouble> {
    let review = asked.review;
    check_dry_run(webhook, review)?;
    let uid = uuid::Uuid::new_v4().to_string();
    let caller = review.objects.webhook_caller();
    let body = question(webhook, asked, matched, &uid).await.map_err(Trouble::Refused)?;
    let answered =
        match tokio::time::timeout(webhook.timeout, caller.call(&webhook.client_config, body, webhook.timeout)).await {
            Ok(answered) => answered.map_err(|error| Trouble::Failed(format!("failed to call webhook: {error}")))?,
            Err(_) => return Err(Trouble::Failed("failed to call webhook: context deadline exceeded".to_owned())),
        };
    let response = check(&answered, webhook, &uid, mutating)
        .map_err(|why| Trouble::Failed(format!("received invalid webhook response: {why}")))?;
    pass_on(webhook, response, review);
    if response.get("allowed").and_then(Value::as_bool) != Some(true) {
        return Err(Trouble::Denied(denial(&webhook.name, response.get("status"))));
    }
    Ok(Answer { patch: patch(webhook, response)? })
}

fn check_dry_run(webhook: &Webhook, review: &Review<'_>) -> Result<(), Trouble> {
    match webhook.dry_run {
        _ if !review.dry_run => Ok(()),
        Some(true) => Ok(()),
        None => Err(Trouble::Failed("Webhook SideEffects is nil".to_owned())),
        Some(false) => Err(Trouble::Refused(Status::bad_request(format!(
            "admission webhook {:?} does not support dry run",
            webhook.name
        )))),
    }
}

async fn question(webhook: &Webhook, asked: &Asked<'_>, matched: &Matched, uid: &str) -> Result<Value, Status> {
    let mut request = request::of(asked, matched);
    let (object, old) = request::objects(asked.review, matched).await?;
    request["uid"] = json!(uid);
    request["object"] = object;
    request["oldObject"] = old;
    if request.get("options").is_none() {
        request["options"] = Value::Null;
    }
    let api_version = format!("admission.k8s.io/{}", webhook.review_version);
    Ok(json!({ "kind": "AdmissionReview", "apiVersion": api_version, "request": request }))
}

/// The response in an answer, if the answer is one to this question.
fn check<'v>(answer: &'v Value, webhook: &Webhook, uid: &str, mutating: bool) -> Result<&'v Value, String> {
    let text = |value: &'v Value, field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text(answer, "apiVersion"), text(answer, "kind"));
    let wanted = format!("admission.k8s.io/{}", webhook.review_version);
    let legacy = webhook.review_version == "v1beta1";
    if (api_version, kind) != (wanted.as_str(), "AdmissionReview") && !(legacy && kind.is_empty()) {
        return Err(format!(
            "expected webhook response of {wanted}, Kind=AdmissionReview, got {}",
            gvk(api_version, kind)
        ));
    }
    let Some(response) = answer.get("response").filter(|response| response.is_object()) else {
        return Err("webhook response was absent".to_owned());
    };
    if legacy {
        return Ok(response);
    }
    let echoed = text(response, "uid");
    if echoed != uid {
        return Err(format!("expected response.uid={uid:?}, got {echoed:?}"));
    }
    let patched = !text(response, "patch").is_empty();
    let typed = response.get("patchType").and_then(Value::as_str);
    match (mutating, patched, typed) {
        (false, true, _) => Err("validating webhook may not return response.patch".to_owned()),
        (false, false, Some(_)) => Err("validating webhook may not return response.patchType".to_owned()),
        (true, true, None) => Err("webhook returned response.patch but not response.patchType".to_owned()),
        (true, false, Some(_)) => Err("webhook returned response.patchType but not response.patch".to_owned()),
        (true, true, Some("")) => Err("webhook returned invalid response.patchType of \"\"".to_owned()),
        _ => Ok(response),
    }
}

fn gvk(api_version: &str, kind: &str) -> String {
    match api_version.is_empty() {
        true => format!("/, Kind={kind}"),
        false if !api_version.contains('/') => format!("/{api_version}, Kind={kind}"),
        false => format!("{api_version}, Kind={kind}"),
    }
}

fn pass_on(webhook: &Webhook, response: &Value, review: &Review<'_>) {
    for (key, value) in response.get("auditAnnotations").and_then(Value::as_object).into_iter().flatten() {
        if let Some(value) = value.as_str() {
            review.annotations.add(format!("{}/{key}", webhook.name), value);
        }
    }
    for warning in response.get("warnings").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        review.warnings.push(warning);
    }
}

/// The Status of a no, with whatever the webhook said of it.
fn denial(name: &str, said: Option<&Value>) -> Status {
    let said = said.unwrap_or(&Value::Null);
    let text = |field: &str| said.get(field).and_then(Value::as_str).unwrap_or_default();
    let denied = format!("admission webhook {name:?} denied the request");
    let message = match (text("message"), text("reason")) {
        ("", "") => format!("{denied} without explanation"),
        ("", reason) => format!("{denied}: {reason}"),
        (message, _) => format!("{denied}: {message}"),
    };
    let code = said.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
    let code = code.filter(|code| (400..600).contains(code)).unwrap_or(400);
    let mut status = Status::new(code, text("reason"), message);
    let details = said.get("details").unwrap_or(&Value::Null);
    let detail = |field: &str| details.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    status.name = detail("name");
    status.group = detail("group");
    status.kind = detail("kind");
    status.uid = detail("uid");
    let seconds = details.get("retryAfterSeconds").and_then(Value::as_u64);
    status.retry_after_seconds = seconds.and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or_default();
    for cause in details.get("causes").and_then(Value::as_array).into_iter().flatten() {
        let text = |field: &str| cause.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        status.causes.push(Cause { reason: text("reason"), message: text("message"), field: text("field") });
    }
    status
}

fn patch(webhook: &Webhook, response: &Value) -> Result<Option<Value>, Trouble> {
    let Some(encoded) = response.get("patch").and_then(Value::as_str).filter(|patch| !patch.is_empty()) else {
        return Ok(None);
    };
    let kind = response.get("patchType").and_then(Value::as_str).unwrap_or("JSONPatch");
    if kind != "JSONPatch" {
        return Err(Trouble::Failed(format!("unsupported patch type {kind:?}")));
    }
    let broken = |why: String| {
        Trouble::Refused(internal(&format!("webhook {:?}: the patch cannot be read: {why}", webhook.name)))
    };
    let bytes = STANDARD.decode(encoded).map_err(|error| broken(error.to_string()))?;
    let operations: Value = serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?;
    match operations.as_array() {
        Some(list) if list.is_empty() => Ok(None),
        Some(_) => Ok(Some(operations)),
        None => Err(broken("it is no list of operations".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_says_what_the_webhook_said() {
        for (said, wanted) in [
            (json!(null), "400  admission webhook \"w\" denied the request without explanation"),
            (json!({ "reason": "NoWay" }), "400 NoWay admission webhook \"w\" denied the request: NoWay"),
            (json!({ "message": "no", "code": 418 }), "418  admission webhook \"w\" denied the request: no"),
            (
                json!({ "message": "no", "code": 200, "reason": "Forbidden" }),
                "400 Forbidden admission webhook \"w\" denied the request: no",
            ),
        ] {
            let status = denial("w", Some(&said));
            assert_eq!(format!("{} {} {}", status.code, status.reason, status.message), wanted);
        }
    }
}
