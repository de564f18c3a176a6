//! Webhooks are called over real connections.

use std::net::SocketAddr;

use apiserver::gateway::NoTransport;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

#[test]
fn places_are_written_as_kubernetes_writes_them() {
    let url = |config: Value| {
        Place::of(&config, Duration::from_secs(10)).map_or_else(|error| error.to_string(), |place| place.url)
    };
    for (config, wanted) in [
        (json!({ "url": "https://a.example/x" }), "https://a.example/x?timeout=10s"),
        (json!({ "url": "https://a.example:8443/x?y=1" }), "https://a.example:8443/x?y=1&timeout=10s"),
        (json!({ "service": { "namespace": "n", "name": "s" } }), "https://s.n.svc:443/?timeout=10s"),
        (
            json!({ "service": { "namespace": "n", "name": "s", "path": "/v", "port": 9 } }),
            "https://s.n.svc:9/v?timeout=10s",
        ),
        (json!({ "url": "http://a/x" }), "could not get REST client: the URL \"http://a/x\" is no https URL"),
    ] {
        assert_eq!(url(config), wanted);
    }
    assert_eq!(go_duration(Duration::from_secs(90)), "1m30s");
    assert_eq!(go_duration(Duration::from_millis(1500)), "1.5s");
}

/// A certificate authority, and a certificate of its for one name: all PEM, the key last.
fn certificates(name: &str) -> (String, String, String) {
    let own = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority.self_signed(&own).unwrap().pem();
    let issuer = Issuer::new(authority, own);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    (root, leaf.pem(), key.serialize_pem())
}

/// A program outside of the cluster, with a certificate for one name; answers the authority's certificate.
async fn program(name: &str) -> (SocketAddr, String) {
    let (root, leaf, key) = certificates(name);
    let chain = CertificateDer::pem_slice_iter(leaf.as_bytes()).collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    #[allow(clippy::disallowed_methods)]
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let served = hyper::server::conn::http1::Builder::new();
            let _ = served.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
        }
    });
    (address, root)
}

async fn answer(request: Request<Incoming>) -> Result<Response<String>, hyper::Error> {
    let (head, body) = request.into_parts();
    let sent: Value = serde_json::from_slice(&body.collect().await?.to_bytes()).unwrap_or_default();
    Ok(match head.uri.path() {
        "/slow" => std::future::pending().await,
        "/broken" => Response::builder().status(500).body("no idea".to_owned()).unwrap(),
        "/nothing" => Response::new("what?".to_owned()),
        path => Response::new(json!({ "path": path, "query": head.uri.query(), "sent": sent }).to_string()),
    })
}

#[tokio::test]
async fn a_url_is_called_over_tls_and_its_certificate_is_checked() {
    let (address, root) = program("127.0.0.1").await;
    let (other, ..) = certificates("127.0.0.1");
    let webhooks = Webhooks::new(Arc::new(NoTransport));
    let call = async |path: &str, root: &str, timeout: u64| {
        let config = json!({ "url": format!("https://{address}{path}"), "caBundle": STANDARD.encode(root) });
        webhooks
            .call(&config, json!({ "a": 1 }), Duration::from_millis(timeout))
            .await
            .map_err(|error| error.to_string())
    };
    let answer = call("/x", &root, 10_000).await.unwrap();
    assert_eq!(answer, json!({ "path": "/x", "query": "timeout=10s", "sent": { "a": 1 } }));
    let url = |path: &str, seconds: &str| format!("Post \"https://{address}{path}?timeout={seconds}\"");
    for (path, root, timeout, wanted) in [
        (
            "/x",
            &other,
            10_000,
            format!(
                "{}: tls: failed to verify certificate: x509: certificate signed by unknown authority",
                url("/x", "10s")
            ),
        ),
        ("/slow", &root, 100, format!("{}: context deadline exceeded", url("/slow", "0.1s"))),
        (
            "/broken",
            &root,
            10_000,
            "an error on the server (\"no idea\") has prevented the request from succeeding".to_owned(),
        ),
        (
            "/nothing",
            &root,
            10_000,
            "couldn't get version/kind; json parse error: expected value at line 1 column 1".to_owned(),
        ),
    ] {
        assert_eq!(call(path, root, timeout).await.unwrap_err(), wanted);
    }
    let (address, root) = program("elsewhere.example.com").await;
    let config = json!({ "url": format!("https://{address}/x"), "caBundle": STANDARD.encode(root) });
    let refused = webhooks.call(&config, json!({}), Duration::from_secs(10)).await.unwrap_err().to_string();
    assert!(refused.contains("tls: failed to verify certificate: x509: "), "{refused}");
}
