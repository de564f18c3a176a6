//! OpenAPI documents, made on demand from a [`KindSet`] and the schema asset, and kept by nobody.
//!
//! Clients read from them which query parameters and patch types a kind takes (`fieldValidation`, `dryRun`), how its lists
//! merge, and what `kubectl explain` shows.

mod custom;
mod descriptions;
mod gnostic;
mod paths;
mod schemas;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::discovery;
use crate::kind::{Kind, KindSet};
use crate::schema;

/// Which OpenAPI a document is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    V2,
    V3,
}

impl Dialect {
    fn reference(self, name: &str) -> String {
        match self {
            Self::V2 => format!("#/definitions/{name}"),
            Self::V3 => format!("#/components/schemas/{name}"),
        }
    }
}

/// `GET /openapi/v3`: the index, JSON. A path's hash changes when its document does.
pub fn v3_index(kinds: &KindSet) -> Vec<u8> {
    let mut paths = Map::new();
    for (group, version) in group_versions(kinds) {
        let path = path_of(group, version);
        let url = format!("/openapi/v3/{path}?hash={}", hash(kinds, group, version));
        paths.insert(path, json!({ "serverRelativeURL": url }));
    }
    json!({ "paths": paths }).to_string().into_bytes()
}

/// `GET /openapi/v3/PATH` (`api/v1`, `apis/apps/v1`): one group version, JSON.
pub fn v3_document(kinds: &KindSet, path: &str) -> Option<Vec<u8>> {
    let path = path.trim_matches('/');
    let (group, version) =
        group_versions(kinds).into_iter().find(|(group, version)| path_of(group, version) == path)?;
    let rows: Vec<&Kind> = in_version(kinds, group, version).collect();
    let components = json!({
        "schemas": schemas::closure(names(rows.iter().copied()), &rows, Dialect::V3),
        "securitySchemes": { "BearerToken": { "type": "apiKey", "name": "authorization", "in": "header" } },
    });
    let document = json!({
        "openapi": "3.0.0",
        "info": info(),
        "paths": paths::of(&rows, Dialect::V3),
        "components": components,
    });
    Some(document.to_string().into_bytes())
}

/// What the hash in the index and the `ETag` of one document are made from: its kinds and the schemas behind them.
pub fn v3_hash(kinds: &KindSet, path: &str) -> Option<String> {
    let path = path.trim_matches('/');
    let (group, version) =
        group_versions(kinds).into_iter().find(|(group, version)| path_of(group, version) == path)?;
    Some(hash(kinds, group, version))
}

/// The media type of [`v2_protobuf`]. kubectl asks for it with `@v1.0` in place of `.v1.0`.
pub const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// `GET /openapi/v2`, JSON.
pub fn v2(kinds: &KindSet) -> Vec<u8> {
    v2_value(kinds).to_string().into_bytes()
}

/// `GET /openapi/v2` in the protobuf form ([`V2_PROTOBUF`]) that kubectl asks for when it falls back to v2.
pub fn v2_protobuf(kinds: &KindSet) -> Vec<u8> {
    gnostic::encode(&v2_value(kinds))
}

fn v2_value(kinds: &KindSet) -> Value {
    let rows: Vec<&Kind> = kinds.iter().map(AsRef::as_ref).collect();
    json!({
        "swagger": "2.0",
        "info": info(),
        "paths": paths::of(&rows, Dialect::V2),
        "definitions": schemas::closure(names(rows.iter().copied()), &rows, Dialect::V2),
        "securityDefinitions": { "BearerToken": { "type": "apiKey", "name": "authorization", "in": "header" } },
    })
}

fn info() -> Value {
    json!({ "title": "Kubernetes", "version": "v1.36.0" })
}

fn path_of(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

fn group_versions(kinds: &KindSet) -> Vec<(&str, &str)> {
    let groups = discovery::group_names(kinds);
    groups
        .into_iter()
        .flat_map(|group| discovery::versions(kinds, group).into_iter().map(move |version| (group, version)))
        .collect()
}

fn in_version<'a>(kinds: &'a KindSet, group: &'a str, version: &'a str) -> impl Iterator<Item = &'a Kind> {
    kinds.iter().map(AsRef::as_ref).filter(move |kind| kind.group == group && kind.version == version)
}

/// The definitions that documents over these kinds begin with.
fn names<'a>(rows: impl Iterator<Item = &'a Kind>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for kind in rows {
        names.insert(schemas::name(&kind.group, &kind.version, &kind.kind));
        names.insert(schemas::name(&kind.group, &kind.version, &kind.list_kind()));
        for sub in discovery::subresources(kind) {
            names.insert(schemas::name(&sub.group, &sub.version, &sub.kind));
        }
    }
    for (version, kind) in [("v1", "Status"), ("v1", "DeleteOptions")] {
        names.extend(schema::lookup("", version, kind).map(|definition| definition.name.to_string()));
    }
    names
}

/// Changes with how documents are written: what clients hold of an earlier form is not asked for again otherwise.
const FORM: &str = "2";

/// 64 bits of FNV-1a over what the document is made from.
fn hash(kinds: &KindSet, group: &str, version: &str) -> String {
    let mut state = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |text: &str| {
        for byte in text.bytes().chain([0]) {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    add(env!("CARGO_PKG_VERSION"));
    add(FORM);
    add(&schema::all().count().to_string());
    for kind in in_version(kinds, group, version) {
        add(&format!(
            "{} {} {} {:?} {:?} {}",
            kind.kind, kind.plural, kind.singular, kind.scope, kind.verbs, kind.strategic
        ));
        if let Some(schema) = kind.behaviour.published_schema() {
            add(&schema.to_string());
        }
        for sub in discovery::subresources(kind) {
            add(&format!("{} {} {} {} {:?}", sub.name, sub.group, sub.version, sub.kind, sub.verbs));
        }
    }
    format!("{state:016X}")
}
