//! The containers that run at this moment, for those who want to look at one or to join it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::SystemTime;

use parking_lot::Mutex;

use crate::sandbox::{Container, ContainerId, Limits};

/// A container that runs.
#[derive(Clone)]
pub struct Present {
    /// Which one.
    pub id: ContainerId,
    /// Since when.
    pub since: SystemTime,
    /// What it runs.
    pub image: Arc<str>,
    /// What it is held to.
    pub limits: Limits,
    /// Itself.
    pub container: Arc<dyn Container>,
    pub(crate) measured: Arc<Measured>,
}

/// What was last measured of a container.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub cpu_ns: AtomicU64,
    /// Whether its first response was counted.
    pub answered: AtomicBool,
}

type Key = (String, String);

/// All containers of this node that run. Cheap to clone; clones share everything.
#[derive(Clone, Default)]
pub struct Presence {
    containers: Arc<Mutex<HashMap<Key, Present>>>,
}

impl Presence {
    /// The container of this name in the pod of this uid, if it runs.
    pub fn find(&self, uid: &str, container: &str) -> Option<Present> {
        self.containers.lock().get(&(uid.to_owned(), container.to_owned())).cloned()
    }

    /// All of them, in no order.
    pub fn all(&self) -> Vec<Present> {
        self.containers.lock().values().cloned().collect()
    }

    /// Looks at all of them, as briefly as it can.
    pub(crate) fn each(&self, look: impl FnMut(&Present)) {
        self.containers.lock().values().for_each(look);
    }

    pub(crate) fn add(&self, id: ContainerId, image: &str, limits: Limits, container: Arc<dyn Container>) {
        let key = (id.uid.clone(), id.container.clone());
        let present =
            Present { id, since: SystemTime::now(), image: image.into(), limits, container, measured: Arc::default() };
        self.containers.lock().insert(key, present);
    }

    /// It is held to other limits from now on.
    pub(crate) fn resize(&self, uid: &str, container: &str, limits: Limits) {
        let key = (uid.to_owned(), container.to_owned());
        if let Some(present) = self.containers.lock().get_mut(&key) {
            present.limits = limits;
        }
    }

    /// That very run is over; one that came after it stays.
    pub(crate) fn remove(&self, uid: &str, container: &str, attempt: u32) {
        let key = (uid.to_owned(), container.to_owned());
        let mut containers = self.containers.lock();
        if containers.get(&key).is_some_and(|present| present.id.attempt == attempt) {
            containers.remove(&key);
        }
    }

    pub(crate) fn forget_pod(&self, uid: &str) {
        self.containers.lock().retain(|(owner, _), _| owner != uid);
    }
}
