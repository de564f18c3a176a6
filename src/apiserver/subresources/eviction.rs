//! `pods/NAME/eviction`: a deletion that a PodDisruptionBudget may refuse.
//!
//! ```text
//! pod → the one budget that selects it → takes one disruption from its status → condition DisruptionTarget → delete
//! ```

use std::sync::Arc;

use api::selector::LabelSelector;
use api::{Kind, Status, meta};
use jiff::Timestamp;
use objects::{DeleteOptions, Object, Operation, Revisions, Sub, Subject, WriteOptions};
use serde_json::{Value, json};

use crate::reply::Reply;
use crate::server::Call;
use crate::verbs::{self, Target, body};

mod budget;

const GROUP: &str = "policy";
const BUDGETS: &str = "poddisruptionbudgets";

pub(super) async fn answer(mut call: Call, target: Target) -> Result<Reply, Status> {
    let mut write = verbs::write_options(&call, "CreateOptions", false)?;
    let mut eviction = body::options(&mut call, "Eviction").await?.unwrap_or_else(|| json!({}));
    let name = meta::name(&eviction);
    if !name.is_empty() && name != target.name() {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    let namespace = meta::namespace(&eviction);
    if !namespace.is_empty() && Some(namespace) != target.namespace() {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    eviction["apiVersion"] = json!("policy/v1");
    eviction["kind"] = json!("Eviction");
    meta::set(&mut eviction, "name", target.name());
    if let Some(namespace) = target.namespace() {
        meta::set(&mut eviction, "namespace", namespace);
    }
    let subject =
        Subject { kind: &target.kind, namespace: target.namespace(), name: target.name(), sub: Sub::Named("eviction") };
    eviction = call.server.objects.admit_virtual(subject, Operation::Create, eviction, &write).await?;
    let sent = eviction.get("deleteOptions").filter(|options| options.is_object());
    let mut options = verbs::delete_options(&call, sent.or(Some(&Value::Null)))?;
    options.dry_run |= write.dry_run;
    write.dry_run = options.dry_run;
    write.admitted = true;
    let pod = call.server.objects.get(&target.kind, target.namespace(), target.name(), &Revisions::default()).await?;
    check_preconditions(&target, &pod, &options)?;
    let value = pod.value();
    if !budget::is_free(&value)
        && let Some((kind, budget)) = guard(&call, &target, &pod)?
    {
        spend(&call, (&kind, &budget), &value, &write).await?;
    }
    if !write.dry_run && meta::deletion_timestamp(&value).is_none() {
        mark(&call, &target, &write).await?;
    }
    // What was asked of the revision was asked of the pod before it was marked.
    options.resource_version = None;
    options.uid = options.uid.or_else(|| Some(pod.meta.uid.to_string()));
    call.server.objects.delete(&target.kind, target.namespace(), target.name(), &options).await?;
    let success = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 });
    Ok(Reply::json(201, &success).with_warnings(write.warnings.take()).with_warnings(options.warnings.take()))
}

fn check_preconditions(target: &Target, pod: &Object, options: &DeleteOptions) -> Result<(), Status> {
    let refuse = |what: &str, wanted: &str, found: &str| {
        let why = format!("Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}");
        Err(Status::conflict("", "pods", target.name(), &why))
    };
    if let Some(uid) = options.uid.as_deref().filter(|uid| **uid != *pod.meta.uid) {
        return refuse("UID", uid, &pod.meta.uid);
    }
    let newest = pod.revision.to_string();
    match options.resource_version.as_deref() {
        Some(wanted) if wanted != newest => refuse("ResourceVersion", wanted, &newest),
        _ => Ok(()),
    }
}

/// A budget, and its kind.
type Guard = (Arc<Kind>, Arc<Object>);

/// The budget that the pod falls under, if one does.
fn guard(call: &Call, target: &Target, pod: &Object) -> Result<Option<Guard>, Status> {
    let Some(kind) = call.kinds.by_resource(GROUP, "v1", BUDGETS) else { return Ok(None) };
    let all = call.server.objects.reader().list(GROUP, BUDGETS, target.namespace());
    let mut found = all.into_iter().filter(|budget| {
        let value = budget.value();
        let selector = value.pointer("/spec/selector").filter(|selector| !selector.is_null());
        selector.is_some_and(|selector| {
            LabelSelector::from_json(Some(selector)).is_ok_and(|selector| selector.matches(&pod.meta.labels))
        })
    });
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => {
            let message =
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
            Err(Status::new(500, "", message))
        }
        (first, _) => Ok(first.map(|budget| (Arc::clone(kind), budget))),
    }
}

/// Takes one disruption from the budget, or says why there is none.
async fn spend(
    call: &Call,
    (kind, budget): (&Kind, &Object),
    pod: &Value,
    options: &WriteOptions,
) -> Result<(), Status> {
    if budget::lets_unhealthy_go(&budget.value(), pod) {
        return Ok(());
    }
    let now = Timestamp::now();
    let change = |budget: &mut Value| budget::spend(budget, meta::name(pod), now);
    let place = Some(&*budget.meta.namespace);
    call.server.objects.edit(kind, place, &budget.meta.name, Sub::Status, change, options).await.map(drop)
}

/// Says in the pod's status why it goes.
async fn mark(call: &Call, target: &Target, options: &WriteOptions) -> Result<(), Status> {
    let change = |pod: &mut Value| {
        let condition = json!({
            "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting", "lastProbeTime": null,
            "lastTransitionTime": meta::time_text(Timestamp::now()),
        });
        if !pod["status"].is_object() {
            pod["status"] = json!({});
        }
        let conditions = &mut pod["status"]["conditions"];
        if !conditions.is_array() {
            *conditions = json!([]);
        }
        if let Some(conditions) = conditions.as_array_mut() {
            let is_same = |held: &Value| held["type"] == condition["type"];
            if conditions.iter().any(|held| is_same(held) && held["status"] == "True") {
                return Ok(());
            }
            conditions.retain(|held| !is_same(held));
            conditions.push(condition);
        }
        Ok(())
    };
    let (namespace, name) = (target.namespace(), target.name());
    call.server.objects.edit(&target.kind, namespace, name, Sub::Status, change, options).await.map(drop)
}
