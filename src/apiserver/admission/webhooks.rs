//! Admission webhooks: programs that have a say in requests.
//!
//! Mutating ones are asked one after the other, in the order of their configurations' names; validating ones all at once.
//! No webhook is asked about what would switch webhooks or policies off.

mod call;
mod configured;
mod mutating;
mod validating;

use std::sync::Arc;

use objects::{Objects, Review};

use crate::authorization::Authorizer;

pub use mutating::MutatingWebhooks;
pub use validating::ValidatingWebhooks;

/// Adds both to `objects`.
pub(super) fn install(objects: &Objects, authorizer: &Arc<dyn Authorizer>) {
    objects.add_admission(Arc::new(MutatingWebhooks::new(objects, authorizer.clone())));
    objects.add_admission(Arc::new(ValidatingWebhooks::new(objects, authorizer.clone())));
}

const CONFIGURATIONS: [&str; 6] = [
    "validatingwebhookconfigurations",
    "mutatingwebhookconfigurations",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
];

/// Whether the request is about the configuration of admission itself: a webhook could lock everybody out.
fn is_about_admission(review: &Review<'_>) -> bool {
    review.kind.group == "admissionregistration.k8s.io" && CONFIGURATIONS.contains(&review.kind.plural.as_str())
}
