//! One message as a JSON object, by its definition.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::wire::{Raw, Wire};
use super::{PREFIX, ProtobufError, decode_at};
use crate::schema::{self, Alternative, Definition, Field, Schema};
use crate::strict::time;

type Object = Map<String, Value>;

/// Far deeper than any object, and shallow enough for any stack.
const DEPTH_MAX: usize = 64;
const JSON_SCHEMA: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

/// Adds the fields of the message `bytes` to `object`.
pub(super) fn read(
    bytes: &[u8],
    definition: &Definition,
    object: &mut Object,
    depth: usize,
) -> Result<(), ProtobufError> {
    if depth > DEPTH_MAX {
        return Err(ProtobufError::Malformed("messages are nested too deep"));
    }
    for entry in Wire::new(bytes) {
        let (number, raw) = entry?;
        if let Some((_, inner)) = definition.embedded.iter().find(|(own, _)| *own == number) {
            if let Some(inner) = schema::asset().at(*inner) {
                read(raw.bytes()?, inner, object, depth + 1)?;
            }
        } else if let Some(field) = definition.fields.iter().find(|field| field.number == number) {
            read_field(raw, field, object, depth)?;
        }
    }
    Ok(())
}

fn read_field(raw: Raw<'_>, field: &Field, object: &mut Object, depth: usize) -> Result<(), ProtobufError> {
    let name = field.name.as_ref();
    match &field.schema {
        Schema::List(list) if field.wrapped => {
            object.insert(name.to_owned(), wrapped(raw, &list.items, depth)?);
        }
        Schema::List(list) => {
            let slot = object.entry(name).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(items) = slot {
                repeat(raw, &list.items, items, depth)?;
            }
        }
        Schema::Map(values, _) => {
            let (key, value) = map_entry(raw, values, field.wrapped, depth)?;
            let slot = object.entry(name).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(map) = slot {
                map.insert(key, value);
            }
        }
        schema => {
            let value = single(raw, schema, depth)?;
            if is_unset(&value, field) {
                object.remove(name);
            } else {
                object.insert(name.to_owned(), value);
            }
        }
    }
    Ok(())
}

/// Zero in a field that is no pointer. Numbers and booleans that must be there are told apart by nothing: they stay.
fn is_unset(value: &Value, field: &Field) -> bool {
    match value {
        Value::Null => true,
        _ if field.pointer => false,
        Value::String(text) => {
            text.is_empty() || text == "0" && matches!(field.schema, Schema::Quantity) && !field.required
        }
        Value::Bool(set) => !set && !field.required,
        Value::Number(number) => number.as_f64() == Some(0.0) && !field.required,
        Value::Object(map) => map.is_empty() && field.omit_empty,
        Value::Array(_) => false,
    }
}

/// One more entry of a list; numbers may come packed.
fn repeat(raw: Raw<'_>, items: &Schema, out: &mut Vec<Value>, depth: usize) -> Result<(), ProtobufError> {
    if let (Raw::Bytes(bytes), Schema::Int32 | Schema::Int64 | Schema::Bool) = (raw, items) {
        let mut packed = Wire::new(bytes);
        while !packed.is_empty() {
            out.push(single(Raw::Varint(packed.varint()?), items, depth)?);
        }
        return Ok(());
    }
    out.push(single(raw, items, depth)?);
    Ok(())
}

/// A list that Go names: a message with the list as its field 1.
fn wrapped(raw: Raw<'_>, items: &Schema, depth: usize) -> Result<Value, ProtobufError> {
    let mut list = Vec::new();
    for entry in Wire::new(raw.bytes()?) {
        if let (1, inner) = entry? {
            repeat(inner, items, &mut list, depth + 1)?;
        }
    }
    Ok(Value::Array(list))
}

fn map_entry(raw: Raw<'_>, values: &Schema, in_message: bool, depth: usize) -> Result<(String, Value), ProtobufError> {
    let (mut key, mut value) = (String::new(), None);
    for entry in Wire::new(raw.bytes()?) {
        match entry? {
            (1, text) => key = text.text()?,
            (2, inner) => {
                value = Some(match values.list() {
                    Some(list) if in_message => wrapped(inner, &list.items, depth)?,
                    _ => single(inner, values, depth + 1)?,
                });
            }
            _ => {}
        }
    }
    let value = match value {
        Some(value) => value,
        None => single(Raw::Bytes(&[]), values, depth + 1).unwrap_or(Value::Null),
    };
    Ok((key, value))
}

