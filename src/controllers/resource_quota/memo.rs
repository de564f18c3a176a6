//! What objects use, remembered for as long as they do not change.

use std::collections::HashMap;
use std::sync::Arc;

use api::quota::{self, Amounts};
use kube::Resource;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;

struct Used {
    version: Option<String>,
    value: Value,
    amounts: Amounts,
}

/// The usage of one kind's objects, by namespace and name.
#[derive(Default)]
pub(super) struct Memo {
    by_namespace: Mutex<HashMap<String, HashMap<String, Used>>>,
}

impl Memo {
    /// Calls `look` with each object and what it uses; those that are no longer there are forgotten.
    pub fn each<K: Resource + Serialize>(
        &self,
        namespace: &str,
        objects: &[Arc<K>],
        plural: &str,
        mut look: impl FnMut(&Value, &Amounts),
    ) {
        let mut all = self.by_namespace.lock();
        let mut before = all.remove(namespace).unwrap_or_default();
        let mut now = HashMap::with_capacity(objects.len());
        for object in objects {
            let meta = object.meta();
            let name = meta.name.clone().unwrap_or_default();
            let known = before.remove(&name).filter(|known| known.version == meta.resource_version);
            // What ends by the clock is looked at each time.
            let known = known.filter(|_| meta.deletion_timestamp.is_none());
            let used = known.unwrap_or_else(|| {
                let value = serde_json::to_value(object.as_ref()).unwrap_or_default();
                let amounts = quota::usage("", plural, &value);
                Used { version: meta.resource_version.clone(), value: brief(value), amounts }
            });
            look(&used.value, &used.amounts);
            now.insert(name, used);
        }
        all.insert(namespace.to_owned(), now);
    }

    pub fn forget(&self, namespace: &str) {
        self.by_namespace.lock().remove(namespace);
    }
}

/// What the scopes of a quota look at, and nothing else.
fn brief(mut object: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.remove("metadata");
        if let Some(status) = fields.get_mut("status").and_then(Value::as_object_mut) {
            status
                .retain(|field, _| matches!(field.as_str(), "currentVolumeAttributesClassName" | "modifyVolumeStatus"));
        }
        if let Some(spec) = fields.get_mut("spec").and_then(Value::as_object_mut) {
            spec.remove("volumes");
            for list in ["containers", "initContainers"] {
                for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                    if let Some(container) = container.as_object_mut() {
                        container.retain(|field, _| field == "resources");
                    }
                }
            }
        }
    }
    object
}
