//! What apply makes of a place in an object: one value, or a map or list whose entries are told apart.

use serde_json::Value;

use crate::schema::{Definition, List, ListKind, Schema};

/// How the value at one place is taken.
#[derive(Clone, Copy)]
pub(super) enum Type<'a> {
    /// As a whole.
    Leaf,
    /// By its fields.
    Struct(&'a Definition),
    /// By its keys; `true` in the schema of a custom resource.
    Map(&'a Schema, bool),
    /// By its entries, which have keys or are values that occur once; `true` as above.
    List(&'a List, bool),
    /// By its form: objects by their fields, everything else as a whole.
    Deduced,
}

impl<'a> Type<'a> {
    pub fn root(definition: Option<&'a Definition>) -> Self {
        definition.map_or(Self::Deduced, Self::Struct)
    }

    pub fn of(schema: &'a Schema, custom: bool) -> Self {
        match schema {
            Schema::Ref(_) | Schema::Inline(_) => match schema.definition() {
                Some(definition) if !definition.atomic => Self::Struct(definition),
                _ => Self::Leaf,
            },
            Schema::Map(values, false) => Self::Map(values, custom),
            Schema::List(list) if matches!(list.kind, ListKind::Set | ListKind::Map(_)) => Self::List(list, custom),
            Schema::Any | Schema::Open if custom => Self::Deduced,
            _ => Self::Leaf,
        }
    }

    /// The type of a struct's field, and whether the struct has it.
    pub fn field(definition: &'a Definition, name: &str) -> (Self, bool) {
        match definition.field(name) {
            Some(field) if field.atomic => (Self::Leaf, true),
            Some(field) => (Self::of(&field.schema, definition.custom), true),
            None => (Self::Deduced, false),
        }
    }

    /// The type of what stands under `name` in a map of any kind.
    pub fn inner(self, name: &str) -> Self {
        match self {
            Self::Struct(definition) => Self::field(definition, name).0,
            Self::Map(values, custom) => Self::of(values, custom),
            _ => Self::Deduced,
        }
    }

    /// The type of a list's entries.
    pub fn entries(self) -> Self {
        match self {
            Self::List(list, custom) => Self::of(&list.items, custom),
            _ => Self::Deduced,
        }
    }
}

/// What `FieldsV1` calls an entry of a list, or why it cannot be told apart from others.
pub(super) fn element(list: &List, item: &Value) -> Result<Box<str>, String> {
    match &list.kind {
        ListKind::Map(keys) => keyed(keys, list, item),
        _ => match item {
            Value::Object(_) => Err("associative list without keys has an element that's a map type".to_owned()),
            Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
            Value::Null => Err("associative list without keys has an element that's an explicit null".to_owned()),
            scalar => Ok(format!("v:{scalar}").into()),
        },
    }
}

fn keyed(keys: &[crate::schema::Name], list: &List, item: &Value) -> Result<Box<str>, String> {
    let Value::Object(fields) = item else {
        let what = if item.is_null() { "a null element" } else { "non-map elements" };
        return Err(format!("associative list with keys may not have {what}"));
    };
    let mut sorted: Vec<&str> = keys.iter().map(AsRef::as_ref).collect();
    sorted.sort_unstable();
    let mut out = String::from("k:{");
    for (number, key) in sorted.into_iter().enumerate() {
        if number > 0 {
            out.push(',');
        }
        out.push_str(&Value::from(key).to_string());
        out.push(':');
        match fields.get(key) {
            Some(value) => out.push_str(&value.to_string()),
            None => out.push_str(default_of(list, key).ok_or_else(|| {
                format!("associative list with keys has an element that omits key field {key:?} (and doesn't have default value)")
            })?),
        }
    }
    out.push('}');
    Ok(out.into())
}

/// What a key is when an entry does not have it, as JSON.
fn default_of(list: &List, key: &str) -> Option<&'static str> {
    let definition = list.items.definition()?;
    if definition.custom {
        return None;
    }
    let field = definition.field(key)?;
    match field.schema {
        // The one key with a default of its own: of the ports of containers and Services.
        Schema::String if key == "protocol" => Some("\"TCP\""),
        Schema::String => Some("\"\""),
        Schema::Int32 | Schema::Int64 if !field.pointer => Some("0"),
        Schema::Bool if !field.pointer => Some("false"),
        _ => None,
    }
}
