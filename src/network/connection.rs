//! Who calls, and how long the call may still take.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

/// How deep a chain of calls may be before it is taken for a loop (the answer is 508).
pub const DEPTH_MAX: u8 = 16;

/// What travels with every request beside the request itself.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The caller's address: a pod's, or the client's at the ingress.
    pub source: IpAddr,
    /// The moment at which the answer is worth nothing any more. Only shrinks along a chain of calls.
    pub deadline: Option<Instant>,
    /// How many components this request has passed through.
    pub depth: u8,
}

impl Default for Connection {
    fn default() -> Self {
        Self { source: IpAddr::V4(Ipv4Addr::UNSPECIFIED), deadline: None, depth: 0 }
    }
}

impl Connection {
    /// The connection of a call that a component at `source` makes while it serves this one.
    pub fn onward(&self, source: IpAddr) -> Self {
        Self { source, deadline: self.deadline, depth: self.depth.saturating_add(1) }
    }
    /// The same with a deadline that is no later than `deadline`.
    pub fn by(&self, deadline: Instant) -> Self {
        let deadline = self.deadline.map_or(deadline, |earlier| earlier.min(deadline));
        Self { deadline: Some(deadline), ..self.clone() }
    }
}
