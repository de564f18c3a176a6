//! What controllers do with Deployments, ReplicaSets, Services and namespaces.

use std::collections::BTreeSet;

use cli::connection::Call;
use http::Method;
use serde_json::{Value, json};
use testkit::{TestCluster, eventually};

use crate::support::{apply_text, connection, read, serves, service_of, with_samples};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const REPLICA_SETS: &str = "/apis/apps/v1/namespaces/default/replicasets";
const PODS: &str = "/api/v1/namespaces/default/pods";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";

async fn patch(cluster: &TestCluster, path: &str, patch: Value) -> Value {
    let call =
        Call::new(Method::PATCH, path).body("application/strategic-merge-patch+json", patch.to_string().into_bytes());
    connection(cluster).json(call).await.unwrap()
}

async fn delete(cluster: &TestCluster, path: &str, policy: &str) {
    let options = json!({ "propagationPolicy": policy });
    connection(cluster).send(Call::new(Method::DELETE, path).json(&options)).await.unwrap();
}

async fn items(cluster: &TestCluster, path: &str) -> Vec<Value> {
    read(cluster, path).await.map(|list| list["items"].as_array().cloned().unwrap_or_default()).unwrap_or_default()
}

fn names(items: &[Value]) -> BTreeSet<String> {
    items.iter().filter_map(|item| item["metadata"]["name"].as_str().map(str::to_owned)).collect()
}

/// Waits until the newest template is rolled out whole.
async fn rolled_out(cluster: &TestCluster, name: &str) -> Value {
    eventually(&format!("{name} is rolled out"), async || {
        let object = read(cluster, &format!("{DEPLOYMENTS}/{name}")).await?;
        let wanted = object["spec"]["replicas"].as_i64()?;
        let status = &object["status"];
        let number = |field: &str| status[field].as_i64().unwrap_or(0);
        let seen = status["observedGeneration"] == object["metadata"]["generation"];
        let whole = ["replicas", "updatedReplicas", "availableReplicas"].iter().all(|field| number(field) == wanted);
        (seen && whole).then_some(object)
    })
    .await
}

fn greeting(text: &str) -> Value {
    json!({ "spec": { "template": { "spec": { "containers": [{ "name": "web", "env": [{ "name": "GREETING", "value": text }] }] } } } })
}

