//! `pods/NAME/log`.

use api::{FieldError, Status, meta};
use axum::body::Body;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::pods;
use crate::gateway::{ContainerAddress, LogOptions};
use crate::query::Query;
use crate::reply::Reply;
use crate::server::Call;
use crate::verbs::Target;

const MEDIA_TYPE: &str = "text/plain";

pub(super) async fn answer(call: Call, target: Target) -> Result<Reply, Status> {
    let options = options(&call.query, target.name())?;
    let revision = objects::Revisions::default();
    let found = call.server.objects.get(&target.kind, target.namespace(), target.name(), &revision).await?;
    let pod = found.value();
    let container = pods::container(&pod, call.query.get("container"))?;
    let node = pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default();
    if node.is_empty() {
        // Nothing can have been written yet.
        return Ok(Reply::bytes(200, MEDIA_TYPE, ""));
    }
    has_log(&pod, &container, options.previous)?;
    let address = ContainerAddress {
        namespace: meta::namespace(&pod).to_owned(),
        pod: meta::name(&pod).to_owned(),
        uid: meta::uid(&pod).to_owned(),
        container,
        node: node.to_owned(),
    };
    let gateway = call.server.gateway.read().clone();
    let stream = gateway.logs(&address, &options).await?;
    let stream = futures::StreamExt::take_until(stream, call.ending.clone().cancelled_owned());
    Ok(Reply::stream(MEDIA_TYPE, Body::from_stream(stream)))
}

fn options(query: &Query, pod: &str) -> Result<LogOptions, Status> {
    let mut errors = Vec::new();
    let mut positive = |key: &str, least: i64| -> Result<Option<u64>, Status> {
        let Some(number) = query.number::<i64>(key)? else { return Ok(None) };
        if number < least {
            let detail = if least == 0 { "must be greater than or equal to 0" } else { "must be greater than 0" };
            errors.push(FieldError::invalid(key, &json!(number), detail));
        }
        Ok(u64::try_from(number).ok())
    };
    let tail_lines = positive("tailLines", 0)?;
    let limit_bytes = positive("limitBytes", 1)?;
    let since_seconds = positive("sinceSeconds", 1)?;
    let since_time = query.get("sinceTime").map(|text| {
        let wrong = |error| Status::bad_request(format!("sinceTime {text:?} is no RFC 3339 time: {error}"));
        text.parse::<Timestamp>().map_err(wrong)
    });
    let since_time = since_time.transpose()?;
    if since_seconds.is_some() && since_time.is_some() {
        errors.push(FieldError::forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified"));
    }
    if !errors.is_empty() {
        return Err(Status::invalid("", "PodLogOptions", pod, &errors));
    }
    let ago = since_seconds.and_then(|seconds| {
        let span = SignedDuration::from_secs(i64::try_from(seconds).ok()?);
        Timestamp::now().checked_sub(span).ok()
    });
    Ok(LogOptions {
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        timestamps: query.flag("timestamps"),
        since: since_time.or(ago),
        tail_lines,
        limit_bytes,
    })
}

/// Whether the container has run, as its status tells.
fn has_log(pod: &Value, container: &str, previous: bool) -> Result<(), Status> {
    let name = meta::name(pod);
    let status = pods::status_of(pod, container);
    let refused = |text: String| Err(Status::bad_request(text));
    let Some(status) = status else {
        return refused(format!("container {container:?} in pod {name:?} is not available"));
    };
    let has = |path: &str| status.pointer(path).is_some_and(Value::is_object);
    let ran_before = has("/lastState/terminated");
    if previous {
        return if ran_before {
            Ok(())
        } else {
            refused(format!("previous terminated container {container:?} in pod {name:?} not found"))
        };
    }
    if ran_before || has("/state/running") || has("/state/terminated") {
        return Ok(());
    }
    let why = match status.pointer("/state/waiting/reason").and_then(Value::as_str) {
        Some("ErrImagePull") => ": image can't be pulled".to_owned(),
        Some("ImagePullBackOff") => ": trying and failing to pull image".to_owned(),
        Some(reason) if !reason.is_empty() => format!(": {reason}"),
        _ => " - no logs yet".to_owned(),
    };
    refused(format!("container {container:?} in pod {name:?} is waiting to start{why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_run_has_no_log() {
        let pod = |state: Value, last: Value| {
            json!({
                "metadata": { "name": "p" },
                "status": { "containerStatuses": [{ "name": "c", "state": state, "lastState": last }] },
            })
        };
        let ran = json!({ "terminated": { "exitCode": 1 } });
        let waiting = |reason: &str| json!({ "waiting": { "reason": reason } });
        for (state, last, previous, wanted) in [
            (json!({ "running": {} }), json!({}), false, ""),
            (waiting("CrashLoopBackOff"), ran.clone(), false, ""),
            (
                waiting("ContainerCreating"),
                json!({}),
                false,
                "container \"c\" in pod \"p\" is waiting to start: ContainerCreating",
            ),
            (
                waiting("ImagePullBackOff"),
                json!({}),
                false,
                "container \"c\" in pod \"p\" is waiting to start: trying and failing to pull image",
            ),
            (json!({ "running": {} }), json!({}), true, "previous terminated container \"c\" in pod \"p\" not found"),
            (json!({ "running": {} }), ran, true, ""),
        ] {
            let found = has_log(&pod(state, last), "c", previous).err().map_or(String::new(), |status| status.message);
            assert_eq!(found, wanted);
        }
        let message = has_log(&json!({ "metadata": { "name": "p" } }), "c", false).unwrap_err().message;
        assert_eq!(message, "container \"c\" in pod \"p\" is not available");
    }
}
