//! PriorityLevelConfiguration: how many requests of a sort are worked on at a time, and what becomes of the others.

use serde_json::{Value, json};

use super::cells::{NONE, age_column, column, name_column};
use super::checks::Faults;
use super::fields::{default_to, get, int, is_set, object_at, same, set, text, text_at};
use super::flow_schema::condition_faults;
use super::row::row;
use crate::{Behaviour, Column, FieldError, Kind, Scope, meta};

const QUEUES_MAX: i64 = 10_000_000;
/// Bits of the hash that queues are dealt by.
const HASH_BITS: f64 = 60.0;

/// The row.
pub fn kind() -> Kind {
    row(
        "flowcontrol.apiserver.k8s.io",
        "v1",
        "PriorityLevelConfiguration",
        "prioritylevelconfigurations",
        Scope::Cluster,
    )
    .status()
    .columns(vec![
        name_column(),
        column("Type", "Whether requests are limited.", |object, _| json!(text_at(object, "/spec/type"))),
        number("NominalConcurrencyShares", |object, _| of(object, "/spec/limited/nominalConcurrencyShares")),
        number("Queues", |object, _| of(object, "/spec/limited/limitResponse/queuing/queues")),
        number("HandSize", |object, _| of(object, "/spec/limited/limitResponse/queuing/handSize")),
        number("QueueLengthLimit", |object, _| of(object, "/spec/limited/limitResponse/queuing/queueLengthLimit")),
        age_column(),
    ])
    .behaviour(PriorityLevel)
    .build()
}

fn number(name: &str, cell: fn(&Value, jiff::Timestamp) -> Value) -> Column {
    column(name, "As the level's spec has it.", cell)
}

fn of(object: &Value, pointer: &str) -> Value {
    match object.pointer(pointer).and_then(Value::as_i64) {
        Some(number) => json!(number),
        None => json!(NONE),
    }
}

/// What the levels that every cluster must have hold.
pub fn mandatory(name: &str) -> Option<Value> {
    match name {
        "exempt" => {
            Some(json!({ "type": "Exempt", "exempt": { "nominalConcurrencyShares": 0, "lendablePercent": 0 } }))
        }
        "catch-all" => Some(json!({
            "type": "Limited",
            "limited": {
                "nominalConcurrencyShares": 5, "lendablePercent": 0, "limitResponse": { "type": "Reject" },
            },
        })),
        _ => None,
    }
}

struct PriorityLevel;

impl Behaviour for PriorityLevel {
    fn default(&self, object: &mut Value) {
        let Some(spec) = object_at(object, "spec") else { return };
        if let Some(exempt) = spec.get_mut("exempt") {
            default_to(exempt, "nominalConcurrencyShares", 0);
            default_to(exempt, "lendablePercent", 0);
        }
        let Some(limited) = spec.get_mut("limited").filter(|limited| limited.is_object()) else { return };
        default_to(limited, "nominalConcurrencyShares", 30);
        default_to(limited, "lendablePercent", 0);
        if let Some(queuing) = limited.pointer_mut("/limitResponse/queuing") {
            for (field, number) in [("handSize", 8), ("queues", 64), ("queueLengthLimit", 50)] {
                if int(queuing, field).unwrap_or_default() == 0 {
                    set(queuing, field, number);
                }
            }
        }
    }
    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({}));
    }
    fn validate(&self, object: &Value, _old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let empty = json!({});
        let spec = get(object, "spec").unwrap_or(&empty);
        let name = meta::name(object);
        type_faults(&mut faults, spec, name);
        if let Some(fixed) = mandatory(name) {
            // How much the exempt level lends may be set.
            let differs = match name {
                "exempt" => text(spec, "type") != "Exempt" || is_set(spec, "limited"),
                _ => !same(Some(&fixed), Some(spec)),
            };
            if differs {
                let detail = format!("spec of '{name}' must equal the fixed value");
                faults.push(FieldError::invalid("spec", spec, &detail));
            }
        }
        faults
    }
    fn validate_status(&self, object: &Value, _old: &Value) -> Vec<FieldError> {
        condition_faults(object)
    }
}

