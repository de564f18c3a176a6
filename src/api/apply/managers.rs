//! The managers of an object: the entries of `metadata.managedFields`.

use serde_json::{Map, Value, json};

use super::Writer;
use super::fields::FieldSet;

/// How many entries of updates are kept; of older ones one is made.
const UPDATES_MAX: usize = 10;
/// The manager that owns what older updates owned.
const ANCIENT: &str = "ancient-changes";
/// The manager that owns what was there before anybody applied.
pub(super) const BEFORE: &str = "before-first-apply";

/// What one manager owns.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its name.
    pub manager: String,
    /// Whether by applying, or by any other write.
    pub applied: bool,
    /// The version that the fields are named in.
    pub api_version: String,
    /// When it last took a field, as it is written in the object.
    pub time: Option<String>,
    /// The part of the object that was written to.
    pub subresource: String,
    /// The fields.
    pub set: FieldSet,
}

impl Entry {
    /// A new entry of a writer.
    pub(super) fn of(writer: &Writer<'_>, applied: bool, set: FieldSet) -> Self {
        let manager = if writer.manager.is_empty() { "unknown" } else { writer.manager };
        Self {
            manager: manager.to_owned(),
            applied,
            api_version: writer.api_version.to_owned(),
            time: None,
            subresource: writer.subresource.to_owned(),
            set,
        }
    }

    /// Whether both are one manager's entry. An apply is the same whichever version it speaks.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.manager == other.manager
            && self.applied == other.applied
            && self.subresource == other.subresource
            && (self.applied || self.api_version == other.api_version)
    }

    pub(super) fn subtract(&mut self, gone: &FieldSet) {
        self.set.subtract(gone);
    }

    /// Who owns a field, for people.
    pub(super) fn shown(&self) -> String {
        let mut out = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            out.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if !self.applied {
            out.push_str(&format!(" using {}", self.api_version));
        }
        out
    }

    fn to_json(&self) -> Value {
        let mut map = Map::new();
        let mut put = |name: &str, text: &str| map.insert(name.to_owned(), text.into());
        put("manager", &self.manager);
        put("operation", if self.applied { "Apply" } else { "Update" });
        put("apiVersion", &self.api_version);
        put("fieldsType", "FieldsV1");
        if let Some(time) = &self.time {
            put("time", time);
        }
        if !self.subresource.is_empty() {
            put("subresource", &self.subresource);
        }
        map.insert("fieldsV1".to_owned(), self.set.to_json());
        Value::Object(map)
    }

    fn from_json(value: &Value, number: usize, stored: bool) -> Result<Self, String> {
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let applied = match text("operation").as_str() {
            "Apply" => true,
            "Update" => false,
            _ => return Err("operation must be `Apply` or `Update`".to_owned()),
        };
        let api_version = text("apiVersion");
        if api_version.is_empty() {
            return Err("apiVersion must not be empty".to_owned());
        }
        match text("fieldsType").as_str() {
            "FieldsV1" => {}
            "" => return Err(format!("missing fieldsType in managed fields entry {number}")),
            other => return Err(format!("invalid fieldsType {other:?} in managed fields entry {number}")),
        }
        let none = json!({});
        let fields = value.get("fieldsV1").unwrap_or(&none);
        let set = if stored { FieldSet::from_stored(fields)? } else { FieldSet::from_json(fields)? };
        let time = value.get("time").and_then(Value::as_str).map(str::to_owned);
        let (manager, subresource) = (text("manager"), text("subresource"));
        Ok(Self { manager, applied, api_version, time, subresource, set })
    }
}

/// All managers of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Managers(pub(super) Vec<Entry>);

impl Managers {
    /// Reads `metadata.managedFields`; nothing is nobody. Of two entries of one manager the last counts.
    pub fn from_json(value: Option<&Value>) -> Result<Self, String> {
        Self::read(value, false)
    }

    /// The same, of an object that is stored: what is in it has been looked at before.
    pub(super) fn from_stored(value: Option<&Value>) -> Result<Self, String> {
        Self::read(value, true)
    }

    fn read(value: Option<&Value>, stored: bool) -> Result<Self, String> {
        let mut all = Self::default();
        for (number, entry) in value.and_then(Value::as_array).into_iter().flatten().enumerate() {
            let entry = Entry::from_json(entry, number, stored)?;
            match all.find(&entry) {
                Some(held) => *held = entry,
                None => all.0.push(entry),
            }
        }
        Ok(all)
    }

    /// `metadata.managedFields`, in Kubernetes' order; `None` when nobody owns anything.
    pub fn to_json(&self) -> Option<Value> {
        if self.0.is_empty() {
            return None;
        }
        let mut all: Vec<&Entry> = self.0.iter().collect();
        let order = |entry: &Entry| {
            let Entry { manager, api_version, time, subresource, .. } = entry;
            (!entry.applied, time.clone(), manager.clone(), api_version.clone(), subresource.clone())
        };
        all.sort_by_cached_key(|entry| order(entry));
        Some(all.into_iter().map(Entry::to_json).collect())
    }

    /// Every entry.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter()
    }

    /// Whether nobody owns anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn find(&mut self, like: &Entry) -> Option<&mut Entry> {
        self.0.iter_mut().find(|entry| entry.is_same(like))
    }

    /// Entries without fields are no entries.
    pub(super) fn tidy(&mut self) {
        self.0.retain(|entry| !entry.set.is_empty());
    }

    /// Makes one entry of the oldest updates when there are too many. Each version has its own, for the fields are named
    /// in it.
    pub(super) fn cap(&mut self) {
        let mut updates: Vec<Entry> = self.0.extract_if(.., |entry| !entry.applied).collect();
        updates.sort_by(|one, other| {
            (&one.time, &one.manager, &one.api_version, &one.subresource).cmp(&(
                &other.time,
                &other.manager,
                &other.api_version,
                &other.subresource,
            ))
        });
        let mut at = 0;
        // The first of a version is the bucket that later ones of the version go into.
        while updates.len() > UPDATES_MAX && at < updates.len() {
            let version = updates.get(at).map(|entry| entry.api_version.clone()).unwrap_or_default();
            let bucket = updates.iter().take(at).position(|entry| entry.api_version == version);
            let Some(bucket) = bucket else {
                at += 1;
                continue;
            };
            let merged = updates.remove(at);
            if let Some(bucket) = updates.get_mut(bucket) {
                ANCIENT.clone_into(&mut bucket.manager);
                bucket.subresource.clear();
                bucket.set.add(&merged.set);
                bucket.time = merged.time;
            }
        }
        self.0.append(&mut updates);
    }
}
