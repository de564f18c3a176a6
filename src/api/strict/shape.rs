//! An object brought into the shape that Go's structs would give it: types checked, unknown fields dropped and told,
//! nulls and empty values left out, quantities, times and bytes in their one way of writing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value};

use super::path::Path;
use super::time;
use crate::quantity::Quantity;
use crate::schema::{Alternative, Definition, Field, Schema, by_name};

const JSON_SCHEMA: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

/// A walk over one object.
pub(super) struct Walk<'a> {
    path: Path,
    pub unknown: Vec<String>,
    /// The struct that is being read, for messages.
    owner: &'a str,
    /// The names of the fields that lead here: Go's messages leave indexes and map keys out.
    fields: Vec<&'a str>,
    /// The Go type of the field that is being read, when it does not follow from the schema.
    go_type: &'a str,
    custom: bool,
}

impl<'a> Walk<'a> {
    pub fn new() -> Self {
        Self { path: Path::default(), unknown: Vec::new(), owner: "", fields: Vec::new(), go_type: "", custom: false }
    }

    pub fn object(&mut self, fields: &mut Map<String, Value>, definition: &'a Definition) -> Result<(), String> {
        let outer = (self.owner, self.custom);
        self.owner = definition.short_name();
        self.custom = definition.custom;
        let names: Vec<String> = fields.keys().cloned().collect();
        for name in names {
            let Some(field) = definition.field(&name) else {
                if !definition.open {
                    self.path.push(&name);
                    self.unknown.push(self.path.to_string());
                    self.path.pop();
                    fields.remove(&name);
                }
                continue;
            };
            if let Some(value) = fields.get_mut(&name) {
                self.path.push(&name);
                self.fields.push(&field.name);
                self.go_type = &field.go_type;
                self.value(value, &field.schema)?;
                self.fields.pop();
                self.path.pop();
                let top = self.fields.is_empty() && !self.custom;
                if is_unset(value, field, top) {
                    fields.remove(&name);
                }
            }
        }
        (self.owner, self.custom) = outer;
        Ok(())
    }

    fn value(&mut self, value: &mut Value, schema: &'a Schema) -> Result<(), String> {
        if value.is_null() {
            return Ok(());
        }
        match schema {
            Schema::Any | Schema::Open => Ok(()),
            Schema::FieldSet => self.expect(value, value.is_object(), schema),
            Schema::Ref(_) | Schema::Inline(_) => match (value, schema.definition()) {
                (Value::Object(fields), Some(definition)) => self.object(fields, definition),
                (other, Some(_)) => self.mismatch(other, schema),
                (_, None) => Ok(()),
            },
            Schema::List(list) => self.list(value, schema, &list.items),
            Schema::Map(values, _) => self.map(value, schema, values),
            Schema::SchemaOr(form) => self.schema_or(value, *form),
            _ if self.custom => Ok(()),
            _ => self.scalar(value, schema),
        }
    }

    fn list(&mut self, value: &mut Value, schema: &'a Schema, items: &'a Schema) -> Result<(), String> {
        let Value::Array(list) = value else { return self.mismatch(value, schema) };
        let named = std::mem::take(&mut self.go_type);
        if !named.is_empty() {
            self.go_type = named.strip_prefix("[]").unwrap_or_default();
        }
        let element = self.go_type;
        self.path.push_index();
        for item in list {
            self.go_type = element;
            self.value(item, items)?;
            self.zero(item, items);
            self.path.advance();
        }
        self.path.pop();
        Ok(())
    }

    fn map(&mut self, value: &mut Value, schema: &'a Schema, values: &'a Schema) -> Result<(), String> {
        let Value::Object(map) = value else { return self.mismatch(value, schema) };
        self.go_type = self.go_type.strip_prefix("map[string]").unwrap_or_default();
        let element = self.go_type;
        for (name, item) in map {
            self.path.push(name);
            self.go_type = element;
            self.value(item, values)?;
            self.zero(item, values);
            self.path.pop();
        }
        Ok(())
    }

