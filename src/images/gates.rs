//! Who may pull when: one at a time for each thing, so many from each registry, so many in all.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use crate::ImageStore;
use crate::remote::Endpoint;

/// Which registries there are besides those that images name, and how many pulls run at once.
#[derive(Clone, Debug)]
pub struct Registries {
    /// Registry → URLs of its mirrors, in the order in which they are asked. `*` stands for every registry.
    pub mirrors: Vec<(String, Vec<String>)>,
    /// Registries that may have an unknown certificate or no TLS. Those on this machine always may.
    pub insecure: Vec<String>,
    /// Pulls at once.
    pub pulls_max: usize,
    /// Pulls at once from one registry, so that a slow one leaves room for the others.
    pub pulls_per_registry_max: usize,
}

impl Default for Registries {
    fn default() -> Self {
        Self { mirrors: Vec::new(), insecure: Vec::new(), pulls_max: 16, pulls_per_registry_max: 8 }
    }
}

/// Why a mirror cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not REGISTRY=URL, such as docker.io=https://mirror.example")]
pub struct MirrorError(pub String);

impl Registries {
    /// Adds `REGISTRY=URL`.
    ///
    /// # Errors
    /// When the text is not that.
    pub fn add_mirror(&mut self, text: &str) -> Result<(), MirrorError> {
        let wrong = || MirrorError(text.to_owned());
        let (registry, url) = text.split_once('=').ok_or_else(wrong)?;
        let (registry, url) = (registry.trim(), url.trim());
        if registry.is_empty() || Endpoint::mirror(url, registry, &[]).is_none() {
            return Err(wrong());
        }
        match self.mirrors.iter_mut().find(|(name, _)| name == registry) {
            Some((_, urls)) => urls.push(url.to_owned()),
            None => self.mirrors.push((registry.to_owned(), vec![url.to_owned()])),
        }
        Ok(())
    }
}

/// The pulls of a store.
pub(crate) struct Pulls {
    registries: Registries,
    all: Arc<Semaphore>,
    by_registry: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// Held while a pull runs.
pub(crate) struct Seat {
    _all: Option<OwnedSemaphorePermit>,
    _registry: Option<OwnedSemaphorePermit>,
}

impl Pulls {
    pub fn new(registries: Registries) -> Self {
        let all = Arc::new(Semaphore::new(registries.pulls_max.max(1)));
        Self { registries, all, by_registry: Mutex::default() }
    }

    /// Waits for a seat. Who waits for a slow registry takes none of the seats that all share.
    pub async fn seat(&self, registry: &str) -> Seat {
        let own = {
            let mut known = self.by_registry.lock();
            known.retain(|_, seats| Arc::strong_count(seats) > 1 || seats.available_permits() < self.own_max());
            let new = || Arc::new(Semaphore::new(self.own_max()));
            Arc::clone(known.entry(registry.to_owned()).or_insert_with(new))
        };
        // Neither semaphore is ever closed.
        let _registry = own.acquire_owned().await.ok();
        let _all = Arc::clone(&self.all).acquire_owned().await.ok();
        Seat { _all, _registry }
    }

    fn own_max(&self) -> usize {
        self.registries.pulls_per_registry_max.max(1)
    }

    /// Where an image of `registry` is asked for, in order.
    pub fn endpoints(&self, registry: &str) -> Vec<Endpoint> {
        let named = |wanted: &str| {
            let found = self.registries.mirrors.iter().filter(move |(name, _)| name == wanted);
            found
                .flat_map(|(_, urls)| urls)
                .filter_map(|url| Endpoint::mirror(url, registry, &self.registries.insecure))
                .collect::<Vec<_>>()
        };
        let mut endpoints = named(registry);
        endpoints.extend(named("*"));
        endpoints.push(Endpoint::of(registry, &self.registries.insecure));
        endpoints
    }
}

/// The right to be the only one who does something.
pub(crate) struct Gate {
    store: ImageStore,
    held: Option<OwnedMutexGuard<()>>,
}

impl Drop for Gate {
    fn drop(&mut self) {
        drop(self.held.take());
        self.store.inner.gates.lock().retain(|_, gate| Arc::strong_count(gate) > 1);
    }
}

impl ImageStore {
    /// Waits until nobody else is about `what`.
    pub(crate) async fn gate(&self, what: &str) -> Gate {
        let gate = Arc::clone(self.inner.gates.lock().entry(what.to_owned()).or_default());
        Gate { store: self.clone(), held: Some(gate.lock_owned().await) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_come_before_the_registry() {
        let mut registries = Registries { insecure: vec!["plain.example".to_owned()], ..Registries::default() };
        for text in ["docker.io=https://one.example", "docker.io=http://two:5000/hub/", "*=https://all.example"] {
            registries.add_mirror(text).unwrap();
        }
        for text in ["docker.io", "=https://x", "docker.io=ftp://x", "docker.io=x"] {
            assert!(registries.add_mirror(text).is_err(), "{text}");
        }
        let pulls = Pulls::new(registries);
        let bases = |registry: &str| pulls.endpoints(registry).into_iter().map(|one| one.base).collect::<Vec<_>>();
        let hub = ["https://one.example", "http://two:5000/hub", "https://all.example", "https://registry-1.docker.io"];
        assert_eq!(bases("docker.io"), hub);
        assert_eq!(bases("plain.example"), ["https://all.example", "https://plain.example"]);
        assert_eq!(bases("localhost:5000"), ["https://all.example", "https://localhost:5000"]);
        assert_eq!(pulls.endpoints("docker.io")[1].host, "two:5000");
        let loose = |registry: &str| pulls.endpoints(registry).into_iter().map(|one| one.loose).collect::<Vec<_>>();
        assert_eq!(
            [loose("plain.example"), loose("localhost:5000"), loose("x.example")],
            [[false, true], [false, true], [false, false]]
        );
    }

    #[tokio::test]
    async fn a_slow_registry_leaves_seats_for_others() {
        let pulls = Pulls::new(Registries { pulls_max: 2, pulls_per_registry_max: 1, ..Registries::default() });
        let slow = pulls.seat("slow").await;
        assert!(futures::FutureExt::now_or_never(pulls.seat("slow")).is_none());
        let other = futures::FutureExt::now_or_never(pulls.seat("other"));
        assert!(other.is_some());
        drop(slow);
        assert!(futures::FutureExt::now_or_never(pulls.seat("slow")).is_some());
    }
}
