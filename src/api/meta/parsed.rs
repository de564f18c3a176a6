//! The part of the envelope that is kept beside an object's bytes.

use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// Labels in sorted order, in as little memory as they need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(Box<[(Box<str>, Box<str>)]>);

impl Labels {
    /// One label's value.
    pub fn get(&self, key: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(name, _)| (**name).cmp(key)).ok()?;
        self.0.get(at).map(|(_, value)| &**value)
    }
    /// All labels, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K: Into<Box<str>>, V: Into<Box<str>>> FromIterator<(K, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut list: Vec<(Box<str>, Box<str>)> =
            pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        // Stable, so that of equal keys the last one given is the last of its run.
        list.sort_by(|left, right| left.0.cmp(&right.0));
        list.reverse();
        list.dedup_by(|left, right| left.0 == right.0);
        list.reverse();
        Self(list.into_boxed_slice())
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Labels;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a map of strings")
            }
            fn visit_unit<E>(self) -> Result<Labels, E> {
                Ok(Labels::default())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
                let mut pairs: Vec<(Box<str>, Box<str>)> = Vec::with_capacity(map.size_hint().unwrap_or(8));
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(pairs.into_iter().collect())
            }
        }
        source.deserialize_any(Pairs)
    }
}

/// What a server needs to know of an object without decoding it again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// `metadata.name`
    pub name: Box<str>,
    /// Empty for cluster scope.
    pub namespace: Box<str>,
    /// The object's identity over renames and re-creations.
    pub uid: Box<str>,
    /// 0 where the bytes carry none (stored values do not).
    pub resource_version: u64,
    /// 0 for kinds without one.
    pub generation: i64,
    /// What selectors look at.
    pub labels: Labels,
    /// The uids of the owners, in the order of the references.
    pub owner_uids: Box<[Box<str>]>,
    /// The uid of the owner with `controller: true`.
    pub controller_uid: Option<Box<str>>,
    /// Who has to agree before the object goes.
    pub finalizers: Box<[Box<str>]>,
    /// When somebody asked for the deletion (plus the grace period).
    pub deletion_timestamp: Option<Timestamp>,
    /// `metadata.deletionGracePeriodSeconds`
    pub deletion_grace_seconds: Option<i64>,
    /// When it was created.
    pub creation_timestamp: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    metadata: Option<Raw>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Raw {
    name: Option<Box<str>>,
    namespace: Option<Box<str>>,
    uid: Option<Box<str>>,
    resource_version: Option<Box<str>>,
    generation: Option<i64>,
    labels: Option<Labels>,
    owner_references: Option<Vec<RawOwner>>,
    finalizers: Option<Box<[Box<str>]>>,
    deletion_timestamp: Option<Timestamp>,
    deletion_grace_period_seconds: Option<i64>,
    creation_timestamp: Option<Timestamp>,
}

#[derive(Deserialize)]
struct RawOwner {
    #[serde(default)]
    uid: Box<str>,
    #[serde(default)]
    controller: Option<bool>,
}

impl Meta {
    /// Reads the envelope out of an object's bytes; everything else is skipped, not built.
    pub fn from_json(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let envelope: Envelope = serde_json::from_slice(bytes)?;
        Ok(envelope.metadata.unwrap_or_default().into())
    }

    /// Reads the envelope of a decoded object. A field of an odd shape makes the whole envelope read as empty; the
    /// schema check has refused such objects before.
    pub fn of(object: &Value) -> Self {
        Envelope::deserialize(object).ok().and_then(|envelope| envelope.metadata).unwrap_or_default().into()
    }

    /// `NAMESPACE/NAME`, or `NAME` at cluster scope.
    pub fn key(&self) -> String {
        if self.namespace.is_empty() { self.name.to_string() } else { format!("{}/{}", self.namespace, self.name) }
    }
}

impl From<Raw> for Meta {
    fn from(raw: Raw) -> Self {
        let owners = raw.owner_references.unwrap_or_default();
        let controller = owners.iter().find(|owner| owner.controller == Some(true));
        Self {
            name: raw.name.unwrap_or_default(),
            namespace: raw.namespace.unwrap_or_default(),
            uid: raw.uid.unwrap_or_default(),
            resource_version: raw.resource_version.and_then(|text| text.parse().ok()).unwrap_or_default(),
            generation: raw.generation.unwrap_or_default(),
            labels: raw.labels.unwrap_or_default(),
            controller_uid: controller.map(|owner| owner.uid.clone()),
            owner_uids: owners.into_iter().map(|owner| owner.uid).collect(),
            finalizers: raw.finalizers.unwrap_or_default(),
            deletion_timestamp: raw.deletion_timestamp,
            deletion_grace_seconds: raw.deletion_grace_period_seconds,
            creation_timestamp: raw.creation_timestamp,
        }
    }
}
