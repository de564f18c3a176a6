//! YAML in and out, as kubectl reads and prints it.
//!
//! kubectl follows YAML 1.1: `yes` and `on` are booleans, `0644` is 420. Aliases are expanded within limits, so that a
//! small text cannot grow without bound.

mod emit;
mod read;
#[cfg(test)]
mod tests;

use serde_json::Value;

pub use emit::to_string;
pub(crate) use read::parse_lenient;
pub use read::{documents, parse};

/// One document of a YAML stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Its content.
    pub value: Value,
    /// The line its text starts on, from 1.
    pub line: usize,
}

/// Why YAML could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", place(*.line, *.column))]
pub struct YamlError {
    /// What is wrong, lower-case, without the place.
    pub message: String,
    /// From 1; 0 when unknown.
    pub line: usize,
    /// From 1; 0 when unknown.
    pub column: usize,
}

fn place(line: usize, column: usize) -> String {
    match (line, column) {
        (0, _) => String::new(),
        (line, 0) => format!("line {line}: "),
        (line, column) => format!("line {line}, column {column}: "),
    }
}
