//! Addresses and ports that belong to one Service each.
//!
//! The object says what it has; a key under `/allocated/` makes sure that nobody else has it: both are written by one
//! transaction, so that no two Services ever share one, whoever writes at the same time.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use api::{FieldError, Kind, Status};
use bytes::Bytes;
use rand::Rng;
use serde_json::{Map, Value, json};
use store::{Check, Txn};

use crate::write::Target;
use crate::{Charge, Objects, keys, service_addresses};

/// Where Services get their addresses and ports from.
#[derive(Clone, Copy, Debug)]
pub struct ServiceRanges {
    /// The first address of the range.
    pub base: Ipv4Addr,
    /// How many leading bits all addresses share.
    pub prefix_length: u8,
    /// The first and the last port for `nodePort`.
    pub ports: (u16, u16),
}

impl Default for ServiceRanges {
    fn default() -> Self {
        Self { base: Ipv4Addr::new(10, 96, 0, 0), prefix_length: 12, ports: (30000, 32767) }
    }
}

impl ServiceRanges {
    fn size(&self) -> u32 {
        1_u32.checked_shl(32 - u32::from(self.prefix_length.min(32))).unwrap_or(u32::MAX)
    }
    fn contains(&self, address: Ipv4Addr) -> bool {
        let offset = u32::from(address).wrapping_sub(u32::from(self.base));
        offset > 0 && offset < self.size() - 1
    }
    /// The first usable address: that of the `kubernetes` Service.
    pub fn first(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.base) + 1)
    }
}

/// What a write takes for its Service, and what it gives back.
#[derive(Default)]
pub(crate) struct Claims {
    taken: Vec<(String, Bytes)>,
    released: Vec<String>,
    /// What is wrong with the object when a key that it asked for by name is taken.
    wished: Vec<(String, FieldError)>,
    /// What rules change along.
    charges: Vec<Charge>,
}

impl Claims {
    pub fn add_to(&self, txn: &mut Txn) {
        txn.checks.extend(self.taken.iter().map(|(key, _)| Check::Absent(key.clone())));
        txn.puts.extend(self.taken.iter().cloned());
        txn.deletes.extend(self.released.iter().cloned());
        for (key, owner) in &self.taken {
            let Some(address) = address_of(key) else { continue };
            let object = service_addresses::object(address, &String::from_utf8_lossy(owner));
            txn.puts.push((service_addresses::key(address), object));
        }
        txn.deletes.extend(self.released.iter().filter_map(|key| address_of(key)).map(service_addresses::key));
        self.charges.iter().for_each(|charge| charge.add_to(txn));
    }

    /// Adds what rules change along.
    pub fn with_charges(mut self, charges: Vec<Charge>) -> Self {
        self.charges = charges;
        self
    }

    /// Whether rules change something along.
    pub fn are_charged(&self) -> bool {
        !self.charges.is_empty()
    }

    /// The write is on its way.
    pub fn sent(&self) {
        self.charges.iter().for_each(Charge::sent);
    }

    /// Whether the write has happened.
    pub fn settle(&self, has_happened: bool) {
        self.charges.iter().for_each(|charge| charge.settle(has_happened));
    }

    /// Whether the write can be tried again when `key` has changed: it stands for an address, a port, or a charge.
    pub fn concerns(&self, key: &str) -> bool {
        key.starts_with(keys::ALLOCATED) || self.charges.iter().any(|charge| charge.has(key))
    }

    /// Somebody else has `key`: an error when it was asked for, else another one can be picked.
    pub fn lost(&self, target: Target<'_>, key: &str) -> Result<(), Status> {
        match self.wished.iter().find(|(wished, _)| wished == key) {
            Some((_, error)) => {
                let Kind { group, kind, .. } = target.kind;
                Err(Status::invalid(group, kind, target.name, std::slice::from_ref(error)))
            }
            None => Ok(()),
        }
    }
}

/// No address or port was free after many attempts.
pub(crate) fn exhausted() -> Status {
    Status::internal("failed to allocate a serviceIP or nodePort: range is full")
}

fn is_service(kind: &Kind) -> bool {
    kind.group.is_empty() && kind.plural == "services"
}

fn address_key(address: &str) -> String {
    format!("{}clusterips/{address}", keys::ALLOCATED)
}

/// The address that a key stands for.
fn address_of(key: &str) -> Option<&str> {
    key.strip_prefix(keys::ALLOCATED)?.strip_prefix("clusterips/")
}

