//! Objects that lie in other objects say what they are.

use serde_json::Value;

use super::node::Node;
use crate::FieldError;
use crate::names::dns1035_label_errors;

/// What embedded objects lack.
pub(crate) fn faults(node: &Node, value: &Value) -> Vec<FieldError> {
    let mut out = Vec::new();
    walk(node, value, &mut String::new(), &mut out);
    out
}

fn walk(node: &Node, value: &Value, path: &mut String, out: &mut Vec<FieldError>) {
    let length = path.len();
    match value {
        Value::Object(fields) => {
            if node.embedded {
                identity(path, fields, out);
            }
            for (name, inner) in fields {
                if let Some(schema) = node.properties.get(name) {
                    path.push_str(if length == 0 { "" } else { "." });
                    path.push_str(name);
                    walk(schema, inner, path, out);
                } else if let Some(schema) = &node.additional {
                    path.push_str(&format!("[{name}]"));
                    walk(schema, inner, path, out);
                }
                path.truncate(length);
            }
        }
        Value::Array(entries) => {
            let Some(items) = &node.items else { return };
            for (at, entry) in entries.iter().enumerate() {
                path.push_str(&format!("[{at}]"));
                walk(items, entry, path, out);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

fn identity(path: &str, fields: &serde_json::Map<String, Value>, out: &mut Vec<FieldError>) {
    const EMPTY: &str = "must not be empty";
    for name in ["apiVersion", "kind"] {
        let place = format!("{path}.{name}");
        match fields.get(name) {
            None => out.push(FieldError::required(place, EMPTY)),
            Some(Value::String(text)) if text.is_empty() => {
                out.push(FieldError::invalid(place, &Value::from(""), EMPTY));
            }
            Some(Value::String(text)) if name == "apiVersion" && text.matches('/').count() > 1 => {
                let why = format!("unexpected GroupVersion string: {text}");
                out.push(FieldError::invalid(place, &Value::from(text.as_str()), &why));
            }
            Some(Value::String(text)) if name == "kind" => {
                let wrong = dns1035_label_errors(&text.to_lowercase());
                if !wrong.is_empty() {
                    let why = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
                    out.push(FieldError::invalid(place, &Value::from(text.as_str()), &why));
                }
            }
            Some(Value::String(_)) => {}
            Some(other) => out.push(FieldError::type_invalid(place, other, "must be a string")),
        }
    }
}
