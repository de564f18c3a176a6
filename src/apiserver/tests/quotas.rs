//! What namespaces ask of what is made in them: quotas, limit ranges, pod security.

use std::sync::Arc;

use futures::future::join_all;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::harness::{Answer, Cluster, cluster, cluster_in, pod};
use crate::Config;

const JSON: (&str, &str) = ("content-type", "application/json");
const MERGE: (&str, &str) = ("content-type", "application/merge-patch+json");
const CORE: &str = "/api/v1/namespaces/default";

/// A quota of which nothing is used, as the controller leaves it.
async fn quota(cluster: &Cluster, name: &str, spec: Value) {
    let hard = spec["hard"].clone();
    cluster.post(&format!("{CORE}/resourcequotas"), &json!({ "metadata": { "name": name }, "spec": spec })).await;
    let used: Value =
        hard.as_object().unwrap().keys().map(|key| (key.clone(), json!("0"))).collect::<serde_json::Map<_, _>>().into();
    let status = json!({ "status": { "hard": hard, "used": used } }).to_string();
    let answer = cluster.ask("PATCH", &format!("{CORE}/resourcequotas/{name}/status"), &[MERGE], status).await;
    assert_eq!(answer.code, 200, "{}", answer.text());
}

async fn make(cluster: &Cluster, plural: &str, object: &Value) -> Answer {
    cluster.ask("POST", &format!("{CORE}/{plural}"), &[JSON], object.to_string()).await
}

async fn used(cluster: &Cluster, name: &str) -> Value {
    cluster.get(&format!("{CORE}/resourcequotas/{name}")).await.json()["status"]["used"].clone()
}

fn sized(name: &str, resources: Value) -> Value {
    let mut made = pod(name);
    made["spec"]["containers"][0]["resources"] = resources;
    made
}

#[tokio::test]
async fn a_quota_is_charged_by_what_is_made() {
    let cluster = cluster().await;
    quota(&cluster, "q", json!({ "hard": { "pods": "2", "count/configmaps": "1", "services.nodeports": "1" } })).await;
    assert_eq!(make(&cluster, "pods", &pod("a")).await.code, 201);
    assert_eq!(used(&cluster, "q").await["pods"], "1");
    assert_eq!(make(&cluster, "pods?dryRun=All", &pod("b")).await.code, 201);
    assert_eq!(used(&cluster, "q").await["pods"], "1");
    assert_eq!(make(&cluster, "pods", &pod("b")).await.code, 201);
    assert_eq!(
        make(&cluster, "pods", &pod("c")).await.refusal(),
        "403 Forbidden pods \"c\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"
    );
    let map = |name: &str| json!({ "metadata": { "name": name } });
    assert_eq!(make(&cluster, "configmaps", &map("x")).await.code, 201);
    assert_eq!(
        make(&cluster, "configmaps", &map("y")).await.refusal(),
        "403 Forbidden configmaps \"y\" is forbidden: exceeded quota: q, \
         requested: count/configmaps=1, used: count/configmaps=1, limited: count/configmaps=1"
    );
    // A name that is taken costs nothing.
    assert_eq!(make(&cluster, "secrets", &map("s")).await.code, 201);
    assert_eq!(used(&cluster, "q").await, json!({ "pods": "2", "count/configmaps": "1", "services.nodeports": "0" }));
}

#[tokio::test]
async fn a_service_that_grows_is_charged_for_the_growth() {
    let cluster = cluster().await;
    quota(&cluster, "q", json!({ "hard": { "services": "5", "services.nodeports": "1" } })).await;
    let service = json!({ "metadata": { "name": "s" }, "spec": { "ports": [{ "name": "a", "port": 80 }] } });
    assert_eq!(make(&cluster, "services", &service).await.code, 201);
    let patch = |body: Value| {
        let cluster = &cluster;
        async move { cluster.ask("PATCH", &format!("{CORE}/services/s"), &[MERGE], body.to_string()).await }
    };
    assert_eq!(patch(json!({ "spec": { "type": "NodePort" } })).await.code, 200);
    assert_eq!(used(&cluster, "q").await, json!({ "services": "1", "services.nodeports": "1" }));
    let two = json!({ "spec": { "ports": [{ "name": "a", "port": 80 }, { "name": "b", "port": 81 }] } });
    assert_eq!(
        patch(two).await.refusal(),
        "403 Forbidden services \"s\" is forbidden: exceeded quota: q, \
         requested: services.nodeports=1, used: services.nodeports=1, limited: services.nodeports=1"
    );
}