async fn web(cluster: &TestCluster, replicas: i64, strategy: Value) {
    apply_text(cluster, &service_of("web", "hello", "")).await.unwrap();
    patch(cluster, &format!("{DEPLOYMENTS}/web"), json!({ "spec": { "replicas": replicas, "strategy": strategy } }))
        .await;
    rolled_out(cluster, "web").await;
    serves(cluster, "web.localhost", "/").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_template_replaces_pods_and_the_service_never_stops() {
    let cluster = with_samples(&["hello"]).await;
    web(&cluster, 4, json!({ "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } })).await;
    let before = names(&items(&cluster, PODS).await);
    patch(&cluster, &format!("{DEPLOYMENTS}/web"), greeting("Second")).await;
    // While it rolls, every request is answered, and never fewer pods are available than wanted.
    eventually("the new template serves", async || {
        let answer = cluster.get("web.localhost", "/").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let object = read(&cluster, &format!("{DEPLOYMENTS}/web")).await?;
        let status = &object["status"];
        assert!(status["availableReplicas"].as_i64().unwrap_or(0) >= 4, "{status}");
        assert!(status["replicas"].as_i64().unwrap_or(0) <= 5, "{status}");
        (status["updatedReplicas"] == 4 && status["replicas"] == 4).then_some(())
    })
    .await;
    let object = rolled_out(&cluster, "web").await;
    assert_eq!(object["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "2");
    eventually("only new pods are left", async || {
        let after = names(&items(&cluster, PODS).await);
        (after.len() == 4 && after.is_disjoint(&before)).then_some(())
    })
    .await;
    let conditions = object["status"]["conditions"].as_array().unwrap();
    assert!(
        conditions.iter().any(|row| row["type"] == "Available" && row["reason"] == "MinimumReplicasAvailable"),
        "{conditions:?}"
    );
    eventually("it is told complete", async || {
        let object = read(&cluster, &format!("{DEPLOYMENTS}/web")).await?;
        let rows = object["status"]["conditions"].as_array()?.clone();
        rows.iter().any(|row| row["type"] == "Progressing" && row["reason"] == "NewReplicaSetAvailable").then_some(())
    })
    .await;
    assert!(serves(&cluster, "web.localhost", "/").await.starts_with("Second"));

    // The old template again is the old ReplicaSet with a new revision.
    let sets = items(&cluster, REPLICA_SETS).await;
    assert_eq!(sets.len(), 2);
    let old = sets.iter().find(|set| set["spec"]["replicas"] == 0).unwrap();
    patch(
        &cluster,
        &format!("{DEPLOYMENTS}/web"),
        json!({ "spec": { "template": { "spec": { "containers": [{ "name": "web", "env": null }] } } } }),
    )
    .await;
    let object = rolled_out(&cluster, "web").await;
    assert_eq!(object["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "3");
    let name = old["metadata"]["name"].as_str().unwrap();
    let again = read(&cluster, &format!("{REPLICA_SETS}/{name}")).await.unwrap();
    assert_eq!((&again["spec"]["replicas"], &again["metadata"]["uid"]), (&json!(4), &old["metadata"]["uid"]));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_never_gets_ready_leaves_the_old_pods_serving() {
    let cluster = with_samples(&["hello"]).await;
    web(&cluster, 4, json!({ "rollingUpdate": { "maxUnavailable": 1, "maxSurge": 1 } })).await;
    let image = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "web", "image": "coracle.local/none" }] } } } });
    patch(&cluster, &format!("{DEPLOYMENTS}/web"), image).await;
    let stuck = eventually("it is stuck where maxSurge and maxUnavailable put it", async || {
        let object = read(&cluster, &format!("{DEPLOYMENTS}/web")).await?;
        let status = object["status"].clone();
        (status["updatedReplicas"] == 2 && status["replicas"] == 5 && status["availableReplicas"] == 3)
            .then_some(status)
    })
    .await;
    assert_eq!(stuck["unavailableReplicas"], 2, "{stuck}");
    for _ in 0..10 {
        assert_eq!(cluster.get("web.localhost", "/").await.status, 200);
    }
    let back = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "web", "image": "coracle.local/hello" }] } } } });
    patch(&cluster, &format!("{DEPLOYMENTS}/web"), back).await;
    rolled_out(&cluster, "web").await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_deployment_waits_and_recreate_stops_first() {
    let cluster = with_samples(&["hello"]).await;
    web(&cluster, 2, json!({})).await;
    let path = format!("{DEPLOYMENTS}/web");
    patch(&cluster, &path, json!({ "spec": { "paused": true } })).await;
    patch(&cluster, &path, greeting("Paused")).await;
    // A paused one is still scaled: when that is done, a new template would have been seen as well.
    patch(&cluster, &path, json!({ "spec": { "replicas": 3 } })).await;
    eventually("it is scaled", async || {
        let object = read(&cluster, &path).await?;
        (object["status"]["availableReplicas"] == 3).then_some(())
    })
    .await;
    assert_eq!(items(&cluster, REPLICA_SETS).await.len(), 1);
    patch(&cluster, &path, json!({ "spec": { "paused": false } })).await;
    rolled_out(&cluster, "web").await;
    assert!(serves(&cluster, "web.localhost", "/").await.starts_with("Paused"));

    let mut recreate = greeting("Recreated");
    recreate["spec"]["strategy"] = json!({ "type": "Recreate", "rollingUpdate": null });
    patch(&cluster, &path, recreate).await;
    eventually("the new template serves", async || {
        cluster.get("web.localhost", "/").await.text.starts_with("Recreated").then_some(())
    })
    .await;
    rolled_out(&cluster, "web").await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_pods_are_replaced_and_spare_ones_go() {
    let cluster = with_samples(&["hello"]).await;
    web(&cluster, 3, json!({})).await;
    let before = names(&items(&cluster, PODS).await);
    let victim = before.first().unwrap().clone();
    delete(&cluster, &format!("{PODS}/{victim}"), "Background").await;
    eventually("another pod takes its place", async || {
        let pods = names(&items(&cluster, PODS).await);
        (pods.len() == 3 && !pods.contains(&victim)).then_some(())
    })
    .await;
    rolled_out(&cluster, "web").await;
    // A pod that loses the label is let go, and one more is made.
    let freed = names(&items(&cluster, PODS).await).first().unwrap().clone();
    patch(&cluster, &format!("{PODS}/{freed}"), json!({ "metadata": { "labels": { "app": "free" } } })).await;
    eventually("the freed pod has no owner and three others run", async || {
        let pods = items(&cluster, &format!("{PODS}?labelSelector=app%3Dweb")).await;
        let free = read(&cluster, &format!("{PODS}/{freed}")).await?;
        let orphan = free["metadata"]["ownerReferences"].as_array().is_none_or(Vec::is_empty);
        (pods.len() == 3 && orphan).then_some(())
    })
    .await;
    patch(&cluster, &format!("{DEPLOYMENTS}/web"), json!({ "spec": { "replicas": 0 } })).await;
    eventually("only the freed pod is left", async || {
        (names(&items(&cluster, PODS).await) == BTreeSet::from([freed.clone()])).then_some(())
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_owned_goes_as_the_deletion_says() {
    let cluster = with_samples(&["hello"]).await;
    web(&cluster, 2, json!({})).await;
    delete(&cluster, &format!("{DEPLOYMENTS}/web"), "Orphan").await;
    eventually("the Deployment is gone", async || {
        read(&cluster, &format!("{DEPLOYMENTS}/web")).await.is_none().then_some(())
    })
    .await;
    let sets = items(&cluster, REPLICA_SETS).await;
    assert_eq!(sets.len(), 1);
    assert!(sets[0]["metadata"]["ownerReferences"].as_array().is_none_or(Vec::is_empty), "{}", sets[0]["metadata"]);
    let orphans = names(&items(&cluster, PODS).await);
    assert_eq!(orphans.len(), 2);

    // A new Deployment adopts them.
    let two = service_of("web", "hello", "").replacen("spec:\n  selector", "spec:\n  replicas: 2\n  selector", 1);
    apply_text(&cluster, &two).await.unwrap();
    rolled_out(&cluster, "web").await;
    assert_eq!(items(&cluster, REPLICA_SETS).await.len(), 1);
    assert_eq!(names(&items(&cluster, PODS).await), orphans);

    delete(&cluster, &format!("{DEPLOYMENTS}/web"), "Foreground").await;
    eventually("dependents go first, then the owner", async || {
        let owner = read(&cluster, &format!("{DEPLOYMENTS}/web")).await;
        let (sets, pods) = (items(&cluster, REPLICA_SETS).await, items(&cluster, PODS).await);
        assert!(owner.is_some() || (sets.is_empty() && pods.is_empty()), "the owner is gone before its dependents");
        owner.is_none().then_some(())
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_follow_readiness() {
    let cluster = with_samples(&["chaos", "hello"]).await;
    let unready = "          readinessProbe: { httpGet: { path: /trap, port: http }, periodSeconds: 1 }";
    apply_text(&cluster, &service_of("sick", "chaos", unready)).await.unwrap();
    apply_text(&cluster, &service_of("well", "hello", "")).await.unwrap();
    let ready = async |name: &str| {
        let slices = items(&cluster, &format!("{SLICES}?labelSelector=kubernetes.io%2Fservice-name%3D{name}")).await;
        let slice = slices.first()?.clone();
        assert_eq!(slice["addressType"], "IPv4");
        slice["endpoints"].as_array()?.first().map(|endpoint| endpoint["conditions"]["ready"] == true)
    };
    eventually("the healthy one is ready", async || ready("well").await?.then_some(())).await;
    eventually("the sick one is there and not ready", async || (!ready("sick").await?).then_some(())).await;
    let endpoints = eventually("Endpoints say the same", async || {
        let object = read(&cluster, "/api/v1/namespaces/default/endpoints/sick").await?;
        object["subsets"][0]["notReadyAddresses"].is_array().then_some(object)
    })
    .await;
    assert!(endpoints["subsets"][0]["addresses"].is_null(), "{endpoints}");
    let answer = cluster.get("sick.localhost", "/").await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert!(answer.text.contains("sick"), "{}", answer.text);
    // Who publishes unready addresses is served all the same.
    patch(
        &cluster,
        "/api/v1/namespaces/default/services/sick",
        json!({ "spec": { "publishNotReadyAddresses": true } }),
    )
    .await;
    serves(&cluster, "sick.localhost", "/").await;
    // A Service that selects nobody has no endpoints.
    patch(&cluster, "/api/v1/namespaces/default/services/well", json!({ "spec": { "selector": { "app": "nobody" } } }))
        .await;
    eventually("nobody is left", async || (cluster.get("well.localhost", "/").await.status == 503).then_some(())).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_goes_with_everything_in_it() {
    let cluster = with_samples(&["hello"]).await;
    let made = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "team" } });
    connection(&cluster).json(Call::new(Method::POST, "/api/v1/namespaces").json(&made)).await.unwrap();
    eventually("it gets its ServiceAccount and the CA", async || {
        read(&cluster, "/api/v1/namespaces/team/serviceaccounts/default").await?;
        read(&cluster, "/api/v1/namespaces/team/configmaps/kube-root-ca.crt").await
    })
    .await;
    let text =
        service_of("web", "hello", "").replace("metadata: { name: web }", "metadata: { name: web, namespace: team }");
    apply_text(&cluster, &text).await.unwrap();
    serves(&cluster, "web.localhost", "/").await;
    delete(&cluster, "/api/v1/namespaces/team", "Background").await;
    let late = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "late" } });
    let call = Call::new(Method::POST, "/api/v1/namespaces/team/configmaps").json(&late);
    if let Err(error) = connection(&cluster).json(call).await {
        let text = error.to_string();
        assert!(text.contains("being terminated") || text.contains("not found"), "{text}");
    }
    eventually("the namespace is gone", async || {
        read(&cluster, "/api/v1/namespaces/team").await.is_none().then_some(())
    })
    .await;
    for path in
        ["/api/v1/pods", "/apis/apps/v1/deployments", "/api/v1/services", "/apis/networking.k8s.io/v1/ingresses"]
    {
        let left = items(&cluster, &format!("{path}?fieldSelector=metadata.namespace%3Dteam")).await;
        assert!(left.is_empty(), "{path}: {left:?}");
    }
    assert_eq!(cluster.get("web.localhost", "/").await.status, 404);
    cluster.stop().await;
}
