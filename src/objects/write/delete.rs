//! The end of objects.

use std::sync::Arc;

use api::{Kind, Status, meta};
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{ATTEMPTS, Outcome, Target, is_finished};
use crate::admission::{Operation, sent_delete_options};
use crate::options::{DeleteOptions, Deleted, List, ListOptions, Propagation, Sub, WriteOptions};
use crate::services::Claims;
use crate::{Object, Objects, namespaces, refusal};

/// How many objects of a collection are deleted at once.
const AT_ONCE: usize = 16;

impl Objects {
    /// Asks an object to go. It is gone at once, unless it has a grace period, finalizers or dependents to wait for.
    pub async fn delete(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted, Status> {
        let Some(stored) = self.stored_kind(kind)? else {
            return self.delete_stored(kind, namespace, name, options).await;
        };
        let options = DeleteOptions { requested: Some(Arc::new(kind.clone())), ..options.clone() };
        Ok(match self.delete_stored(&stored, namespace, name, &options).await? {
            Deleted::Gone(object) => Deleted::Gone(self.seen(kind, &object).await?),
            Deleted::Marked(object) => Deleted::Marked(self.seen(kind, &object).await?),
        })
    }

    async fn delete_stored(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted, Status> {
        let target = Target { kind, namespace: namespace.filter(|_| kind.namespaced()), name };
        namespaces::check_delete(kind, name)?;
        let write = WriteOptions {
            user: options.user.clone(),
            dry_run: options.dry_run,
            warnings: options.warnings.clone(),
            requested: options.requested.clone(),
            sent: sent_delete_options(options),
            ..WriteOptions::default()
        };
        if let Some(warning) = kind.behaviour.deletion_warning().filter(|_| options.propagation.is_none()) {
            options.warnings.push(warning);
        }
        self.fresh().await?;
        for _ in 0..ATTEMPTS {
            let current = self.cached(kind, target.namespace, name).ok_or_else(|| refusal::not_found(kind, name))?;
            check_preconditions(target, &current, options)?;
            let old = current.value();
            self.admit(target, (Operation::Delete, Sub::None), Value::Null, Some(&old), &write).await?;
            let new = asked_to_go(kind, &old, options, Timestamp::now());
            if is_finished(kind, &new) {
                // What is shown of an object that went at once is how it was.
                let last = if meta::is_being_deleted(&old) { &new } else { &old };
                if let Outcome::Done(object) = self.remove(target, &current, last, options.dry_run).await? {
                    return Ok(Deleted::Gone(object));
                }
                continue;
            }
            if new == old {
                return Ok(Deleted::Marked(current));
            }
            let more = (&Claims::default(), options.dry_run);
            if let Outcome::Done(object) = self.put(target, &new, Some(current.revision), more, None).await? {
                return Ok(Deleted::Marked(object));
            }
        }
        Err(refusal::modified(kind, name))
    }

    /// Asks every object of a selection to go. Answers those that were asked.
    pub async fn delete_collection(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        list: &ListOptions,
        options: &DeleteOptions,
    ) -> Result<List, Status> {
        let mut listed = self.list(kind, namespace, list).await?;
        let each = |object: Arc<Object>| async move {
            let place = kind.namespaced().then_some(&*object.meta.namespace);
            match self.delete(kind, place, &object.meta.name, options).await {
                Ok(deleted) => Ok(Some(deleted.object().clone())),
                Err(status) if status.code == 404 => Ok(None),
                Err(status) => Err(status),
            }
        };
        let asked = std::mem::take(&mut listed.items).into_iter().map(each);
        let mut outcomes = futures::stream::iter(asked).buffered(AT_ONCE);
        while let Some(outcome) = outcomes.next().await {
            listed.items.extend(outcome?);
        }
        Ok(listed)
    }
}

fn check_preconditions(target: Target<'_>, current: &Object, options: &DeleteOptions) -> Result<(), Status> {
    let Target { kind, name, .. } = target;
    if let Some(uid) = options.uid.as_deref().filter(|uid| **uid != *current.meta.uid) {
        return Err(refusal::precondition(kind, name, "UID", uid, &current.meta.uid));
    }
    let newest = current.revision.to_string();
    if let Some(wanted) = options.resource_version.as_deref().filter(|wanted| *wanted != newest) {
        return Err(refusal::precondition(kind, name, "ResourceVersion", wanted, &newest));
    }
    Ok(())
}

/// The object after it was asked to go. Asking again can only make it sooner.
fn asked_to_go(kind: &Kind, old: &Value, options: &DeleteOptions, now: Timestamp) -> Value {
    let mut new = old.clone();
    dependents(kind, &mut new, options.propagation);
    let own = kind.behaviour.grace_seconds(old);
    let grace = match (own, options.grace_seconds) {
        // Nobody would ever confirm it (a pod that no node has).
        (None | Some(0), _) => 0,
        // Kubernetes reads a negative period as the shortest one.
        (Some(_), Some(asked)) => {
            if asked < 0 {
                1
            } else {
                asked
            }
        }
        (Some(own), None) => own,
    };
    match meta::deletion_timestamp(old) {
        None => {
            let end = now.checked_add(SignedDuration::from_secs(grace)).unwrap_or(now);
            meta::set(&mut new, "deletionTimestamp", meta::time_text(end));
            meta::set(&mut new, "deletionGracePeriodSeconds", grace);
            if meta::generation(old) > 0 {
                meta::set(&mut new, "generation", meta::generation(old) + 1);
            }
            namespaces::mark_terminating(kind, &mut new);
            kind.behaviour.prepare_delete(&mut new, &meta::time_text(now));
        }
        Some(end) => {
            let left = meta::deletion_grace_seconds(old).unwrap_or_default();
            let shorter = grace == 0 || options.grace_seconds.is_some();
            if shorter && grace < left {
                let end = end.checked_sub(SignedDuration::from_secs(left - grace)).unwrap_or(end);
                meta::set(&mut new, "deletionTimestamp", meta::time_text(end));
                meta::set(&mut new, "deletionGracePeriodSeconds", grace);
            }
        }
    }
    new
}

/// What becomes of dependents is kept as a finalizer, which the garbage collector takes away when it has seen to it.
fn dependents(kind: &Kind, object: &mut Value, propagation: Option<Propagation>) {
    let decided = meta::finalizers(object).any(|name| matches!(name, meta::FOREGROUND | meta::ORPHAN));
    let usual = || (kind.behaviour.orphans_dependents() && !decided).then_some(Propagation::Orphan);
    let Some(propagation) = propagation.or_else(usual) else { return };
    let wanted = match propagation {
        Propagation::Foreground => Some(meta::FOREGROUND),
        Propagation::Orphan => Some(meta::ORPHAN),
        Propagation::Background => None,
    };
    let had: Vec<&str> = meta::finalizers(object).collect();
    let mut now: Vec<&str> =
        had.iter().copied().filter(|name| !matches!(*name, meta::FOREGROUND | meta::ORPHAN)).collect();
    now.extend(wanted);
    if now.len() == had.len() && now.iter().all(|name| had.contains(name)) {
        return;
    }
    let now: Value = now.into();
    if now.as_array().is_some_and(Vec::is_empty) {
        meta::unset(object, "finalizers");
    } else {
        meta::set(object, "finalizers", now);
    }
}
