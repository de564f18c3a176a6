//! Parts of a cluster die, each a process of its own: pods go on serving, another one leads, a lost node's pods go elsewhere.

use std::path::Path;

use cli::Connection;
use cli::connection::Call;
use http::Method;
use serde_json::{Value, json};
use testkit::{eventually, get};

use crate::process::Up;
use crate::support::service_of;

const PODS: &str = "/api/v1/namespaces/default/pods";
const WEB: &str = "/apis/apps/v1/namespaces/default/deployments/web";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces";
const CONTROLLERS: &str = "kube-system/leases/kube-controller-manager";
const SCHEDULER: &str = "kube-system/leases/kube-scheduler";
/// An election that does not take long.
const QUICK: [&str; 6] = [
    "--leader-elect-lease-duration=2s",
    "--leader-elect-renew-deadline=1500ms",
    "--leader-elect-retry-period=250ms",
    "--node-monitor-period=500ms",
    "--node-monitor-grace-period=11s",
    "--node-eviction-rate=100",
];

/// Where each process of one cluster keeps its things.
struct House {
    folder: tempfile::TempDir,
    api: Up,
}

impl House {
    /// The API alone, with a sample in its store.
    async fn build() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let more = ["--roles=api", "--load=workloads/prebuilt/hello.wasm"];
        let api = Up::start(&folder.path().join("api"), &more).await;
        Self { folder, api }
    }

    async fn join(&self, name: &str, more: &[&str]) -> Up {
        let kubeconfig = format!("--server-kubeconfig={}", self.folder.path().join("api/kubeconfig").display());
        let mut arguments = vec![kubeconfig.as_str()];
        arguments.extend(more);
        Up::start(&self.folder.path().join(name), &arguments).await
    }

    async fn control(&self, name: &str) -> Up {
        self.join(name, &[&["--roles=controllers,scheduler"][..], &QUICK].concat()).await
    }

    async fn node(&self, name: &str) -> Up {
        self.join(name, &["--roles=node,ingress", &format!("--node-name={name}")]).await
    }

    /// The API of a process that is no more, at the same address.
    async fn again(folder: &Path, address: &str) -> Up {
        let data = folder.join("api");
        let arguments = ["up", "--data-dir", data.to_str().unwrap(), "--roles=api", "--api-listen", address];
        Up::started(&arguments).await.unwrap_or_else(|(code, error)| panic!("{code:?}: {error}"))
    }

    async fn apply(&self, text: &str) {
        let path = self.folder.path().join("manifest.yaml");
        std::fs::write(&path, text).unwrap();
        self.api.told(&format!("apply -f {}", path.display())).await;
    }
}

async fn read(connection: &Connection, path: &str) -> Option<Value> {
    connection.json(Call::get(path)).await.ok()
}

async fn pods(connection: &Connection) -> Vec<Value> {
    read(connection, PODS).await.and_then(|list| list["items"].as_array().cloned()).unwrap_or_default()
}

async fn scale(connection: &Connection, replicas: u32) {
    let body = json!({ "spec": { "replicas": replicas } }).to_string().into_bytes();
    let call = Call::new(Method::PATCH, WEB).body("application/merge-patch+json", body);
    connection.send(call).await.unwrap();
}

async fn ready(connection: &Connection, count: u32) {
    eventually(&format!("{count} replicas are ready"), async || {
        let status = read(connection, WEB).await?["status"].clone();
        let whole = ["replicas", "readyReplicas", "updatedReplicas"];
        whole.iter().all(|field| status[*field] == count).then_some(())
    })
    .await;
}

/// Who a pod is, and what has happened to it.
fn life(pod: &Value) -> (String, String) {
    let fields = ["/metadata/uid", "/status/startTime", "/status/podIP", "/status/containerStatuses/0"];
    let text = fields.map(|field| pod.pointer(field).cloned().unwrap_or_default().to_string()).join(" ");
    (pod["metadata"]["name"].to_string(), text)
}