/// What goes with an object that is removed.
pub(crate) fn freed(kind: &Kind, object: &Value) -> Vec<String> {
    let mut keys = held(kind, object);
    let addresses: Vec<String> = keys.iter().filter_map(|key| address_of(key)).map(service_addresses::key).collect();
    keys.extend(addresses);
    keys
}

fn port_key(port: u64) -> String {
    format!("{}nodeports/{port}", keys::ALLOCATED)
}

fn spec(object: &Value) -> &Value {
    object.get("spec").unwrap_or(&Value::Null)
}

fn type_of(object: &Value) -> &str {
    spec(object).get("type").and_then(Value::as_str).unwrap_or("ClusterIP")
}

fn cluster_ip(object: &Value) -> &str {
    let first = || spec(object).get("clusterIPs")?.get(0)?.as_str();
    spec(object)
        .get("clusterIP")
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
        .or_else(first)
        .unwrap_or_default()
}

fn node_ports(object: &Value) -> impl Iterator<Item = u64> {
    let ports = spec(object).get("ports").and_then(Value::as_array);
    ports.into_iter().flatten().filter_map(|port| port.get("nodePort")?.as_u64()).filter(|port| *port > 0)
}

fn has_node_ports(object: &Value) -> bool {
    match type_of(object) {
        "NodePort" => true,
        "LoadBalancer" => spec(object).get("allocateLoadBalancerNodePorts") != Some(&Value::Bool(false)),
        _ => false,
    }
}

/// The keys that belong to an object.
pub(crate) fn held(kind: &Kind, object: &Value) -> Vec<String> {
    if !is_service(kind) {
        return Vec::new();
    }
    let address =
        Some(cluster_ip(object)).filter(|ip| !ip.is_empty() && *ip != "None" && type_of(object) != "ExternalName");
    let ports: HashSet<u64> = node_ports(object).collect();
    address.map(address_key).into_iter().chain(ports.into_iter().map(port_key)).collect()
}

/// An update that does not repeat what was allocated keeps it.
pub(crate) fn carry_over(kind: &Kind, object: &mut Value, old: &Value) {
    if !is_service(kind) || !spec(object).is_object() {
        return;
    }
    if type_of(object) != "ExternalName" && type_of(old) != "ExternalName" && cluster_ip(object).is_empty() {
        for field in ["clusterIP", "clusterIPs"] {
            if let Some(kept) = spec(old).get(field) {
                object["spec"][field] = kept.clone();
            }
        }
    }
    let keeps = has_node_ports(object);
    let old_ports = spec(old).get("ports").and_then(Value::as_array).cloned().unwrap_or_default();
    let protocol = |port: &Value| port.get("protocol").and_then(Value::as_str).unwrap_or("TCP").to_owned();
    for port in object["spec"].get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        let was = old_ports
            .iter()
            .find(|was| was.get("port") == port.get("port") && protocol(was) == protocol(port))
            .and_then(|was| was.get("nodePort").cloned());
        let sent = port.get("nodePort").filter(|sent| sent.as_u64() != Some(0)).cloned();
        let Some(port) = port.as_object_mut() else { continue };
        if keeps && sent.is_none() {
            if let Some(was) = was {
                port.insert("nodePort".to_owned(), was);
            }
        } else if !keeps && sent == was {
            port.remove("nodePort");
        }
    }
}

impl Objects {
    /// Gives a Service what it needs and has not. Anything else passes untouched.
    pub(crate) fn claim(&self, target: Target<'_>, object: &mut Value, old: Option<&Value>) -> Result<Claims, Status> {
        if !is_service(target.kind) || !spec(object).is_object() {
            return Ok(Claims::default());
        }
        let had: HashSet<String> = old.map(|old| held(target.kind, old).into_iter().collect()).unwrap_or_default();
        let mut claims = Claims::default();
        let mut errors = Vec::new();
        if type_of(object) == "ExternalName" {
            if let Some(spec) = object["spec"].as_object_mut() {
                spec.remove("clusterIP");
                spec.remove("clusterIPs");
            }
        } else {
            self.claim_address(target, object, &had, &mut claims, &mut errors);
        }
        self.claim_ports(object, &had, &mut claims, &mut errors);
        if !errors.is_empty() {
            let Kind { group, kind, .. } = target.kind;
            return Err(Status::invalid(group, kind, target.name, &errors));
        }
        let has: HashSet<String> = held(target.kind, object).into_iter().collect();
        let owner = Bytes::from(keys::place(target.namespace, target.name));
        claims.taken = has.difference(&had).map(|key| (key.clone(), owner.clone())).collect();
        claims.released = had.difference(&has).cloned().collect();
        Ok(claims)
    }

