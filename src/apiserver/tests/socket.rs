//! A real listener: TLS, client certificates, both versions of HTTP, and an end in order.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use api::Status;
use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures::{SinkExt, StreamExt};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::client::TlsStream;

use super::harness::{Cluster, cluster_with, pod};
use crate::gateway::Duplex;
use crate::{Authority, Config, ContainerAddress, LogOptions, LogStream, NodeGateway};

struct Listening {
    cluster: Cluster,
    authority: Authority,
    address: SocketAddr,
    served: tokio::sync::oneshot::Receiver<()>,
}

async fn listen() -> Listening {
    listen_with(Config::default()).await
}

async fn listen_with(config: Config) -> Listening {
    let cluster = cluster_with(config).await;
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
    assert!(refused.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{refused}");
    let huge = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(100_000));
    let refused = listening.raw(&huge).await;
    assert!(refused.starts_with("HTTP/1.1 4"), "{refused}");
    let odd = listening.raw("NONSENSE\r\n\r\n").await;
    assert!(odd.is_empty() || odd.starts_with("HTTP/1.1 400"), "{odd}");
    assert!(listening.raw(&ask("/healthz")).await.ends_with("ok"));
}

/// Many clients write all of a request before they read.
#[tokio::test]
async fn who_pushes_much_without_rights_reads_that_he_has_none() {
    let listening = listen().await;
    let mut request = "PUT /v2/x/blobs/uploads/1 HTTP/1.1\r\nhost: x\r\ncontent-length: 33554432\r\n\r\n".to_owned();
    request.push_str(&"x".repeat(32 << 20));
    request.push_str("GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let answers = listening.raw(&request).await;
    assert!(answers.starts_with("HTTP/1.1 401 Unauthorized\r\n") && answers.contains("UNAUTHORIZED"), "{answers}");
    // The connection is as good as before.
    assert!(answers.contains("HTTP/1.1 200 OK\r\n"), "{answers}");
}

/// Port 80 says everything back, the others are closed.
#[derive(Default)]
struct Echo(parking_lot::Mutex<tokio::task::JoinSet<()>>);

#[async_trait]
impl NodeGateway for Echo {
    async fn logs(&self, _: &ContainerAddress, _: &LogOptions) -> Result<LogStream, Status> {
        Err(Status::unavailable("no logs here"))
    }
    async fn port_forward(&self, _: &ContainerAddress, port: u16) -> Result<Box<dyn Duplex>, Status> {
        if port != 80 {
            return Err(Status::unavailable("connection refused"));
        }
        let (near, far) = tokio::io::duplex(1024);
        let echo = async move {
            let (mut reader, mut writer) = tokio::io::split(far);
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
            let _ = writer.shutdown().await;
        };
        self.0.lock().spawn(echo);
        Ok(Box::new(near))
    }
}

#[tokio::test]
async fn ports_are_forwarded() {
    let listening = listen_with(Config { node_gateway: Arc::new(Echo::default()), ..Config::default() }).await;
    let pods: Api<Pod> = Api::namespaced(listening.client().await, "default");
    let mut object = pod("p");
    object["spec"]["nodeName"] = json!("here");
    listening.cluster.post("/api/v1/namespaces/default/pods", &object).await;
    assert!(pods.portforward("p", &[80]).await.is_err(), "a pod that does not run has no ports");
    let running = Patch::Merge(json!({ "status": { "phase": "Running" } }));
    pods.patch_status("p", &PatchParams::default(), &running).await.unwrap();
    let mut forwarder = pods.portforward("p", &[80, 81]).await.unwrap();
    let mut stream = forwarder.take_stream(80).unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut heard = [0; 5];
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
    let refused = forwarder.take_error(81).unwrap().await.unwrap();
    assert!(refused.contains("connection refused"), "{refused}");
}

/// A frame of SPDY: the head of a control frame, its fields, packed headers.
fn open_stream(stream: u32, headers: &[u8]) -> Vec<u8> {
    let mut frame = b"\x80\x03\x00\x01".to_vec();
    frame.extend_from_slice(&(headers.len() as u32 + 10).to_be_bytes());
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(&[0; 6]);
    frame.extend_from_slice(headers);
    frame
}

#[tokio::test]
async fn kubectls_tunnel_carries_connections() {
    use flate2::{Compress, Compression, FlushCompress};
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;

    let tokens = crate::StaticTokens::parse("root,admin,1,system:masters", "tokens").unwrap();
    let authenticators: Vec<Arc<dyn crate::Authenticator>> = vec![Arc::new(tokens)];
    let config = Config { node_gateway: Arc::new(Echo::default()), authenticators, ..Config::default() };
    let listening = listen_with(config).await;
    let mut object = pod("p");
    object["spec"]["nodeName"] = json!("here");
    listening.cluster.post("/api/v1/namespaces/default/pods", &object).await;
    let headers = [("content-type", "application/merge-patch+json")];
    let path = "/api/v1/namespaces/default/pods/p";
    listening.cluster.ask("PATCH", &format!("{path}/status"), &headers, r#"{"status":{"phase":"Running"}}"#).await;

    let mut request = format!("wss://localhost{path}/portforward").into_client_request().unwrap();
    request.headers_mut().insert("authorization", "Bearer root".parse().unwrap());
    request.headers_mut().insert("sec-websocket-protocol", "SPDY/3.1+portforward.k8s.io".parse().unwrap());
    let (mut socket, response) = tokio_tungstenite::client_async(request, listening.connect().await).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "SPDY/3.1+portforward.k8s.io");

    let mut packer = Compress::new(Compression::default(), true);
    packer.set_dictionary(crate::subresources::spdy_dictionary()).unwrap();
    for (stream, kind) in [(1, "error"), (3, "data")] {
        let pairs = [("streamtype", kind), ("port", "80"), ("requestid", "0")];
        let mut text = 3u32.to_be_bytes().to_vec();
        for word in pairs.iter().flat_map(|(name, value)| [name, value]) {
            text.extend_from_slice(&(word.len() as u32).to_be_bytes());
            text.extend_from_slice(word.as_bytes());
        }
        let mut packed = Vec::with_capacity(1024);
        packer.compress_vec(&text, &mut packed, FlushCompress::Sync).unwrap();
        socket.send(Message::binary(open_stream(stream, &packed))).await.unwrap();
    }
    // "hello" on stream 3, and that it is all.
    socket.send(Message::binary(b"\0\0\0\x03\0\0\0\x05hello\0\0\0\x03\x01\0\0\0".to_vec())).await.unwrap();
    let mut heard = Vec::new();
    let ended = b"\0\0\0\x03\x01\0\0\0\0\0\0\x01\x01\0\0\0";
    while !heard.ends_with(ended) {
        match socket.next().await.unwrap().unwrap() {
            Message::Binary(data) => heard.extend_from_slice(&data),
            other => panic!("{other:?}"),
        }
    }
    let said = b"\0\0\0\x03\0\0\0\x05hello";
    assert!(heard.windows(said.len()).any(|window| window == said), "{heard:?}");
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
