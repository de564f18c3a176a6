//! What each built-in kind and field is for, as `kubectl explain` prints it.
//!
//! The sentences are Kubernetes' own; they come with the types of k8s-openapi. They are walked once, when somebody first
//! asks for OpenAPI, and kept packed: a few hundred KiB in place of megabytes, since hardly anybody asks twice.

mod types;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::LazyLock;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use serde_json::Value;

static PACKED: LazyLock<Vec<u8>> = LazyLock::new(|| pack(&collect()));

/// Stands between the parts of a line: definition, field, sentence.
const BETWEEN: char = '\u{1f}';
/// Stands after each line.
const END: char = '\u{1e}';

/// All sentences as they are kept.
pub(super) struct Descriptions(String);

/// The sentences of one OpenAPI document in the making.
pub(super) struct Sentences<'a>(HashMap<(&'a str, &'a str), &'a str>);

impl Descriptions {
    /// Unpacks the sentences. A broken pack cannot be: it was made in this process. It would read as no sentence.
    pub(super) fn unpack() -> Self {
        let mut text = String::new();
        if DeflateDecoder::new(PACKED.as_slice()).read_to_string(&mut text).is_err() {
            text.clear();
        }
        Self(text)
    }

    /// The sentences, to be looked up.
    pub(super) fn sentences(&self) -> Sentences<'_> {
        let parts = self.0.split_terminator(END).filter_map(|line| {
            let mut parts = line.splitn(3, BETWEEN);
            Some(((parts.next()?, parts.next()?), parts.next()?))
        });
        Sentences(parts.collect())
    }
}

impl Sentences<'_> {
    /// What a definition is.
    pub(super) fn of(&self, definition: &str) -> Option<&str> {
        self.0.get(&(definition, "")).copied()
    }
    /// What a field of it is. Every object has the first two, and lists say nothing of them.
    pub(super) fn of_field(&self, definition: &str, field: &str) -> Option<&str> {
        let found = self.0.get(&(definition, field)).copied();
        let everywhere = ["apiVersion", "kind"].contains(&field);
        found.or_else(|| everywhere.then(|| self.0.get(&("io.k8s.api.core.v1.Pod", field)).copied()).flatten())
    }
}

/// A line for each definition and each of its fields.
fn collect() -> String {
    let mut out = String::new();
    for (name, schema) in types::definitions() {
        add(&mut out, &name, "", &schema);
        for (field, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            add(&mut out, &name, field, schema);
        }
    }
    out
}

fn add(out: &mut String, definition: &str, field: &str, schema: &Value) {
    let Some(sentence) = schema.get("description").and_then(Value::as_str) else { return };
    for part in [definition, field] {
        out.push_str(part);
        out.push(BETWEEN);
    }
    out.push_str(sentence);
    out.push(END);
}

fn pack(text: &str) -> Vec<u8> {
    let mut packer = DeflateEncoder::new(Vec::new(), Compression::default());
    // Writing to memory does not fail.
    if packer.write_all(text.as_bytes()).is_err() {
        return Vec::new();
    }
    packer.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_fields_are_described() {
        let descriptions = Descriptions::unpack();
        let sentences = descriptions.sentences();
        let rows = [
            ("io.k8s.api.core.v1.Pod", "spec"),
            ("io.k8s.api.core.v1.PodSpec", "containers"),
            ("io.k8s.api.core.v1.PodList", "kind"),
            ("io.k8s.api.autoscaling.v1.Scale", "spec"),
            ("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "name"),
            ("io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIServiceSpec", "service"),
        ];
        for (definition, field) in rows {
            assert!(sentences.of_field(definition, field).is_some_and(|text| text.len() > 10), "{definition} {field}");
        }
        assert!(sentences.of("io.k8s.api.core.v1.Pod").is_some_and(|text| text.starts_with("Pod is")));
        assert!(sentences.of("io.example.Nothing").is_none());
        let (packed, unpacked) = (PACKED.len(), descriptions.0.len());
        assert!(packed < 300 << 10 && unpacked < 2 << 20, "{packed} of {unpacked} bytes");
    }

    #[test]
    fn every_kind_has_its_sentences() {
        let descriptions = Descriptions::unpack();
        let sentences = descriptions.sentences();
        let mut missing = Vec::new();
        for kind in crate::kinds::builtin() {
            let Some(definition) = kind.definition() else { continue };
            if sentences.of(&definition.name).is_none() {
                missing.push(definition.name.to_string());
            }
            for field in &definition.fields {
                if sentences.of_field(&definition.name, &field.name).is_none() {
                    missing.push(format!("{}.{}", definition.name, field.name));
                }
            }
        }
        // Kubernetes says nothing of this one either.
        assert_eq!(missing, ["io.k8s.api.certificates.v1.CertificateSigningRequest.metadata"]);
    }
}
