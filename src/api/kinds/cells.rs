//! Columns and cells that several kinds print.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::fields::{list, text, text_at};
use crate::selector::LabelSelector;
use crate::{Cell, Column};

pub(crate) use crate::table::{age_column, name_column};

pub(crate) const NONE: &str = "<none>";
pub(crate) const UNKNOWN: &str = "<unknown>";

/// A column of texts.
pub(crate) fn column(name: &str, description: &str, cell: fn(&Value, Timestamp) -> Value) -> Column {
    Column {
        name: name.to_owned(),
        kind: "string".to_owned(),
        format: String::new(),
        description: description.to_owned(),
        priority: 0,
        cell: Cell::Computed(cell),
    }
}

/// A column of numbers.
pub(crate) fn number_column(name: &str, description: &str, cell: fn(&Value, Timestamp) -> Value) -> Column {
    Column { kind: "integer".to_owned(), ..column(name, description, cell) }
}

/// When the object came into being, as a date and not as an age.
pub(crate) fn created_at_column() -> Column {
    let created = column("Created At", "When the object was created.", |object, _| {
        json!(or(text_at(object, "/metadata/creationTimestamp"), UNKNOWN))
    });
    Column { kind: "date".to_owned(), ..created }
}

/// A column that only `-o wide` shows.
pub(crate) fn wide(column: Column) -> Column {
    Column { priority: 1, ..column }
}

/// The text, or `placeholder` for none.
pub(crate) fn or<'a>(text: &'a str, placeholder: &'a str) -> &'a str {
    if text.is_empty() { placeholder } else { text }
}

/// Texts with commas between them, or `<none>`.
pub(crate) fn joined<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let all: Vec<&str> = texts.into_iter().collect();
    if all.is_empty() { NONE.to_owned() } else { all.join(",") }
}

/// The first three, and how many more there are.
pub(crate) fn first_three(all: &[String], none: &str) -> String {
    match all {
        [] => none.to_owned(),
        _ if all.len() <= 3 => all.join(","),
        _ => format!("{} + {} more...", all[..3].join(","), all.len() - 3),
    }
}

/// `a=b,c=d` of a plain map, or `<none>`.
pub(crate) fn plain_selector(map: Option<&Value>) -> String {
    let pairs = map.and_then(Value::as_object).into_iter().flatten();
    let shown: Vec<String> =
        pairs.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    joined(shown.iter().map(String::as_str))
}

/// A field of each container of the pod spec at a pointer.
pub(crate) fn of_containers(object: &Value, pointer: &str, field: &str) -> Value {
    let spec = object.pointer(pointer).unwrap_or(&Value::Null);
    let shown: Vec<&str> = list(spec, "containers").iter().map(|container| text(container, field)).collect();
    json!(shown.join(","))
}

/// The containers, images and selector of a kind with a pod template.
pub(crate) fn workload_columns() -> [Column; 3] {
    [
        wide(column("Containers", "Names of each container in the template.", |object, _| {
            of_containers(object, "/spec/template/spec", "name")
        })),
        wide(column("Images", "Images referenced by each container in the template.", |object, _| {
            of_containers(object, "/spec/template/spec", "image")
        })),
        wide(column("Selector", "Label selector for pods.", |object, _| {
            match LabelSelector::from_json(object.pointer("/spec/selector")) {
                Ok(selector) => json!(or(&selector.to_string(), NONE)),
                Err(_) => json!("<error>"),
            }
        })),
    ]
}

/// The addresses of a load balancer's status.
pub(crate) fn load_balancer(object: &Value) -> String {
    let points = super::fields::list_at(object, "/status/loadBalancer/ingress");
    let mut addresses: Vec<&str> = points
        .iter()
        .map(|point| or(text(point, "ip"), text(point, "hostname")))
        .filter(|text| !text.is_empty())
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.join(",")
}
