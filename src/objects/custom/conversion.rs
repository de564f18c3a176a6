//! Conversion of custom resources by a webhook: many objects in one ConversionReview.

use std::time::Duration;

use api::{Kind, Status, meta};
use serde_json::{Value, json};

use crate::Objects;

/// How long a conversion may take.
const PATIENCE: Duration = Duration::from_secs(30);

fn api_version(object: &Value) -> &str {
    object.get("apiVersion").and_then(Value::as_str).unwrap_or_default()
}

impl Objects {
    /// The objects in the version of `kind`. What is in it already is left alone; without a webhook the version is all that changes.
    pub(crate) async fn converted(&self, kind: &Kind, objects: Vec<Value>) -> Result<Vec<Value>, Status> {
        let wanted = kind.api_version();
        let mut objects = objects;
        let foreign: Vec<Value> = objects.iter().filter(|object| api_version(object) != wanted).cloned().collect();
        let Some(webhook) = kind.custom.as_ref().and_then(|custom| custom.webhook.clone()) else {
            objects.iter_mut().for_each(|object| object["apiVersion"] = json!(wanted));
            return Ok(objects);
        };
        if foreign.is_empty() {
            return Ok(objects);
        }
        let from = api_version(foreign.first().unwrap_or(&Value::Null)).to_owned();
        let failed =
            |why: String| Status::internal(format!("conversion webhook for {from}, Kind={} failed: {why}", kind.kind));
        let uid = uuid::Uuid::new_v4().to_string();
        let review_version =
            review_version(&webhook).ok_or_else(|| failed("no conversionReviewVersions that are known".to_owned()))?;
        let review = json!({
            "kind": "ConversionReview", "apiVersion": review_version,
            "request": { "uid": uid, "desiredAPIVersion": wanted, "objects": foreign },
        });
        let client = webhook.get("clientConfig").cloned().unwrap_or_default();
        let answer =
            self.webhook_caller().call(&client, review, PATIENCE).await.map_err(|error| failed(error.to_string()))?;
        let converted = read(&answer, &uid, &wanted, &foreign).map_err(failed)?;
        let mut converted = converted.into_iter();
        for object in objects.iter_mut().filter(|object| api_version(object) != wanted) {
            *object = converted.next().unwrap_or_default();
        }
        Ok(objects)
    }
}

/// The first version of ConversionReview that both sides know.
fn review_version(webhook: &Value) -> Option<&'static str> {
    let said = webhook.get("conversionReviewVersions")?.as_array()?;
    said.iter().filter_map(Value::as_str).find_map(|version| match version {
        "v1" => Some("apiextensions.k8s.io/v1"),
        "v1beta1" => Some("apiextensions.k8s.io/v1beta1"),
        _ => None,
    })
}

/// Takes the objects out of an answer; the error is a sentence.
fn read(answer: &Value, uid: &str, wanted: &str, sent: &[Value]) -> Result<Vec<Value>, String> {
    let response = answer.get("response").filter(|response| response.is_object()).ok_or("no response provided")?;
    let said = response.get("uid").and_then(Value::as_str).unwrap_or_default();
    if said != uid {
        return Err(format!("expected response.uid={uid:?}, got {said:?}"));
    }
    let result = response.get("result").cloned().unwrap_or_default();
    let status = result.get("status").and_then(Value::as_str).unwrap_or_default();
    if status != "Success" {
        let message =
            result.get("message").and_then(Value::as_str).unwrap_or("response.result.status was not 'Success'");
        return Err(message.to_owned());
    }
    let objects = response.get("convertedObjects").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if objects.len() != sent.len() {
        return Err(format!("webhook returned {} objects, expected {}", objects.len(), sent.len()));
    }
    objects.iter().zip(sent).enumerate().map(|(at, (object, sent))| checked(at, object, sent, wanted)).collect()
}

/// A conversion may change labels and annotations, and nothing else of the metadata.
fn checked(at: usize, object: &Value, sent: &Value, wanted: &str) -> Result<Value, String> {
    if api_version(object) != wanted {
        return Err(format!(
            "invalid groupVersion at index {at}: returned {:?}, expected {wanted:?}",
            api_version(object)
        ));
    }
    let kind = |object: &Value| object.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    if kind(object) != kind(sent) {
        return Err(format!("invalid kind at index {at}: returned {:?}, expected {:?}", kind(object), kind(sent)));
    }
    for (field, was, is) in [
        ("name", meta::name(sent), meta::name(object)),
        ("namespace", meta::namespace(sent), meta::namespace(object)),
        ("UID", meta::uid(sent), meta::uid(object)),
    ] {
        if was != is {
            return Err(format!(
                "invalid metadata.{} at index {at}: returned {is:?}, expected {was:?}",
                field.to_lowercase()
            ));
        }
    }
    let mut out = object.clone();
    let mut metadata = sent.get("metadata").cloned().unwrap_or_else(|| json!({}));
    for field in ["labels", "annotations"] {
        match object.pointer(&format!("/metadata/{field}")) {
            Some(value) => metadata[field] = value.clone(),
            None => {
                if let Some(fields) = metadata.as_object_mut() {
                    fields.remove(field);
                }
            }
        }
    }
    out["metadata"] = metadata;
    Ok(out)
}
