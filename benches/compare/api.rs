//! The Kubernetes API over HTTPS, as any client sees it.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;
use tokio::runtime::Runtime;

/// A connection of its own. Calls block.
#[derive(Clone)]
pub struct Api {
    runtime: Arc<Runtime>,
    client: kube::Client,
}

impl Api {
    /// With the credentials of a kubeconfig.
    pub fn open(kubeconfig: &Path) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let client = runtime.block_on(client(kubeconfig))?;
        Ok(Self { runtime: Arc::new(runtime), client })
    }

    /// The object or list at `path`.
    pub fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.send("GET", path, Vec::new()).and_then(read)
    }

    /// The bytes at `path`.
    pub fn text(&self, path: &str) -> anyhow::Result<String> {
        self.send("GET", path, Vec::new())
    }

    /// Creates an object in the collection at `path`.
    pub fn create(&self, path: &str, object: &Value) -> anyhow::Result<()> {
        self.send("POST", path, object.to_string().into_bytes()).map(drop)
    }

    /// Merges a change into the object at `path`.
    pub fn patch(&self, path: &str, change: &Value) -> anyhow::Result<()> {
        let request = ::http::Request::patch(path).header("content-type", "application/merge-patch+json");
        let request = request.body(change.to_string().into_bytes())?;
        self.runtime.block_on(self.client.request_text(request)).with_context(|| format!("PATCH {path}"))?;
        Ok(())
    }

    /// Deletes what is at `path`.
    pub fn delete(&self, path: &str) -> anyhow::Result<()> {
        self.send("DELETE", path, Vec::new()).map(drop)
    }

    fn send(&self, method: &str, path: &str, body: Vec<u8>) -> anyhow::Result<String> {
        self.runtime.block_on(send(&self.client, method, path, body))
    }
}

/// A client with connections of its own.
pub async fn client(kubeconfig: &Path) -> anyhow::Result<kube::Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(kube::Client::try_from(config)?)
}

/// One request and its answer's body.
pub async fn send(client: &kube::Client, method: &str, path: &str, body: Vec<u8>) -> anyhow::Result<String> {
    let mut request = ::http::Request::builder().method(method).uri(path).header("accept", "application/json");
    if !body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    client.request_text(request.body(body)?).await.with_context(|| format!("{method} {path}"))
}

fn read(text: String) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(&text)?)
}
