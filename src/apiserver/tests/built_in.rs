//! What the cluster itself gives to new objects, and what it refuses: accounts, priorities, classes, finalizers; evictions.

use serde_json::{Value, json};

use super::harness::{Answer, Cluster, cluster, pod};

const JSON: (&str, &str) = ("content-type", "application/json");
const MERGE: (&str, &str) = ("content-type", "application/merge-patch+json");
const CORE: &str = "/api/v1/namespaces/default";

async fn make(cluster: &Cluster, path: &str, object: &Value) -> Answer {
    cluster.ask("POST", path, &[JSON], object.to_string()).await
}

async fn pods(cluster: &Cluster, object: &Value) -> Answer {
    make(cluster, &format!("{CORE}/pods"), object).await
}

fn pod_with(name: &str, field: &str, value: Value) -> Value {
    let mut made = pod(name);
    made["spec"][field] = value;
    made
}

#[tokio::test]
async fn a_pod_acts_as_an_account_and_finds_its_token() {
    let cluster = cluster().await;
    let account = json!({ "metadata": { "name": "quiet" }, "automountServiceAccountToken": false, "imagePullSecrets": [{ "name": "s" }] });
    cluster.post(&format!("{CORE}/serviceaccounts"), &account).await;
    let made = pods(&cluster, &pod("a")).await.json();
    let spec = &made["spec"];
    assert_eq!((&spec["serviceAccountName"], &spec["serviceAccount"]), (&json!("default"), &json!("default")));
    let volume = spec["volumes"][0]["name"].as_str().unwrap();
    assert!(volume.starts_with("kube-api-access-") && volume.len() == 21, "{volume}");
    let sources = spec["volumes"][0]["projected"]["sources"].as_array().unwrap();
    assert_eq!(sources[0]["serviceAccountToken"], json!({ "expirationSeconds": 3607, "path": "token" }));
    assert_eq!(
        spec["containers"][0]["volumeMounts"],
        json!([{ "name": volume, "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount" }])
    );
    let quiet = pods(&cluster, &pod_with("b", "serviceAccountName", json!("quiet"))).await.json();
    assert_eq!(quiet["spec"].get("volumes"), None);
    assert_eq!(quiet["spec"]["imagePullSecrets"], json!([{ "name": "s" }]));
    assert_eq!(
        pods(&cluster, &pod_with("c", "serviceAccountName", json!("nobody"))).await.refusal(),
        "403 Forbidden pods \"c\" is forbidden: error looking up service account default/nobody: \
         serviceaccount \"nobody\" not found"
    );
}

#[tokio::test]
async fn priorities_come_from_classes() {
    let cluster = cluster().await;
    let classes = "/apis/scheduling.k8s.io/v1/priorityclasses";
    let class = |name: &str, value: i64, default: bool| json!({ "metadata": { "name": name }, "value": value, "globalDefault": default, "preemptionPolicy": "Never" });
    let priority = |made: &Value| (made["spec"]["priority"].clone(), made["spec"]["preemptionPolicy"].clone());
    assert_eq!(priority(&pods(&cluster, &pod("a")).await.json()), (json!(0), json!("PreemptLowerPriority")));
    cluster.post(classes, &class("high", 1000, false)).await;
    let high = pods(&cluster, &pod_with("b", "priorityClassName", json!("high"))).await.json();
    assert_eq!(priority(&high), (json!(1000), json!("Never")));
    cluster.post(classes, &class("usual", 7, true)).await;
    let usual = pods(&cluster, &pod("c")).await.json();
    assert_eq!((priority(&usual).0, &usual["spec"]["priorityClassName"]), (json!(7), &json!("usual")));
    for (refused, wanted) in [
        (
            pods(&cluster, &pod_with("d", "priorityClassName", json!("none"))).await,
            "403 Forbidden pods \"d\" is forbidden: no PriorityClass with name none was found",
        ),
        (
            pods(&cluster, &pod_with("d", "priority", json!(5))).await,
            "403 Forbidden pods \"d\" is forbidden: the integer value of priority (5) must not be provided in pod spec; \
             priority admission controller computed 7 from the given PriorityClass name",
        ),
        (
            make(&cluster, classes, &class("other", 8, true)).await,
            "403 Forbidden priorityclasses.scheduling.k8s.io \"other\" is forbidden: \
             PriorityClass usual is already marked as default. Only one default can exist",
        ),
    ] {
        assert_eq!(refused.refusal(), wanted);
    }
}

#[tokio::test]
async fn runtime_classes_are_taken_over() {
    let cluster = cluster().await;
    assert_eq!(
        pods(&cluster, &pod_with("a", "runtimeClassName", json!("fast"))).await.refusal(),
        "403 Forbidden pods \"a\" is forbidden: pod rejected: RuntimeClass \"fast\" not found"
    );
    let class = json!({
        "metadata": { "name": "fast" }, "handler": "h", "overhead": { "podFixed": { "cpu": "10m" } },
        "scheduling": { "nodeSelector": { "disk": "ssd" }, "tolerations": [{ "key": "k", "operator": "Exists" }] },
    });
    cluster.post("/apis/node.k8s.io/v1/runtimeclasses", &class).await;
    let spec = pods(&cluster, &pod_with("a", "runtimeClassName", json!("fast"))).await.json()["spec"].clone();
    assert_eq!((&spec["overhead"], &spec["nodeSelector"]), (&json!({ "cpu": "10m" }), &json!({ "disk": "ssd" })));
    assert!(spec["tolerations"].as_array().unwrap().contains(&json!({ "key": "k", "operator": "Exists" })));
}

