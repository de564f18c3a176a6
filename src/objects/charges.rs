//! Other objects that a write changes in its own transaction: quotas count what is made at the moment in which it is made.

use std::any::Any;

use api::Status;
use bytes::Bytes;
use serde_json::Value;
use store::{Check, Revision, Txn};

use crate::admission::{self, Operation, Subject};
use crate::object::encode;
use crate::options::{Sub, WriteOptions};
use crate::write::Target;
use crate::{Objects, keys};

/// One object that changes along.
#[derive(Clone, Debug)]
pub struct Along {
    /// The group of its kind as it is stored.
    pub group: String,
    /// The plural of its kind.
    pub plural: String,
    /// Its namespace.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// The revision that `object` was made of. When it has another one by now, nothing is written and the rule is asked
    /// again.
    pub revision: Revision,
    /// How it is to be.
    pub object: Value,
}

/// What a rule adds to a write.
#[derive(Default)]
pub struct Charge {
    /// What changes along.
    pub along: Vec<Along>,
    /// Kept until the write is done: a lock, where writers would otherwise only get into each other's way.
    pub guard: Option<Box<dyn Any + Send + Sync>>,
}

impl Charge {
    pub(crate) fn add_to(&self, txn: &mut Txn) {
        for along in &self.along {
            let key = along.key();
            txn.checks.push(Check::At(key.clone(), along.revision));
            txn.puts.push((key, Bytes::from(encode(&along.object))));
        }
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.along.iter().any(|along| along.key() == key)
    }
}

impl Along {
    fn key(&self) -> String {
        let resource = keys::resource_of(&self.group, &self.plural);
        format!("{}{resource}/{}", keys::OBJECTS, keys::place(self.namespace.as_deref(), &self.name))
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
