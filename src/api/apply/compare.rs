//! What is different between two states of an object.
//!
//! Kubernetes compares what Go would write, and Go writes structs that are no pointers even when nothing is in them. An
//! object of ours leaves some of them out; here they count as there, so that the same fields come to be owned.

use serde_json::{Map, Value};

use super::Reach;
use super::fields::FieldSet;
use super::types::{Type, element};
use crate::schema::{Definition, Field, List, Schema};

/// Fields of the metadata that are the server's, and nobody's else.
pub(super) const OWNERLESS: [&str; 11] = [
    "clusterName",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "name",
    "namespace",
    "resourceVersion",
    "selfLink",
    "uid",
];

static NOTHING: Value = Value::Null;
static EMPTY: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| Value::Object(Map::new()));

/// What came, what changed and what went.
#[derive(Clone, Debug, Default)]
pub(super) struct Comparison {
    pub added: FieldSet,
    pub modified: FieldSet,
    pub removed: FieldSet,
}

impl Comparison {
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// What came or changed.
    pub fn changed(&self) -> FieldSet {
        let mut both = self.added.clone();
        both.add(&self.modified);
        both
    }

    fn put(&mut self, element: impl Fn() -> Box<str>, inner: Self) {
        for (mine, theirs) in
            [(&mut self.added, inner.added), (&mut self.modified, inner.modified), (&mut self.removed, inner.removed)]
        {
            if !theirs.is_empty() {
                mine.put(element(), theirs);
            }
        }
    }
}

/// Compares two states of an object, apart from the fields that nobody owns and those out of reach. `Null` is an object
/// that is not there yet.
pub(super) fn compare(definition: Option<&Definition>, old: &Value, new: &Value, reach: Reach<'_>) -> Comparison {
    let root = Type::root(definition);
    let mut found = Comparison::default();
    zip(old.as_object(), new.as_object(), |name, left, right| {
        if matches!(name, "apiVersion" | "kind") || !reach.has(name) {
            return;
        }
        let (left, right) = implied(root, name, left, right, true);
        let inner = if name == "metadata" {
            metadata(root.inner(name), left, right, reach)
        } else {
            difference(root.inner(name), left, right)
        };
        found.put(|| format!("f:{name}").into(), inner);
    });
    found
}

fn metadata(ty: Type<'_>, left: Option<&Value>, right: Option<&Value>, reach: Reach<'_>) -> Comparison {
    let mut found = Comparison::default();
    let maps = (left.and_then(Value::as_object), right.and_then(Value::as_object));
    zip(maps.0, maps.1, |name, left, right| {
        if !OWNERLESS.contains(&name) && !reach.metadata_without.contains(&name) {
            found.put(|| format!("f:{name}").into(), difference(ty.inner(name), left, right));
        }
    });
    found
}

/// The difference at one place; the sets' own membership is that of the place.
fn difference(ty: Type<'_>, left: Option<&Value>, right: Option<&Value>) -> Comparison {
    match ty {
        Type::Struct(_) | Type::Map(..) if is_map(left) && is_map(right) => maps(ty, left, right),
        Type::List(list, _) if is_list(left) && is_list(right) => lists(ty, list, left, right),
        Type::Deduced if is_map(left) && is_map(right) && (is_object(left) || is_object(right)) => {
            maps(ty, left, right)
        }
        _ => whole(left, right),
    }
}

fn is_object(value: Option<&Value>) -> bool {
    value.is_some_and(Value::is_object)
}

fn is_map(value: Option<&Value>) -> bool {
    value.is_none_or(|value| value.is_object() || value.is_null())
}

fn is_list(value: Option<&Value>) -> bool {
    value.is_none_or(|value| value.is_array() || value.is_null())
}

fn whole(left: Option<&Value>, right: Option<&Value>) -> Comparison {
    let mut found = Comparison::default();
    match (left, right) {
        (None, Some(_)) => found.added.member = true,
        (Some(_), None) => found.removed.member = true,
        (Some(left), Some(right)) => found.modified.member = left != right,
        (None, None) => {}
    }
    found
}

/// What stands in for a place of which one side has nothing.
fn appear(found: &mut Comparison, left: Option<&Value>, right: Option<&Value>) {
    found.added.member |= left.is_none() && right.is_some();
    found.removed.member |= right.is_none() && left.is_some();
}

fn maps(ty: Type<'_>, left: Option<&Value>, right: Option<&Value>) -> Comparison {
    let (old, new) = (left.and_then(Value::as_object), right.and_then(Value::as_object));
    if old.is_none_or(Map::is_empty) && new.is_none_or(Map::is_empty) {
        return whole(left, right);
    }
    let mut found = Comparison::default();
    let both = left.is_some() && right.is_some();
    zip(old, new, |name, left, right| {
        let (left, right) = implied(ty, name, left, right, both);
        let inner = match ty {
            Type::Struct(definition) if both && is_zero_apart(definition, name, left, right) => return,
            _ => difference(ty.inner(name), left, right),
        };
        found.put(|| format!("f:{name}").into(), inner);
    });
    if let (Type::Struct(definition), false) = (ty, both) {
        let there = old.or(new);
        for field in definition.fields.iter().filter(|field| there.is_none_or(|map| !map.contains_key(&*field.name))) {
            let Some(stands) = always_there(definition, field) else { continue };
            let (left, right) = if left.is_some() { (Some(stands), None) } else { (None, Some(stands)) };
            found.put(|| format!("f:{}", field.name).into(), whole(left, right));
        }
    }
    appear(&mut found, left, right);
    found
}

