//! A real listener: TLS, client certificates, both versions of HTTP, and an end in order.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::client::TlsStream;

use super::harness::{Cluster, cluster};
use crate::Authority;

struct Listening {
    cluster: Cluster,
    authority: Authority,
    address: SocketAddr,
    served: tokio::sync::oneshot::Receiver<()>,
}

async fn listen() -> Listening {
    let cluster = cluster().await;
    let authority = Authority::ephemeral().unwrap();
    let pair = authority.server_certificate(&[]).unwrap();
    let tls = authority.server_tls(&pair).unwrap();
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (server, tasks) = (cluster.server.clone(), cluster.tasks.clone());
    let (done, served) = tokio::sync::oneshot::channel();
    cluster.tasks.service("listener", async move {
        server.serve(listener, tls, &tasks).await.unwrap();
        let _ = done.send(());
    });
    Listening { cluster, authority, address, served }
}

impl Listening {
    async fn client(&self) -> kube::Client {
        let pair = self.authority.admin_certificate().unwrap();
        let base64 = |text: &str| BASE64_STANDARD.encode(text);
        let kubeconfig: Kubeconfig = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{ "name": "c", "cluster": {
                "server": format!("https://{}", self.address),
                "certificate-authority-data": base64(self.authority.certificate_pem()),
            } }],
            "users": [{ "name": "u", "user": {
                "client-certificate-data": base64(&pair.certificate_pem), "client-key-data": base64(&pair.key_pem),
            } }],
            "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
        }))
        .unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        kube::Client::try_from(config).unwrap()
    }

    /// A connection without a client certificate.
    async fn connect(&self) -> TlsStream<tokio::net::TcpStream> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.certificate_pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("kubernetes.default.svc").unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    /// What a plain HTTP/1.1 request is answered.
    async fn raw(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A server that closes without TLS' goodbye has still said what it said.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}

#[tokio::test]
async fn the_administrators_certificate_opens() {
    let listening = listen().await;
    let namespaces: Api<Namespace> = Api::all(listening.client().await);
    let list = namespaces.list(&ListParams::default()).await.unwrap();
    assert!(list.items.iter().any(|namespace| namespace.metadata.name.as_deref() == Some("default")));
}

#[tokio::test]
async fn strangers_see_health_only() {
    let listening = listen().await;
    let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let healthy = listening.raw(&ask("/readyz")).await;
    assert!(healthy.starts_with("HTTP/1.1 200 OK\r\n") && healthy.ends_with("ok"), "{healthy}");
    let refused = listening.raw(&ask("/api/v1/pods")).await;
    assert!(refused.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{refused}");
    let huge = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(100_000));
    let refused = listening.raw(&huge).await;
    assert!(refused.starts_with("HTTP/1.1 4"), "{refused}");
    let odd = listening.raw("NONSENSE\r\n\r\n").await;
    assert!(odd.is_empty() || odd.starts_with("HTTP/1.1 400"), "{odd}");
    assert!(listening.raw(&ask("/healthz")).await.ends_with("ok"));
}

#[tokio::test]
async fn watches_end_when_the_server_stops() {
    let listening = listen().await;
    let namespaces: Api<Namespace> = Api::all(listening.client().await);
    let mut watch = Box::pin(namespaces.watch(&kube::api::WatchParams::default(), "0").await.unwrap());
    assert!(watch.next().await.unwrap().is_ok());
    let stopped = listening.cluster.tasks.stop(Duration::from_secs(20));
    let ended = async { while watch.next().await.is_some_and(|event| event.is_ok()) {} };
    let (stopped, ()) = tokio::join!(stopped, ended);
    assert!(stopped);
    listening.served.await.unwrap();
}
