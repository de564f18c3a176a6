//! Reading the asset: one pass over its lines, names borrowed from the unpacked text.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, LazyLock};

use super::{Alternative, Definition, Field, GroupVersionKind, List, ListKind, Name, Schema};

const PACKED: &[u8] = include_bytes!("kubernetes-1.36.txt.gz");

static ASSET: LazyLock<Asset> = LazyLock::new(Asset::read);

/// All built-in definitions.
pub(crate) struct Asset {
    definitions: Vec<Definition>,
    /// How many of them OpenAPI has, sorted by name; the others stand behind.
    sorted: usize,
    kinds: HashMap<(&'static str, &'static str, &'static str), u16>,
}

/// The asset, read at the first call.
pub(crate) fn asset() -> &'static Asset {
    &ASSET
}

impl Asset {
    pub(crate) fn at(&self, index: u16) -> Option<&Definition> {
        self.definitions.get(usize::from(index))
    }
    pub(crate) fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<&Definition> {
        self.at(*self.kinds.get(&(group, version, kind))?)
    }
    pub(crate) fn by_name(&self, name: &str) -> Option<&Definition> {
        let sorted = self.definitions.get(..self.sorted)?;
        sorted.get(sorted.binary_search_by(|definition| definition.name.as_ref().cmp(name)).ok()?)
    }
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Definition> {
        self.definitions.iter()
    }

    /// A damaged asset gives fewer definitions, never a panic; a test counts them.
    fn read() -> Self {
        let mut text = String::new();
        if flate2::read::GzDecoder::new(PACKED).read_to_string(&mut text).is_err() {
            text.clear();
        }
        // It lives as long as the process, and every name borrows from it.
        let text: &'static str = Box::leak(text.into_boxed_str());
        let mut definitions: Vec<Definition> = Vec::new();
        let mut kinds = HashMap::new();
        let mut fields: Vec<Field> = Vec::new();
        let mut embedded = Vec::new();
        let mut current: Option<Definition> = None;
        for line in text.lines() {
            match line.as_bytes().first() {
                Some(b'=') => {
                    finish(current.take(), &mut fields, &mut embedded, &mut definitions);
                    let at = u16::try_from(definitions.len()).unwrap_or(u16::MAX);
                    current = Some(head(line.get(1..).unwrap_or_default(), at, &mut kinds));
                }
                Some(b'>') => embedded.extend(embedding(line)),
                _ => fields.extend(field(line)),
            }
        }
        finish(current, &mut fields, &mut embedded, &mut definitions);
        let sorted = definitions.partition_point(|definition| !definition.wire_only);
        Self { definitions, sorted, kinds }
    }
}

fn finish(
    current: Option<Definition>,
    fields: &mut Vec<Field>,
    embedded: &mut Vec<(u32, u16)>,
    definitions: &mut Vec<Definition>,
) {
    let Some(mut definition) = current else { return };
    definition.fields = std::mem::take(fields).into_boxed_slice();
    definition.embedded = std::mem::take(embedded).into_boxed_slice();
    definitions.push(definition);
}

type Kinds = HashMap<(&'static str, &'static str, &'static str), u16>;

fn head(line: &'static str, at: u16, kinds: &mut Kinds) -> Definition {
    let mut parts = line.split('\t');
    let name = parts.next().unwrap_or_default();
    let flags = parts.next().unwrap_or_default();
    let listed = parts.next().unwrap_or_default();
    let mut named = Vec::new();
    for one in listed.split(';').filter(|one| !one.is_empty()) {
        let mut pieces = one.split('/');
        if let (Some(group), Some(version), Some(kind)) = (pieces.next(), pieces.next(), pieces.next()) {
            kinds.insert((group, version, kind), at);
            named.push(GroupVersionKind { group: group.into(), version: version.into(), kind: kind.into() });
        }
    }
    Definition {
        name: Name::Borrowed(name),
        kinds: named.into_boxed_slice(),
        atomic: flags.contains('A'),
        wire_only: flags.contains('H'),
        unions: Name::Borrowed(parts.next().unwrap_or_default()),
        ..Definition::default()
    }
}

fn embedding(line: &str) -> Option<(u32, u16)> {
    let (number, definition) = line.get(1..)?.split_once("\t@")?;
    Some((number.parse().ok()?, definition.parse().ok()?))
}

fn field(line: &'static str) -> Option<Field> {
    let mut parts = line.split('\t');
    let name = parts.next()?;
    let letters = parts.next()?;
    let number = parts.next().unwrap_or_default().parse().unwrap_or(0);
    let flags = parts.next().unwrap_or_default();
    let merge_key = parts.next().unwrap_or_default();
    let keys = parts.next().unwrap_or_default();
    let go_type = parts.next().unwrap_or_default();
    let has = |flag| flags.contains(flag);
    let kind = if has('m') {
        ListKind::Map(keys.split(',').map(Name::Borrowed).collect())
    } else if has('s') {
        ListKind::Set
    } else if has('a') {
        ListKind::Atomic
    } else {
        ListKind::Unset
    };
    Some(Field {
        name: Name::Borrowed(name),
        schema: schema(letters, kind, has('A'))?,
        number,
        required: has('r'),
        pointer: has('p'),
        omit_empty: has('e'),
        wrapped: has('w'),
        nullable: false,
        patch_merge: has('M'),
        retain_keys: has('R'),
        merge_key: Name::Borrowed(merge_key),
        atomic: has('A'),
        go_type: Name::Borrowed(go_type),
    })
}

fn schema(letters: &str, kind: ListKind, atomic: bool) -> Option<Schema> {
    let (first, rest) = letters.split_at_checked(1)?;
    Some(match first {
        "s" => Schema::String,
        "y" => Schema::Bytes,
        "b" => Schema::Bool,
        "i" => Schema::Int32,
        "I" => Schema::Int64,
        "n" => Schema::Number,
        "q" => Schema::Quantity,
        "x" => Schema::IntOrString,
        "t" => Schema::Time,
        "T" => Schema::MicroTime,
        "D" => Schema::Duration,
        "o" => Schema::Open,
        "f" => Schema::FieldSet,
        "@" => Schema::Ref(rest.parse().ok()?),
        "[" => Schema::List(Arc::new(List { items: schema(rest, ListKind::Unset, false)?, kind })),
        "{" => Schema::Map(Arc::new(schema(rest, ListKind::Unset, false)?), atomic),
        "c" => Schema::SchemaOr(match rest {
            "a" => Alternative::List,
            "b" => Alternative::Bool,
            _ => Alternative::Strings,
        }),
        _ => Schema::Any,
    })
}
