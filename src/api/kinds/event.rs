//! Event: what happened to an object. Served in two forms, the old one of the core group and that of
//! `events.k8s.io`; [`to_core`] and [`to_events`] turn one into the other.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::cells::{column, name_column, or, wide};
use super::checks::Faults;
use super::fields::{get, int, is_set, set, text, text_at};
use super::row::row;
use crate::kind::Form;
use crate::table::since_value;
use crate::{Behaviour, Column, FieldError, Kind, Scope, meta};

/// The row of the core group, whose form is stored.
pub fn core_kind() -> Kind {
    row("", "v1", "Event", "events", Scope::Namespaced)
        .short(&["ev"])
        .columns(columns("involvedObject"))
        .behaviour(CoreEvent)
        .build()
}

/// The row of `events.k8s.io`.
pub fn kind() -> Kind {
    row("events.k8s.io", "v1", "Event", "events", Scope::Namespaced)
        .short(&["ev"])
        .columns(columns("regarding"))
        .form(Form {
            group: String::new(),
            version: "v1".to_owned(),
            plural: "events".to_owned(),
            to_stored: to_core,
            from_stored: to_events,
        })
        .behaviour(NewEvent)
        .build()
}

type CellFn = fn(&Value, Timestamp) -> Value;

fn columns(regarding: &'static str) -> Vec<Column> {
    // The two forms differ in names only; a cell is a plain function, so there is one for each.
    let (object, subobject): (CellFn, CellFn) = match regarding {
        "involvedObject" => (
            |event, _| json!(target(event, "involvedObject")),
            |event, _| json!(text_at(event, "/involvedObject/fieldPath")),
        ),
        _ => (|event, _| json!(target(event, "regarding")), |event, _| json!(text_at(event, "/regarding/fieldPath"))),
    };
    vec![
        column("Last Seen", "The time at which the most recent occurrence was recorded.", |event, now| {
            json!(last_seen(event, now))
        }),
        column("Type", "Type of this event (Normal, Warning), new types could be added in the future", |event, _| {
            json!(text(event, "type"))
        }),
        column("Reason", "The reason for the transition into the object's current status.", |event, _| {
            json!(text(event, "reason"))
        }),
        column("Object", "The object that this event is about.", object),
        wide(column("Subobject", "The part of the object that this event is about.", subobject)),
        wide(column("Source", "The component reporting this event.", |event, _| json!(source(event)))),
        column("Message", "A human-readable description of what happened.", |event, _| {
            json!(or(text(event, "message"), text(event, "note")).trim())
        }),
        wide(column("First Seen", "The time at which the event was first recorded.", |event, now| {
            json!(first_seen(event, now))
        })),
        wide(column("Count", "The number of times this event has occurred.", |event, _| {
            json!(count(event).to_string())
        })),
        wide(name_column()),
    ]
}

fn target(event: &Value, field: &str) -> String {
    let object = event.get(field).unwrap_or(&Value::Null);
    let kind = text(object, "kind").to_lowercase();
    let name = text(object, "name");
    if name.is_empty() { kind } else { format!("{kind}/{name}") }
}

fn first_seen(event: &Value, now: Timestamp) -> String {
    let first = ["firstTimestamp", "deprecatedFirstTimestamp", "eventTime"];
    since_value(first.into_iter().find_map(|field| get(event, field)), now)
}

fn last_seen(event: &Value, now: Timestamp) -> String {
    if let Some(last) = event.pointer("/series/lastObservedTime") {
        return since_value(Some(last), now);
    }
    match ["lastTimestamp", "deprecatedLastTimestamp"].into_iter().find_map(|field| get(event, field)) {
        Some(last) => since_value(Some(last), now),
        None => first_seen(event, now),
    }
}

fn count(event: &Value) -> i64 {
    let plain = int(event, "count").or_else(|| int(event, "deprecatedCount"));
    let series = event.pointer("/series/count").and_then(Value::as_i64);
    series.or(plain).filter(|count| *count > 0).unwrap_or(1)
}

