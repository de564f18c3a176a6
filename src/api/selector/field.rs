//! Field selectors: `status.phase=Running,metadata.name!=a`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use super::SelectorError;
use crate::{Kind, meta};

/// One condition on one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldTerm {
    /// `metadata.name`, …
    pub field: String,
    /// Whether the field must differ from `value`.
    pub negated: bool,
    /// What it is compared with.
    pub value: String,
}

/// Conditions that must all hold. The default holds for everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    terms: Vec<FieldTerm>,
}

/// The fields of an object that its kind lets be selected by, with their values.
pub fn fields_of(kind: &Kind, object: &Value) -> Vec<(Cow<'static, str>, String)> {
    let mut fields = vec![("metadata.name".into(), meta::name(object).to_owned())];
    if kind.namespaced() {
        fields.push(("metadata.namespace".into(), meta::namespace(object).to_owned()));
    }
    fields.extend(kind.behaviour.selectable_fields(object));
    fields
}

impl FieldSelector {
    /// Whether every object matches.
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// The conditions.
    pub fn terms(&self) -> &[FieldTerm] {
        &self.terms
    }

    /// The value that `field` must have, when one is demanded.
    pub fn exact(&self, field: &str) -> Option<&str> {
        let term = self.terms.iter().find(|term| term.field == field && !term.negated)?;
        Some(&term.value)
    }

    /// Whether more than `metadata.name` and `metadata.namespace` has to be known of an object.
    pub fn needs_object(&self) -> bool {
        self.terms.iter().any(|term| term.field != "metadata.name" && term.field != "metadata.namespace")
    }

    /// Refuses fields that the kind has no label for.
    pub fn check(&self, kind: &Kind) -> Result<(), SelectorError> {
        let labels = kind.behaviour.field_labels();
        for FieldTerm { field, .. } in &self.terms {
            let known = field == "metadata.name" || field == "metadata.namespace" || labels.contains(&field.as_str());
            if known {
                continue;
            }
            return Err(SelectorError(if labels.is_empty() {
                format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
            } else {
                format!("field label not supported: {field}")
            }));
        }
        Ok(())
    }

    /// Whether it holds where `value` answers a field's value (empty when unset).
    pub fn matches_with<'a>(&self, value: impl Fn(&str) -> &'a str) -> bool {
        self.terms.iter().all(|term| (value(&term.field) == term.value) != term.negated)
    }

    /// Whether the object is meant.
    pub fn matches_object(&self, kind: &Kind, object: &Value) -> bool {
        if !self.needs_object() {
            return self.matches_with(|field| match field {
                "metadata.name" => meta::name(object),
                _ => meta::namespace(object),
            });
        }
        let fields = fields_of(kind, object);
        self.matches_with(|field| {
            fields.iter().find(|(name, _)| *name == field).map(|(_, value)| value.as_str()).unwrap_or_default()
        })
    }
}

impl FromStr for FieldSelector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let mut terms = Vec::new();
        for part in split_terms(text) {
            if part.is_empty() {
                continue;
            }
            let found = part.char_indices().find_map(|(at, _)| {
                let rest = &part[at..];
                ["!=", "==", "="].into_iter().find(|sign| rest.starts_with(sign)).map(|sign| (at, sign))
            });
            let Some((at, sign)) = found else {
                return Err(SelectorError(format!("invalid selector: '{text}'; can't understand '{part}'")));
            };
            let value = unescape(&part[at + sign.len()..])?;
            terms.push(FieldTerm { field: part[..at].to_owned(), negated: sign == "!=", value });
        }
        Ok(Self { terms })
    }
}

/// Cuts at the commas that no backslash stands before.
fn split_terms(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn unescape(value: &str) -> Result<String, SelectorError> {
    let mut plain = String::with_capacity(value.len());
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some(meant @ ('\\' | ',' | '=')) => plain.push(meant),
                Some(other) => {
                    return Err(SelectorError(format!("invalid field selector: invalid escape sequence: \\{other}")));
                }
                None => return Err(SelectorError("invalid field selector: invalid escape sequence: \\".to_owned())),
            },
            ',' | '=' => {
                return Err(SelectorError(format!("invalid field selector: unescaped character in value: {letter}")));
            }
            plain_letter => plain.push(plain_letter),
        }
    }
    Ok(plain)
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=")
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, FieldTerm { field, negated, value }) in self.terms.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let sign = if *negated { "!=" } else { "=" };
            write!(out, "{comma}{field}{sign}{}", escape(value))?;
        }
        Ok(())
    }
}
