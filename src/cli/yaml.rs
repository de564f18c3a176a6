//! YAML as kubectl prints it.

use serde_json::Value;

/// The document, ending in a line break.
pub fn print(value: &Value) -> String {
    api::yaml::to_string(value)
}
