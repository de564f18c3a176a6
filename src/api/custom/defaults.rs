//! Defaults out of a structural schema.

use serde_json::Value;

use super::node::Node;

/// Fills in what is missing. A null where none may stand counts as missing when there is a default.
pub(crate) fn fill(node: &Node, value: &mut Value) {
    if !node.defaulted {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (name, property) in &node.properties {
                let Some(default) = &property.default else { continue };
                let missing = fields.get(name).is_none_or(|value| value.is_null() && !property.nullable);
                if missing {
                    fields.insert(name.clone(), default.clone());
                }
            }
            for (name, value) in fields.iter_mut() {
                if let Some(inner) = node.properties.get(name).or(node.additional.as_deref()) {
                    if value.is_null()
                        && !inner.nullable
                        && let Some(default) = &inner.default
                    {
                        *value = default.clone();
                    }
                    fill(inner, value);
                }
            }
        }
        Value::Array(entries) => {
            let Some(items) = &node.items else { return };
            for entry in entries {
                if entry.is_null()
                    && !items.nullable
                    && let Some(default) = &items.default
                {
                    *entry = default.clone();
                }
                fill(items, entry);
            }
        }
        _ => {}
    }
}
