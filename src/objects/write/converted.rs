//! Changes in a version of a custom resource that only a webhook can turn into the stored one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use api::{FieldError, Kind, Status, meta};
use serde_json::Value;

use super::update::Change;
use super::{ATTEMPTS, Managing, Target, envelope};
use crate::managed_fields::Tracker;
use crate::options::{Sub, WriteOptions, Written};
use crate::{Objects, form, refusal};

/// Custom resources are also held against the schema of the version that they were sent in.
pub(super) fn check(target: Target<'_>, sub: Sub, new: &Value, old: &Value) -> Result<(), Status> {
    let behaviour = &target.kind.behaviour;
    if target.kind.custom.is_none() {
        return Ok(());
    }
    let mut next = new.clone();
    if sub == Sub::Status {
        behaviour.prepare_status(&mut next, old);
    } else {
        behaviour.prepare_update(&mut next, old);
    }
    target.invalid(&behaviour.validate(&next, Some(old)))
}

/// What is wrong with an object that is about to be stored. One that was sent in another version is held against that
/// version's schema, which may ask for less; what a webhook made of it against the stored one's.
pub(super) fn faults(kind: &Kind, object: &Value, old: Option<&Value>, options: &WriteOptions) -> Vec<FieldError> {
    let other = |sent: &&Kind| kind.custom.is_some() && !form::is_remote(kind) && sent.version != kind.version;
    let Some(sent) = options.requested.as_deref().filter(other) else { return kind.behaviour.validate(object, old) };
    let seen = |stored: &Value| {
        let mut seen = stored.clone();
        form::from_stored(sent, &mut seen);
        seen
    };
    sent.behaviour.validate(&seen(object), old.map(seen).as_ref())
}

impl Objects {
    /// As an update of the stored kind, with a conversion before and after `change`.
    pub(super) async fn rewrite_converted(
        &self,
        target: Target<'_>,
        stored: &Arc<Kind>,
        (sub, change): (Sub, Change<'_>),
        managing: Managing,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let Target { kind, name, .. } = target;
        let place = target.namespace.filter(|_| kind.namespaced());
        let asked = options.asked_for(kind);
        for _ in 0..ATTEMPTS {
            self.fresh().await?;
            let current = self.cached(kind, place, name).ok_or_else(|| refusal::not_found(kind, name))?;
            let old = self.seen(kind, &current).await?.value();
            let mut new = change(&old)?;
            envelope::settle(kind, target.namespace, &mut new)?;
            kind.behaviour.default(&mut new);
            if managing == Managing::Record {
                Tracker::new(self.kinds(), kind).record(sub, &old, &mut new, options);
            }
            check(target, sub, &new, &old)?;
            let new = self.converted(stored, vec![new]).await?.pop().unwrap_or_default();
            let (seen, moved_on) = (current.revision.to_string(), AtomicBool::new(false));
            let fixed = |old: &Value| {
                if meta::resource_version(old) == seen {
                    return Ok(new.clone());
                }
                moved_on.store(true, Ordering::Relaxed);
                Err(refusal::modified(kind, name))
            };
            let stored = Target { kind: stored, ..target };
            match self.rewrite_stored(stored, sub, &fixed, Managing::Done, &asked).await {
                Err(_) if moved_on.load(Ordering::Relaxed) => {}
                Err(status) => return Err(status),
                Ok(written) => {
                    let object = self.seen(kind, &written.object).await?;
                    return Ok(Written { object, ..written });
                }
            }
        }
        Err(refusal::modified(kind, name))
    }
}
