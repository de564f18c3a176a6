//! Objects without `metadata.managedFields`, which are most of what there is to decode of many, and which nobody here reads.

use std::borrow::Cow;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

/// An object that was decoded past its managed fields.
#[derive(Clone, Debug)]
pub(super) struct Lean<K>(pub K);

impl<'de, K: Deserialize<'de>> Deserialize<'de> for Lean<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        K::deserialize(Past { inner: deserializer, level: Level::Object }).map(Self)
    }
}

impl<K: Resource> Resource for Lean<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dt)
    }

    fn group(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dt)
    }

    fn version(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dt)
    }

    fn plural(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.meta_mut()
    }
}

/// Which map is being read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    /// The object, of which the metadata matters.
    Object,
    /// Its metadata, of which the managed fields are passed by.
    Metadata,
}

/// A deserializer, or a visitor or a seed of one, of which some fields are passed by.
struct Past<T> {
    inner: T,
    level: Level,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Past<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_any(Past { inner: visitor, level: self.level })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_option(Past { inner: visitor, level: self.level })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_newtype_struct(name, Past { inner: visitor, level: self.level })
    }

    // Objects and their metadata are maps, whatever their types ask for.
    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Past<V> {
    type Value = V::Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(out)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(Fields { map, level: self.level, in_metadata: false })
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(Past { inner: deserializer, level: self.level })
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(Past { inner: deserializer, level: self.level })
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<V::Value, E> {
        self.inner.visit_str(text)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<V::Value, E> {
        self.inner.visit_bool(flag)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<V::Value, E> {
        self.inner.visit_i64(number)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<V::Value, E> {
        self.inner.visit_u64(number)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<V::Value, E> {
        self.inner.visit_f64(number)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        self.inner.visit_seq(seq)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Past<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Past { inner: deserializer, level: self.level })
    }
}

/// The fields of a map but those that are passed by.
struct Fields<A> {
    map: A,
    level: Level,
    /// The value that comes next is the object's metadata.
    in_metadata: bool,
}

/// The name of a field.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Fields<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        while let Some(Name(name)) = self.map.next_key()? {
            if self.level == Level::Metadata && name == "managedFields" {
                self.map.next_value::<IgnoredAny>()?;
                continue;
            }
            self.in_metadata = self.level == Level::Object && name == "metadata";
            let key = match &name {
                Cow::Borrowed(name) => seed.deserialize(BorrowedStrDeserializer::new(name)),
                Cow::Owned(name) => seed.deserialize(StrDeserializer::new(name)),
            };
            return key.map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        if std::mem::take(&mut self.in_metadata) {
            return self.map.next_value_seed(Past { inner: seed, level: Level::Metadata });
        }
        self.map.next_value_seed(seed)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

    use super::super::Metadata;
    use super::*;

    fn pod() -> Value {
        let managers = json!([{
            "manager": "kubectl", "operation": "Update", "fieldsType": "FieldsV1",
            "fieldsV1": { "f:metadata": { "f:managedFields": {} } },
        }]);
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "p", "managedFields": managers, "uid": "u",
                "annotations": { "managedFields": "mine", "metadata": "a \"quoted\"\nword", "é\n": "" },
                "ownerReferences": [{ "apiVersion": "v1", "kind": "K", "name": "n", "uid": "o", "controller": true }],
            },
            "spec": { "containers": [{ "name": "c", "ports": [{ "containerPort": 80 }] }], "hostNetwork": false },
            "status": { "conditions": null },
        })
    }

    #[test]
    fn all_is_read_but_the_objects_own_managed_fields() {
        let mut wanted: Pod = serde_json::from_value(pod()).unwrap();
        assert!(wanted.metadata.managed_fields.take().is_some());
        let text = pod().to_string();
        assert_eq!(serde_json::from_str::<Lean<Pod>>(&text).unwrap().0, wanted);
        assert_eq!(serde_json::from_value::<Lean<Pod>>(pod()).unwrap().0, wanted);
        let Lean(metadata) = serde_json::from_str::<Lean<Metadata>>(&text).unwrap();
        assert_eq!(metadata.metadata, wanted.metadata);
        assert_eq!(metadata.types.unwrap().kind, "Pod");
    }

    #[test]
    fn what_is_no_object_is_refused_as_it_would_be() {
        for text in ["[]", "3", "null", r#"{"metadata":7}"#, r#"{"metadata":{"managedFields":}}"#] {
            let (lean, whole) = (serde_json::from_str::<Lean<Pod>>(text), serde_json::from_str::<Pod>(text));
            assert_eq!(
                lean.map(drop).map_err(|error| error.to_string()),
                whole.map(drop).map_err(|error| error.to_string())
            );
        }
    }
}
