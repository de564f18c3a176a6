//! Pods that pass a limit of their storage.

use std::collections::HashSet;
use std::sync::Arc;

use client::informers::Key;
use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A pod that has to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Eviction {
    pub key: Key,
    pub uid: String,
    /// Why, as Kubernetes words it.
    pub message: String,
}

/// Tells of each pod once.
#[derive(Clone)]
pub(super) struct Door {
    out: UnboundedSender<Eviction>,
    told: Arc<Mutex<HashSet<String>>>,
}

impl Door {
    pub fn new() -> (Self, UnboundedReceiver<Eviction>) {
        let (out, receiver) = unbounded_channel();
        (Self { out, told: Arc::default() }, receiver)
    }

    pub fn tell(&self, eviction: Eviction) {
        if self.told.lock().insert(eviction.uid.clone()) {
            let _ = self.out.send(eviction);
        }
    }

    pub fn forget(&self, uid: &str) {
        self.told.lock().remove(uid);
    }
}
