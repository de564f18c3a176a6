//! Pod addresses.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

fn small() -> PodNetwork {
    PodNetwork::new(Config { pod_cidr: "10.200.0.0/29".parse().unwrap(), ..Config::default() })
}

#[test]
fn an_address_is_reused_last() {
    let network = small();
    let first = network.allocate().unwrap();
    assert_eq!(first.ip(), ip("10.200.0.1"));
    drop(first);
    let next: Vec<_> = (0..6).map(|_| network.allocate().unwrap()).collect();
    let ips: Vec<_> = next.iter().map(|address| address.ip().to_string()).collect();
    assert_eq!(ips[..2], ["10.200.0.2", "10.200.0.3"]);
    assert_eq!(ips[5], "10.200.0.1");
    let full = network.allocate().unwrap_err();
    assert_eq!(full.to_string(), "the pod network 10.200.0.0/29 has no free address; 6 are in use");
}

#[test]
fn an_address_is_free_when_its_last_holder_lets_go() {
    let network = small();
    let held = network.claim(ip("10.200.0.4")).unwrap();
    let copy = held.clone();
    drop(held);
    assert!(matches!(network.claim(ip("10.200.0.4")), Err(AddressError::InUse { .. })));
    drop(copy);
    assert!(network.claim(ip("10.200.0.4")).is_ok());
    assert!(matches!(network.claim(ip("10.9.0.4")), Err(AddressError::Outside { .. })));
    assert!(matches!(network.claim(ip("10.200.0.7")), Err(AddressError::Outside { .. })));
}

proptest! {
    #[test]
    fn no_two_pods_share_an_address(steps in prop::collection::vec(any::<Option<u8>>(), 0..200)) {
        let network = small();
        let mut held = Vec::new();
        for step in steps {
            match step {
                None => match network.allocate() {
                    Ok(address) => held.push(address),
                    Err(_) => prop_assert_eq!(held.len(), 6),
                },
                Some(at) if !held.is_empty() => drop(held.swap_remove(at as usize % held.len())),
                Some(_) => {}
            }
            let distinct: HashSet<_> = held.iter().map(PodAddress::ip).collect();
            prop_assert_eq!(distinct.len(), held.len());
        }
    }
}
