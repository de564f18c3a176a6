//! What a namespace may hold and who may take something from it: quotas, limit ranges, priorities, budgets, volumes; through
//! kube-rs and through the real kubectl.

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};
use testkit::{TestCluster, eventually};

use crate::kubectl::Kubectl;
use crate::support::{apply_text, raw, read, service_of, with_samples};

const QUOTA: &str = "/api/v1/namespaces/default/resourcequotas/q";

async fn quota(cluster: &TestCluster, hard: Value) {
    let quotas = Api::<ResourceQuota>::namespaced(cluster.client(), "default");
    let quota = json!({ "metadata": { "name": "q" }, "spec": { "hard": hard } });
    quotas.create(&PostParams::default(), &serde_json::from_value(quota).unwrap()).await.unwrap();
    eventually("the quota is counted", async || {
        let quota = read(cluster, QUOTA).await?;
        (quota["status"]["hard"] == hard).then_some(())
    })
    .await;
}

async fn used(cluster: &TestCluster, name: &str) -> String {
    let quota = read(cluster, QUOTA).await.unwrap();
    quota["status"]["used"][name].as_str().unwrap_or_default().to_owned()
}

/// A pod that no node takes.
fn idle(name: &str, cpu: &str) -> Pod {
    let container = json!({ "name": "a", "image": "coracle.local/none", "resources": { "requests": { "cpu": cpu } } });
    let spec =
        json!({ "nodeSelector": { "none": "such" }, "terminationGracePeriodSeconds": 0, "containers": [container] });
    serde_json::from_value(json!({ "metadata": { "name": name }, "spec": spec })).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_is_exact_while_pods_come_and_go() {
    let cluster = TestCluster::start().await;
    quota(&cluster, json!({ "pods": "5", "requests.cpu": "1" })).await;
    let pods = Api::<Pod>::namespaced(cluster.client(), "default");
    let attempts = (0..60).map(|at| {
        let pods = pods.clone();
        async move {
            let name = format!("p{at}");
            if pods.create(&PostParams::default(), &idle(&name, "150m")).await.is_err() {
                return 0;
            }
            let there = pods.list(&ListParams::default()).await.unwrap().items.len();
            // Every other one makes room again.
            if at % 2 == 0 {
                pods.delete(&name, &DeleteParams::default()).await.unwrap();
            }
            there
        }
    });
    let seen: Vec<usize> = futures::stream::iter(attempts).buffer_unordered(12).collect().await;
    assert!(seen.iter().all(|there| *there <= 5), "{seen:?}");
    eventually("the quota says how many pods there are", async || {
        let there = pods.list(&ListParams::default()).await.unwrap().items.len();
        (used(&cluster, "pods").await == there.to_string()).then_some(())
    })
    .await;
    pods.delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
    eventually("all is given back", async || (used(&cluster, "requests.cpu").await == "0").then_some(())).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_of_any_kind_are_counted() {
    let cluster = TestCluster::start().await;
    quota(&cluster, json!({ "count/deployments.apps": "1", "secrets": "1", "services.loadbalancers": "0" })).await;
    let made = apply_text(&cluster, &service_of("web", "none", "")).await.unwrap();
    assert!(!made.is_empty());
    assert_eq!(used(&cluster, "count/deployments.apps").await, "1");
    let refused = apply_text(&cluster, &service_of("more", "none", "")).await.unwrap_err();
    assert!(format!("{refused:#}").contains("exceeded quota: q, requested: count/deployments.apps=1"), "{refused:#}");
    let path = "/apis/apps/v1/namespaces/default/deployments/web";
    raw(&cluster, http::Method::DELETE, path, "application/json", "").await;
    eventually("the deployment is given back", async || {
        (used(&cluster, "count/deployments.apps").await == "0").then_some(())
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_limits_a_namespace() {
    let cluster = with_samples(&["hello"]).await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    kubectl.told("create namespace team").await;
    kubectl.told("create quota q -n team --hard=pods=1,configmaps=2,requests.cpu=1").await;
    kubectl.until("get quota q -n team", "configmaps: 1/2, pods: 0/1, requests.cpu: 0/1").await;
    let refused = kubectl.refused("run a -n team --image=coracle.local/hello").await;
    assert!(
        refused.contains("pods \"a\" is forbidden: failed quota: q: must specify requests.cpu for: a"),
        "{refused}"
    );
    let range = "apiVersion: v1\nkind: LimitRange\nmetadata: { name: lr, namespace: team }\nspec:\n  limits:\n    \
                 - { type: Container, defaultRequest: { cpu: 10m }, max: { cpu: \"1\" }, default: { cpu: 500m } }\n";
    let file = kubectl.file("range.yaml", range);
    kubectl.told(&format!("apply -f {file}")).await;
    kubectl.told("run a -n team --image=coracle.local/hello").await;
    kubectl
        .table(&[
            ("describe quota q -n team", &["pods          1     1", "requests.cpu  10m   1"]),
            ("describe limitrange lr -n team", &["Container   cpu       -    1    10m              500m"]),
            ("describe namespace team", &["Resource Quotas", "Resource Limits"]),
        ])
        .await;
    let refused = kubectl.refused("run b -n team --image=coracle.local/hello").await;
    assert!(refused.contains("exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"), "{refused}");
    kubectl.told("delete pod a -n team").await;
    kubectl.until("get quota q -n team", "pods: 0/1").await;
    kubectl.told("create priorityclass high --value=1000 --description=first").await;
    kubectl.table(&[("get priorityclass", &["high", "1000", "system-node-critical", "2000001000"])]).await;
    let refused = kubectl.refused("run c --image=x --overrides='{\"spec\":{\"priorityClassName\":\"none\"}}'").await;
    assert!(refused.contains("no PriorityClass with name none was found"), "{refused}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_waits_for_the_budget() {
    let cluster = with_samples(&["hello"]).await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    kubectl.told("create deployment web --image=coracle.local/hello --replicas=2").await;
    kubectl.told("rollout status deployment/web").await;
    kubectl.told("create pdb web --selector=app=web --min-available=2").await;
    kubectl.until("get pdb web", "web    2               N/A               0 ").await;
    let node = kubectl.told("get nodes -o name").await.trim().to_owned();
    let pod = kubectl.told("get pods -l app=web -o jsonpath={.items[0].metadata.name}").await;
    let eviction =
        json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": pod, "namespace": "default" } });
    let path = format!("/api/v1/namespaces/default/pods/{pod}/eviction");
    let (code, refused) = raw(&cluster, http::Method::POST, &path, "application/json", eviction.to_string()).await;
    assert_eq!(code, 429);
    assert_eq!(refused["message"], "Cannot evict pod as it would violate the pod's disruption budget.");
    assert_eq!(refused["details"]["causes"][0]["reason"], "DisruptionBudget");
    kubectl.told(&format!("cordon {node}")).await;
    kubectl.until(&format!("describe {node}"), "node.kubernetes.io/unschedulable:NoSchedule").await;
    kubectl.told("patch pdb web --type=merge -p '{\"spec\":{\"minAvailable\":0}}'").await;
    kubectl.until("get pdb web", "web    0               N/A               2 ").await;
    let drained = kubectl.told(&format!("drain {node} --timeout=30s")).await;
    assert!(drained.contains("drained"), "{drained}");
    kubectl.told(&format!("uncordon {node}")).await;
    kubectl.until("get deployment web", "2/2").await;
    kubectl.until("get pdb web", "web    0               N/A               2 ").await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn volumes_and_claims_find_each_other_and_stay_while_they_are_used() {
    let cluster = with_samples(&["hello"]).await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    let manifest = r#"
apiVersion: v1
kind: PersistentVolume
metadata: { name: large }
spec: { capacity: { storage: 9Gi }, accessModes: [ReadWriteOnce], hostPath: { path: /nowhere } }
---
apiVersion: v1
kind: PersistentVolume
metadata: { name: small }
spec: { capacity: { storage: 2Gi }, accessModes: [ReadWriteOnce], hostPath: { path: /nowhere } }
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: { name: later }
provisioner: example.com/none
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: { name: now }
spec: { storageClassName: "", accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Gi } } }
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: { name: later }
spec: { storageClassName: later, accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Gi } } }
"#;
    let file = kubectl.file("volumes.yaml", manifest);
    kubectl.told(&format!("apply -f {file}")).await;
    kubectl.until("get pvc now", "Bound    small").await;
    kubectl.until("get pv small", "Bound    default/now").await;
    kubectl.until("get pv large", "Available").await;
    kubectl.until("describe pvc later", "waiting for first consumer to be created before binding").await;
    kubectl.told("delete pv small --wait=false").await;
    kubectl.until("get pv small", "Terminating").await;
    kubectl.told("delete pvc now").await;
    eventually("the volume goes with its claim", async || {
        read(&cluster, "/api/v1/persistentvolumes/small").await.is_none().then_some(())
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_by_hand_are_mirrored() {
    let cluster = TestCluster::start().await;
    let manifest = r#"
apiVersion: v1
kind: Service
metadata: { name: ext }
spec: { ports: [{ port: 80 }] }
---
apiVersion: v1
kind: Endpoints
metadata: { name: ext }
subsets: [{ addresses: [{ ip: IP }], ports: [{ name: http, port: 8080, protocol: TCP }] }]
"#;
    let path =
        "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dext";
    for ip in ["10.1.2.3", "10.4.5.6"] {
        apply_text(&cluster, &manifest.replace("IP", ip)).await.unwrap();
        eventually(&format!("one slice with {ip}"), async || {
            let list = read(&cluster, path).await?;
            let items = list["items"].as_array()?;
            let is_it = items.len() == 1 && items[0]["endpoints"][0]["addresses"] == json!([ip]);
            is_it.then_some(())
        })
        .await;
    }
    let gone = "/api/v1/namespaces/default/endpoints/ext";
    raw(&cluster, http::Method::DELETE, gone, "application/json", "").await;
    eventually("the slices go too", async || read(&cluster, path).await?["items"].as_array()?.is_empty().then_some(()))
        .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_over_pods_that_nobody_scales_lets_nobody_go() {
    let cluster = with_samples(&["hello"]).await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    let daemons = r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: { name: each }
spec:
  selector: { matchLabels: { app: each } }
  template:
    metadata: { labels: { app: each } }
    spec: { containers: [{ name: main, image: coracle.local/hello }] }
"#;
    crate::support::apply_text(&cluster, daemons).await.unwrap();
    kubectl.told("rollout status daemonset/each --timeout=60s").await;
    kubectl.told("create pdb each --selector=app=each --max-unavailable=1").await;
    let why = "daemonsets.apps does not implement the scale subresource";
    kubectl.until("get pdb each -o jsonpath={.status.conditions[0].reason}:{.status.conditions[0].message}", why).await;
    let told = format!("Failed to calculate the number of expected pods: {why}");
    kubectl.until("describe pdb each", &told).await;
    cluster.stop().await;
}
