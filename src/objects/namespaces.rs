//! What namespaces do to the objects in them, and their own end.

use api::{Cause, Kind, Status};
use serde_json::Value;

use crate::{Object, Objects, keys, refusal};

/// Namespaces that the cluster cannot do without.
const KEPT: [&str; 3] = ["default", "kube-public", "kube-system"];

pub(crate) fn is_namespace(kind: &Kind) -> bool {
    kind.group.is_empty() && kind.plural == "namespaces"
}

/// The key of a namespace.
pub(crate) fn key(name: &str) -> String {
    format!("{}{}/{name}", keys::OBJECTS, keys::resource_of("", "namespaces"))
}

/// Refuses the end of a namespace that others rely on.
pub(crate) fn check_delete(kind: &Kind, name: &str) -> Result<(), Status> {
    if is_namespace(kind) && KEPT.contains(&name) {
        return Err(refusal::forbidden(kind, name, "this namespace may not be deleted"));
    }
    Ok(())
}

/// Whether somebody has still to empty the namespace (`spec.finalizers`).
pub(crate) fn is_held(kind: &Kind, object: &Value) -> bool {
    is_namespace(kind)
        && object.pointer("/spec/finalizers").and_then(Value::as_array).is_some_and(|list| !list.is_empty())
}

/// Says in the status that the namespace is ending.
pub(crate) fn mark_terminating(kind: &Kind, object: &mut Value) {
    if is_namespace(kind) {
        object["status"]["phase"] = "Terminating".into();
    }
}

impl Objects {
    /// Refuses a new object in a namespace that is not there or is ending. Answers the namespace's key, whose presence
    /// the write then depends on.
    pub(crate) async fn check_namespace(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<String>, Status> {
        let Some(namespace) = namespace.filter(|_| kind.namespaced()) else { return Ok(None) };
        if self.kinds().by_resource("", "v1", "namespaces").is_none() {
            return Ok(None);
        }
        let cache = self.inner.cache.kind(&keys::resource_of("", "namespaces"));
        let found = match cache.get(namespace) {
            Some(found) => found,
            None => {
                // Perhaps it was made a moment ago.
                self.fresh().await?;
                cache.get(namespace).ok_or_else(|| Status::not_found("", "namespaces", namespace))?
            }
        };
        if is_ending(&found) {
            let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
            let mut status = refusal::forbidden(kind, name, &why);
            status.causes.push(Cause {
                reason: "NamespaceTerminating".into(),
                message: format!("namespace {namespace} is being terminated"),
                field: "metadata.namespace".into(),
            });
            return Err(status);
        }
        Ok(Some(key(namespace)))
    }
}

fn is_ending(namespace: &Object) -> bool {
    namespace.meta.deletion_timestamp.is_some()
}
