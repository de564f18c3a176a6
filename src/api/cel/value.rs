//! Values of expressions: from JSON, back to it, and what they weigh.

use std::collections::HashMap;
use std::sync::Arc;

use kube_cel::cel::Value;
use kube_cel::cel::objects::{Key, Map, Opaque, OptionalValue};
use serde_json::Value as Json;

use super::library;
use super::types::Type;

/// The value of a type: what `type(x)` gives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TypeName(pub &'static str);

impl Opaque for TypeName {
    fn runtime_type_name(&self) -> &str {
        "type"
    }
}

/// JSON of which no type is known.
pub(crate) fn of_json(json: &Json) -> Value {
    typed(json, &Type::Dyn)
}

/// JSON whose type is known: a date becomes a time, an integer in a `number` field a double.
pub(crate) fn typed(json: &Json, r#type: &Type) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => match (r#type, number.as_i64(), number.as_u64()) {
            (Type::Double, ..) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
            (_, Some(number), _) => Value::Int(number),
            (_, None, Some(number)) => Value::UInt(number),
            _ => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => typed_text(text, r#type),
        Json::Array(entries) => {
            let of = if let Type::List(of, _) = r#type { of } else { &Type::Dyn };
            Value::List(Arc::new(entries.iter().map(|entry| typed(entry, of)).collect()))
        }
        Json::Object(fields) => {
            let of = |name: &str| match r#type {
                Type::Map(_, of, _) => of,
                Type::Object(object) => object.fields.get(name).unwrap_or(&Type::Dyn),
                _ => &Type::Dyn,
            };
            map(fields.iter().map(|(name, value)| (name.as_str(), typed(value, of(name)))))
        }
    }
}

fn typed_text(text: &str, r#type: &Type) -> Value {
    let plain = || Value::String(Arc::new(text.to_owned()));
    let read = |function: &str| library::call(function, None, &[plain()]).unwrap_or_else(|_| plain());
    match r#type {
        Type::Timestamp if !text.contains('T') => {
            library::call("timestamp", None, &[Value::String(Arc::new(format!("{text}T00:00:00Z")))])
                .unwrap_or_else(|_| plain())
        }
        Type::Timestamp => read("timestamp"),
        Type::Duration => read("duration"),
        Type::Bytes => read("base64.decode"),
        _ => plain(),
    }
}

pub(crate) fn map<'a>(fields: impl Iterator<Item = (&'a str, Value)>) -> Value {
    let map: HashMap<Key, Value> = fields.map(|(name, value)| (key(name), value)).collect();
    Value::Map(Map { map: Arc::new(map) })
}

pub(crate) fn key(name: &str) -> Key {
    Key::String(Arc::new(name.to_owned()))
}

pub(crate) fn key_of(value: &Value) -> Option<Key> {
    Some(match value {
        Value::String(text) => Key::String(text.clone()),
        Value::Int(number) => Key::Int(*number),
        Value::UInt(number) => Key::Uint(*number),
        Value::Bool(flag) => Key::Bool(*flag),
        Value::Float(number) if number.fract() == 0.0 && number.abs() < 9e18 => Key::Int(*number as i64),
        _ => return None,
    })
}

pub(crate) fn optional(value: Option<Value>) -> Value {
    Value::Opaque(Arc::new(value.map_or_else(OptionalValue::none, OptionalValue::of)))
}

/// What an optional value holds, when `value` is one.
pub(crate) fn as_optional(value: &Value) -> Option<Option<&Value>> {
    let Value::Opaque(opaque) = value else { return None };
    opaque.downcast_ref::<OptionalValue>().map(OptionalValue::value)
}

/// What a value weighs: about one for each of its parts and for ten bytes of text. Stops counting at `limit`.
pub(crate) fn weight(value: &Value, limit: u64) -> u64 {
    let mut total = 1u64;
    match value {
        Value::String(text) => total += text.len() as u64 / 10,
        Value::Bytes(bytes) => total += bytes.len() as u64 / 10,
        Value::List(entries) => {
            for entry in entries.iter() {
                if total >= limit {
                    break;
                }
                total += weight(entry, limit - total);
            }
        }
        Value::Map(map) => {
            for (key, value) in map.map.iter() {
                if total >= limit {
                    break;
                }
                total += 1 + if let Key::String(text) = key { text.len() as u64 / 10 } else { 0 };
                total += weight(value, limit.saturating_sub(total));
            }
        }
        Value::Opaque(_) => {
            if let Some(Some(inner)) = as_optional(value) {
                total += weight(inner, limit);
            }
        }
        _ => {}
    }
    total
}

/// As JSON; times and other things without a form of their own become text.
pub(crate) fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(flag) => Json::Bool(*flag),
        Value::Int(number) => (*number).into(),
        Value::UInt(number) => (*number).into(),
        Value::Float(number) => serde_json::Number::from_f64(*number).map_or(Json::Null, Json::Number),
        Value::String(text) => Json::String(text.to_string()),
        Value::List(entries) => entries.iter().map(to_json).collect(),
        Value::Map(map) => Json::Object(map.map.iter().map(|(key, value)| (key_text(key), to_json(value))).collect()),
        _ => match as_optional(value) {
            Some(None) => Json::Null,
            Some(Some(inner)) => to_json(inner),
            None => Json::String(shown(value)),
        },
    }
}

fn key_text(key: &Key) -> String {
    match key {
        Key::String(text) => text.to_string(),
        Key::Int(number) => number.to_string(),
        Key::Uint(number) => number.to_string(),
        Key::Bool(flag) => flag.to_string(),
    }
}

/// As text, for messages.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.to_string(),
        Value::Int(number) => number.to_string(),
        Value::UInt(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Null => "null".to_owned(),
        Value::Timestamp(time) => match time.to_rfc3339() {
            text if text.ends_with("+00:00") => text.replace("+00:00", "Z"),
            text => text,
        },
        Value::Duration(span) => match span.num_nanoseconds() {
            Some(nanos) => format!("{}s", nanos as f64 / 1e9),
            None => format!("{}s", span.num_seconds()),
        },
        other => match library::call("string", None, std::slice::from_ref(other)) {
            Ok(Value::String(text)) => text.to_string(),
            _ => name_of(other).to_owned(),
        },
    }
}

/// The name of the type that a value has.
pub(crate) fn name_of(value: &Value) -> &'static str {
    match value {
        Value::List(_) => "list",
        Value::Map(_) => "map",
        Value::Int(_) => "int",
        Value::UInt(_) => "uint",
        Value::Float(_) => "double",
        Value::String(_) => "string",
        Value::Bytes(_) => "bytes",
        Value::Bool(_) => "bool",
        Value::Duration(_) => "google.protobuf.Duration",
        Value::Timestamp(_) => "google.protobuf.Timestamp",
        Value::Null => "null_type",
        Value::Opaque(opaque) => match opaque.runtime_type_name() {
            "type" => "type",
            "optional_type" => "optional_type",
            _ => "opaque",
        },
        Value::Function(..) => "function",
    }
}
