//! The route table: host and path to backend, as `networking.k8s.io/v1` Ingress defines it.
//!
//! Of the rules whose host fits, those for this very host come first, then those for its wildcard, then those for any
//! host; among the paths that fit the longest wins, and an Exact one before a Prefix. What no rule fits goes to the default
//! backend of an Ingress that names the host, else to that of any Ingress. Of two Ingresses that claim the same, the
//! older has it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use network::PortRef;
use thiserror::Error;

mod build;

pub(crate) use build::key_of;
pub use build::{Built, build, is_served};

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// The Service, `namespace/name`.
    pub service: String,
    /// Its port.
    pub port: PortRef,
    /// The Ingress that says so, `namespace/name`.
    pub ingress: String,
}

/// Why no route fits.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoRoute {
    /// No rule is for the host.
    #[error("no Ingress has a rule for host \"{host}\"")]
    Host {
        /// The host.
        host: String,
    },
    /// Rules are for the host, but none for the path.
    #[error("no Ingress rule for host \"{host}\" has a path for \"{path}\"")]
    Path {
        /// The host.
        host: String,
        /// The path.
        path: String,
    },
}

/// All routes of one moment.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    precise: HashMap<Box<str>, Paths>,
    /// By what follows the asterisk and the dot.
    wildcard: HashMap<Box<str>, Paths>,
    any: Paths,
    default: Option<Arc<Backend>>,
}

impl RouteTable {
    /// The backend for a request. `host` is without port.
    pub fn find(&self, host: &str, path: &str) -> Result<&Arc<Backend>, NoRoute> {
        let host = canonical(host);
        let precise = self.precise.get(host.as_ref());
        let wildcard = match host.split_once('.') {
            Some((label, rest)) if !label.is_empty() => self.wildcard.get(rest),
            _ => None,
        };
        let levels = || [precise, wildcard, Some(&self.any)].into_iter().flatten();
        if let Some(found) = levels().find_map(|paths| paths.find(path)) {
            return Ok(found);
        }
        if let Some(found) = levels().find_map(|paths| paths.default.as_ref()).or(self.default.as_ref()) {
            return Ok(found);
        }
        let host = host.into_owned();
        if precise.is_none() && wildcard.is_none() && self.any.is_empty() {
            return Err(NoRoute::Host { host });
        }
        Err(NoRoute::Path { host, path: path.to_owned() })
    }

    /// The hosts that have rules of their own, wildcards as they are written, sorted.
    pub fn hosts(&self) -> Vec<String> {
        let wildcards = self.wildcard.keys().map(|rest| format!("*.{rest}"));
        let mut hosts: Vec<_> = self.precise.keys().map(ToString::to_string).chain(wildcards).collect();
        hosts.sort_unstable();
        hosts
    }

    fn paths_mut(&mut self, host: Option<&str>) -> &mut Paths {
        let host = host.map(canonical).unwrap_or_default();
        match host.strip_prefix("*.") {
            Some(rest) => self.wildcard.entry(rest.into()).or_default(),
            None if host.is_empty() => &mut self.any,
            None => self.precise.entry(host.into()).or_default(),
        }
    }
}

/// The paths of one host.
#[derive(Clone, Debug, Default)]
struct Paths {
    exact: HashMap<Box<str>, Arc<Backend>>,
    /// The longest first, each without its last slash.
    prefixes: Vec<(Box<str>, Arc<Backend>)>,
    default: Option<Arc<Backend>>,
}

impl Paths {
    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.prefixes.is_empty() && self.default.is_none()
    }

    fn find(&self, path: &str) -> Option<&Arc<Backend>> {
        if !self.exact.is_empty()
            && let Some(found) = self.exact.get(path)
        {
            return Some(found);
        }
        self.prefixes.iter().find(|(prefix, _)| has_prefix(path, prefix)).map(|(_, backend)| backend)
    }

    /// Keeps what is there already: callers add the oldest first.
    fn add_exact(&mut self, path: &str, backend: Arc<Backend>) {
        self.exact.entry(path.into()).or_insert(backend);
    }

    fn add_prefix(&mut self, path: &str, backend: Arc<Backend>) {
        let prefix = path.trim_end_matches('/');
        let at = self.prefixes.partition_point(|(other, _)| other.len() >= prefix.len());
        if self.prefixes[..at].iter().all(|(other, _)| **other != *prefix) {
            self.prefixes.insert(at, (prefix.into(), backend));
        }
    }
}

/// Whether `path` begins with the elements of `prefix`, which has no slash at its end.
fn has_prefix(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A host as the table holds it: lower case, with no dot at its end.
fn canonical(host: &str) -> Cow<'_, str> {
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}
