//! Telling the API of a pod: its status, and its end.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{Pod, PodCondition, PodStatus};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions, Request};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::machine::is_ours;

/// What the API was told of a pod: its status, with the conditions that the node writes and no others.
pub(super) fn ours(mut status: PodStatus) -> PodStatus {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(is_ours);
    }
    status
}

/// A status that was written, and the revision of the object that has it.
pub(super) struct Told {
    pub status: PodStatus,
    pub revision: Option<u64>,
}

/// The revision of an object, where the server's are numbers.
pub(super) fn revision(pod: &Pod) -> Option<u64> {
    pod.metadata.resource_version.as_deref()?.parse().ok()
}

/// Whether the object says otherwise than it was told of whether the pod is ready.
pub(super) fn contradicts(pod: &Pod, told: Option<&PodStatus>) -> bool {
    ready(pod.status.as_ref()) != ready(told)
}

/// Whether it wants calls.
pub(super) fn is_ready(status: Option<&PodStatus>) -> bool {
    ready(status) == Some("True")
}

fn ready(status: Option<&PodStatus>) -> Option<&str> {
    let conditions = status?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Ready").map(|condition| condition.status.as_str())
}

/// Writes what differs from what was told before. Conditions of others stay as they are.
pub(super) async fn publish(
    pods: &Api<Pod>,
    name: &str,
    uid: &str,
    told: Option<&PodStatus>,
    status: PodStatus,
) -> Result<Told, kube::Error> {
    let patch = Patch::Strategic(patch(uid, told, &status));
    let request = Request::new(pods.resource_url()).patch_subresource("status", name, &PatchParams::default(), &patch);
    let request = request.map_err(kube::Error::BuildRequest)?;
    let written: Written = pods.clone().into_client().request(request).await?;
    Ok(Told { status, revision: written.metadata.resource_version.and_then(|text| text.parse().ok()) })
}

/// All that is read of the answer: thousands of pods are told of at once.
#[derive(Deserialize)]
struct Written {
    metadata: WrittenMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenMeta {
    resource_version: Option<String>,
}

fn patch(uid: &str, told: Option<&PodStatus>, status: &PodStatus) -> Value {
    let mut body = json!(status);
    let gone =
        |known: &&PodCondition| !status.conditions.iter().flatten().any(|condition| condition.type_ == known.type_);
    let was = told.and_then(|told| told.conditions.as_ref());
    if let Some(conditions) = body.get_mut("conditions").and_then(Value::as_array_mut) {
        for condition in conditions.iter_mut().filter_map(Value::as_object_mut) {
            // What is not in a patch stays: a reason that is over has to be taken away.
            for field in ["reason", "message"] {
                condition.entry(field).or_insert(Value::Null);
            }
        }
        for condition in was.into_iter().flatten().filter(gone) {
            conditions.push(json!({ "$patch": "delete", "type": condition.type_ }));
        }
    }
    // A list of containers that is in the patch stands for the whole list.
    json!({ "metadata": { "uid": uid }, "status": body })
}

/// The last status, and then the end of the object.
pub(super) async fn end(
    pods: &Api<Pod>,
    name: &str,
    uid: &str,
    told: Option<&PodStatus>,
    status: &PodStatus,
) -> Result<(), kube::Error> {
    let over = |error: &kube::Error| client::is_not_found(error) || client::is_conflict(error);
    match publish(pods, name, uid, told, status.clone()).await {
        Err(error) if over(&error) => return Ok(()),
        other => other?,
    };
    let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    let options =
        DeleteParams { grace_period_seconds: Some(0), preconditions: Some(preconditions), ..DeleteParams::default() };
    match pods.delete(name, &options).await {
        Err(error) if over(&error) => Ok(()),
        other => other.map(drop),
    }
}

/// Whether there is nothing to tell but that containers are being made.
pub(super) fn only_begins(status: &PodStatus) -> bool {
    let all = || status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    status.phase.as_deref() == Some("Pending")
        && all().all(|container| {
            let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
            let reason = waiting.and_then(|waiting| waiting.reason.as_deref());
            container.restart_count == 0 && matches!(reason, Some("ContainerCreating" | "PodInitializing"))
        })
}

/// Why each container waits that does.
pub(super) fn waiting(status: &PodStatus) -> HashMap<String, String> {
    let lists = [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    let waiting = lists.into_iter().flatten().flatten().filter_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.clone()?;
        Some((container.name.clone(), reason))
    });
    waiting.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_is_over_is_taken_away_and_those_of_others_are_not_spoken_of() {
        let status = |kinds: &[&str]| -> PodStatus {
            let conditions: Vec<Value> = kinds.iter().map(|kind| json!({ "type": kind, "status": "True" })).collect();
            serde_json::from_value(json!({ "conditions": conditions })).unwrap()
        };
        let told = ours(status(&["Ready", "PodResizePending", "example.com/gate"]));
        let body = patch("u1", Some(&told), &status(&["Ready"]));
        let wanted = json!([
            { "type": "Ready", "status": "True", "reason": null, "message": null },
            { "$patch": "delete", "type": "PodResizePending" },
        ]);
        assert_eq!(body["status"]["conditions"], wanted);
    }
}