/// What Go writes for a field that has nothing.
fn always_there(definition: &Definition, field: &Field) -> Option<&'static Value> {
    if definition.custom || field.pointer || field.number == 0 {
        return None;
    }
    match field.schema {
        Schema::Ref(_) => Some(&EMPTY),
        Schema::Time | Schema::MicroTime if field.name != "creationTimestamp" => Some(&NOTHING),
        _ => None,
    }
}

/// Fills in what is there on both sides whether it is written or not.
fn implied<'v>(
    ty: Type<'_>,
    name: &str,
    left: Option<&'v Value>,
    right: Option<&'v Value>,
    both: bool,
) -> (Option<&'v Value>, Option<&'v Value>) {
    if !both || (left.is_some() && right.is_some()) {
        return (left, right);
    }
    let Type::Struct(definition) = ty else { return (left, right) };
    let Some(field) = definition.field(name) else { return (left, right) };
    let empty_list = !definition.custom && !field.omit_empty && !field.pointer && field.number != 0;
    let stands = match (&field.schema, always_there(definition, field)) {
        (_, Some(stands)) => Some(stands),
        (Schema::List(_) | Schema::Map(..), None) if empty_list => Some(&NOTHING),
        _ => None,
    };
    (left.or(stands), right.or(stands))
}

/// Whether one side has a zero that the other one does not write.
fn is_zero_apart(definition: &Definition, name: &str, left: Option<&Value>, right: Option<&Value>) -> bool {
    let ((None, Some(value)) | (Some(value), None)) = (left, right) else { return false };
    let written = |field: &Field| !field.pointer && !field.omit_empty && field.number != 0;
    !definition.custom
        && definition.field(name).is_some_and(written)
        && match value {
            Value::Bool(set) => !set,
            Value::String(text) => text.is_empty(),
            Value::Number(number) => number.as_f64() == Some(0.0),
            _ => false,
        }
}

fn lists(ty: Type<'_>, list: &List, left: Option<&Value>, right: Option<&Value>) -> Comparison {
    let (old, new) = match (left, right) {
        (Some(left), Some(right)) if left == right => return Comparison::default(),
        // No list at all and one without entries are told apart only where neither has any.
        _ => (left.and_then(Value::as_array), right.and_then(Value::as_array)),
    };
    if old.is_none_or(Vec::is_empty) && new.is_none_or(Vec::is_empty) {
        return whole(left, right);
    }
    let (old, new) = (indexed(list, old), indexed(list, new));
    let mut found = Comparison::default();
    let (mut at, mut to) = (old.as_slice(), new.as_slice());
    loop {
        let name = match (at.first(), to.first()) {
            (None, None) => break,
            (Some((one, _)), None) | (None, Some((one, _))) => one,
            (Some((one, _)), Some((other, _))) => one.min(other),
        };
        let lefts = at.partition_point(|(one, _)| one <= name);
        let rights = to.partition_point(|(one, _)| one <= name);
        let (here, there) = (at.split_at(lefts), to.split_at(rights));
        found.put(|| name.clone(), entries(ty.entries(), here.0, there.0));
        (at, to) = (here.1, there.1);
    }
    appear(&mut found, left, right);
    found
}

type Entries<'v> = [(Box<str>, &'v Value)];

/// Compares the entries of one name; in a list that is right there is one of each.
fn entries(ty: Type<'_>, left: &Entries<'_>, right: &Entries<'_>) -> Comparison {
    let (old, new) = (left.first().map(|(_, value)| *value), right.first().map(|(_, value)| *value));
    let mut found = Comparison::default();
    match (left.len(), right.len()) {
        (0 | 1, 0 | 1) => return difference(ty, old, new),
        (2.., 2..) => {
            let same = left.len() == right.len() && left.iter().zip(right).all(|((_, one), (_, other))| one == other);
            found.modified.member = !same;
        }
        (2.., _) => {
            if new.is_some() {
                found = difference(ty, None, new);
            }
            found.removed.member = true;
        }
        _ => {
            if old.is_some() {
                found = difference(ty, old, None);
            }
            found.added.member = true;
        }
    }
    found
}

/// The entries by name; what has none is nobody's.
fn indexed<'v>(list: &List, items: Option<&'v Vec<Value>>) -> Vec<(Box<str>, &'v Value)> {
    let mut named: Vec<_> =
        items.into_iter().flatten().filter_map(|item| Some((element(list, item).ok()?, item))).collect();
    named.sort_by(|one, other| one.0.cmp(&other.0));
    named
}

/// Calls `each` with every name of both maps, in order.
fn zip<'v>(
    old: Option<&'v Map<String, Value>>,
    new: Option<&'v Map<String, Value>>,
    mut each: impl FnMut(&str, Option<&'v Value>, Option<&'v Value>),
) {
    let (mut old, mut new) = (old.into_iter().flatten().peekable(), new.into_iter().flatten().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((one, _)), Some((other, _))) => one.cmp(other),
        };
        let left = if order.is_le() { old.next() } else { None };
        let right = if order.is_ge() { new.next() } else { None };
        if let Some((name, _)) = left.or(right) {
            each(name, left.map(|(_, value)| value), right.map(|(_, value)| value));
        }
    }
}
