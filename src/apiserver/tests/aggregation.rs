//! APIs that others serve, and the figures that this server serves itself.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use api::Status;
use async_trait::async_trait;
use axum::body::Body;
use http::{Request, Response};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::harness::{Cluster, cluster, pod};
use crate::gateway::{
    ContainerUsage, MetricsSource, NodeUsage, PodTarget, ServiceTarget, ServiceTransport, TrafficFigures, TrafficSource,
};

/// An API server behind the Service `default/things`.
#[derive(Default)]
struct Things {
    /// What it was asked with last.
    heard: Mutex<Vec<String>>,
}

#[async_trait]
impl ServiceTransport for Things {
    async fn call(&self, _: &ServiceTarget, request: Request<Body>) -> Result<Response<Body>, Status> {
        let headers = request.headers();
        let said = headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or_default()));
        *self.heard.lock() = said.collect();
        let answer = match request.uri().path() {
            "/apis/things.io/v1" => json!({
                "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "things.io/v1",
                "resources": [{ "name": "things", "singularName": "thing", "namespaced": true, "kind": "Thing", "verbs": ["get", "list"] }],
            }),
            "/openapi/v3" => {
                json!({ "paths": { "apis/things.io/v1": { "serverRelativeURL": "/openapi/v3/apis/things.io/v1?hash=1" } } })
            }
            path => json!({ "kind": "Thing", "path": path }),
        };
        let mut response = Response::new(Body::from(answer.to_string()));
        response.headers_mut().insert("content-type", "application/json".parse().unwrap());
        Ok(response)
    }

    async fn call_pod(&self, _: &PodTarget, _: Request<Body>) -> Result<Response<Body>, Status> {
        Err(Status::unavailable("no pods here"))
    }
}

const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";

