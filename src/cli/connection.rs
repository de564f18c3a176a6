//! One server, spoken to as the kubeconfig says.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;

use crate::args::{ConnectionArgs, default_data_dir};

/// A server and the namespace that is meant when none is named.
#[derive(Clone)]
pub struct Connection {
    /// The client, with the kubeconfig's credentials.
    pub client: kube::Client,
    /// `-n`, or the context's namespace, or `default`.
    pub namespace: String,
    /// The server's URL, for people.
    pub server: String,
}

/// What came back for a request that the server did not refuse.
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: http::HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// A refusal by the server, printed as kubectl prints it.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.sentence())]
pub struct Refusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// `NotFound`, `Conflict`, …, empty when the answer was no `Status`.
    pub reason: String,
    /// What the server said.
    pub message: String,
}

impl Refusal {
    fn sentence(&self) -> String {
        if self.reason.is_empty() {
            format!("error from server ({}): {}", self.status, self.message)
        } else {
            format!("error from server ({}): {}", self.reason, self.message)
        }
    }

    fn read(status: StatusCode, body: &[u8]) -> Self {
        let document: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        // The images registry answers in OCI's form.
        let registry = document.pointer("/errors/0/message").and_then(Value::as_str);
        let message = match (document.get("message"), registry) {
            (Some(_), _) => text("message"),
            (None, Some(message)) => message.to_owned(),
            (None, None) => String::from_utf8_lossy(body).trim().to_owned(),
        };
        Self { status, reason: text("reason"), message }
    }
}

/// Whether an error is the server's 404.
pub fn is_not_found(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Refusal>().is_some_and(|refusal| refusal.status == StatusCode::NOT_FOUND)
}

/// A request before it is sent.
pub struct Call {
    method: Method,
    path: String,
    accept: &'static str,
    content_type: Option<&'static str>,
    body: Vec<u8>,
}

impl Call {
    /// A request without a body that asks for JSON.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), accept: "application/json", content_type: None, body: Vec::new() }
    }
    /// A GET that asks for JSON.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }
    /// Asks for another media type.
    pub fn accept(self, accept: &'static str) -> Self {
        Self { accept, ..self }
    }
    /// Sends bytes.
    pub fn body(self, content_type: &'static str, body: Vec<u8>) -> Self {
        Self { content_type: Some(content_type), body, ..self }
    }
    /// Sends a JSON document.
    pub fn json(self, document: &Value) -> Self {
        self.body("application/json", document.to_string().into_bytes())
    }

    fn request(self) -> anyhow::Result<Request<Body>> {
        let mut request = Request::builder().method(self.method).uri(self.path).header("accept", self.accept);
        if let Some(kind) = self.content_type {
            request = request.header("content-type", kind);
        }
        Ok(request.body(Body::from(self.body))?)
    }
}

impl Connection {
    /// Reads the kubeconfig; nothing is sent yet.
    pub async fn open(args: &ConnectionArgs) -> anyhow::Result<Self> {
        let mut kubeconfig = match find_kubeconfig(args.kubeconfig.as_deref())? {
            Some(path) => Kubeconfig::read_from(&path).with_context(|| format!("cannot read {}", path.display()))?,
            None => Kubeconfig::read().context(
                "found no kubeconfig; start a cluster with `coracle up`, or name one with --kubeconfig or $KUBECONFIG",
            )?,
        };
        if args.context.is_some() {
            kubeconfig.current_context.clone_from(&args.context);
        }
        let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .context("the kubeconfig cannot be used")?;
        // A person wants to read why the server refuses, a full disk say, and not to wait for it to be over.
        config.default_retry = false;
        let namespace = args.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let server = config.cluster_url.to_string();
        let client = kube::Client::try_from(config).context("the kubeconfig cannot be used")?;
        Ok(Self { client, namespace, server })
    }

    /// A connection over a client that exists.
    pub fn over(client: kube::Client, server: impl Into<String>) -> Self {
        Self { client, namespace: "default".into(), server: server.into() }
    }

    /// Sends a request and reads the whole answer.
    pub async fn send(&self, call: Call) -> anyhow::Result<Answer> {
        let response = self.exchange(call).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.context("the server's answer broke off")?.to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    /// Sends a request and reads a JSON answer.
    pub async fn json(&self, call: Call) -> anyhow::Result<Value> {
        let answer = self.send(call).await?;
        serde_json::from_slice(&answer.body).context("the server's answer is no JSON")
    }

    /// Sends a request and hands over the answer's body as it comes.
    pub async fn stream(&self, call: Call) -> anyhow::Result<Body> {
        Ok(self.exchange(call).await?.into_body())
    }

    async fn exchange(&self, call: Call) -> anyhow::Result<http::Response<Body>> {
        let response = match self.client.send(call.request()?).await {
            Ok(response) => response,
            Err(error) => bail!("cannot reach the server {}: {}", self.server, base::report(&error)),
        };
        print_warnings(response.headers());
        if response.status().is_success() || response.status().is_informational() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.into_body().collect().await.context("the server's answer broke off")?.to_bytes();
        Err(Refusal::read(status, &body).into())
    }
}

fn print_warnings(headers: &http::HeaderMap) {
    for value in headers.get_all("warning") {
        let text = value.to_str().unwrap_or_default();
        let message = text.splitn(3, ' ').nth(2).unwrap_or(text).trim_matches('"').replace("\\\"", "\"");
        crate::terminal::complain(&format!("Warning: {message}"));
    }
}

fn find_kubeconfig(named: Option<&Path>) -> anyhow::Result<Option<PathBuf>> {
    if let Some(path) = named {
        return Ok(Some(path.to_owned()));
    }
    if std::env::var_os("KUBECONFIG").is_some_and(|value| !value.is_empty()) {
        return Ok(None);
    }
    let local = default_data_dir().join("kubeconfig");
    Ok(local.exists().then_some(local))
}
