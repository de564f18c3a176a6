//! Which endpoint of a Service a call goes to.
//!
//! Of two endpoints drawn at random the one with fewer calls in flight is taken, which comes close to "the least of
//! all" at a constant price. An endpoint that does not listen (its pod has just gone and the table does not know yet) is
//! passed over; the call is refused only if none listens.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

use rand::Rng;

use crate::CallError;
use crate::listener::{InFlight, Listeners};

/// Starts a call at one of `endpoints`, which is not empty.
pub(crate) fn enter_one(
    listeners: &Listeners,
    endpoints: &[SocketAddr],
    sticky: Option<IpAddr>,
) -> Result<InFlight, CallError> {
    if let [only] = endpoints {
        return listeners.enter(*only);
    }
    let first = match sticky {
        Some(source) => preferred(endpoints, source),
        None => lighter_of_two(listeners, endpoints),
    };
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
