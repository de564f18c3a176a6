//! A registry that gives nothing without a token of its token service, with one image as Docker's users make them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Write;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// It listens for as long as it is held.
pub struct Guarded {
    port: u16,
    _serving: JoinSet<()>,
}

struct Stock {
    port: u16,
    paths: BTreeMap<String, (&'static str, Bytes)>,
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// An archive with these files, packed.
pub fn tar_gz(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o755);
        header.set_cksum();
        archive.append_data(&mut header, path, *bytes).unwrap();
    }
    let mut packed = archive.into_inner().unwrap();
    packed.flush().unwrap();
    packed.finish().unwrap()
}

impl Guarded {
    /// Has `name:v1` for whoever is `user` with the password `secret`.
    pub async fn start(name: &str, layers: &[Vec<u8>], entrypoint: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut paths = BTreeMap::new();
        let mut blob = |media_type: &str, bytes: Vec<u8>| {
            let described = json!({ "mediaType": media_type, "digest": digest(&bytes), "size": bytes.len() });
            paths.insert(
                format!("/v2/{name}/blobs/{}", digest(&bytes)),
                ("application/octet-stream", Bytes::from(bytes)),
            );
            described
        };
        let config = json!({ "architecture": "wasm", "os": "wasip2", "config": { "Entrypoint": [entrypoint] } });
        let config = blob("application/vnd.docker.container.image.v1+json", config.to_string().into_bytes());
        let layer = "application/vnd.docker.image.rootfs.diff.tar.gzip";
        let layers: Vec<_> = layers.iter().map(|bytes| blob(layer, bytes.clone())).collect();
        let kind = "application/vnd.docker.distribution.manifest.v2+json";
        let manifest = json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers }).to_string();
        paths.insert(format!("/v2/{name}/manifests/v1"), (kind, Bytes::from(manifest)));
        let stock = Arc::new(Stock { port, paths });
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let stock = Arc::clone(&stock);
                let answer = service_fn(move |request| {
                    let answer = stock.answer(&request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                open.spawn(async move {
                    let _ =
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        Self { port, _serving: serving }
    }

    /// `127.0.0.1:PORT`
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Stock {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let sent = request.headers().get(header::AUTHORIZATION).map_or("", |value| value.to_str().unwrap());
        let path = request.uri().path();
        if path == "/token" {
            let known = sent == format!("Basic {}", BASE64_STANDARD.encode("user:secret"));
            let token = if known { "granted" } else { "nothing" };
            return Response::new(Full::from(json!({ "token": token }).to_string()));
        }
        if sent != "Bearer granted" {
            let challenge = format!("Bearer realm=\"http://127.0.0.1:{}/token\",service=\"here\"", self.port);
            let refused = Response::builder().status(401).header(header::WWW_AUTHENTICATE, challenge);
            return refused.body(Full::default()).unwrap();
        }
        let Some((kind, bytes)) = self.paths.get(path) else {
            return Response::builder().status(404).body(Full::default()).unwrap();
        };
        let found = Response::builder().header(header::CONTENT_TYPE, *kind);
        let found = found.header("docker-content-digest", digest(bytes));
        found
            .body(Full::from(if request.method() == http::Method::HEAD { Bytes::new() } else { bytes.clone() }))
            .unwrap()
    }
}
