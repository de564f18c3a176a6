//! Kinds that Kubernetes would rather see replaced, in the words of its warnings.

use crate::Kind;

/// The sentence for the `Warning:` header of every answer about a kind, if it has one.
pub fn warning(kind: &Kind) -> Option<&'static str> {
    match (kind.group.as_str(), kind.version.as_str(), kind.kind.as_str()) {
        ("", "v1", "ComponentStatus") => Some("v1 ComponentStatus is deprecated in v1.19+"),
        ("", "v1", "Endpoints") => Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
        _ => None,
    }
}
