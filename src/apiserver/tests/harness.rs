//! A server over a memory store, and a way to ask it.

use std::sync::Arc;

use api::UserInfo;
use axum::body::Body;
use base::Tasks;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use objects::Objects;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{ApiServer, Config, admission};

pub(super) struct Cluster {
    pub server: ApiServer,
    pub tasks: Tasks,
}

/// An answer with its body read.
#[derive(Debug)]
pub(super) struct Answer {
    pub code: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
    /// `code reason message` of a Status.
    pub fn refusal(&self) -> String {
        let status = self.json();
        assert_eq!(status["kind"], "Status", "{status}");
        format!(
            "{} {} {}",
            self.code,
            status["reason"].as_str().unwrap_or_default(),
            status["message"].as_str().unwrap_or_default()
        )
    }
}

pub(super) async fn cluster() -> Cluster {
    cluster_with(Config::default()).await
}

pub(super) async fn cluster_with(config: Config) -> Cluster {
    cluster_over(|_| config).await
}

/// A server that is made for its objects: one with roles.
pub(super) async fn cluster_over(config: impl FnOnce(&Objects) -> Config) -> Cluster {
    cluster_in(Arc::new(store::Memory::new()), config).await
}

/// The same, over a store of the test's choice.
pub(super) async fn cluster_in(store: store::SharedStore, config: impl FnOnce(&Objects) -> Config) -> Cluster {
    let tasks = Tasks::new();
    let objects = Objects::open(store, api::kinds::builtin(), objects::Config::default(), &tasks)
        .await
        .expect("an empty store opens");
    admission::install(&objects);
    let cluster = Cluster { server: ApiServer::new(objects.clone(), config(&objects)), tasks };
    for name in ["default", "other"] {
        let namespace = json!({ "metadata": { "name": name } });
        cluster.post("/api/v1/namespaces", &namespace).await;
        let account = json!({ "metadata": { "name": "default" } });
        cluster.post(&format!("/api/v1/namespaces/{name}/serviceaccounts"), &account).await;
    }
    cluster
}

pub(super) fn admin() -> UserInfo {
    UserInfo::new("admin", [UserInfo::MASTERS])
}

pub(super) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).unwrap()
}

impl Cluster {
    /// Asks as the administrator.
    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let response = self.server.in_process(admin()).oneshot(request(method, path, headers, body)).await;
        read(response.unwrap()).await
    }

    /// Asks as a listener would, with credentials alone.
    pub async fn knock(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let response = self.server.router().oneshot(request(method, path, headers, body)).await;
        read(response.unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    pub async fn post(&self, path: &str, object: &Value) -> Answer {
        let answer = self.ask("POST", path, &[("content-type", "application/json")], object.to_string()).await;
        assert_eq!(answer.code, 201, "{path}: {}", answer.text());
        answer
    }

    pub async fn config_map(&self, name: &str) -> Value {
        let object = json!({ "metadata": { "name": name, "labels": { "app": name } }, "data": { "key": name } });
        self.post("/api/v1/namespaces/default/configmaps", &object).await.json()
    }
}

pub(super) async fn read(response: http::Response<Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    Answer { code: parts.status.as_u16(), headers: parts.headers, body }
}

pub(super) fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": { "containers": [{ "name": "main", "image": "coracle.local/hello" }] },
    })
}
