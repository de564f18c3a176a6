//! Sets of fields, and `FieldsV1`: how they are written.
//!
//! A path is a row of elements, each kept in the form that `FieldsV1` writes it in: `f:NAME` a field, `k:{"KEY":VALUE}`
//! the entry of a list with these keys, `v:VALUE` an entry of a set, `i:N` the entry at a place.

use serde_json::{Map, Value};

/// A tree of path elements, some of which are members of the set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    /// Whether the path that leads here is in the set.
    pub(super) member: bool,
    /// What follows, sorted; none is empty.
    pub(super) children: Vec<(Box<str>, FieldSet)>,
}

impl FieldSet {
    /// The path here, and nothing below.
    pub(super) const fn leaf() -> Self {
        Self { member: true, children: Vec::new() }
    }

    /// Whether it has no members.
    pub fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    fn place(&self, element: &str) -> Result<usize, usize> {
        self.children.binary_search_by(|(name, _)| (**name).cmp(element))
    }

    pub(super) fn child(&self, element: &str) -> Option<&Self> {
        self.children.get(self.place(element).ok()?).map(|(_, child)| child)
    }

    /// Adds a set below an element; an empty one adds nothing.
    pub(super) fn put(&mut self, element: impl Into<Box<str>>, set: Self) {
        if set.is_empty() {
            return;
        }
        let element = element.into();
        if self.children.last().is_none_or(|(last, _)| **last < *element) {
            self.children.push((element, set));
            return;
        }
        match self.place(&element) {
            Ok(at) => {
                if let Some((_, child)) = self.children.get_mut(at) {
                    child.add(&set);
                }
            }
            Err(at) => self.children.insert(at, (element, set)),
        }
    }

    /// Whether the path, in the elements of `FieldsV1`, is a member.
    pub fn has(&self, path: &[&str]) -> bool {
        match path.split_first() {
            None => self.member,
            Some((first, rest)) => self.child(first).is_some_and(|child| child.has(rest)),
        }
    }

    /// Adds one path.
    pub fn insert(&mut self, path: &[&str]) {
        let mut set = Self::leaf();
        for element in path.iter().rev() {
            let mut outer = Self::default();
            outer.put(*element, set);
            set = outer;
        }
        self.add(&set);
    }

    /// Adds all of `other`.
    pub fn add(&mut self, other: &Self) {
        self.member |= other.member;
        for (element, theirs) in &other.children {
            match self.place(element) {
                Ok(at) => {
                    if let Some((_, child)) = self.children.get_mut(at) {
                        child.add(theirs);
                    }
                }
                Err(at) => self.children.insert(at, (element.clone(), theirs.clone())),
            }
        }
    }

    /// Takes the members of `other` away, not what is below them.
    pub fn subtract(&mut self, other: &Self) {
        self.member &= !other.member;
        if !other.children.is_empty() {
            self.children.retain_mut(|(element, child)| {
                if let Some(theirs) = other.child(element) {
                    child.subtract(theirs);
                }
                !child.is_empty()
            });
        }
    }

    /// The members of both.
    pub fn common(&self, other: &Self) -> Self {
        let mut both = Self { member: self.member && other.member, children: Vec::new() };
        for (element, child) in &self.children {
            if let Some(theirs) = other.child(element) {
                both.put(element.clone(), child.common(theirs));
            }
        }
        both
    }

    /// Every member's path as messages show it: `.spec.containers[name="a"].image`.
    pub fn paths(&self) -> Vec<String> {
        let mut out = Vec::new();
        self.collect("", &mut out);
        out
    }

    fn collect(&self, prefix: &str, out: &mut Vec<String>) {
        let shown: Vec<String> =
            self.children.iter().map(|(element, _)| format!("{prefix}{}", element_text(element))).collect();
        let both = || self.children.iter().zip(&shown);
        out.extend(both().filter(|((_, child), _)| child.member).map(|(_, path)| path.clone()));
        for ((_, child), path) in both() {
            child.collect(path, out);
        }
    }

    /// `fieldsV1`
    pub fn to_json(&self) -> Value {
        let mut map = Map::new();
        self.write(&mut map);
        Value::Object(map)
    }

    fn write(&self, map: &mut Map<String, Value>) {
        for (element, child) in &self.children {
            let mut inner = Map::new();
            if child.member && !child.children.is_empty() {
                inner.insert(".".to_owned(), Value::Object(Map::new()));
            }
            child.write(&mut inner);
            map.insert(element.to_string(), Value::Object(inner));
        }
    }

    /// Reads `fieldsV1`. Elements of a kind that nobody knows yet are passed over.
    pub fn from_json(value: &Value) -> Result<Self, String> {
        Self::read(value, element_of)
    }

    /// The same, of what was read and written before.
    pub(super) fn from_stored(value: &Value) -> Result<Self, String> {
        Self::read(value, |element| Ok(Some(element.into())))
    }

    fn read(value: &Value, element_of: fn(&str) -> Result<Option<Box<str>>, String>) -> Result<Self, String> {
        let Value::Object(map) = value else { return Err("fieldsV1 must hold objects".to_owned()) };
        let mut set = Self::default();
        for (element, inner) in map {
            if element == "." {
                set.member = true;
                continue;
            }
            let Some(known) = element_of(element)? else { continue };
            let mut child = Self::read(inner, element_of)?;
            child.member |= inner.as_object().is_some_and(Map::is_empty);
            set.put(known, child);
        }
        Ok(set)
    }
}

/// The element in its one way of writing; `None` when its kind is not known.
fn element_of(text: &str) -> Result<Option<Box<str>>, String> {
    let Some((kind, rest)) = text.split_once(':') else {
        return Err(format!("{text:?} is no path element"));
    };
    match kind {
        "f" => Ok(Some(text.into())),
        "i" => match rest.parse::<i64>() {
            Ok(_) => Ok(Some(text.into())),
            Err(_) => Err(format!("{text:?} is no place in a list")),
        },
        "k" | "v" => {
            // Who writes back what the server gave has it right already.
            let plain = !rest.contains([' ', '\t', '\n']) && !rest.contains("\\u");
            let value: Value =
                serde_json::from_str(rest).map_err(|why| format!("{text:?} is no path element: {why}"))?;
            if kind == "k" && !value.is_object() {
                return Err(format!("{text:?} holds no keys"));
            }
            Ok(Some(if plain { text.into() } else { format!("{kind}:{value}").into() }))
        }
        _ => Ok(None),
    }
}

/// An element as messages show it.
pub(super) fn element_text(element: &str) -> String {
    let (kind, rest) = element.split_once(':').unwrap_or(("f", element));
    match kind {
        "k" => match serde_json::from_str::<Map<String, Value>>(rest) {
            Ok(keys) => {
                let pairs: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
                format!("[{}]", pairs.join(","))
            }
            Err(_) => format!("[{rest}]"),
        },
        "v" => format!("[={rest}]"),
        "i" => format!("[{rest}]"),
        _ => format!(".{rest}"),
    }
}
