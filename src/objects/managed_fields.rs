//! `metadata.managedFields`: every write says here who it is by.
//!
//! The rules are [`api::apply`]'s; this is where they meet kinds, their versions and the parts of an object.

use std::sync::Arc;

use api::apply::{self, Reach, Versions, Writer};
use api::{Definition, Kind, KindSet, Status, meta};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::form;
use crate::options::{Sub, WriteOptions};

const FIELD: &str = "managedFields";

/// The kind that a client named, among all others.
pub(crate) struct Tracker<'a> {
    kinds: Arc<KindSet>,
    kind: &'a Kind,
    api_version: String,
}

impl<'a> Tracker<'a> {
    pub fn new(kinds: Arc<KindSet>, kind: &'a Kind) -> Self {
        Self { kinds, kind, api_version: kind.api_version() }
    }

    fn at(&self, api_version: &str) -> Option<&Kind> {
        if api_version == self.api_version {
            return Some(self.kind);
        }
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        self.kinds.by_kind(group, version, &self.kind.kind).map(AsRef::as_ref)
    }

    fn writer<'w>(&'w self, sub: Sub, options: &'w WriteOptions, now: &'w str) -> Writer<'w> {
        Writer { manager: &options.field_manager, api_version: &self.api_version, subresource: sub.name(), now }
    }

    /// Records what a write other than an apply makes of `old` (`Null`: a create).
    pub fn record(&self, sub: Sub, old: &Value, new: &mut Value, options: &WriteOptions) {
        let now = meta::time_text(Timestamp::now());
        apply::updated(self, old, new, &self.writer(sub, options, &now), reach(self.kind, sub));
    }

    /// The object with a wish applied to it (`Null`: there is none yet).
    pub fn apply(&self, sub: Sub, live: &Value, wish: &Value, options: &WriteOptions) -> Result<Value, Status> {
        let now = meta::time_text(Timestamp::now());
        let writer = self.writer(sub, options, &now);
        if sub != Sub::Scale {
            return Ok(apply::applied(self, live, wish, &writer, reach(self.kind, sub), options.force)?.object);
        }
        let wish = self.scaled(live, wish)?;
        Ok(apply::applied(self, live, &wish, &writer, reach(self.kind, sub), options.force)?.object)
    }

    /// What a wish for a Scale wishes of the object that has it.
    fn scaled(&self, live: &Value, wish: &Value) -> Result<Value, Status> {
        let said = wish.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        if said != "autoscaling/v1" {
            return Err(Status::bad_request(format!(
                "Incorrect version specified in apply patch. Specified patch version: {said}, expected: autoscaling/v1"
            )));
        }
        let scale = self.kind.scale.as_ref().ok_or_else(Status::no_such_path)?;
        let mut out = json!({
            "apiVersion": self.api_version, "kind": self.kind.kind,
            "metadata": { "name": meta::name(live), "namespace": meta::namespace(live) },
        });
        if meta::namespace(live).is_empty() {
            meta::unset(&mut out, "namespace");
        }
        if !meta::resource_version(wish).is_empty() {
            meta::set(&mut out, "resourceVersion", meta::resource_version(wish));
        }
        if let Some(replicas) = wish.pointer("/spec/replicas") {
            let mut at = &mut out;
            for part in scale.spec_replicas.split('/').skip(1) {
                if !at.is_object() {
                    *at = json!({});
                }
                at = &mut at[part];
            }
            *at = replicas.clone();
        }
        Ok(out)
    }
}

impl Versions for Tracker<'_> {
    fn definition(&self, api_version: &str) -> Option<Option<&Definition>> {
        self.at(api_version).map(Kind::definition)
    }

    fn convert(&self, object: &Value, to: &str) -> Option<Value> {
        let from = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        let mut out = object.clone();
        if from != to {
            // No webhook is asked for the sake of managers.
            if form::is_remote(self.kind) {
                return None;
            }
            form::to_stored(self.at(from)?, &mut out);
            form::from_stored(self.at(to)?, &mut out);
            out["apiVersion"] = json!(to);
        }
        Some(out)
    }
}

/// What a write to one part of an object can change: everything else is put back to what it was.
fn reach(kind: &Kind, sub: Sub) -> Reach<'_> {
    match sub {
        Sub::None if kind.status => Reach { without: &["status"], ..Reach::default() },
        Sub::Status => Reach {
            only: Some(&["metadata", "status"]),
            metadata_without: api::kinds::overwriting::kept_with_status(kind),
            ..Reach::default()
        },
        _ => Reach::default(),
    }
}

/// The managers of an object, to be put back by [`restore`] after everybody else has had a say.
pub(crate) fn kept(object: &Value) -> Option<Value> {
    meta::metadata(object).get(FIELD).cloned()
}

/// Puts the managers back.
pub(crate) fn restore(object: &mut Value, kept: Option<Value>) {
    match kept {
        Some(managers) => meta::set(object, FIELD, managers),
        None => meta::unset(object, FIELD),
    }
}

/// Whether a write would change nothing but the times of managers.
pub(crate) fn is_no_change(old: &Value, new: &Value) -> bool {
    old == new || apply::same_but_times(old, new)
}
