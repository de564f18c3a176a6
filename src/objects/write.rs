//! The one path that every write takes.
//!
//! ```text
//! what the client sent → envelope → defaults → managers → admission → defaults → prepare → validate → admission
//!     → what goes along (a Service's addresses) → compare revision and commit → wait until the cache has it
//! ```
//!
//! An object that is being deleted, has no finalizers left and whose grace period is over is removed by the very write
//! that leaves it so, whichever verb that was.

mod converted;
mod create;
mod delete;
mod envelope;
mod patch;
mod update;

use std::sync::Arc;
use std::task::Poll;

use api::{FieldError, Kind, Status, meta};
use bytes::Bytes;
use serde_json::Value;
use store::{Check, CommitError, Revision, Txn};

use crate::admission::{self, Operation, Subject};
use crate::object::{Facts, encode};
use crate::options::{Sub, WriteOptions};
use crate::services::Claims;
use crate::{Object, Objects, keys, managed_fields, namespaces, refusal, scale, services};

/// How often a write that lost a race is tried again before the client is told.
const ATTEMPTS: usize = 32;

/// Which object a write is about.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub kind: &'a Kind,
    pub namespace: Option<&'a str>,
    pub name: &'a str,
}

impl Target<'_> {
    fn key(&self) -> String {
        keys::object(self.kind, self.namespace, self.name)
    }
    fn invalid(&self, errors: &[FieldError]) -> Result<(), Status> {
        if errors.is_empty() {
            Ok(())
        } else {
            Err(Status::invalid(&self.kind.group, &self.kind.kind, self.name, errors))
        }
    }
}

/// Who sees to an object's managers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Managing {
    /// What the write changes is recorded.
    Record,
    /// It is done.
    Done,
}

/// Whether a commit went through.
enum Outcome {
    Done(Arc<Object>),
    /// Somebody else was faster: at the object itself, or at the key given.
    Lost(String),
}

impl Objects {
    /// Lets the rules that change objects do so, and fills in the defaults of what they made. Those of what was sent are
    /// there.
    async fn mutate(
        &self,
        target: Target<'_>,
        sub: Sub,
        object: Value,
        old: Option<&Value>,
        options: &WriteOptions,
    ) -> Result<Value, Status> {
        let Target { kind, namespace, name } = target;
        let mut object = object;
        if options.admitted || self.inner.admission.load().is_empty() {
            return Ok(object);
        }
        let operation = if old.is_some() { Operation::Update } else { Operation::Create };
        let subject = Subject { kind, namespace, name, sub };
        if sub == Sub::Scale {
            // Who has a say sees the Scale that is written, not the object that has it.
            let was = old.and_then(|old| scale::of(kind, old));
            let scaled = scale::of(kind, &object).ok_or_else(Status::no_such_path)?;
            let mut review = admission::review(self, subject, operation, scaled, was.as_ref(), options);
            self.run_mutating(&mut review).await?;
            scale::apply(kind, &mut object, &review.object)?;
        } else {
            let mut review = admission::review(self, subject, operation, object, old, options);
            self.run_mutating(&mut review).await?;
            object = review.object;
        }
        kind.behaviour.default(&mut object);
        Ok(object)
    }

    /// Lets the rules that only look say no. Gives the object back.
    async fn admit(
        &self,
        target: Target<'_>,
        (operation, sub): (Operation, Sub),
        object: Value,
        old: Option<&Value>,
        options: &WriteOptions,
    ) -> Result<Value, Status> {
        let Target { kind, namespace, name } = target;
        if options.admitted {
            return Ok(object);
        }
        let subject = Subject { kind, namespace, name, sub };
        if sub == Sub::Scale {
            let was = old.and_then(|old| scale::of(kind, old));
            let scaled = scale::of(kind, &object).ok_or_else(Status::no_such_path)?;
            self.run_validating(&admission::review(self, subject, operation, scaled, was.as_ref(), options)).await?;
            return Ok(object);
        }
        let mut review = admission::review(self, subject, operation, object, old, options);
        if operation == Operation::Delete {
            self.run_mutating(&mut review).await?;
        }
        self.run_validating(&review).await?;
        Ok(review.object)
    }