async fn lives(connection: &Connection) -> Vec<(String, String)> {
    pods(connection).await.iter().map(life).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_serve_while_all_else_is_dead_and_nothing_restarts_when_it_is_back() {
    let house = House::build().await;
    let control = house.control("control").await;
    let node = house.node("node").await;
    house.apply(&service_of("web", "hello", "")).await;
    let connection = house.api.connection().await;
    scale(&connection, 2).await;
    ready(&connection, 2).await;
    let serves = async || get(node.ingress(), "web.localhost", "/").await.status == 200;
    eventually("it serves", async || serves().await.then_some(())).await;
    let before = lives(&connection).await;
    assert!(before.len() == 2 && before.iter().all(|(_, life)| life.contains("\"restartCount\":0")), "{before:?}");

    control.kill().await;
    let address = house.api.row("API").unwrap().replace("https://", "");
    let House { folder, api } = house;
    api.kill().await;
    for _ in 0..50 {
        assert!(serves().await, "no request fails");
    }
    assert!(read(&connection, PODS).await.is_none(), "nobody is there to ask");

    let api = House::again(folder.path(), &address).await;
    let house = House { folder, api };
    assert!(serves().await);
    let control = house.control("control").await;
    let connection = house.api.connection().await;
    // Whatever they are going to do to a pod they do once they lead and the node has been heard of.
    for lease in [CONTROLLERS, SCHEDULER, "kube-node-lease/leases/node"] {
        renewed(&connection, lease).await;
        assert!(serves().await);
    }
    assert_eq!(lives(&connection).await, before);
    scale(&connection, 3).await;
    ready(&connection, 3).await;
    let after = lives(&connection).await;
    assert!(before.iter().all(|pod| after.contains(pod)), "{before:?} {after:?}");
    assert!(serves().await);
    for up in [control, node, house.api] {
        up.end().await;
    }
}

/// Waits until somebody who lives holds a lease.
async fn renewed(connection: &Connection, lease: &str) {
    let path = format!("{LEASES}/{lease}");
    let time = async || read(connection, &path).await?.pointer("/spec/renewTime").cloned();
    let before = time().await;
    eventually(&format!("{lease} is renewed"), async || time().await.filter(|now| Some(now) != before.as_ref())).await;
}

/// A node's `Ready`, and its taints.
async fn state_of(connection: &Connection, node: &str) -> (String, Vec<String>) {
    let node = read(connection, &format!("/api/v1/nodes/{node}")).await.unwrap_or_default();
    let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let ready = conditions.iter().find(|one| one["type"] == "Ready").cloned().unwrap_or_default();
    let taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
    let word = |taint: &Value| format!("{}:{}", taint["key"].as_str().unwrap(), taint["effect"].as_str().unwrap());
    let mut taints: Vec<String> = taints.iter().map(word).collect();
    taints.sort();
    (ready["status"].as_str().unwrap_or_default().to_owned(), taints)
}

/// The toleration that the pods of `web` have for lost nodes.
const PATIENT: &str = r#"      tolerations:
        - { key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 1 }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn another_one_leads_and_the_pods_of_a_lost_node_go_elsewhere() {
    let house = House::build().await;
    let (one, other) = (house.control("one").await, house.control("other").await);
    let connection = house.api.connection().await;
    // The node that is there first gets the pod.
    let near = house.node("near").await;
    house.apply(&service_of("web", "hello", PATIENT)).await;
    ready(&connection, 1).await;
    assert_eq!(pods(&connection).await[0]["spec"]["nodeName"], "near");
    let far = house.node("far").await;
    one.kill().await;
    for lease in [CONTROLLERS, SCHEDULER] {
        renewed(&connection, lease).await;
    }
    scale(&connection, 2).await;
    ready(&connection, 2).await;

    let lost = pods(&connection).await.into_iter().find(|pod| pod["spec"]["nodeName"] == "near").unwrap();
    near.kill().await;
    eventually("the node is lost", async || {
        let (ready, taints) = state_of(&connection, "near").await;
        let wanted = ["node.kubernetes.io/unreachable:NoExecute", "node.kubernetes.io/unreachable:NoSchedule"];
        (ready == "Unknown" && taints == wanted).then_some(())
    })
    .await;
    let path = format!("{PODS}/{}", lost["metadata"]["name"].as_str().unwrap());
    eventually("its pod is to go, and why", async || {
        let pod = read(&connection, &path).await?;
        pod["metadata"]["deletionTimestamp"].as_str()?;
        let conditions = pod["status"]["conditions"].as_array()?;
        let told = conditions.iter().find(|one| one["type"] == "DisruptionTarget")?;
        let unready = conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "False");
        (unready && told["reason"] == "DeletionByTaintManager").then_some(())
    })
    .await;
    eventually("both replicas are elsewhere", async || {
        let there = pods(&connection).await;
        let there = there.iter().filter(|pod| pod["spec"]["nodeName"] == "far");
        (there.filter(|pod| pod["status"]["containerStatuses"][0]["ready"] == true).count() == 2).then_some(())
    })
    .await;
    // It stays until its node can say that it does not run.
    assert_eq!(read(&connection, &path).await.unwrap()["metadata"]["uid"], lost["metadata"]["uid"]);
    let near = house.node("near").await;
    eventually("the node is back, and what was lost is gone", async || {
        let gone = read(&connection, &path).await.is_none();
        (gone && state_of(&connection, "near").await == ("True".to_owned(), Vec::new())).then_some(())
    })
    .await;
    for up in [near, far, other, house.api] {
        up.end().await;
    }
}
