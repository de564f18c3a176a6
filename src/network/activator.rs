//! Calls to a Service whose workload sleeps: they are held while somebody wakes it.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::CallError;

/// Wakes workloads that were scaled to nothing.
pub trait Activator: Send + Sync + 'static {
    /// A call found no endpoint of the Service `namespace/name`. Says whether there will be one soon, so that the call is
    /// worth holding; the first time it also sets off what brings one. Does not block.
    fn wake(&self, service: &str) -> bool;
}

/// How many calls are held for each Service.
#[derive(Debug, Default)]
pub(crate) struct Held {
    by_service: Mutex<HashMap<String, usize>>,
}

impl Held {
    /// A place among the held calls of a Service, unless `max` are held already.
    pub(crate) fn take<'h>(&'h self, service: &'h str, max: usize) -> Result<Place<'h>, CallError> {
        let mut by_service = self.by_service.lock();
        let held = by_service.entry(service.to_owned()).or_default();
        if *held >= max {
            return Err(CallError::Overloaded);
        }
        *held += 1;
        Ok(Place { held: self, service })
    }
}

impl Held {
    /// The Services of a namespace for which calls are held.
    pub(crate) fn services(&self, namespace: &str) -> Vec<String> {
        let by_service = self.by_service.lock();
        let is_of = |key: &&String| key.split_once('/').is_some_and(|(of, _)| of == namespace);
        by_service.keys().filter(is_of).cloned().collect()
    }
}

/// One call that is held. Its place is free when this is dropped: a caller that goes away leaves nothing behind.
pub(crate) struct Place<'h> {
    held: &'h Held,
    service: &'h str,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut by_service = self.held.by_service.lock();
        if let Some(held) = by_service.get_mut(self.service) {
            *held -= 1;
            if *held == 0 {
                by_service.remove(self.service);
            }
        }
    }
}
