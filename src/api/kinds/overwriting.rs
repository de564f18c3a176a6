//! How updates treat what they did not see: kinds that they make anew, kinds that they may not overwrite blindly, and
//! what of the metadata goes with which part of an object.

use crate::Kind;

/// Whether an update of an object that is not there makes it.
pub fn creates_on_update(kind: &Kind) -> bool {
    matches!(
        (&*kind.group, &*kind.kind),
        ("", "Endpoints" | "Event" | "LimitRange" | "Service")
            | ("coordination.k8s.io", "Lease")
            | ("events.k8s.io", "Event")
            | ("node.k8s.io", "RuntimeClass")
            | ("rbac.authorization.k8s.io", _)
    )
}

/// Whether an update must say which revision it replaces.
pub fn needs_revision(kind: &Kind) -> bool {
    !kind.strategic
        || matches!(
            (&*kind.group, &*kind.kind),
            ("admissionregistration.k8s.io" | "apiextensions.k8s.io" | "apiregistration.k8s.io", _)
                | ("coordination.k8s.io", "Lease")
                | ("node.k8s.io", "RuntimeClass")
                | ("policy", "PodDisruptionBudget")
                | ("storage.k8s.io", "CSIDriver" | "CSINode" | "CSIStorageCapacity" | "VolumeAttachment")
        )
}

/// Fields of the metadata that count for `metadata.generation` besides what is not metadata.
pub fn counted_metadata(kind: &Kind) -> &'static [&'static str] {
    match (&*kind.group, &*kind.kind) {
        ("apps", "Deployment") => &["annotations"],
        ("discovery.k8s.io", "EndpointSlice") => &["labels"],
        _ => &[],
    }
}

/// Fields of the metadata that a write to the status leaves alone.
pub fn kept_with_status(kind: &Kind) -> &'static [&'static str] {
    match (&*kind.group, &*kind.kind) {
        ("apps", "Deployment") => &["labels"],
        ("", "Pod") => &["ownerReferences"],
        ("apiextensions.k8s.io" | "apiregistration.k8s.io" | "flowcontrol.apiserver.k8s.io", _) => {
            &["annotations", "finalizers", "labels", "ownerReferences"]
        }
        _ => &[],
    }
}
