//! `pods/NAME/binding`, and `bindings`, where the pod is named in the body: a scheduler puts a pod on a node. Whether there
//! is such a node is not asked: it may come.

use api::{FieldError, Status, meta};
use jiff::Timestamp;
use objects::{Operation, Sub, Subject, WriteOptions};
use serde_json::{Map, Value, json};

use crate::reply::Reply;
use crate::server::Call;
use crate::verbs::{self, Target, body};

pub(super) async fn answer(mut call: Call, target: Target) -> Result<Reply, Status> {
    let options = verbs::write_options(&call, "CreateOptions", false)?;
    let binding = body::virtual_object(&mut call, "", "v1", "Binding").await?;
    write(&call, &target, binding, options).await
}

/// `POST bindings`
pub(crate) async fn named_in_body(mut call: Call, namespace: String) -> Result<Reply, Status> {
    let kind = call.kinds.by_resource("", "v1", "pods").cloned().ok_or_else(Status::no_such_path)?;
    let options = verbs::write_options(&call, "CreateOptions", false)?;
    let binding = body::virtual_object(&mut call, "", "v1", "Binding").await?;
    let name = meta::name(&binding).to_owned();
    if name.is_empty() {
        let error = FieldError::required("metadata.name", "name or generateName is required");
        return Err(Status::invalid("", "Binding", "", &[error]));
    }
    write(&call, &Target { kind, namespace: Some(namespace), name: Some(name) }, binding, options).await
}

async fn write(call: &Call, target: &Target, binding: Value, options: WriteOptions) -> Result<Reply, Status> {
    let mut binding = binding;
    let node = |binding: &Value| binding.pointer("/target/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    check(&binding, target, &node(&binding))?;
    meta::set(&mut binding, "name", target.name());
    if let Some(namespace) = target.namespace() {
        meta::set(&mut binding, "namespace", namespace);
    }
    let (namespace, name, sub) = (target.namespace(), target.name(), Sub::Named("binding"));
    let subject = Subject { kind: &target.kind, namespace, name, sub };
    let mut options = options;
    let binding = call.server.objects.admit_virtual(subject, Operation::Create, binding, &options).await?;
    options.admitted = true;
    let node = node(&binding);
    check(&binding, target, &node)?;
    let change = |pod: &mut Value| bind(pod, &binding, &node);
    call.server.objects.edit(&target.kind, namespace, name, sub, change, &options).await?;
    let success = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 });
    Ok(Reply::json(201, &success).with_warnings(options.warnings.take()))
}

fn check(binding: &Value, target: &Target, node: &str) -> Result<(), Status> {
    let name = meta::name(binding);
    if !name.is_empty() && name != target.name() {
        return Err(Status::bad_request("name in URL does not match name in Binding object"));
    }
    let namespace = meta::namespace(binding);
    if !namespace.is_empty() && Some(namespace) != target.namespace() {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let mut errors = Vec::new();
    let kind = binding.pointer("/target/kind").cloned().unwrap_or_default();
    if !matches!(kind.as_str().unwrap_or_default(), "" | "Node") {
        errors.push(FieldError::not_supported("target.kind", &kind, &["Node", "<empty>"]));
    }
    if node.is_empty() {
        errors.push(FieldError::required("target.name", ""));
    }
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid("", "Binding", name, &errors)) }
}

fn bind(pod: &mut Value, binding: &Value, node: &str) -> Result<(), Status> {
    let name = meta::name(pod).to_owned();
    let conflict = |why: String| Err(Status::conflict("", "pods/binding", &name, &why));
    let uid = meta::uid(binding);
    if !uid.is_empty() && uid != meta::uid(pod) {
        let found = meta::uid(pod);
        return conflict(format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {found}"));
    }
    if meta::is_being_deleted(pod) {
        return conflict(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    if let Some(bound) = pod.pointer("/spec/nodeName").and_then(Value::as_str).filter(|bound| !bound.is_empty()) {
        return conflict(format!("pod {name} is already assigned to node {bound:?}"));
    }
    if pod.pointer("/spec/schedulingGates").and_then(Value::as_array).is_some_and(|gates| !gates.is_empty()) {
        return conflict(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    let revision = meta::resource_version(binding);
    if !revision.is_empty() && revision != meta::resource_version(pod) {
        let found = meta::resource_version(pod);
        return conflict(format!(
            "Precondition failed: ResourceVersion in precondition: {revision}, ResourceVersion in object meta: {found}"
        ));
    }
    for part in ["labels", "annotations"] {
        let Some(Value::Object(added)) = binding.pointer(&format!("/metadata/{part}")) else { continue };
        let held = meta::metadata_mut(pod).entry(part).or_insert_with(|| json!({}));
        for (key, value) in added {
            let Some(held) = held.as_object_mut() else { break };
            // Labels that the pod has stay its own.
            if part == "annotations" || !held.contains_key(key) {
                held.insert(key.clone(), value.clone());
            }
        }
    }
    pod["spec"]["nodeName"] = json!(node);
    scheduled(pod);
    Ok(())
}

/// The condition `PodScheduled` becomes true, and no room has to be kept for the pod any more.
fn scheduled(pod: &mut Value) {
    let Some(status) = pod.as_object_mut().map(|pod| pod.entry("status").or_insert_with(|| Value::Object(Map::new())))
    else {
        return;
    };
    let condition = json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null,
        "lastTransitionTime": meta::time_text(Timestamp::now()),
    });
    let Some(status) = status.as_object_mut() else { return };
    status.remove("nominatedNodeName");
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    let Some(conditions) = conditions.as_array_mut() else { return };
    conditions.retain(|held| held.get("type").and_then(Value::as_str) != Some("PodScheduled"));
    conditions.push(condition);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_bound_once() {
        let status = json!({ "nominatedNodeName": "n" });
        let mut pod = json!({ "metadata": { "name": "p", "uid": "u" }, "spec": {}, "status": status });
        let binding = json!({ "metadata": { "name": "p", "annotations": { "a": "b" } }, "target": { "name": "n" } });
        bind(&mut pod, &binding, "n").unwrap();
        assert_eq!(pod["spec"]["nodeName"], "n");
        assert_eq!(pod["metadata"]["annotations"]["a"], "b");
        assert_eq!(pod["status"]["conditions"][0]["status"], "True");
        let refused = bind(&mut pod, &binding, "m").unwrap_err();
        assert_eq!(refused.code, 409);
        assert_eq!(
            refused.message,
            "Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to node \"n\""
        );
    }
}
