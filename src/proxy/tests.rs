//! The room through its door.

mod early;
mod house;
mod requests;
mod routes;
mod services;
mod shutdown;
mod startup;

use serde_json::Value;

/// A typed object from its JSON.
fn object<K: serde::de::DeserializeOwned>(json: Value) -> K {
    serde_json::from_value(json).unwrap()
}