    fn claim_address(
        &self,
        target: Target<'_>,
        object: &mut Value,
        had: &HashSet<String>,
        claims: &mut Claims,
        errors: &mut Vec<FieldError>,
    ) {
        let ranges = &self.inner.config.services;
        let mut address = cluster_ip(object).to_owned();
        if address.is_empty() {
            let is_ours = target.namespace == Some("default") && target.name == "kubernetes";
            address = if is_ours { ranges.first() } else { self.pick_address() }.to_string();
        } else if address != "None" && !had.contains(&address_key(&address)) {
            let wrong = |why: &str| {
                FieldError::invalid(
                    "spec.clusterIPs",
                    &json!([address]),
                    &format!("failed to allocate IP {address}: {why}"),
                )
            };
            match address.parse::<Ipv4Addr>() {
                Ok(parsed) if ranges.contains(parsed) => {
                    claims.wished.push((address_key(&address), wrong("provided IP is already allocated")));
                }
                _ => errors.push(wrong(&format!(
                    "the provided IP ({address}) is not in the valid range. The range of valid IPs is {}/{}",
                    ranges.base, ranges.prefix_length
                ))),
            }
        }
        let spec = &mut object["spec"];
        spec["clusterIP"] = json!(address);
        if spec.get("clusterIPs").and_then(|list| list.get(0)).and_then(Value::as_str) != Some(&address) {
            spec["clusterIPs"] = json!([address]);
        }
        let Some(spec) = spec.as_object_mut() else { return };
        default_field(spec, "ipFamilies", json!(["IPv4"]));
        default_field(spec, "ipFamilyPolicy", json!("SingleStack"));
    }

    fn claim_ports(
        &self,
        object: &mut Value,
        had: &HashSet<String>,
        claims: &mut Claims,
        errors: &mut Vec<FieldError>,
    ) {
        if !has_node_ports(object) {
            return;
        }
        let (first, last) = self.inner.config.services.ports;
        let mut used: HashSet<u64> = node_ports(object).collect();
        let all = object["spec"].get_mut("ports").and_then(Value::as_array_mut);
        for (at, port) in all.into_iter().flatten().enumerate() {
            let Some(fields) = port.as_object_mut() else { continue };
            let wrong =
                |sent: u64, why: &str| FieldError::invalid(format!("spec.ports[{at}].nodePort"), &json!(sent), why);
            match fields.get("nodePort").and_then(Value::as_u64).filter(|sent| *sent > 0) {
                Some(sent) if had.contains(&port_key(sent)) => {}
                Some(sent) if (u64::from(first)..=u64::from(last)).contains(&sent) => {
                    claims.wished.push((port_key(sent), wrong(sent, "provided port is already allocated")));
                }
                Some(sent) => errors.push(wrong(
                    sent,
                    &format!("provided port is not in the valid range. The range of valid ports is {first}-{last}"),
                )),
                None => {
                    let picked = self.pick_port(&used);
                    used.insert(picked);
                    fields.insert("nodePort".to_owned(), json!(picked));
                }
            }
        }
    }

    /// A random address out of more than a million. Whether it is free is decided by the commit; when not, another is
    /// picked.
    fn pick_address(&self) -> Ipv4Addr {
        let ranges = &self.inner.config.services;
        // The first address is kept for the `kubernetes` Service, the last is the broadcast address.
        let offset = rand::rng().random_range(2..ranges.size().max(4) - 1);
        Ipv4Addr::from(u32::from(ranges.base) + offset)
    }

    fn pick_port(&self, used: &HashSet<u64>) -> u64 {
        let (first, last) = self.inner.config.services.ports;
        let mut random = rand::rng();
        loop {
            let picked = u64::from(random.random_range(first..=last));
            if !used.contains(&picked) || used.len() > usize::from(last - first) {
                return picked;
            }
        }
    }
}

fn default_field(map: &mut Map<String, Value>, field: &str, value: Value) {
    map.entry(field.to_owned()).or_insert(value);
}
