//! The rules about writes that Kubernetes switches on by itself and that need nothing but the object. What namespaces ask of
//! the objects in them is part of `objects`: it has to hold in the same transaction.

mod pods;

use std::sync::Arc;

use objects::Objects;

pub use pods::{DefaultTolerationSeconds, Priority, ServiceAccount};

/// Adds them to `objects`, in Kubernetes' order.
pub fn install(objects: &Objects) {
    objects.add_admission(Arc::new(ServiceAccount));
    objects.add_admission(Arc::new(Priority));
    objects.add_admission(Arc::new(DefaultTolerationSeconds));
}

/// The 403 of a rule: `pods "x" is forbidden: why`.
fn forbidden(kind: &api::Kind, name: &str, why: &str) -> api::Status {
    let resource = api::status::qualified(&kind.group, &kind.plural);
    let mut status = api::Status::new(403, "Forbidden", format!("{resource} {name:?} is forbidden: {why}"));
    status.group.clone_from(&kind.group);
    status.kind.clone_from(&kind.plural);
    name.clone_into(&mut status.name);
    status
}
