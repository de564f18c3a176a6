//! Other objects that a write changes in its own transaction: quotas count what is made at the moment in which it is made.

use std::any::Any;

use api::Status;
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;
use store::{Check, Revision, Txn};

use crate::admission::{self, Operation, Subject};
use crate::object::encode;
use crate::options::{Sub, WriteOptions};
use crate::write::Target;
use crate::{Objects, keys};

/// What an object that changes along was before. When it is something else by now, nothing is written and the rule is asked
/// again.
#[derive(Clone, Debug)]
pub enum Basis {
    /// What was written at this revision.
    At(Revision),
    /// These bytes, which a write before this one may still be about to write.
    Stored(Bytes),
}

/// One object that changes along.
#[derive(Clone, Debug)]
pub struct Along {
    key: String,
    basis: Basis,
    stored: Bytes,
}

impl Along {
    /// The object of `group` and `plural` (as they are stored) at `namespace` and `name` becomes `object`.
    pub fn new(
        (group, plural): (&str, &str),
        (namespace, name): (Option<&str>, &str),
        basis: Basis,
        object: &Value,
    ) -> Self {
        let key = format!("{}{}/{}", keys::OBJECTS, keys::resource_of(group, plural), keys::place(namespace, name));
        Self { key, basis, stored: encode(object).into() }
    }

    /// What is written: the basis of whoever comes next.
    pub fn stored(&self) -> Bytes {
        self.stored.clone()
    }
}

type Settle = Box<dyn FnOnce(bool) + Send>;

/// What a rule adds to a write.
#[derive(Default)]
pub struct Charge {
    along: Vec<Along>,
    guard: Mutex<Option<Box<dyn Any + Send>>>,
    settle: Mutex<Option<Settle>>,
}

impl Charge {
    /// `guard` is let go as soon as the write is on its way: writes reach the store in the order in which they held it.
    /// `settle` is told whether the write has happened; a write that nobody waits for any more counts as one that has not.
    pub fn new(along: Vec<Along>, guard: impl Any + Send, settle: impl FnOnce(bool) + Send + 'static) -> Self {
        Self { along, guard: Mutex::new(Some(Box::new(guard))), settle: Mutex::new(Some(Box::new(settle))) }
    }

    pub(crate) fn add_to(&self, txn: &mut Txn) {
        for Along { key, basis, stored } in &self.along {
            txn.checks.push(match basis {
                Basis::At(revision) => Check::At(key.clone(), *revision),
                Basis::Stored(before) => Check::Holds(key.clone(), before.clone()),
            });
            txn.puts.push((key.clone(), stored.clone()));
        }
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.along.iter().any(|along| along.key == key)
    }

    /// The write is on its way.
    pub(crate) fn sent(&self) {
        drop(self.guard.lock().take());
    }

    pub(crate) fn settle(&self, has_happened: bool) {
        let settle = self.settle.lock().take();
        if let Some(settle) = settle {
            settle(has_happened);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.settle(false);
    }
}

impl Objects {
    /// Asks the rules what the write changes along.
    pub(crate) async fn charges(
        &self,
        target: Target<'_>,
        (operation, sub): (Operation, Sub),
        object: &Value,
        old: Option<&Value>,
        options: &WriteOptions,
    ) -> Result<Vec<Charge>, Status> {
        let rules = self.inner.admission.load_full();
        let Target { kind, namespace, name } = target;
        let mut charges = Vec::new();
        for rule in rules.iter().filter(|rule| rule.charges(kind, namespace, operation, sub)) {
            let subject = Subject { kind, namespace, name, sub };
            let review = admission::review(self, subject, operation, object.clone(), old, options);
            charges.extend(rule.charge(&review).await?);
        }
        Ok(charges)
    }
}
