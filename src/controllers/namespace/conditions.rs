//! What a namespace that is being deleted says about its content. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::NamespaceCondition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

/// What was found in the namespace.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Content {
    pub remaining: Vec<Remaining>,
    /// Kinds that could not be emptied, and why.
    pub failures: Vec<String>,
    /// Why the kinds are not known.
    pub undiscovered: Option<String>,
}

/// What is left of one kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Remaining {
    pub resource: String,
    pub count: usize,
    /// Finalizers that hold objects, and how many each holds.
    pub finalizers: BTreeMap<String, usize>,
}

impl Remaining {
    /// None when nothing is left.
    pub(super) fn of<'a>(objects: impl Iterator<Item = &'a ObjectMeta>) -> Option<Self> {
        let mut remaining = Self::default();
        for meta in objects {
            remaining.count += 1;
            for finalizer in meta.finalizers.iter().flatten() {
                *remaining.finalizers.entry(finalizer.clone()).or_default() += 1;
            }
        }
        (remaining.count > 0).then_some(remaining)
    }
}

impl Content {
    pub(super) fn undiscovered(why: String) -> Self {
        Self { undiscovered: Some(why), ..Self::default() }
    }

    pub(super) fn is_gone(&self) -> bool {
        *self == Self::default()
    }

    /// Kinds are emptied side by side; people read them in order.
    pub(super) fn sort(&mut self) {
        self.remaining.sort_by(|one, other| one.resource.cmp(&other.resource));
        self.failures.sort();
    }
}

/// The conditions after `content` was found. Where nothing changed, times stay.
pub(super) fn conditions(seen: &[NamespaceCondition], content: &Content, now: Timestamp) -> Vec<NamespaceCondition> {
    let mut conditions = seen.to_vec();
    for (type_, bad, reason, message) in rows(content) {
        let status = if bad { "True" } else { "False" };
        let found = conditions.iter_mut().find(|condition| condition.type_ == type_);
        match found {
            Some(found) if found.status == status && found.message.as_ref() == Some(&message) => {}
            Some(found) => {
                if found.status != status {
                    found.last_transition_time = Some(Time(now));
                }
                status.clone_into(&mut found.status);
                found.reason = Some(reason.to_owned());
                found.message = Some(message);
            }
            None => conditions.push(NamespaceCondition {
                type_: type_.to_owned(),
                status: status.to_owned(),
                reason: Some(reason.to_owned()),
                message: Some(message),
                last_transition_time: Some(Time(now)),
            }),
        }
    }
    conditions
}

/// Type, whether it holds, reason, message.
fn rows(content: &Content) -> [(&'static str, bool, &'static str, String); 5] {
    let Content { remaining, failures, undiscovered } = content;
    let discovery = match undiscovered {
        Some(why) => (true, "DiscoveryFailed", format!("Discovery failed for some groups: {why}")),
        None => (false, "ResourcesDiscovered", "All resources successfully discovered".to_owned()),
    };
    let deletion = if failures.is_empty() {
        (false, "ContentDeleted", "All content successfully deleted, may be waiting on finalization".to_owned())
    } else {
        let message =
            format!("Failed to delete all resource types, {} remaining: {}", failures.len(), failures.join(", "));
        (true, "ContentDeletionFailed", message)
    };
    let left = if remaining.is_empty() {
        (false, "ContentRemoved", "All content successfully removed".to_owned())
    } else {
        let each = remaining.iter().map(|left| format!("{} has {} resource instances", left.resource, left.count));
        let message = format!("Some resources are remaining: {}", each.collect::<Vec<_>>().join(", "));
        (true, "SomeResourcesRemain", message)
    };
    let mut holding: BTreeMap<&str, usize> = BTreeMap::new();
    for (finalizer, count) in remaining.iter().flat_map(|left| &left.finalizers) {
        *holding.entry(finalizer).or_default() += count;
    }
    let finalizers = if holding.is_empty() {
        (false, "ContentHasNoFinalizers", "All content-preserving finalizers finished".to_owned())
    } else {
        let each = holding.iter().map(|(finalizer, count)| format!("{finalizer} in {count} resource instances"));
        let message =
            format!("Some content in the namespace has finalizers remaining: {}", each.collect::<Vec<_>>().join(", "));
        (true, "SomeFinalizersRemain", message)
    };
    let parsed = (false, "ParsedGroupVersions", "All legacy kube types successfully parsed".to_owned());
    let row = |type_, (bad, reason, message)| (type_, bad, reason, message);
    [
        row("NamespaceDeletionDiscoveryFailure", discovery),
        row("NamespaceDeletionGroupVersionParsingFailure", parsed),
        row("NamespaceDeletionContentFailure", deletion),
        row("NamespaceContentRemaining", left),
        row("NamespaceFinalizersRemaining", finalizers),
    ]
}