fn type_faults(faults: &mut Faults, spec: &Value, name: &str) {
    let kind = text(spec, "type");
    if (name == "exempt") != (kind == "Exempt") {
        let detail = "type must be 'Exempt' if and only if name is 'exempt'";
        faults.push(FieldError::invalid("spec.type", &json!(kind), detail));
    }
    match kind {
        "Exempt" => {
            if is_set(spec, "limited") {
                faults.push(FieldError::forbidden("spec.limited", "must be nil if the type is not Limited"));
            }
            if let Some(exempt) = get(spec, "exempt") {
                shares(faults, exempt, "spec.exempt");
            }
        }
        "Limited" => {
            if is_set(spec, "exempt") {
                faults.push(FieldError::forbidden("spec.exempt", "must be nil if the type is Limited"));
            }
            match get(spec, "limited") {
                None => faults.push(FieldError::required("spec.limited", "must not be empty when type is Limited")),
                Some(limited) => limited_faults(faults, limited, "spec.limited"),
            }
        }
        _ => faults.push(FieldError::not_supported("spec.type", &json!(kind), &["Exempt", "Limited"])),
    }
}

fn shares(faults: &mut Faults, holder: &Value, path: &str) {
    if let Some(number) = int(holder, "nominalConcurrencyShares").filter(|number| *number < 0) {
        let path = format!("{path}.nominalConcurrencyShares");
        faults.push(FieldError::invalid(path, &json!(number), "must be a non-negative integer"));
    }
    if let Some(number) = int(holder, "lendablePercent").filter(|number| !(0..=100).contains(number)) {
        let path = format!("{path}.lendablePercent");
        faults.push(FieldError::invalid(path, &json!(number), "must be between 0 and 100, inclusive"));
    }
}

fn limited_faults(faults: &mut Faults, limited: &Value, path: &str) {
    shares(faults, limited, path);
    if let Some(number) = int(limited, "borrowingLimitPercent").filter(|number| *number < 0) {
        let path = format!("{path}.borrowingLimitPercent");
        faults.push(FieldError::invalid(path, &json!(number), "if specified, must be a non-negative integer"));
    }
    let empty = json!({});
    let response = get(limited, "limitResponse").unwrap_or(&empty);
    let path = format!("{path}.limitResponse");
    match (text(response, "type"), get(response, "queuing")) {
        ("Reject", None) => {}
        ("Reject", Some(_)) => {
            let detail = "must be nil if limited.limitResponse.type is not Limited";
            faults.push(FieldError::forbidden(format!("{path}.queuing"), detail));
        }
        ("Queue", None) => {
            let detail = "must not be empty if limited.limitResponse.type is Limited";
            faults.push(FieldError::required(format!("{path}.queuing"), detail));
        }
        ("Queue", Some(queuing)) => queuing_faults(faults, queuing, &format!("{path}.queuing")),
        (kind, _) => {
            faults.push(FieldError::not_supported(format!("{path}.type"), &json!(kind), &["Queue", "Reject"]));
        }
    }
}

fn queuing_faults(faults: &mut Faults, queuing: &Value, path: &str) {
    let number = |field: &str| int(queuing, field).unwrap_or_default();
    let mut wrong = |field: &str, detail: &str| {
        faults.push(FieldError::invalid(format!("{path}.{field}"), &json!(number(field)), detail));
    };
    if number("queueLengthLimit") <= 0 {
        wrong("queueLengthLimit", "must be positive");
    }
    let (queues, hand) = (number("queues"), number("handSize"));
    if queues <= 0 {
        wrong("queues", "must be positive");
    } else if queues > QUEUES_MAX {
        wrong("queues", &format!("must not be greater than {QUEUES_MAX}"));
    }
    if hand <= 0 {
        wrong("handSize", "must be positive");
    } else if hand > queues {
        wrong("handSize", &format!("should not be greater than queues ({queues})"));
    } else if (queues as f64).log2() * hand as f64 > HASH_BITS {
        let detail = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {HASH_BITS}"
        );
        wrong("handSize", &detail);
    }
}
