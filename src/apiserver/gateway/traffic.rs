//! What passes through pods and Ingresses, as far as somebody counts it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// The HTTP requests of one place.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TrafficFigures {
    /// All so far.
    pub requests: u64,
    /// Those that failed, of all.
    pub errors: u64,
    /// A second, over the window.
    pub requests_per_second: f64,
    /// Failures a second, over the window.
    pub errors_per_second: f64,
    /// Those that have not ended.
    pub in_flight: u64,
    /// How long nobody has asked for anything.
    pub idle: Duration,
    /// How long 99 of 100 took at most; nothing where there were none of late.
    pub p99: Option<Duration>,
}

/// Who counts requests.
pub trait TrafficSource: Send + Sync + 'static {
    /// What rates are over.
    fn window(&self) -> Duration;

    /// By the addresses of pods that listen.
    fn pods(&self) -> HashMap<IpAddr, TrafficFigures>;

    /// By `namespace/name` of Ingresses that were asked for something.
    fn ingresses(&self) -> HashMap<String, TrafficFigures>;
}

/// Nobody counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTraffic;

impl TrafficSource for NoTraffic {
    fn window(&self) -> Duration {
        Duration::ZERO
    }

    fn pods(&self) -> HashMap<IpAddr, TrafficFigures> {
        HashMap::new()
    }

    fn ingresses(&self) -> HashMap<String, TrafficFigures> {
        HashMap::new()
    }
}