#[tokio::test]
async fn what_a_quota_counts_has_to_be_stated() {
    let cluster = cluster().await;
    quota(&cluster, "q", json!({ "hard": { "limits.cpu": "1", "requests.memory": "1Gi" } })).await;
    assert_eq!(
        make(&cluster, "pods", &pod("a")).await.refusal(),
        "403 Forbidden pods \"a\" is forbidden: failed quota: q: must specify limits.cpu for: main; requests.memory for: main"
    );
    let fits = json!({ "limits": { "cpu": "600m" }, "requests": { "memory": "100Mi" } });
    assert_eq!(make(&cluster, "pods", &sized("a", fits.clone())).await.code, 201);
    assert_eq!(
        make(&cluster, "pods", &sized("b", fits)).await.refusal(),
        "403 Forbidden pods \"b\" is forbidden: exceeded quota: q, \
         requested: limits.cpu=600m, used: limits.cpu=600m, limited: limits.cpu=1"
    );
    assert_eq!(used(&cluster, "q").await, json!({ "limits.cpu": "600m", "requests.memory": "100Mi" }));
}

#[tokio::test]
async fn scopes_choose_the_pods_that_count() {
    let cluster = cluster().await;
    quota(&cluster, "modest", json!({ "hard": { "pods": "1" }, "scopes": ["BestEffort"] })).await;
    quota(&cluster, "short", json!({ "hard": { "pods": "1" }, "scopes": ["Terminating"] })).await;
    assert_eq!(make(&cluster, "pods", &sized("a", json!({ "requests": { "cpu": "1m" } }))).await.code, 201);
    assert_eq!(used(&cluster, "modest").await["pods"], "0");
    let mut brief = pod("b");
    brief["spec"]["activeDeadlineSeconds"] = json!(5);
    assert_eq!(make(&cluster, "pods", &brief).await.code, 201);
    assert_eq!(
        (used(&cluster, "modest").await, used(&cluster, "short").await),
        (json!({ "pods": "1" }), json!({ "pods": "1" }))
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    /// However many write at once: what is made never uses more than there is, and the figures are those of what was made.
    #[test]
    fn writers_at_the_same_time_never_exceed_a_quota(
        wishes in proptest::collection::vec((1..5u32, any::<bool>()), 1..24),
        most in 1..8u32,
        cpu in 1..20u32,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            // On disk writes overlap; in memory each is done at once.
            let folder = tempfile::tempdir().unwrap();
            let store = store::Embedded::open(folder.path()).unwrap();
            let cluster = Arc::new(cluster_in(Arc::new(store), |_| Config::default()).await);
            quota(&cluster, "pods", json!({ "hard": { "pods": most.to_string() } })).await;
            quota(&cluster, "cpu", json!({ "hard": { "requests.cpu": cpu.to_string() } })).await;
            let attempts = wishes.iter().enumerate().map(|(at, (size, generated))| {
                let cluster = Arc::clone(&cluster);
                let mut made = sized(&format!("p{at}"), json!({ "requests": { "cpu": size.to_string() } }));
                if *generated {
                    made["metadata"] = json!({ "generateName": "p-" });
                } else if at % 3 == 0 {
                    // A name that is taken breaks the line.
                    made["metadata"]["name"] = json!("p1");
                }
                let size = *size;
                // On threads of their own: on one they would rarely meet.
                #[allow(clippy::disallowed_methods)]
                tokio::spawn(async move { (make(&cluster, "pods", &made).await.code, size) })
            });
            let outcomes: Vec<(u16, u32)> = join_all(attempts).await.into_iter().map(Result::unwrap).collect();
            prop_assert!(outcomes.iter().all(|(code, _)| matches!(code, 201 | 403 | 409)), "{outcomes:?}");
            let made: Vec<u32> = outcomes.iter().filter(|(code, _)| *code == 201).map(|(_, size)| *size).collect();
            let sum: u32 = made.iter().sum();
            prop_assert!(made.len() as u32 <= most && sum <= cpu, "{made:?} in {most}, {cpu}");
            let figure = |value: Value| value.as_str().unwrap().parse::<u32>().unwrap();
            prop_assert_eq!(figure(used(&cluster, "pods").await["pods"].clone()), made.len() as u32);
            prop_assert_eq!(figure(used(&cluster, "cpu").await["requests.cpu"].clone()), sum);
            // Nobody was refused who would have had a place.
            let refused = outcomes.iter().filter(|(code, _)| *code == 403).map(|(_, size)| *size).min();
            let had_room = refused.is_some_and(|size| (made.len() as u32) < most && sum + size <= cpu);
            prop_assert!(!had_room);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn limit_ranges_fill_in_and_refuse() {
    let cluster = cluster().await;
    let range = json!({ "metadata": { "name": "r" }, "spec": { "limits": [{
        "type": "Container", "default": { "cpu": "500m" }, "defaultRequest": { "cpu": "100m" }, "max": { "cpu": "1" },
    }] } });
    cluster.post(&format!("{CORE}/limitranges"), &range).await;
    let made = make(&cluster, "pods", &pod("a")).await.json();
    let resources = &made["spec"]["containers"][0]["resources"];
    assert_eq!(*resources, json!({ "limits": { "cpu": "500m" }, "requests": { "cpu": "100m" } }));
    assert_eq!(
        made["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu request for container main; cpu limit for container main"
    );
    assert_eq!(
        make(&cluster, "pods", &sized("b", json!({ "limits": { "cpu": "2" } }))).await.refusal(),
        "403 Forbidden pods \"b\" is forbidden: maximum cpu usage per Container is 1, but limit is 2"
    );
}

#[tokio::test]
async fn levels_of_pod_security_enforce_and_warn() {
    let cluster = cluster().await;
    let label = |mode: &str, level: &str| json!({ "metadata": { "labels": { format!("pod-security.kubernetes.io/{mode}"): level } } });
    let patch = |body: Value| {
        let cluster = &cluster;
        async move { cluster.ask("PATCH", "/api/v1/namespaces/default", &[MERGE], body.to_string()).await }
    };
    assert_eq!(patch(label("warn", "restricted")).await.code, 200);
    let warned = make(&cluster, "pods", &pod("a")).await;
    assert_eq!(warned.code, 201);
    assert!(
        warned
            .header("warning")
            .contains("would violate PodSecurity \\\"restricted:latest\\\": allowPrivilegeEscalation"),
        "{}",
        warned.header("warning")
    );
    assert_eq!(
        patch(label("enforce", "strict")).await.refusal(),
        "422 Invalid Namespace \"default\" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: \
         Invalid value: \"strict\": must be one of privileged, baseline, restricted"
    );
    let enforced = patch(label("enforce", "baseline")).await;
    assert_eq!((enforced.code, enforced.header("warning")), (200, ""));
    let mut shared = pod("b");
    shared["spec"]["hostNetwork"] = json!(true);
    assert_eq!(
        make(&cluster, "pods", &shared).await.refusal(),
        "403 Forbidden pods \"b\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)"
    );
    let stricter = patch(label("enforce", "restricted")).await;
    assert!(
        stricter.header("warning").contains(
            "existing pods in namespace \\\"default\\\" violate the new PodSecurity enforce level \\\"restricted:latest\\\""
        ),
        "{}",
        stricter.header("warning")
    );
}
