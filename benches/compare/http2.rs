//! One HTTP/2 connection over TLS, as client-go opens it: what the API is measured through.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::client::ConfigExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::net::TcpStream;

/// Where the API is and who asks.
#[derive(Clone)]
pub struct Server {
    address: String,
    host: String,
    tls: Arc<rustls::ClientConfig>,
}

/// A connection. Clones share it.
#[derive(Clone)]
pub struct Connection {
    host: String,
    sender: SendRequest<Full<Bytes>>,
}

impl Server {
    /// As a kubeconfig says.
    pub async fn open(kubeconfig: &Path) -> anyhow::Result<Self> {
        let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let mut tls = config.rustls_client_config()?;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let host = config.cluster_url.host().context("no host in the kubeconfig")?.to_owned();
        let port = config.cluster_url.port_u16().unwrap_or(443);
        Ok(Self { address: format!("{host}:{port}"), host, tls: Arc::new(tls) })
    }

    /// A new connection.
    pub async fn connect(&self) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let name = rustls::pki_types::ServerName::try_from(self.host.clone())?;
        let stream = tokio_rustls::TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await?;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(4 << 20).initial_connection_window_size(16 << 20);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Connection { host: self.address.clone(), sender })
    }
}

impl Connection {
    /// One request; the answer's head.
    pub async fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> anyhow::Result<::http::Response<Incoming>> {
        let mut request = ::http::Request::builder()
            .method(method)
            .uri(format!("https://{}{path}", self.host))
            .header("user-agent", "compare");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.sender.ready().await?;
        let response = self.sender.send_request(request.body(Full::new(body))?).await?;
        if !response.status().is_success() {
            let status = response.status();
            let text = response.into_body().collect().await?.to_bytes();
            bail!("{method} {path}: {status}: {}", String::from_utf8_lossy(&text));
        }
        Ok(response)
    }

    /// One request; how many bytes its answer has.
    pub async fn whole(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> anyhow::Result<usize> {
        let mut body_of = self.ask(method, path, headers, body).await?.into_body();
        let mut length = 0;
        while let Some(frame) = body_of.frame().await {
            length += frame?.data_ref().map_or(0, Bytes::len);
        }
        Ok(length)
    }
}