    /// A null where a value must stand is Go's zero value.
    fn zero(&self, value: &mut Value, schema: &Schema) {
        if !value.is_null() || self.custom {
            return;
        }
        *value = match schema {
            Schema::String | Schema::Bytes => Value::String(String::new()),
            Schema::Quantity => Value::String("0".to_owned()),
            Schema::Bool => Value::Bool(false),
            Schema::Int32 | Schema::Int64 | Schema::Number | Schema::IntOrString => Value::from(0),
            Schema::Ref(_) => Value::Object(Map::new()),
            _ => return,
        };
    }

    fn schema_or(&mut self, value: &mut Value, form: Alternative) -> Result<(), String> {
        let Some(definition) = by_name(JSON_SCHEMA) else { return Ok(()) };
        match (value, form) {
            (Value::Object(fields), _) => self.object(fields, definition),
            (Value::Array(list), Alternative::List) => {
                self.path.push_index();
                for item in list {
                    if let Value::Object(fields) = item {
                        self.object(fields, definition)?;
                    }
                    self.path.advance();
                }
                self.path.pop();
                Ok(())
            }
            (Value::Array(_), Alternative::Strings) | (Value::Bool(_), Alternative::Bool) => Ok(()),
            _ => Err("boolean or JSON schema expected".to_owned()),
        }
    }

