//! What fields a kind has: types, list types, merge keys, protobuf numbers.
//!
//! The built-in definitions are one small asset (`schema/ORIGIN.md`), read once at first use into the structs below. A
//! CustomResourceDefinition's schema becomes the same [`Definition`], so that every reader of schemas (strict decoding,
//! strategic merge, apply, OpenAPI) has one path.

mod asset;
mod custom;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

pub(crate) use asset::asset;

/// A name: borrowed from the asset, or owned by a custom resource's schema.
pub type Name = Cow<'static, str>;

/// A group, version and kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct GroupVersionKind {
    pub group: Name,
    pub version: Name,
    pub kind: Name,
}

/// The fields of a kind or of a part of it.
#[derive(Clone, Debug, Default)]
pub struct Definition {
    /// `io.k8s.api.apps.v1.DeploymentSpec`; made up for custom resources.
    pub name: Name,
    /// The kinds that it describes; empty for parts.
    pub kinds: Box<[GroupVersionKind]>,
    /// Sorted by name.
    pub fields: Box<[Field]>,
    /// Messages whose fields lie flat in JSON but one level deeper in protobuf: number and definition.
    pub(crate) embedded: Box<[(u32, u16)]>,
    /// Whether apply takes it as one value (`x-kubernetes-map-type: atomic`).
    pub atomic: bool,
    /// Whether it is a message of the wire that JSON never shows.
    pub(crate) wire_only: bool,
    /// `x-kubernetes-unions` as JSON text, mostly empty.
    pub(crate) unions: Name,
    /// Whether fields that it does not name are kept (`x-kubernetes-preserve-unknown-fields`).
    pub open: bool,
    /// Whether it comes from a CustomResourceDefinition: types are then validated, not decoded.
    pub custom: bool,
}

/// One field.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its name in JSON.
    pub name: Name,
    /// What it may hold.
    pub schema: Schema,
    /// Its number in protobuf, 0 when it has none of its own.
    pub(crate) number: u32,
    /// Whether it must be there.
    pub required: bool,
    /// Whether zero is a value of its own (a pointer in Go).
    pub pointer: bool,
    /// Whether Kubernetes leaves it out when it is empty.
    pub omit_empty: bool,
    /// Whether a list of it is a message of its own on the wire.
    pub(crate) wrapped: bool,
    /// Whether null is a value (custom resources).
    pub nullable: bool,
    /// Strategic merge: whether lists are merged, not replaced.
    pub patch_merge: bool,
    /// Strategic merge: whether `$retainKeys` is sent along.
    pub retain_keys: bool,
    /// Strategic merge: the key by which entries are known; empty when none.
    pub merge_key: Name,
    /// Whether apply takes the map or object as one value.
    pub atomic: bool,
    /// The Go type that error messages name, empty when it follows from the schema.
    pub(crate) go_type: Name,
}

/// What may stand at one place.
#[derive(Clone, Debug)]
pub enum Schema {
    /// Text.
    String,
    /// Bytes, base64 in JSON.
    Bytes,
    /// `true`, `false`
    Bool,
    /// 32 bits.
    Int32,
    /// 64 bits.
    Int64,
    /// Any number.
    Number,
    /// An amount: text, or a number when read.
    Quantity,
    /// A number or a text.
    IntOrString,
    /// RFC 3339 to the second.
    Time,
    /// RFC 3339 to the microsecond.
    MicroTime,
    /// A Go duration: `1h2m`.
    Duration,
    /// Any JSON.
    Any,
    /// An object of which nothing is known.
    Open,
    /// `managedFields[].fieldsV1`
    FieldSet,
    /// A JSON schema or one of the other forms that CustomResourceDefinitions allow in its place.
    SchemaOr(Alternative),
    /// One of the asset's definitions.
    Ref(u16),
    /// A definition of a custom resource.
    Inline(Arc<Definition>),
    /// A list.
    List(Arc<List>),
    /// A map of texts to something; `true` when apply takes it as one value.
    Map(Arc<Schema>, bool),
}

/// What stands for a JSON schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Alternative {
    List,
    Bool,
    Strings,
}

/// A list's entries and how they are told apart.
#[derive(Clone, Debug)]
pub struct List {
    /// What an entry may hold.
    pub items: Schema,
    /// How apply merges it.
    pub kind: ListKind,
}

/// `x-kubernetes-list-type`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// Not said: as atomic.
    Unset,
    /// One value.
    Atomic,
    /// Scalars, each once.
    Set,
    /// Objects, known by these keys.
    Map(Box<[Name]>),
}

impl Definition {
    /// The field called `name`.
    pub fn field(&self, name: &str) -> Option<&Field> {
        let at = self.fields.binary_search_by(|field| field.name.as_ref().cmp(name)).ok()?;
        self.fields.get(at)
    }
    /// `DeploymentSpec`
    pub fn short_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or_default()
    }
    /// `v1.DeploymentSpec`, as Go names it.
    pub(crate) fn go_type(&self) -> &str {
        self.name.rmatch_indices('.').nth(1).map_or(&*self.name, |(at, _)| self.name.get(at + 1..).unwrap_or_default())
    }
    /// A custom resource's definition, from its `openAPIV3Schema`.
    pub fn of_custom(group: &str, version: &str, kind: &str, schema: &serde_json::Value) -> Self {
        custom::definition(group, version, kind, schema)
    }
}

impl Schema {
    /// The definition of the object that stands here, if it has one.
    pub fn definition(&self) -> Option<&Definition> {
        match self {
            Self::Ref(at) => asset().at(*at),
            Self::Inline(definition) => Some(definition),
            _ => None,
        }
    }
    /// What the entries of the list hold, if this is one.
    pub fn list(&self) -> Option<&List> {
        match self {
            Self::List(list) => Some(list),
            _ => None,
        }
    }
    /// What the values of the map hold, if this is one.
    pub fn values(&self) -> Option<&Schema> {
        match self {
            Self::Map(values, _) => Some(values),
            _ => None,
        }
    }
    /// Whether apply takes what stands here as one value.
    pub fn is_atomic(&self) -> bool {
        match self {
            Self::List(list) => matches!(list.kind, ListKind::Unset | ListKind::Atomic),
            Self::Map(_, atomic) => *atomic,
            Self::Ref(_) | Self::Inline(_) => self.definition().is_some_and(|definition| definition.atomic),
            _ => true,
        }
    }
}

/// The definition of a built-in kind. `DeleteOptions` is found under any group.
pub fn lookup(group: &str, version: &str, kind: &str) -> Option<&'static Definition> {
    let asset = asset();
    asset
        .by_kind(group, version, kind)
        .or_else(|| (kind == "DeleteOptions").then(|| asset.by_kind("", "v1", kind)).flatten())
}

/// A definition by its OpenAPI name: `io.k8s.api.core.v1.PodSpec`.
pub fn by_name(name: &str) -> Option<&'static Definition> {
    asset().by_name(name)
}

/// All definitions that JSON can show, sorted by name.
pub fn all() -> impl Iterator<Item = &'static Definition> {
    asset().iter().filter(|definition| !definition.wire_only)
}
