//! `wasi:keyvalue`: stores that the pod spec names, kept by this node or by a Redis server.
//!
//! A store is opened when a guest first asks for it and stays open for as long as its container runs.

use std::sync::Arc;

use async_trait::async_trait;
use wasmtime::component::Linker;

use super::{Capability, Grant};
use crate::container::Container;
use crate::guest::Guest;
use crate::spec::Place;

mod embedded;
mod first;
mod redis;
mod second;

pub(crate) use embedded::Database;

pub(super) const ROW: Capability = Capability {
    name: "keyvalue",
    interfaces: &["wasi:keyvalue/"],
    grant: Grant::Asked {
        granted: |grants| !grants.keyvalue.is_empty(),
        annotation: "coracle.dev/keyvalue: \"default\"",
    },
    link,
    link_next: None,
};

/// A longer key is none.
const KEY_BYTES_MAX: usize = 4 << 10;
/// What a call may carry in either direction.
const CALL_BYTES_MAX: usize = 8 << 20;
/// As many keys are listed at once.
const KEYS_AT_ONCE: usize = 1000;
/// What `open("")` opens.
const DEFAULT: &str = "default";

fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    first::link(linker)?;
    second::link(linker)
}

/// Why a call failed, in the interface's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing grants such a store.
    NoSuchStore,
    /// All else.
    Other(String),
}

impl Fault {
    fn other(what: impl std::fmt::Display) -> Self {
        Self::Other(what.to_string())
    }
}

/// One change. Those of a call are made together or not at all, where the store can.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Set(String, Vec<u8>),
    Delete(String),
    Increment(String, i64),
    /// Writes the new value where the old one is still there.
    Swap {
        key: String,
        old: Option<Vec<u8>>,
        new: Vec<u8>,
    },
}

impl Change {
    fn key(&self) -> &str {
        match self {
            Self::Set(key, _) | Self::Delete(key) | Self::Increment(key, _) | Self::Swap { key, .. } => key,
        }
    }
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Number(i64),
    /// Somebody else has written in between.
    Stale,
}

/// A part of a store's keys, and where the next part begins.
pub(crate) type Keys = (Vec<String>, Option<u64>);

/// A store.
#[async_trait]
pub(crate) trait Store: Send + Sync {
    /// The values of keys, in their order.
    async fn get(&self, keys: Vec<String>) -> Result<Vec<Option<Vec<u8>>>, Fault>;
    /// Makes changes.
    async fn change(&self, changes: Vec<Change>) -> Result<Vec<Outcome>, Fault>;
    /// Keys from a cursor on.
    async fn keys(&self, from: u64) -> Result<Keys, Fault>;
}

/// An open store in a guest's hands.
pub struct Bucket {
    store: Arc<dyn Store>,
}

/// Stores of one container that are open.
pub(crate) type OpenStores = parking_lot::Mutex<std::collections::BTreeMap<String, Arc<dyn Store>>>;

/// Opens the store that the container's spec calls `name`.
async fn open(container: &Arc<Container>, name: &str) -> Result<Bucket, Fault> {
    let name = if name.is_empty() { DEFAULT } else { name };
    let place = container.spec.grants.keyvalue.get(name).ok_or(Fault::NoSuchStore)?;
    if let Some(store) = container.keyvalue.lock().get(name) {
        return Ok(Bucket { store: Arc::clone(store) });
    }
    let store: Arc<dyn Store> = match place {
        Place::Embedded { scope } => {
            let folder = container.stores.folder("keyvalue").map_err(Fault::Other)?;
            Arc::new(embedded::open(container, folder, scope, name).await?)
        }
        Place::Remote { url, user, password } => {
            Arc::new(redis::Redis::new(container, url, user, password).map_err(Fault::Other)?)
        }
        Place::Mounted(_) => return Err(Fault::NoSuchStore),
    };
    let mut open = container.keyvalue.lock();
    let store = open.entry(name.to_owned()).or_insert(store);
    Ok(Bucket { store: Arc::clone(store) })
}

impl Bucket {
    async fn get(&self, keys: Vec<String>) -> Result<Vec<Option<Vec<u8>>>, Fault> {
        keys.iter().try_for_each(|key| check_key(key))?;
        let values = self.store.get(keys).await?;
        let bytes: usize = values.iter().flatten().map(Vec::len).sum();
        check_size(bytes)?;
        Ok(values)
    }

    async fn change(&self, changes: Vec<Change>) -> Result<Vec<Outcome>, Fault> {
        let mut bytes = 0;
        for change in &changes {
            check_key(change.key())?;
            bytes += match change {
                Change::Set(_, value) | Change::Swap { new: value, .. } => value.len(),
                Change::Delete(_) | Change::Increment(..) => 0,
            };
        }
        check_size(bytes)?;
        self.store.change(changes).await
    }

    async fn increment(&self, key: String, delta: i64) -> Result<i64, Fault> {
        match self.change(vec![Change::Increment(key, delta)]).await?.first() {
            Some(Outcome::Number(number)) => Ok(*number),
            _ => Err(Fault::other("the store did not count")),
        }
    }
}

fn check_key(key: &str) -> Result<(), Fault> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(Fault::Other(format!("a key has 1 to {KEY_BYTES_MAX} bytes; this one has {}", key.len())));
    }
    Ok(())
}

fn check_size(bytes: usize) -> Result<(), Fault> {
    if bytes > CALL_BYTES_MAX {
        return Err(Fault::Other(format!("a call carries at most {CALL_BYTES_MAX} bytes of values, not {bytes}")));
    }
    Ok(())
}