    /// Writes `object`, new or in place of what was written at `old`.
    async fn put(
        &self,
        target: Target<'_>,
        object: &Value,
        old: Option<Revision>,
        (claims, dry_run): (&Claims, bool),
        namespace_key: Option<String>,
    ) -> Result<Outcome, Status> {
        let mut stored = encode(object);
        let mut light = None;
        if stored.len() > refusal::OBJECT_BYTES_MAX && managed_fields::kept(object).is_some() {
            // Who wrote it is worth less than what was written.
            let object: &mut Value = light.insert(object.clone());
            managed_fields::restore(object, None);
            stored = encode(object);
        }
        let object = light.as_ref().unwrap_or(object);
        if stored.len() > refusal::OBJECT_BYTES_MAX {
            return Err(Status::too_large(format!(
                "etcdserver: request is too large: the object has {} bytes, at most {} are stored",
                stored.len(),
                refusal::OBJECT_BYTES_MAX
            )));
        }
        let broken = |error: serde_json::Error| Status::internal(format!("the object cannot be read back: {error}"));
        if dry_run {
            let object = match old {
                Some(revision) => Object::stored(&stored, revision, Some(target.kind)),
                None => Object::unsaved(stored, target.kind),
            };
            return Ok(Outcome::Done(Arc::new(object.map_err(broken)?)));
        }
        let key = target.key();
        let own = match old {
            Some(revision) => Check::At(key.clone(), revision),
            None => Check::Absent(key.clone()),
        };
        let stored = Bytes::from(stored);
        let _offer = self.inner.handover.offer(&stored, Facts::of(object, target.kind));
        let mut txn = Txn { checks: vec![own], puts: vec![(key, stored.clone())], deletes: Vec::new() };
        txn.checks.extend(namespace_key.map(Check::Present));
        claims.add_to(&mut txn);
        let revision = match self.commit_charged(txn, claims).await? {
            Ok(revision) => revision,
            Err(key) => return Ok(Outcome::Lost(key)),
        };
        let Target { kind, namespace, name } = target;
        let found = self.cached(kind, namespace, name).filter(|found| found.revision == revision);
        let object = match found {
            Some(object) => object,
            // It has changed again since.
            None => Arc::new(Object::stored(&stored, revision, Some(kind)).map_err(broken)?),
        };
        Ok(Outcome::Done(object))
    }

    /// Removes what was written at `current.revision`. `last` is how it looked in the end.
    async fn remove(
        &self,
        target: Target<'_>,
        current: &Object,
        last: &Value,
        dry_run: bool,
    ) -> Result<Outcome, Status> {
        let broken = |error: serde_json::Error| Status::internal(format!("the object cannot be read back: {error}"));
        let shown = |revision| Object::stored(&encode(last), revision, Some(target.kind)).map(Arc::new).map_err(broken);
        if dry_run {
            return Ok(Outcome::Done(shown(current.revision)?));
        }
        let key = target.key();
        let mut txn =
            Txn { checks: vec![Check::At(key.clone(), current.revision)], deletes: vec![key], ..Txn::default() };
        txn.deletes.extend(services::freed(target.kind, &current.value()));
        match self.commit(txn).await? {
            Ok(revision) => Ok(Outcome::Done(shown(revision)?)),
            Err(key) => Ok(Outcome::Lost(key)),
        }
    }

    /// Commits, and tells those who charge how it goes.
    async fn commit_charged(&self, txn: Txn, claims: &Claims) -> Result<Result<Revision, String>, Status> {
        if !claims.are_charged() {
            return self.commit(txn).await;
        }
        let mut committing = std::pin::pin!(self.commit(txn));
        // With the first poll the transaction is in the store's queue.
        let first = futures::poll!(committing.as_mut());
        claims.sent();
        let outcome = match first {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => committing.await,
        };
        claims.settle(matches!(outcome, Ok(Ok(_))));
        outcome
    }

    /// Commits and waits until the cache has it; the inner error is the key that somebody else changed.
    async fn commit(&self, txn: Txn) -> Result<Result<Revision, String>, Status> {
        match self.inner.store.commit(txn).await {
            Ok(revision) => {
                tokio::select! {
                    () = self.inner.cache.reached(revision) => {}
                    // The feed has stopped; the write is durable all the same.
                    () = self.inner.shutdown.cancelled() => {}
                }
                Ok(Ok(revision))
            }
            Err(CommitError::Stale { key }) => {
                // What was changed must be seen before the next attempt.
                self.fresh().await?;
                Ok(Err(key))
            }
            Err(error) => Err(refusal::not_committed(&error)),
        }
    }
}

/// Whether nothing keeps an object that was asked to go.
fn is_finished(kind: &Kind, object: &Value) -> bool {
    meta::is_being_deleted(object)
        && meta::deletion_grace_seconds(object).unwrap_or_default() <= 0
        && meta::finalizers(object).next().is_none()
        && !namespaces::is_held(kind, object)
}
