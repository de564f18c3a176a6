//! One registry per process, handed down; every room registers its own families under its own prefix.

use std::sync::Arc;

use parking_lot::Mutex;
pub use prometheus_client;
use prometheus_client::registry::Registry;

/// The process' metrics. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { registry: Arc::new(Mutex::new(Registry::with_prefix("coracle"))) }
    }
}

impl Metrics {
    /// The media type of [`Metrics::encode`].
    pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// Lets a room register its families under `coracle_<room>_…`.
    pub fn room<T>(&self, room: &str, register: impl FnOnce(&mut Registry) -> T) -> T {
        register(self.registry.lock().sub_registry_with_prefix(room))
    }

    /// Everything in Prometheus' text form.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry.lock());
        text
    }
}
