//! Which endpoint of a Service a call goes to.
//!
//! Of two endpoints drawn at random the one with fewer calls in flight is taken, which comes close to "the least of
//! all" at a constant price. An endpoint that does not listen (its pod has just gone and the table does not know yet) is
//! passed over; the call is refused only if none listens. Where endpoints have weights, calls go in turn, in proportion.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

use rand::Rng;

use crate::CallError;
use crate::listener::{InFlight, Listeners};
use crate::turns::Turns;

/// Starts a call at one of `endpoints`, which is not empty.
pub(crate) fn enter_one(
    listeners: &Listeners,
    endpoints: &[SocketAddr],
    turns: Option<&Turns>,
    sticky: Option<IpAddr>,
) -> Result<InFlight, CallError> {
    if let [only] = endpoints {
        return listeners.enter(*only);
    }
    let first = match (sticky, turns) {
        (Some(source), None) => preferred(endpoints, source),
        (Some(source), Some(turns)) => turns.at(place_of(source)),
        (None, Some(turns)) => turns.next(),
        (None, None) => lighter_of_two(listeners, endpoints),
    };
    let first = first.min(endpoints.len() - 1);
    let attempts = (0..endpoints.len()).map(|step| endpoints[(first + step) % endpoints.len()]);
    let mut refused = CallError::Refused { address: endpoints[first] };
    for address in attempts {
        match listeners.enter(address) {
            Ok(call) => return Ok(call),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

fn lighter_of_two(listeners: &Listeners, endpoints: &[SocketAddr]) -> usize {
    let mut random = rand::rng();
    let one = random.random_range(0..endpoints.len());
    let other = (one + random.random_range(1..endpoints.len())) % endpoints.len();
    let load = |index: usize| listeners.in_flight(endpoints[index]).unwrap_or(usize::MAX);
    if load(one) <= load(other) { one } else { other }
}

/// Rendezvous hashing: when an endpoint goes, only its own callers move.
fn preferred(endpoints: &[SocketAddr], source: IpAddr) -> usize {
    let weight = |address: &SocketAddr| {
        let mut hasher = DefaultHasher::new();
        (source, address).hash(&mut hasher);
        hasher.finish()
    };
    let heaviest = endpoints.iter().enumerate().max_by_key(|(_, address)| weight(address));
    heaviest.map_or(0, |(index, _)| index)
}

/// Where a caller always stands in the order of turns, from 0 to 1.
fn place_of(source: IpAddr) -> f64 {
    let mut hasher = DefaultHasher::new();
    source.hash(&mut hasher);
    // 53 bits are what a float holds exactly.
    (hasher.finish() >> 11) as f64 / (1u64 << 53) as f64
}
