//! IPAddress and ServiceCIDR: which addresses Services have, and out of which ranges they come.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::cells::{age_column, column, joined, name_column};
use super::checks::{Faults, IMMUTABLE, immutable, invalid_each, required_name};
use super::fields::{get, list_at, text};
use super::row::row;
use crate::names::{dns_subdomain_errors, ip_errors, path_segment_errors};
use crate::{Behaviour, FieldError, Kind, Scope};

const GROUP: &str = "networking.k8s.io";

/// The row of IPAddress.
pub fn address_kind() -> Kind {
    row(GROUP, "v1", "IPAddress", "ipaddresses", Scope::Cluster)
        .short(&["ip"])
        .columns(vec![
            name_column(),
            column("ParentRef", "What has the address.", |object, _| {
                let Some(parent) = object.pointer("/spec/parentRef") else { return json!("") };
                let (group, space) = (text(parent, "group"), text(parent, "namespace"));
                let mut shown = crate::status::qualified(group, text(parent, "resource"));
                for part in [space, text(parent, "name")].into_iter().filter(|part| !part.is_empty()) {
                    shown.push('/');
                    shown.push_str(part);
                }
                json!(shown)
            }),
        ])
        .behaviour(Address)
        .build()
}

/// The row of ServiceCIDR.
pub fn range_kind() -> Kind {
    row(GROUP, "v1", "ServiceCIDR", "servicecidrs", Scope::Cluster)
        .status()
        .columns(vec![
            name_column(),
            column("CIDRs", "The ranges that Services get their addresses from.", |object, _| {
                json!(joined(list_at(object, "/spec/cidrs").iter().filter_map(Value::as_str)))
            }),
            age_column(),
        ])
        .behaviour(Range)
        .build()
}

/// An address and how many of its bits name the network.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    pub(crate) address: IpAddr,
    pub(crate) length: u8,
}

impl Block {
    /// `10.0.0.0/8`
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length: u8 = length.parse().ok()?;
        (length <= most).then_some(Self { address, length })
    }
    /// Whether an address is in the network.
    pub(crate) fn contains(self, address: IpAddr) -> bool {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(four) => u128::from(u32::from(four)) << 96,
            IpAddr::V6(six) => u128::from(six),
        };
        let mask = if self.length == 0 { 0 } else { u128::MAX << (128 - u32::from(self.length)) };
        self.address.is_ipv4() == address.is_ipv4() && bits(self.address) & mask == bits(address) & mask
    }
    /// Whether bits behind the network's are set.
    fn has_host_bits(self) -> bool {
        let (bits, width) = match self.address {
            IpAddr::V4(four) => (u128::from(u32::from(four)), 32),
            IpAddr::V6(six) => (u128::from(six), 128),
        };
        let host = width - u32::from(self.length);
        host > 0 && bits & (u128::MAX >> (128 - host)) != 0
    }
}

/// What is wrong with a range of addresses; older fields are read less strictly.
pub(crate) fn cidr_faults(faults: &mut Faults, path: &str, text: &str, strict: bool) {
    let Some(block) = Block::parse(text) else {
        let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
        faults.push(FieldError::invalid(path, &json!(text), detail));
        return;
    };
    if strict && block.has_host_bits() {
        let detail = "must not have bits set beyond the prefix length";
        faults.push(FieldError::invalid(path, &json!(text), detail));
        return;
    }
    let canonical = format!("{}/{}", block.address, block.length);
    if strict && canonical != text {
        let detail = format!("must be in canonical form ({canonical:?})");
        faults.push(FieldError::invalid(path, &json!(text), &detail));
    }
}

struct Address;

impl Behaviour for Address {
    fn prepare_create(&self, _object: &mut Value) {}
    fn prepare_update(&self, _object: &mut Value, _old: &Value) {}
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let empty = json!({});
        let spec = get(object, "spec").unwrap_or(&empty);
        if let Some(old) = old {
            immutable(&mut faults, spec, get(old, "spec").unwrap_or(&empty), "spec", "parentRef");
            return faults;
        }
        let Some(parent) = get(spec, "parentRef") else {
            faults.push(FieldError::required("spec.parentRef", ""));
            return faults;
        };
        let group = text(parent, "group");
        if !group.is_empty() {
            invalid_each(&mut faults, "spec.parentRef.group", group, dns_subdomain_errors(group));
        }
        for field in ["resource", "name"] {
            required_name(&mut faults, &format!("spec.parentRef.{field}"), text(parent, field), path_segment_errors);
        }
        let space = text(parent, "namespace");
        invalid_each(&mut faults, "spec.parentRef.namespace", space, path_segment_errors(space));
        faults
    }
    fn validate_name(&self, name: &str) -> Vec<String> {
        match name.parse::<IpAddr>() {
            Ok(address) if address.to_string() != name => {
                vec![format!("must be in canonical form ({:?})", address.to_string())]
            }
            _ => ip_errors(name),
        }
    }
    fn has_generation(&self) -> bool {
        false
    }
}

struct Range;

impl Behaviour for Range {
    fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut faults = Faults::new();
        let now = list_at(object, "/spec/cidrs");
        let Some(old) = old else {
            ranges(&mut faults, now);
            return faults;
        };
        let was = list_at(old, "/spec/cidrs");
        if was.len() == now.len() || (was.len() == 1 && now.len() == 2) {
            for (at, (now, was)) in now.iter().zip(was).enumerate() {
                if now != was {
                    faults.push(FieldError::invalid(format!("spec.cidrs[{at}]"), now, IMMUTABLE));
                }
            }
            if was.len() != now.len() {
                ranges(&mut faults, now);
            }
        } else {
            faults.push(FieldError::invalid("spec.cidrs", &json!(now), IMMUTABLE));
        }
        faults
    }
    fn has_generation(&self) -> bool {
        false
    }
}

fn ranges(faults: &mut Faults, cidrs: &[Value]) {
    let path = "spec.cidrs";
    match cidrs.len() {
        0 => {
            faults.push(FieldError::required(path, "at least one CIDR required"));
            return;
        }
        1 | 2 => {}
        _ => {
            faults.push(FieldError::invalid(path, &json!({ "CIDRs": cidrs }), "may only hold up to 2 values"));
            return;
        }
    }
    let texts: Vec<&str> = cidrs.iter().map(|cidr| cidr.as_str().unwrap_or_default()).collect();
    for (at, text) in texts.iter().enumerate() {
        cidr_faults(faults, &format!("{path}[{at}]"), text, true);
    }
    let families: Vec<bool> = texts.iter().filter_map(|text| Some(Block::parse(text)?.address.is_ipv4())).collect();
    if families.len() == 2 && families.first() == families.last() {
        let detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        faults.push(FieldError::invalid(path, &json!(cidrs), detail));
    }
}
