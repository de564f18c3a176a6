//! Server-side printing: `meta.k8s.io/v1` Table, as `kubectl get` asks for it.

mod age;
mod path;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

pub use age::{human_duration, since, since_value};
pub use path::{JsonPath, JsonPathError};

use crate::{Cell, Column, Kind, meta};

/// What of the object goes along with a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// Its metadata, as `PartialObjectMetadata`; what kubectl gets.
    #[default]
    Metadata,
    /// All of it.
    Object,
}

impl IncludeObject {
    /// Reads the query parameter `includeObject`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "Metadata" => Some(Self::Metadata),
            "None" => Some(Self::None),
            "Object" => Some(Self::Object),
            _ => None,
        }
    }
}

/// `columnDefinitions` of a kind.
pub fn column_definitions(kind: &Kind) -> Value {
    let columns = kind.columns.iter().map(|column| {
        json!({
            "name": column.name, "type": column.kind, "format": column.format,
            "description": column.description, "priority": column.priority,
        })
    });
    columns.collect()
}

/// One row.
pub fn row(kind: &Kind, object: &Value, include: IncludeObject, now: Timestamp) -> Value {
    let cells: Vec<Value> = kind.columns.iter().map(|column| cell(column, object, now)).collect();
    let mut row = json!({ "cells": cells });
    match include {
        IncludeObject::None => row["object"] = Value::Null,
        IncludeObject::Metadata => row["object"] = partial_metadata(object),
        IncludeObject::Object => row["object"] = object.clone(),
    }
    row
}

/// A whole table. `list_metadata` is `resourceVersion`, `continue`, `remainingItemCount` as a list has them; within a
/// watch only the first table names its columns.
pub fn table(kind: &Kind, rows: Vec<Value>, list_metadata: Value, with_columns: bool) -> Value {
    let columns = if with_columns { column_definitions(kind) } else { json!([]) };
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": list_metadata,
        "columnDefinitions": columns, "rows": rows,
    })
}

/// The table of one object, as a GET or a watch event answers it.
pub fn table_of_one(kind: &Kind, object: &Value, include: IncludeObject, now: Timestamp, with_columns: bool) -> Value {
    let metadata = json!({ "resourceVersion": meta::resource_version(object) });
    table(kind, vec![row(kind, object, include, now)], metadata, with_columns)
}

/// `meta.k8s.io/v1` PartialObjectMetadata of an object.
pub fn partial_metadata(object: &Value) -> Value {
    let metadata = object.get("metadata").cloned().unwrap_or_else(|| Value::Object(Map::new()));
    json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata })
}

/// The columns of a kind that names none: `NAME` and `AGE`.
pub fn default_columns() -> Vec<Column> {
    vec![name_column(), age_column()]
}

/// The column that every table begins with.
pub fn name_column() -> Column {
    Column {
        name: "Name".into(),
        kind: "string".into(),
        format: "name".into(),
        description: "Name must be unique within a namespace.".into(),
        priority: 0,
        cell: Cell::Computed(|object, _| json!(meta::name(object))),
    }
}

/// How old an object is.
pub fn age_column() -> Column {
    Column {
        name: "Age".into(),
        kind: "string".into(),
        format: String::new(),
        description: "The time since the object was created.".into(),
        priority: 0,
        cell: Cell::Computed(|object, now| json!(since(meta::creation_timestamp(object), now))),
    }
}

fn cell(column: &Column, object: &Value, now: Timestamp) -> Value {
    match &column.cell {
        Cell::Computed(function) => function(object, now),
        Cell::Path(path) => path_cell(path, &column.kind, object, now),
    }
}

/// A custom resource's cell: null where there is nothing, or something of another type than the column's.
fn path_cell(path: &str, kind: &str, object: &Value, now: Timestamp) -> Value {
    let Ok(path) = path.parse::<JsonPath>() else { return Value::Null };
    let found = path.find(object);
    let Some(first) = found.first().copied() else { return Value::Null };
    match (kind, first) {
        ("string", Value::String(text)) => json!(text),
        ("string", Value::Null) => Value::Null,
        ("string", other) => json!(other.to_string()),
        ("integer", Value::Number(number)) => {
            number.as_i64().or_else(|| number.as_f64().map(|float| float as i64)).map_or(Value::Null, Value::from)
        }
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => first.clone(),
        ("date", Value::String(_)) => json!(since_value(Some(first), now)),
        _ => Value::Null,
    }
}