fn single(raw: Raw<'_>, schema: &Schema, depth: usize) -> Result<Value, ProtobufError> {
    Ok(match schema {
        Schema::String => Value::String(raw.text()?),
        Schema::Bytes => Value::String(STANDARD.encode(raw.bytes()?)),
        Schema::Bool => Value::Bool(raw.integer()? != 0),
        Schema::Int32 | Schema::Int64 => Value::from(raw.integer()?),
        Schema::Number => Value::from(raw.float()?),
        Schema::Quantity => quantity(raw.bytes()?)?,
        Schema::IntOrString => int_or_string(raw.bytes()?)?,
        Schema::Time => moment(raw.bytes()?, false)?,
        Schema::MicroTime => moment(raw.bytes()?, true)?,
        Schema::Duration => duration(raw.bytes()?)?,
        Schema::Any | Schema::Open | Schema::FieldSet => embedded_json(raw.bytes()?, depth)?,
        Schema::SchemaOr(form) => schema_or(raw.bytes()?, *form, depth)?,
        Schema::Ref(_) | Schema::Inline(_) => {
            let mut object = Map::new();
            if let Some(definition) = schema.definition() {
                read(raw.bytes()?, definition, &mut object, depth + 1)?;
            }
            Value::Object(object)
        }
        Schema::List(_) | Schema::Map(..) => return Err(ProtobufError::Malformed("a list stands where none can")),
    })
}

fn quantity(bytes: &[u8]) -> Result<Value, ProtobufError> {
    for entry in Wire::new(bytes) {
        if let (1, text) = entry? {
            return Ok(Value::String(text.text()?));
        }
    }
    Ok(Value::String("0".to_owned()))
}

fn int_or_string(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let (mut is_text, mut number, mut text) = (false, 0, String::new());
    for entry in Wire::new(bytes) {
        match entry? {
            (1, kind) => is_text = kind.integer()? == 1,
            (2, value) => number = value.integer()?,
            (3, value) => text = value.text()?,
            _ => {}
        }
    }
    Ok(if is_text { Value::String(text) } else { Value::from(number) })
}

/// An empty message is Go's zero time, which JSON writes as null.
fn moment(bytes: &[u8], micros: bool) -> Result<Value, ProtobufError> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanos) = (0, 0);
    for entry in Wire::new(bytes) {
        match entry? {
            (1, value) => seconds = value.integer()?,
            (2, value) => nanos = value.integer()?,
            _ => {}
        }
    }
    let nanos = i32::try_from(nanos).map_err(|_| ProtobufError::Malformed("a time is out of range"))?;
    let stamp = Timestamp::new(seconds, nanos).map_err(|_| ProtobufError::Malformed("a time is out of range"))?;
    Ok(Value::String(time::written(stamp, micros)))
}

fn duration(bytes: &[u8]) -> Result<Value, ProtobufError> {
    for entry in Wire::new(bytes) {
        if let (1, nanos) = entry? {
            return Ok(Value::String(format!("{}ns", nanos.integer()?)));
        }
    }
    Ok(Value::Null)
}

/// JSON, or another envelope, in field 1.
fn embedded_json(bytes: &[u8], depth: usize) -> Result<Value, ProtobufError> {
    for entry in Wire::new(bytes) {
        if let (1, raw) = entry? {
            let raw = raw.bytes()?;
            return if raw.starts_with(PREFIX) {
                decode_at(raw, depth + 1)
            } else if raw.is_empty() {
                Ok(Value::Null)
            } else {
                serde_json::from_slice(raw).map_err(|_| ProtobufError::Malformed("a raw value is no JSON"))
            };
        }
    }
    Ok(Value::Null)
}

fn schema_or(bytes: &[u8], form: Alternative, depth: usize) -> Result<Value, ProtobufError> {
    let Some(definition) = schema::by_name(JSON_SCHEMA) else { return Ok(Value::Null) };
    let inner = |raw: Raw<'_>| {
        let mut object = Map::new();
        read(raw.bytes()?, definition, &mut object, depth + 1)?;
        Ok::<_, ProtobufError>(Value::Object(object))
    };
    let (mut one, mut many, mut allowed) = (None, Vec::new(), false);
    for entry in Wire::new(bytes) {
        match (form, entry?) {
            (Alternative::Bool, (1, raw)) => allowed = raw.integer()? != 0,
            (Alternative::Bool, (2, raw)) | (_, (1, raw)) => one = Some(inner(raw)?),
            (Alternative::List, (2, raw)) => many.push(inner(raw)?),
            (Alternative::Strings, (2, raw)) => many.push(Value::String(raw.text()?)),
            _ => {}
        }
    }
    Ok(match (one, form) {
        (Some(one), _) => one,
        (None, Alternative::Bool) => Value::Bool(allowed),
        (None, _) => Value::Array(many),
    })
}
