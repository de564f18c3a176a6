//! The rules about requests that Kubernetes switches on by itself: a file and a row of [`BUILT_IN`] each, in Kubernetes'
//! order. What namespaces ask of the objects in them is part of `objects`: it has to hold in the same transaction.

mod default_ingress_class;
mod default_storage_class;
mod default_toleration_seconds;
mod expressions;
mod limit_ranger;
mod matching;
mod persistent_volume_claim_resize;
mod pod_security;
mod pod_topology_labels;
mod policies;
mod priority;
mod request;
mod resource_quota;
mod rounds;
mod runtime_class;
mod service_account;
mod settling;
mod storage_object_in_use_protection;
mod taint_nodes_by_condition;
mod webhooks;

use std::sync::Arc;

use api::{Kind, Status};
use objects::{Admission, Object, Objects, Operation, Reader, Review, Sub};
use serde_json::{Map, Value};

pub use policies::keep_status as keep_policy_status;

/// One built-in rule.
struct Plugin {
    /// As kube-apiserver's `--enable-admission-plugins` has it.
    name: &'static str,
    make: fn(Reader) -> Arc<dyn Admission>,
}

const fn plugin(name: &'static str, make: fn(Reader) -> Arc<dyn Admission>) -> Plugin {
    Plugin { name, make }
}

/// Every built-in rule, in Kubernetes' order. ResourceQuota comes last: it counts what nobody else refused.
const BUILT_IN: &[Plugin] = &[
    plugin("LimitRanger", |reader| Arc::new(limit_ranger::LimitRanger(reader))),
    plugin("ServiceAccount", |reader| Arc::new(service_account::ServiceAccount(reader))),
    plugin("TaintNodesByCondition", |_| Arc::new(taint_nodes_by_condition::TaintNodesByCondition)),
    plugin("PodSecurity", |reader| Arc::new(pod_security::PodSecurity(reader))),
    plugin("Priority", |reader| Arc::new(priority::Priority(reader))),
    plugin("DefaultTolerationSeconds", |_| Arc::new(default_toleration_seconds::DefaultTolerationSeconds)),
    plugin("DefaultStorageClass", |reader| Arc::new(default_storage_class::DefaultStorageClass(reader))),
    plugin("StorageObjectInUseProtection", |_| {
        Arc::new(storage_object_in_use_protection::StorageObjectInUseProtection)
    }),
    plugin("PersistentVolumeClaimResize", |reader| {
        Arc::new(persistent_volume_claim_resize::PersistentVolumeClaimResize(reader))
    }),
    plugin("RuntimeClass", |reader| Arc::new(runtime_class::RuntimeClass(reader))),
    plugin("DefaultIngressClass", |reader| Arc::new(default_ingress_class::DefaultIngressClass(reader))),
    plugin("PodTopologyLabels", |reader| Arc::new(pod_topology_labels::PodTopologyLabels(reader))),
    plugin("ResourceQuota", |reader| Arc::new(resource_quota::ResourceQuota::new(reader))),
];

/// Adds them to `objects`.
pub fn install(objects: &Objects) {
    for plugin in BUILT_IN {
        tracing::debug!(plugin = plugin.name, "admission");
        objects.add_admission((plugin.make)(objects.reader()));
    }
}

/// Adds what is configured in the cluster itself: policies and webhooks.
pub(crate) fn install_configured(objects: &Objects, authorizer: &Arc<dyn crate::authorization::Authorizer>) {
    policies::install(objects, authorizer);
    webhooks::install(objects, authorizer);
}

/// The 403 of a rule: `pods "x" is forbidden: why`.
fn forbidden(kind: &Kind, name: &str, why: &str) -> Status {
    let resource = api::status::qualified(&kind.group, &kind.plural);
    let mut status = Status::new(403, "Forbidden", format!("{resource} {name:?} is forbidden: {why}"));
    status.group.clone_from(&kind.group);
    status.kind.clone_from(&kind.plural);
    name.clone_into(&mut status.name);
    status
}

/// The same with several reasons, in brackets where there is more than one.
fn forbidden_for(review: &Review<'_>, reasons: &[String]) -> Result<(), Status> {
    match reasons {
        [] => Ok(()),
        [why] => Err(forbidden(review.kind, review.name, why)),
        many => Err(forbidden(review.kind, review.name, &format!("[{}]", many.join(", ")))),
    }
}

/// Whether an object of this kind is being made.
fn is_new(review: &Review<'_>, group: &str, plural: &str) -> bool {
    review.operation == Operation::Create && review.sub == Sub::None && review.is(group, plural)
}

/// The spec of a pod that is being made, or `None`.
fn new_pod<'a>(review: &'a mut Review<'_>) -> Option<&'a mut Map<String, Value>> {
    if !is_new(review, "", "pods") {
        return None;
    }
    review.object.get_mut("spec")?.as_object_mut()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Of several classes that call themselves the default, the newest counts; of those of one second, the first by name.
fn newest_default(reader: &Reader, group: &str, plural: &str, marks: &[&str]) -> Option<Arc<Object>> {
    let is_default =
        |class: &Arc<Object>| marks.iter().any(|mark| api::meta::annotation(&class.value(), mark) == Some("true"));
    let mut found: Vec<Arc<Object>> = reader.list(group, plural, None).into_iter().filter(is_default).collect();
    found.sort_by_key(|class| {
        (std::cmp::Reverse(api::meta::creation_timestamp(&class.value())), class.meta.name.clone())
    });
    found.into_iter().next()
}