fn source(event: &Value) -> String {
    let part = |old: &str, older: &str, new: &str| {
        or(or(text_at(event, old), text_at(event, older)), text(event, new)).to_owned()
    };
    let component = part("/source/component", "/deprecatedSource/component", "reportingController");
    let component = if component.is_empty() { text(event, "reportingComponent").to_owned() } else { component };
    let host = part("/source/host", "/deprecatedSource/host", "reportingInstance");
    if host.is_empty() { component } else { format!("{component}, {host}") }
}

/// The names of the fields that the two forms spell differently: core first.
const RENAMED: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

fn rename(event: &mut Value, from: impl Fn(&(&'static str, &'static str)) -> (&'static str, &'static str)) {
    let Some(map) = event.as_object_mut() else { return };
    for pair in RENAMED {
        let (old, new) = from(pair);
        if let Some(value) = map.remove(old) {
            map.insert(new.to_owned(), value);
        }
    }
}

/// An `events.k8s.io/v1` Event in the form of the core group.
pub fn to_core(event: &mut Value) {
    rename(event, |(core, new)| (new, core));
    set(event, "apiVersion", "v1");
    for field in ["reportingComponent", "reportingInstance"] {
        super::fields::default_to(event, field, "");
    }
}

/// A core Event in the form of `events.k8s.io/v1`.
pub fn to_events(event: &mut Value) {
    rename(event, |(core, new)| (core, new));
    set(event, "apiVersion", "events.k8s.io/v1");
}

struct CoreEvent;

impl Behaviour for CoreEvent {
    fn default(&self, object: &mut Value) {
        for field in ["reportingComponent", "reportingInstance"] {
            super::fields::default_to(object, field, "");
        }
    }
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}
    fn validate(&self, object: &Value, _old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        namespace(&mut faults, object, "involvedObject");
        faults
    }
    fn selectable_fields(&self, object: &Value) -> Vec<(Cow<'static, str>, String)> {
        let about = |field: &str| text_at(object, &format!("/involvedObject/{field}")).to_owned();
        let source = or(text_at(object, "/source/component"), text(object, "reportingComponent"));
        vec![
            ("involvedObject.kind".into(), about("kind")),
            ("involvedObject.namespace".into(), about("namespace")),
            ("involvedObject.name".into(), about("name")),
            ("involvedObject.uid".into(), about("uid")),
            ("involvedObject.apiVersion".into(), about("apiVersion")),
            ("involvedObject.resourceVersion".into(), about("resourceVersion")),
            ("involvedObject.fieldPath".into(), about("fieldPath")),
            ("reason".into(), text(object, "reason").to_owned()),
            ("reportingComponent".into(), text(object, "reportingComponent").to_owned()),
            ("source".into(), source.to_owned()),
            ("type".into(), text(object, "type").to_owned()),
        ]
    }
    fn field_labels(&self) -> Vec<&str> {
        vec![
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ]
    }
    fn has_generation(&self) -> bool {
        false
    }
}

struct NewEvent;

impl Behaviour for NewEvent {
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        namespace(&mut faults, object, "regarding");
        if old.is_some() {
            return faults;
        }
        if !is_set(object, "eventTime") {
            faults.push(FieldError::required("eventTime", ""));
        }
        for field in ["reportingController", "reportingInstance", "action", "reason"] {
            if text(object, field).is_empty() {
                faults.push(FieldError::required(field, ""));
            }
        }
        let kind = text(object, "type");
        if !["Normal", "Warning"].contains(&kind) {
            faults.push(FieldError::invalid("type", &json!(kind), "has invalid value: must be Normal or Warning"));
        }
        if text(object, "note").len() > 1024 {
            faults.push(FieldError::invalid("note", &json!(""), "can have at most 1024 characters"));
        }
        faults
    }
    fn has_generation(&self) -> bool {
        false
    }
}

/// An event lives in the namespace of what it is about, or in `default` when that is cluster-wide.
fn namespace(faults: &mut Faults, object: &Value, field: &str) {
    let own = meta::namespace(object);
    let about = text_at(object, &format!("/{field}/namespace"));
    let fits = if about.is_empty() { own == "default" || own == "kube-system" } else { about == own };
    if !fits {
        let path = format!("{field}.namespace");
        faults.push(FieldError::invalid(path, &json!(about), "does not match event.namespace"));
    }
}
