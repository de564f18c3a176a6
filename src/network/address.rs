//! Pod addresses: taken from the pool, given back when the last holder lets go.
//!
//! An address that was given back is handed out again only after every other one of the pool, so that whoever still
//! remembers a dead pod's address is refused rather than answered by a stranger.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::Ipv4Net;
use parking_lot::Mutex;
use thiserror::Error;

/// Why there is no address.
#[derive(Clone, Debug, Error)]
pub enum AddressError {
    /// All are in use.
    #[error("the pod network {network} has no free address; {used} are in use")]
    Exhausted {
        /// The pool.
        network: Ipv4Net,
        /// How many pods have one.
        used: usize,
    },
    /// Another pod has it.
    #[error("{address} is in use by another pod")]
    InUse {
        /// The address.
        address: IpAddr,
    },
    /// The pool does not hold it.
    #[error("{address} is not an address of the pod network {network}")]
    Outside {
        /// The address.
        address: IpAddr,
        /// The pool.
        network: Ipv4Net,
    },
}

/// A pod's address. Clones share it; it is free again when the last one is dropped.
#[derive(Clone, Debug)]
pub struct PodAddress {
    lease: Arc<Lease>,
}

impl PodAddress {
    /// The address.
    pub fn ip(&self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(self.lease.bits))
    }
}

#[derive(Debug)]
struct Lease {
    bits: u32,
    pool: Arc<Pool>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.state.lock().used.remove(&self.bits);
    }
}

/// The addresses of one network.
#[derive(Debug)]
pub(crate) struct Pool {
    network: Ipv4Net,
    first: u32,
    last: u32,
    state: Mutex<PoolState>,
}

#[derive(Debug)]
struct PoolState {
    next: u32,
    used: HashSet<u32>,
}

impl Pool {
    pub(crate) fn new(network: Ipv4Net) -> Arc<Self> {
        let (low, high) = (network.network().to_bits(), network.broadcast().to_bits());
        // The network's own and its broadcast address belong to nobody, where there is room to leave them out.
        let (first, last) = if high - low >= 2 { (low + 1, high - 1) } else { (low, high) };
        Arc::new(Self { network, first, last, state: Mutex::new(PoolState { next: first, used: HashSet::new() }) })
    }

    pub(crate) fn allocate(self: &Arc<Self>) -> Result<PodAddress, AddressError> {
        let mut state = self.state.lock();
        let size = u64::from(self.last - self.first) + 1;
        if state.used.len() as u64 >= size {
            return Err(AddressError::Exhausted { network: self.network, used: state.used.len() });
        }
        loop {
            let bits = state.next;
            state.next = if bits == self.last { self.first } else { bits + 1 };
            if state.used.insert(bits) {
                return Ok(self.lease(bits));
            }
        }
    }

    pub(crate) fn claim(self: &Arc<Self>, address: IpAddr) -> Result<PodAddress, AddressError> {
        let outside = || AddressError::Outside { address, network: self.network };
        let IpAddr::V4(v4) = address else { return Err(outside()) };
        let bits = v4.to_bits();
        if bits < self.first || bits > self.last {
            return Err(outside());
        }
        if !self.state.lock().used.insert(bits) {
            return Err(AddressError::InUse { address });
        }
        Ok(self.lease(bits))
    }

    fn lease(self: &Arc<Self>, bits: u32) -> PodAddress {
        PodAddress { lease: Arc::new(Lease { bits, pool: Arc::clone(self) }) }
    }
}
