//! Says that ranges of Service addresses are ready, and keeps them while an address of them is in use.
//!
//! *Caveat*: the server hands addresses out of its own range only; further ranges are kept and shown.

use std::net::IpAddr;

use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Next, Reconcile, RunError};
use client::informers::{Informer, Key};
use jiff::Timestamp;
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use kube::api::Api;
use serde_json::{Value, json};

use crate::Rig;
use crate::changed::write;
use crate::owners::is_deleting;

const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";

pub(crate) fn start(rig: Rig) {
    let ranges = rig.informers.of::<ServiceCIDR>();
    let addresses = rig.informers.of::<IPAddress>();
    let all = ranges.clone();
    let controller =
        Controller::new("service_cidrs", &rig.metrics).workers(2).each(&ranges).watch(&addresses, move |change| {
            // An address that is gone may have been the last of a range that is to go.
            if change.new.is_some() {
                return Vec::new();
            }
            let going = all.list().into_iter().filter(|range| is_deleting(&range.metadata));
            going.map(|range| Key::of(range.as_ref())).collect()
        });
    controller.start(&rig.tasks, Ranges { client: rig.client, ranges, addresses });
}

struct Ranges {
    client: Client,
    ranges: Informer<ServiceCIDR>,
    addresses: Informer<IPAddress>,
}

/// Whether `address` is one of `range` (`10.0.0.0/8`).
fn contains(range: &str, address: IpAddr) -> bool {
    let Some((base, length)) = range.split_once('/') else { return false };
    let (Ok(base), Ok(length)) = (base.parse::<IpAddr>(), length.parse::<u32>()) else { return false };
    let (bits, base, address) = match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) => (32, u128::from(base.to_bits()), u128::from(address.to_bits())),
        (IpAddr::V6(base), IpAddr::V6(address)) => (128, base.to_bits(), address.to_bits()),
        _ => return false,
    };
    let rest = bits - length.min(bits);
    base.checked_shr(rest).unwrap_or_default() == address.checked_shr(rest).unwrap_or_default()
}

fn ranges_of(range: &ServiceCIDR) -> Vec<String> {
    range.spec.as_ref().and_then(|spec| spec.cidrs.clone()).unwrap_or_default()
}

fn ready(range: &ServiceCIDR) -> Option<&str> {
    let conditions = range.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Ready").map(|condition| condition.status.as_str())
}

fn condition(status: &str, reason: &str, message: &str) -> Value {
    let now = Timestamp::now();
    json!({ "status": { "conditions": [{
        "type": "Ready", "status": status, "reason": reason, "message": message,
        "lastTransitionTime": api::meta::time_text(now),
    }] } })
}

impl Ranges {
    /// Whether some address would be without a range.
    fn is_needed(&self, range: &ServiceCIDR) -> bool {
        let all = self.ranges.list();
        let others: Vec<String> = all
            .iter()
            .filter(|other| other.metadata.uid != range.metadata.uid && !is_deleting(&other.metadata))
            .flat_map(|other| ranges_of(other))
            .collect();
        let own = ranges_of(range);
        self.addresses.list().iter().any(|address| {
            let address = address.metadata.name.as_deref().and_then(|name| name.parse::<IpAddr>().ok());
            address.is_some_and(|address| {
                let is_in = |ranges: &[String]| ranges.iter().any(|range| contains(range, address));
                is_in(&own) && !is_in(&others)
            })
        })
    }

    async fn look(&self, range: &ServiceCIDR) -> Result<(), kube::Error> {
        let api = Api::<ServiceCIDR>::all(self.client.clone());
        let mut finalizers = range.metadata.finalizers.clone().unwrap_or_default();
        let is_held = finalizers.iter().any(|finalizer| finalizer == FINALIZER);
        let finalized = |finalizers: &[String]| json!({ "metadata": { "finalizers": finalizers } });
        if is_deleting(&range.metadata) {
            if !is_held {
                return Ok(());
            }
            if !self.is_needed(range) {
                finalizers.retain(|finalizer| finalizer != FINALIZER);
                return write(&api, range, false, &finalized(&finalizers)).await.map(drop);
            }
            if ready(range) != Some("False") {
                let why = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";
                write(&api, range, true, &condition("False", "Terminating", why)).await?;
            }
            return Ok(());
        }
        let mut range = range.clone();
        if !is_held {
            finalizers.push(FINALIZER.to_owned());
            range = write(&api, &range, false, &finalized(&finalizers)).await?;
        }
        if ready(&range).is_none() {
            write(&api, &range, true, &condition("True", "", "Kubernetes Service CIDR is ready")).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Reconcile for Ranges {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let Some(range) = self.ranges.at(key) else { return Ok(Next::Done) };
        match self.look(&range).await {
            Err(error) if client::is_not_found(&error) => Ok(Next::Done),
            other => Ok(other.map(|()| Next::Done)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_addresses() {
        for (range, address, wanted) in [
            ("10.96.0.0/12", "10.96.0.1", true),
            ("10.96.0.0/12", "10.112.0.1", false),
            ("10.0.0.0/0", "192.168.0.1", true),
            ("fd00::/64", "fd00::5", true),
            ("fd00::/64", "10.96.0.1", false),
            ("nonsense", "10.96.0.1", false),
        ] {
            assert_eq!(contains(range, address.parse().unwrap()), wanted, "{range} {address}");
        }
    }
}