async fn condition(cluster: &Cluster, name: &str, wanted: &str) -> Value {
    for _ in 0..500 {
        let service = cluster.get(&format!("{SERVICES}/{name}")).await;
        if service.code == 200 {
            let condition = service.json()["status"]["conditions"][0].clone();
            if condition["reason"] == wanted {
                return condition;
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{name} never came to {wanted}: {}", cluster.get(&format!("{SERVICES}/{name}")).await.text());
}

#[tokio::test]
async fn what_is_served_here_is_listed() {
    let cluster = cluster().await;
    cluster.server.keep_api_services(&cluster.tasks);
    assert_eq!(condition(&cluster, "v1.apps", "Local").await["status"], "True");
    let service = cluster.get(&format!("{SERVICES}/v1.apps")).await.json();
    assert_eq!(service["metadata"]["labels"]["kube-aggregator.kubernetes.io/automanaged"], "onstart");
}

#[tokio::test]
async fn an_api_is_asked_for_in_this_servers_name() {
    let cluster = cluster().await;
    let things = Arc::new(Things::default());
    cluster.server.set_transport(things.clone());
    cluster.server.keep_api_services(&cluster.tasks);
    let service = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": { "name": "v1.things.io" },
        "spec": {
            "group": "things.io", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 100,
            "service": { "namespace": "default", "name": "things" }, "insecureSkipTLSVerify": true,
        },
    });
    cluster.post(SERVICES, &service).await;
    let missing = condition(&cluster, "v1.things.io", "ServiceNotFound").await;
    assert_eq!(missing["message"], "service/things in \"default\" is not present");
    let answer = cluster.get("/apis/things.io/v1/things").await;
    assert_eq!((answer.code, answer.text().trim()), (503, "service unavailable"));

    let object =
        json!({ "metadata": { "name": "things" }, "spec": { "ports": [{ "port": 443, "targetPort": 8443 }] } });
    cluster.post("/api/v1/namespaces/default/services", &object).await;
    condition(&cluster, "v1.things.io", "EndpointsNotFound").await;
    let slice = json!({
        "metadata": { "name": "things-1", "labels": { "kubernetes.io/service-name": "things" } },
        "addressType": "IPv4", "ports": [{ "name": "", "port": 8443, "protocol": "TCP" }],
        "endpoints": [{ "addresses": ["10.0.0.9"], "conditions": { "ready": true } }],
    });
    cluster.post("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", &slice).await;
    assert_eq!(condition(&cluster, "v1.things.io", "Passed").await["message"], "all checks passed");

    let thing = cluster
        .ask("GET", "/apis/things.io/v1/namespaces/default/things/a?x=y", &[("x-remote-user", "root")], "")
        .await;
    assert_eq!(thing.json()["path"], "/apis/things.io/v1/namespaces/default/things/a");
    let heard = things.heard.lock().join("\n");
    assert!(heard.contains("x-remote-user: admin") && heard.contains("x-remote-group: system:masters"), "{heard}");
    assert!(!heard.contains("root") && heard.contains("host: things.default.svc"), "{heard}");

    let groups = cluster.get("/apis").await.json();
    let group = groups["groups"].as_array().unwrap().last().unwrap();
    assert_eq!(group["preferredVersion"]["groupVersion"], "things.io/v1");
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let document = cluster.ask("GET", "/apis", &[("accept", accept)], "").await;
    let version = document.json()["items"].as_array().unwrap().last().unwrap()["versions"][0].clone();
    assert_eq!((&version["freshness"], &version["resources"][0]["resource"]), (&json!("Current"), &json!("things")));
    let tag = document.header("etag").to_owned();
    assert_eq!(cluster.ask("GET", "/apis", &[("accept", accept), ("if-none-match", &tag)], "").await.code, 304);
    assert_eq!(cluster.get("/apis/things.io").await.json()["versions"][0]["version"], "v1");
    assert_eq!(cluster.get("/apis/things.io/v1").await.json()["resources"][0]["name"], "things");
    assert!(cluster.get("/openapi/v3").await.text().contains("apis/things.io/v1"));

    cluster.ask("DELETE", &format!("{SERVICES}/v1.things.io"), &[], "").await;
    while cluster.get("/apis/things.io/v1/things").await.code != 404 {
        tokio::task::yield_now().await;
    }
}

struct Measured {
    uid: String,
}

impl MetricsSource for Measured {
    fn usage(&self) -> Vec<NodeUsage> {
        let container = ContainerUsage {
            namespace: "default".into(),
            pod: "p".into(),
            uid: self.uid.clone(),
            container: "main".into(),
            cpu_nanocores: 250_000_000,
            memory_bytes: 2 << 20,
            cpu_time: Duration::from_secs(1),
        };
        vec![NodeUsage {
            node: "here".into(),
            taken: Timestamp::UNIX_EPOCH,
            window: Duration::from_secs(15),
            cpu_nanocores: 500_000_000,
            memory_bytes: 64 << 20,
            cpu_time: Duration::from_secs(2),
            containers: vec![container],
        }]
    }
}

#[tokio::test]
async fn what_pods_and_nodes_use_is_served() {
    let cluster = cluster().await;
    cluster.post("/api/v1/nodes", &json!({ "metadata": { "name": "here", "labels": { "a": "b" } } })).await;
    let made = cluster.post("/api/v1/namespaces/default/pods", &pod("p")).await.json();
    cluster.post("/api/v1/namespaces/default/pods", &pod("idle")).await;
    let uid = made["metadata"]["uid"].as_str().unwrap().to_owned();
    cluster.server.set_metrics_source(Arc::new(Measured { uid }));
    let api = "/apis/metrics.k8s.io/v1beta1";
    let nodes = cluster.get(&format!("{api}/nodes?labelSelector=a%3Db")).await.json();
    assert_eq!(nodes["kind"], "NodeMetricsList");
    assert_eq!(nodes["items"][0]["usage"], json!({ "cpu": "500000000n", "memory": "65536Ki" }));
    assert_eq!(nodes["items"][0]["window"], "15s");
    assert!(
        cluster.get(&format!("{api}/nodes?labelSelector=a%3Dc")).await.json()["items"].as_array().unwrap().is_empty()
    );
    let pods = cluster.get(&format!("{api}/pods")).await.json();
    assert_eq!(pods["items"].as_array().map(Vec::len), Some(1), "idle pods have no figures");
    assert_eq!(
        pods["items"][0]["containers"][0],
        json!({ "name": "main", "usage": { "cpu": "250000000n", "memory": "2048Ki" } })
    );
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let row = cluster.ask("GET", &format!("{api}/namespaces/default/pods"), &[("accept", table)], "").await.json();
    assert_eq!(row["rows"][0]["cells"], json!(["p", "250000000n", "2048Ki", "15s"]));
    let missing = cluster.get(&format!("{api}/namespaces/default/pods/idle")).await;
    assert_eq!(missing.refusal(), "404 NotFound podmetrics.metrics.k8s.io \"default/idle\" not found");
    let listed = cluster.get(api).await.json();
    assert_eq!(listed["resources"].as_array().map(Vec::len), Some(2));
}

struct Counted;

impl TrafficSource for Counted {
    fn window(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn pods(&self) -> HashMap<IpAddr, TrafficFigures> {
        let figures = |rate| TrafficFigures { requests_per_second: rate, in_flight: 3, ..TrafficFigures::default() };
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        HashMap::from([(address("10.128.0.1"), figures(2.5)), (address("10.128.0.2"), figures(1.0))])
    }

    fn ingresses(&self) -> HashMap<String, TrafficFigures> {
        HashMap::new()
    }
}

#[tokio::test]
async fn requests_of_pods_are_custom_metrics() {
    let cluster = cluster().await;
    cluster.server.set_traffic_source(Arc::new(Counted));
    for (name, address) in [("a", "10.128.0.1"), ("b", "10.128.0.2"), ("c", "10.128.0.3")] {
        let mut made = pod(name);
        made["metadata"]["labels"] = json!({ "app": "web" });
        cluster.post("/api/v1/namespaces/default/pods", &made).await;
        let status = json!({ "status": { "podIP": address, "podIPs": [{ "ip": address }] } }).to_string();
        let headers = [("content-type", "application/merge-patch+json")];
        let path = format!("/api/v1/namespaces/default/pods/{name}/status");
        assert_eq!(cluster.ask("PATCH", &path, &headers, status).await.code, 200);
    }
    let service =
        json!({ "metadata": { "name": "web" }, "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80 }] } });
    cluster.post("/api/v1/namespaces/default/services", &service).await;
    let api = "/apis/custom.metrics.k8s.io";
    let path = format!("{api}/v1beta2/namespaces/default/pods/*/http_requests_per_second?labelSelector=app%3Dweb");
    let list = cluster.get(&path).await.json();
    assert_eq!(list["kind"], "MetricValueList");
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 2, "who does not listen has no figures");
    let described = json!({ "kind": "Pod", "namespace": "default", "name": "a", "apiVersion": "/v1" });
    assert_eq!(items[0]["describedObject"], described);
    assert_eq!((&items[0]["value"], &items[0]["windowSeconds"]), (&json!("2500m"), &json!(10)));
    assert_eq!(items[0]["metric"], json!({ "name": "http_requests_per_second", "selector": null }));
    let old =
        cluster.get(&format!("{api}/v1beta1/namespaces/default/services/web/http_requests_in_flight")).await.json();
    assert_eq!(
        (&old["items"][0]["metricName"], &old["items"][0]["value"]),
        (&json!("http_requests_in_flight"), &json!("6"))
    );
    let missing = cluster.get(&format!("{api}/v1beta2/namespaces/default/pods/*/colour")).await;
    assert_eq!(missing.refusal(), "404 NotFound the server could not find the metric colour for pods");
    let listed = cluster.get(&format!("{api}/v1beta1")).await.json();
    let names: Vec<&str> =
        listed["resources"].as_array().unwrap().iter().filter_map(|row| row["name"].as_str()).collect();
    assert!(
        names.contains(&"pods/http_requests_per_second")
            && names.contains(&"ingresses.networking.k8s.io/http_requests_total")
    );
}
