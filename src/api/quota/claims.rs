//! What PersistentVolumeClaims use.

use serde_json::Value;

use super::{Amounts, text};
use crate::quantity::Format;
use crate::{Quantity, meta};

const OF_CLASS: &str = ".storageclass.storage.k8s.io/";
const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

pub(super) fn is_resource(name: &str) -> bool {
    let of_class = name.split_once(OF_CLASS).map(|(_, what)| what);
    matches!(of_class.unwrap_or(name), "requests.storage" | "persistentvolumeclaims")
}

pub(super) fn usage(claim: &Value) -> Amounts {
    let one = Quantity::from_units(1, Format::Decimal);
    let class = match meta::annotation(claim, OLD_CLASS) {
        Some(class) => class,
        None => text(claim, "/spec/storageClassName"),
    };
    let read = |pointer: &str| claim.pointer(pointer).and_then(|value| Quantity::from_json(value).ok());
    let asked = read("/spec/resources/requests/storage");
    // While a claim shrinks back, what it was given counts.
    let storage = asked.max(read("/status/allocatedResources/storage"));
    let mut used = Amounts::new();
    let mut note = |name: &str, amount: Quantity| {
        used.insert(name.to_owned(), amount);
        if !class.is_empty() {
            used.insert(format!("{class}{OF_CLASS}{name}"), amount);
        }
    };
    note("persistentvolumeclaims", one);
    if let Some(storage) = storage {
        note("requests.storage", storage);
    }
    used
}