#[tokio::test]
async fn claims_and_volumes_are_protected_and_get_the_default_class() {
    let cluster = cluster().await;
    let class = |name: &str, grows: bool| {
        json!({
            "metadata": { "name": name, "annotations": { "storageclass.kubernetes.io/is-default-class": "true" } },
            "provisioner": "p.io/x", "allowVolumeExpansion": grows,
        })
    };
    cluster.post("/apis/storage.k8s.io/v1/storageclasses", &class("gold", false)).await;
    let claim = json!({
        "metadata": { "name": "c" },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
    });
    let made = make(&cluster, &format!("{CORE}/persistentvolumeclaims"), &claim).await.json();
    assert_eq!(made["spec"]["storageClassName"], "gold");
    assert_eq!(made["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
    let volume = json!({
        "metadata": { "name": "v" },
        "spec": { "accessModes": ["ReadWriteOnce"], "capacity": { "storage": "1Gi" }, "hostPath": { "path": "/x" } },
    });
    let made = make(&cluster, "/api/v1/persistentvolumes", &volume).await.json();
    assert_eq!(made["metadata"]["finalizers"], json!(["kubernetes.io/pv-protection"]));
    let bound = json!({ "status": { "phase": "Bound" } }).to_string();
    cluster.ask("PATCH", &format!("{CORE}/persistentvolumeclaims/c/status"), &[MERGE], bound).await;
    let grown = json!({ "spec": { "volumeName": "v", "resources": { "requests": { "storage": "2Gi" } } } }).to_string();
    let answer = cluster.ask("PATCH", &format!("{CORE}/persistentvolumeclaims/c"), &[MERGE], grown).await;
    assert_eq!(answer.code / 100, 4, "{}", answer.text());
}

#[tokio::test]
async fn a_new_node_is_tainted_until_it_is_known() {
    let cluster = cluster().await;
    let made = make(&cluster, "/api/v1/nodes", &json!({ "metadata": { "name": "n" } })).await.json();
    assert_eq!(made["spec"]["taints"], json!([{ "key": "node.kubernetes.io/not-ready", "effect": "NoSchedule" }]));
}

#[tokio::test]
async fn an_eviction_asks_the_budget() {
    let cluster = cluster().await;
    let running =
        json!({ "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] } }).to_string();
    for name in ["a", "b"] {
        let mut made = pod_with(name, "nodeName", json!("n"));
        made["metadata"]["labels"] = json!({ "app": "x" });
        assert_eq!(pods(&cluster, &made).await.code, 201);
        let answer = cluster.ask("PATCH", &format!("{CORE}/pods/{name}/status"), &[MERGE], running.clone()).await;
        assert_eq!(answer.code, 200, "{}", answer.text());
    }
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let selector = json!({ "matchLabels": { "app": "x" } });
    let budget = json!({ "metadata": { "name": "b" }, "spec": { "minAvailable": 1, "selector": selector } });
    cluster.post(budgets, &budget).await;
    let evict = |name: &str, dry: bool| {
        let mut eviction = json!({ "metadata": { "name": name } });
        if dry {
            eviction["deleteOptions"] = json!({ "dryRun": ["All"] });
        }
        let (cluster, path) = (&cluster, format!("{CORE}/pods/{name}/eviction"));
        async move { make(cluster, &path, &eviction).await }
    };
    let early = evict("a", false).await;
    assert_eq!(
        early.refusal(),
        "429 TooManyRequests Cannot evict pod as it would violate the pod's disruption budget."
    );
    assert_eq!(
        early.json()["details"]["causes"],
        json!([{ "reason": "DisruptionBudget", "message": "The disruption budget b is still being processed by the server." }])
    );
    let counted = json!({ "status": {
        "observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2,
    } });
    cluster.ask("PATCH", &format!("{budgets}/b/status"), &[MERGE], counted.to_string()).await;
    assert_eq!(evict("a", true).await.code, 201);
    assert_eq!(cluster.get(&format!("{budgets}/b")).await.json()["status"]["disruptionsAllowed"], 1);
    assert_eq!(evict("a", false).await.code, 201);
    let gone = cluster.get(&format!("{CORE}/pods/a")).await.json();
    assert!(gone["metadata"]["deletionTimestamp"].is_string());
    let reasons: Vec<&Value> =
        gone["status"]["conditions"].as_array().unwrap().iter().map(|held| &held["reason"]).collect();
    assert!(reasons.contains(&&json!("EvictionByEvictionAPI")), "{reasons:?}");
    let status = cluster.get(&format!("{budgets}/b")).await.json()["status"].clone();
    assert_eq!(status["disruptionsAllowed"], 0);
    assert!(status["disruptedPods"]["a"].is_string());
    let refused = evict("b", false).await;
    assert_eq!(refused.code, 429);
    assert_eq!(
        refused.json()["details"]["causes"][0]["message"],
        "The disruption budget b needs 1 healthy pods and has 2 currently"
    );
}

#[tokio::test]
async fn a_binding_may_name_its_pod_in_the_body() {
    let cluster = cluster().await;
    pods(&cluster, &pod("a")).await;
    let binding = json!({ "metadata": { "name": "a" }, "target": { "kind": "Node", "name": "n" } });
    assert_eq!(make(&cluster, &format!("{CORE}/bindings"), &binding).await.code, 201);
    assert_eq!(cluster.get(&format!("{CORE}/pods/a")).await.json()["spec"]["nodeName"], "n");
    assert!(make(&cluster, &format!("{CORE}/bindings"), &binding).await.refusal().starts_with(
        "409 Conflict Operation cannot be fulfilled on pods/binding \"a\": pod a is already assigned to node"
    ));
}
