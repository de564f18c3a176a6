//! What the network and the ingress of this process count, for `custom.metrics.k8s.io`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use apiserver::gateway::{TrafficFigures, TrafficSource};
use network::{Figures, PodNetwork};
use proxy::IngressTraffic;

/// The figures of this process.
pub(crate) struct LocalTraffic {
    pub network: PodNetwork,
    pub ingress: Option<IngressTraffic>,
}

fn figures(counted: Figures) -> TrafficFigures {
    TrafficFigures {
        requests: counted.requests,
        errors: counted.errors,
        requests_per_second: counted.requests_per_second,
        errors_per_second: counted.errors_per_second,
        in_flight: counted.in_flight,
        idle: counted.idle,
        p99: counted.p99,
    }
}

impl TrafficSource for LocalTraffic {
    fn window(&self) -> Duration {
        network::WINDOW
    }

    fn pods(&self) -> HashMap<IpAddr, TrafficFigures> {
        self.network.traffic().into_iter().map(|(address, counted)| (address, figures(counted))).collect()
    }

    fn ingresses(&self) -> HashMap<String, TrafficFigures> {
        let all = self.ingress.as_ref().map(IngressTraffic::figures).unwrap_or_default();
        all.into_iter().map(|(ingress, counted)| (ingress, figures(counted))).collect()
    }
}
