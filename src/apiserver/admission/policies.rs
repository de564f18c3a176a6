//! Admission policies: rules about requests that are written in expressions and stored in the cluster.
//!
//! A policy says which requests it is about and what it checks or changes; a binding puts it in force, maybe for fewer
//! requests, and maybe with parameters. A policy without a binding does nothing.

mod access;
mod configured;
mod mutating;
mod mutation;
mod params;
mod type_check;
mod validating;
mod verdict;

use std::sync::Arc;

use objects::{Objects, Review};

use crate::authorization::Authorizer;

pub use mutating::MutatingPolicies;
pub use type_check::keep_status;
pub use validating::ValidatingPolicies;

/// Adds both to `objects`.
pub(super) fn install(objects: &Objects, authorizer: &Arc<dyn Authorizer>) {
    objects.add_admission(Arc::new(access::ParameterAccess::new(authorizer.clone())));
    objects.add_admission(Arc::new(MutatingPolicies::new(objects, authorizer.clone())));
    objects.add_admission(Arc::new(ValidatingPolicies::new(objects, authorizer.clone())));
}

const GROUP: &str = "admissionregistration.k8s.io";

/// Policies have no say about policies and bindings, nor about questions that are not stored: a policy could lock
/// everybody out.
fn is_exempt(review: &Review<'_>) -> bool {
    match review.kind.group.as_str() {
        GROUP => matches!(
            review.kind.plural.as_str(),
            "validatingadmissionpolicies"
                | "validatingadmissionpolicybindings"
                | "mutatingadmissionpolicies"
                | "mutatingadmissionpolicybindings"
        ),
        "authentication.k8s.io" | "authorization.k8s.io" => true,
        _ => false,
    }
}
