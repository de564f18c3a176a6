//! What hosts mean.

use super::*;

fn with_services() -> PodNetwork {
    let network = network();
    let cart = service("shop/cart", Some("10.96.0.5"), 80, &["10.128.0.1:8080"]);
    let mut peers = service("shop/peers", None, 80, &[]);
    let member = Endpoint { hostname: Some("peers-0".into()), ..Endpoint::ready(address("10.128.0.2:9000")) };
    peers.ports = vec![ServicePort::new("http", 9000, vec![member])];
    let mut pair = service("shop/pair", None, 80, &[]);
    let twin = Endpoint { hostname: Some("twin".into()), ..Endpoint::ready(address("10.128.0.3:9000")) };
    pair.ports = vec![ServicePort::new("http", 9000, vec![twin])];
    let mail =
        Service { key: "shop/mail".into(), external_name: Some("mail.example.com".into()), ..Service::default() };
    let other = service("pair/twin", Some("10.96.0.6"), 80, &[]);
    network.set_services([cart, peers, pair, mail, other].into_iter().collect());
    network
}

#[test]
fn hosts_mean_what_cluster_names_mean() {
    let network = with_services();
    let cases = [
        ("cart", "shop", "service shop/cart"),
        ("CART", "shop", "service shop/cart"),
        ("cart", "default", "outside cart"),
        ("cart.shop", "default", "service shop/cart"),
        ("cart.shop.svc", "default", "service shop/cart"),
        ("cart.shop.svc.cluster.local", "default", "service shop/cart"),
        ("cart.shop.svc.cluster.local.", "default", "service shop/cart"),
        ("cart.cluster.local", "shop", "outside cart.cluster.local"),
        ("10.96.0.5", "default", "service shop/cart"),
        ("10.128.0.1", "default", "address 10.128.0.1"),
        ("127.0.0.1", "default", "own"),
        ("[::1]", "default", "own"),
        ("localhost", "default", "own"),
        ("peers-0.peers.shop.svc.cluster.local", "default", "address 10.128.0.2"),
        ("peers-1.peers.shop.svc.cluster.local", "default", "outside peers-1.peers.shop.svc.cluster.local"),
        ("peers-0.peers", "shop", "address 10.128.0.2"),
        ("peers-0.peers", "default", "outside peers-0.peers"),
        ("peers-0.peers.shop", "default", "address 10.128.0.2"),
        ("peers-0.peers.shop.svc", "default", "address 10.128.0.2"),
        ("peers-0.peers.cluster.local", "shop", "outside peers-0.peers.cluster.local"),
        // A pod's namespace is searched before the other namespaces.
        ("twin.pair", "shop", "address 10.128.0.3"),
        ("twin.pair", "default", "service pair/twin"),
        ("10-128-0-1.shop.pod.cluster.local", "default", "address 10.128.0.1"),
        ("mail", "shop", "outside mail.example.com"),
        ("example.com", "default", "outside example.com"),
        ("", "default", "outside "),
        ("..", "default", "outside "),
    ];
    for (host, namespace, expected) in cases {
        let seen = match network.resolve(host, namespace) {
            Target::Service(service) => format!("service {}", service.key),
            Target::Address(address) => format!("address {address}"),
            Target::Own => "own".to_owned(),
            Target::Outside(name) => format!("outside {name}"),
        };
        assert_eq!(seen, expected, "{host} in {namespace}");
    }
}

#[test]
fn names_have_addresses() {
    let network = with_services();
    let lookup = |host: &str| network.lookup(host, "shop", ip("10.128.0.9"));
    assert_eq!(lookup("cart"), [ip("10.96.0.5")]);
    assert_eq!(lookup("peers"), [ip("10.128.0.2")]);
    assert_eq!(lookup("peers-0.peers"), [ip("10.128.0.2")]);
    assert_eq!(lookup("localhost"), [ip("10.128.0.9")]);
    assert!(lookup("nobody").is_empty());
}

#[tokio::test]
async fn a_component_calls_by_name_address_and_its_own_pod() {
    let network = with_services();
    let _cart = named(&network, "10.128.0.1:8080", "cart");
    let _peer = named(&network, "10.128.0.2:9001", "peer");
    let _own = named(&network, "10.128.0.9:7000", "own");
    let cases = [
        ("cart", 80, "cart"),
        ("cart.shop.svc.cluster.local", 80, "cart"),
        ("10.96.0.5", 80, "cart"),
        ("10.128.0.1", 8080, "cart"),
        ("peers", 9001, "peer"),
        ("localhost", 7000, "own"),
        ("cart", 81, "nothing listens at 10.96.0.5:81"),
        ("nobody.example", 80, "no such host: nobody.example"),
    ];
    for (host, port, expected) in cases {
        let connection = Connection { source: ip("10.128.0.9"), ..Connection::default() };
        let seen = match network.call_host(host, port, "shop", request(), connection).await {
            Ok(response) => text(response).await,
            Err(error) => error.to_string(),
        };
        assert_eq!(seen, expected, "{host}:{port}");
    }
    let direct = network.call(address("10.96.0.5:80"), request(), Connection::default()).await;
    assert_eq!(text(direct.unwrap()).await, "cart");
}