    fn scalar(&mut self, value: &mut Value, schema: &'a Schema) -> Result<(), String> {
        match schema {
            Schema::String => self.expect(value, value.is_string(), schema),
            Schema::Bool => self.expect(value, value.is_boolean(), schema),
            Schema::Number => self.expect(value, value.is_number(), schema),
            Schema::Int32 => self.integer(value, schema, i64::from(i32::MIN), i64::from(i32::MAX)),
            Schema::Int64 => self.integer(value, schema, i64::MIN, i64::MAX),
            Schema::Bytes => self.bytes(value, schema),
            Schema::Quantity => quantity(value),
            Schema::IntOrString => int_or_string(value),
            Schema::Time | Schema::MicroTime => {
                let Value::String(text) = &*value else { return Err(no_struct(value, "string")) };
                *value = Value::String(time::normal(text, matches!(schema, Schema::MicroTime))?);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn expect(&self, value: &Value, fits: bool, schema: &Schema) -> Result<(), String> {
        if fits { Ok(()) } else { self.mismatch(value, schema) }
    }

    fn integer(&self, value: &mut Value, schema: &Schema, min: i64, max: i64) -> Result<(), String> {
        let Value::Number(number) = &*value else { return self.mismatch(value, schema) };
        // YAML's `1.0` comes here as a fraction that is none.
        match number.as_i64().or_else(|| whole(number)).filter(|whole| (min..=max).contains(whole)) {
            Some(whole) => {
                *value = Value::from(whole);
                Ok(())
            }
            None => Err(self.sentence(&format!("number {number}"), schema)),
        }
    }

    fn bytes(&self, value: &mut Value, schema: &Schema) -> Result<(), String> {
        let Value::String(text) = &*value else { return self.mismatch(value, schema) };
        let bare: String = text.chars().filter(|letter| !matches!(letter, '\r' | '\n')).collect();
        let decoded = STANDARD.decode(&bare).map_err(|why| {
            let at = match why {
                base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
                _ => bare.trim_end_matches('=').len() / 4 * 4,
            };
            format!("illegal base64 data at input byte {at}")
        })?;
        *value = Value::String(STANDARD.encode(decoded));
        Ok(())
    }

    /// A value of another JSON type than the schema's. Custom resources are validated later, with better words.
    fn mismatch(&self, value: &Value, schema: &Schema) -> Result<(), String> {
        if self.custom { Ok(()) } else { Err(self.sentence(json_type(value), schema)) }
    }

    fn sentence(&self, found: &str, schema: &Schema) -> String {
        let wanted = if self.go_type.is_empty() { go_type(schema) } else { self.go_type.to_owned() };
        format!(
            "json: cannot unmarshal {found} into Go struct field {}.{} of type {wanted}",
            self.owner,
            self.fields.join(".")
        )
    }
}

/// Whether Kubernetes would not write the field: nulls, and what `omitempty` leaves out.
/// `top`: it is a field of the whole object.
fn is_unset(value: &Value, field: &Field, top: bool) -> bool {
    if value.is_null() {
        return !field.nullable;
    }
    // An empty list of managers is a wish of its own: that there be none.
    if field.name == "managedFields" {
        return false;
    }
    if top && field.name == "status" && value.as_object().is_some_and(Map::is_empty) {
        return true;
    }
    if field.pointer || !field.omit_empty {
        return false;
    }
    match (value, &field.schema) {
        (Value::Bool(set), _) => !set,
        (Value::String(text), Schema::String | Schema::Bytes) => text.is_empty(),
        (Value::Number(number), Schema::Int32 | Schema::Int64 | Schema::Number) => number.as_f64() == Some(0.0),
        (Value::Array(list), _) => list.is_empty(),
        (Value::Object(map), Schema::Map(..)) => map.is_empty(),
        _ => false,
    }
}

fn quantity(value: &mut Value) -> Result<(), String> {
    if !value.is_string() && !value.is_number() {
        // Kubernetes reads the raw JSON as a quantity, which it then is not.
        return Err(crate::quantity::QuantityError::Format.to_string());
    }
    if value.as_str() == Some("") {
        *value = Value::String("0".to_owned());
        return Ok(());
    }
    let amount = Quantity::from_json(value).map_err(|why| why.to_string())?;
    *value = Value::String(amount.to_string());
    Ok(())
}

fn int_or_string(value: &mut Value) -> Result<(), String> {
    match &*value {
        Value::String(_) => Ok(()),
        Value::Number(number) => match number.as_i64().or_else(|| whole(number)) {
            Some(whole) if i32::try_from(whole).is_ok() => {
                *value = Value::from(whole);
                Ok(())
            }
            _ => Err(no_struct(&format!("number {number}").into(), "int32")),
        },
        other => Err(no_struct(other, "int32")),
    }
}

fn no_struct(found: &Value, wanted: &str) -> String {
    let found = match found {
        Value::String(text) if text.starts_with("number ") => text,
        other => json_type(other),
    };
    format!("json: cannot unmarshal {found} into Go value of type {wanted}")
}

/// The integer that a fraction without fraction is.
fn whole(number: &Number) -> Option<i64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() <= EXACT_MAX)?;
    // In range and whole, so nothing is cut.
    #[allow(clippy::cast_possible_truncation)]
    Some(float as i64)
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The Go type that belongs to a schema when the asset says nothing else.
fn go_type(schema: &Schema) -> String {
    match schema {
        Schema::String => "string".to_owned(),
        Schema::Bytes => "[]uint8".to_owned(),
        Schema::Bool => "bool".to_owned(),
        Schema::Int32 => "int32".to_owned(),
        Schema::Int64 => "int64".to_owned(),
        Schema::Number => "float64".to_owned(),
        Schema::Quantity => "resource.Quantity".to_owned(),
        Schema::IntOrString => "intstr.IntOrString".to_owned(),
        Schema::Time => "v1.Time".to_owned(),
        Schema::MicroTime => "v1.MicroTime".to_owned(),
        Schema::Duration => "v1.Duration".to_owned(),
        Schema::FieldSet => "v1.FieldsV1".to_owned(),
        Schema::Any | Schema::SchemaOr(_) => "v1.JSON".to_owned(),
        Schema::Open => "runtime.RawExtension".to_owned(),
        Schema::Ref(_) | Schema::Inline(_) => {
            schema.definition().map_or_else(String::new, |definition| definition.go_type().to_owned())
        }
        Schema::List(list) => format!("[]{}", go_type(&list.items)),
        Schema::Map(values, _) => format!("map[string]{}", go_type(values)),
    }
}
