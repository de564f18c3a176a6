//! Who the parts of a cluster are, what each may do, and how people get and lend rights.

use api_paths::*;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::{TestCluster, eventually};

use crate::kubectl::Kubectl;
use crate::support::{apply_text, raw, read, serves, service_of, with_samples};

mod api_paths {
    pub const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    pub const PODS: &str = "/api/v1/namespaces/default/pods";
    pub const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
}

async fn post(cluster: &TestCluster, path: &str, object: Value) -> (StatusCode, Value) {
    raw(cluster, Method::POST, path, "application/json", object.to_string()).await
}

/// Whether a user may do something: `verb group/resource/subresource namespace name`, with `-` for nothing.
async fn may(cluster: &TestCluster, user: &str, groups: &[&str], question: &str) -> bool {
    let words: Vec<&str> = question.split(' ').map(|word| if word == "-" { "" } else { word }).collect();
    let [verb, resource, namespace, name] = words[..] else { panic!("{question}") };
    let mut parts = resource.split('/');
    let mut part = || parts.next().filter(|part| *part != "core").unwrap_or_default();
    let spec = json!({
        "user": user,
        "groups": groups,
        "resourceAttributes": {
            "verb": verb, "group": part(), "resource": part(), "subresource": part(), "namespace": namespace, "name": name,
        },
    });
    let (code, answer) = post(cluster, REVIEWS, json!({ "spec": spec })).await;
    assert_eq!(code, 201, "{answer}");
    answer["status"]["allowed"] == true
}

/// The requests that were refused for want of rights, as the metrics count them. The root certificate may be refused its
/// place in a namespace that is going, as anybody would be: whoever writes it hears of that a moment later.
async fn refused(cluster: &TestCluster) -> Vec<String> {
    let (_, text) = raw(cluster, Method::GET, "/metrics", "", "").await;
    let of_namespace = |line: &str| line.contains("verb=\"create\"") && line.contains("resource=\"configmaps\"");
    let lines = text.as_str().unwrap().lines().filter(|line| line.contains("code=\"403\"") && !of_namespace(line));
    lines.map(str::to_owned).collect()
}

/// Lets every part of the cluster do what it does.
async fn keep_busy(cluster: &TestCluster) {
    apply_text(cluster, &service_of("web", "hello", "")).await.unwrap();
    serves(cluster, "web.localhost", "/").await;
    let template = json!({ "spec": { "template": { "metadata": { "annotations": { "again": "1" } } } } });
    let web = "/apis/apps/v1/namespaces/default/deployments/web";
    let merge = "application/merge-patch+json";
    raw(cluster, Method::PATCH, web, merge, template.to_string()).await;
    eventually("the second ReplicaSet is there", async || {
        let sets = read(cluster, "/apis/apps/v1/namespaces/default/replicasets").await?;
        (sets["items"].as_array()?.len() == 2).then_some(())
    })
    .await;
    eventually("the Deployment is rolled out", async || {
        let status = read(cluster, web).await?["status"].clone();
        (status["updatedReplicas"] == 1 && status["replicas"] == 1 && status["availableReplicas"] == 1).then_some(())
    })
    .await;
    post(cluster, "/api/v1/namespaces", json!({ "metadata": { "name": "gone" } })).await;
    let map = json!({ "metadata": { "name": "x" } });
    post(cluster, "/api/v1/namespaces/gone/configmaps", map).await;
    eventually("the namespace has its account", async || {
        read(cluster, "/api/v1/namespaces/gone/serviceaccounts/default").await
    })
    .await;
    raw(cluster, Method::DELETE, "/api/v1/namespaces/gone", "", "").await;
    eventually("the namespace has gone", async || {
        read(cluster, "/api/v1/namespaces/gone").await.is_none().then_some(())
    })
    .await;
    raw(cluster, Method::DELETE, web, "", "").await;
    eventually("the pods have gone", async || read(cluster, PODS).await?["items"].as_array()?.is_empty().then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_part_may_do_its_work_and_no_more() {
    let cluster = with_samples(&["hello"]).await;
    keep_busy(&cluster).await;
    assert_eq!(refused(&cluster).await, Vec::<String>::new());

    let account = |name: &str| format!("system:serviceaccount:kube-system:{name}");
    let node = read(&cluster, "/api/v1/nodes").await.unwrap()["items"][0]["metadata"]["name"].clone();
    let node = node.as_str().unwrap().to_owned();
    let node_user = format!("system:node:{node}");
    let everybody = "system:authenticated";
    let accounts = ["system:serviceaccounts", "system:serviceaccounts:kube-system", everybody];
    let secret = json!({ "metadata": { "name": "hidden" }, "data": {} });
    post(&cluster, "/api/v1/namespaces/default/secrets", secret).await;
    let own_lease = format!("update coordination.k8s.io/leases kube-node-lease {node}");
    let rows: &[(&str, &[&str], &str, bool)] = &[
        ("system:kube-scheduler", &[everybody], "create core/pods/binding default a", true),
        ("system:kube-scheduler", &[everybody], "list core/nodes - -", true),
        ("system:kube-scheduler", &[everybody], "get core/secrets default a", false),
        ("system:kube-scheduler", &[everybody], "create core/pods default -", false),
        ("system:kube-scheduler", &[everybody], "update core/nodes - a", false),
        ("system:kube-controller-manager", &[everybody], "watch core/pods - -", true),
        ("system:kube-controller-manager", &[everybody], "create core/pods default -", false),
        ("system:kube-controller-manager", &[everybody], "update apps/deployments default a", false),
        (&account("deployment-controller"), &accounts, "create apps/replicasets default -", true),
        (&account("deployment-controller"), &accounts, "create core/pods default -", false),
        (&account("deployment-controller"), &accounts, "get core/secrets default a", false),
        (&account("replicaset-controller"), &accounts, "create core/pods default -", true),
        (&account("replicaset-controller"), &accounts, "create apps/deployments default -", false),
        (&account("service-account-controller"), &accounts, "create core/serviceaccounts default -", true),
        (&account("service-account-controller"), &accounts, "create core/serviceaccounts/token default a", false),
        (
            &account("clusterrole-aggregation-controller"),
            &accounts,
            "escalate rbac.authorization.k8s.io/clusterroles - a",
            true,
        ),
        (
            &account("clusterrole-aggregation-controller"),
            &accounts,
            "create rbac.authorization.k8s.io/clusterrolebindings - -",
            false,
        ),
        (
            &account("certificate-controller"),
            &accounts,
            "sign certificates.k8s.io/signers - kubernetes.io/kubelet-serving",
            true,
        ),
        (
            &account("certificate-controller"),
            &accounts,
            "approve certificates.k8s.io/signers - kubernetes.io/kubelet-serving",
            false,
        ),
        ("system:kube-proxy", &[everybody], "update networking.k8s.io/ingresses/status default a", true),
        ("system:kube-proxy", &[everybody], "update networking.k8s.io/ingresses default a", false),
        ("system:kube-proxy", &[everybody], "get core/secrets default a", false),
        (&node_user, &["system:nodes", everybody], &own_lease, true),
        (&node_user, &["system:nodes", everybody], "update coordination.k8s.io/leases kube-node-lease other", false),
        (&node_user, &["system:nodes", everybody], "get core/secrets default hidden", false),
        (&node_user, &["system:nodes", everybody], "list core/secrets default -", false),
        (&node_user, &["system:nodes", everybody], "list core/pods - -", false),
        (&node_user, &["system:nodes", everybody], "create core/serviceaccounts/token default default", false),
        (&node_user, &["system:nodes", everybody], "update apps/deployments default a", false),
        ("system:anonymous", &["system:unauthenticated"], "list core/pods default -", false),
        ("jane", &[everybody], "create authorization.k8s.io/selfsubjectaccessreviews - -", true),
        ("jane", &[everybody], "list core/pods default -", false),
    ];
    for (user, groups, question, wanted) in rows {
        assert_eq!(may(&cluster, user, groups, question).await, *wanted, "{user}: {question}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_finds_a_token_of_its_own() {
    let cluster = with_samples(&["hello"]).await;
    let pod = json!({
        "metadata": { "name": "p" },
        "spec": { "containers": [{ "name": "c", "image": "coracle.local/hello", "imagePullPolicy": "IfNotPresent" }] },
    });
    post(&cluster, PODS, pod).await;
    let pod = crate::support::pod_until(&cluster, "p", "runs", |pod| {
        (pod["status"]["phase"] == "Running").then(|| pod.clone())
    })
    .await;
    // What the node asked for on the pod's behalf is what anybody with the right gets.
    let spec = json!({ "boundObjectRef": {
        "kind": "Pod", "apiVersion": "v1", "name": "p", "uid": pod["metadata"]["uid"],
    } });
    let (code, issued) = post(&cluster, &format!("{ACCOUNTS}/default/token"), json!({ "spec": spec })).await;
    assert_eq!(code, 201, "{issued}");
    let token = issued["status"]["token"].clone();
    let reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
    let (_, review) = post(&cluster, reviews, json!({ "spec": { "token": token } })).await;
    let user = &review["status"]["user"];
    assert_eq!(user["username"], "system:serviceaccount:default:default", "{review}");
    assert_eq!(user["extra"]["authentication.kubernetes.io/pod-name"], json!(["p"]));
    assert_eq!(user["extra"]["authentication.kubernetes.io/node-name"], json!([pod["spec"]["nodeName"]]));
    // A node may read what its pods name: one that hears of a pod's end a moment later may be refused.
    assert_eq!(refused(&cluster).await, Vec::<String>::new());
    raw(&cluster, Method::DELETE, &format!("{PODS}/p?gracePeriodSeconds=0"), "", "").await;
    eventually("the token goes with the pod", async || {
        let (_, review) = post(&cluster, reviews, json!({ "spec": { "token": token } })).await;
        (review["status"]["authenticated"] != true).then_some(())
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_asks_lends_and_signs() {
    let cluster = TestCluster::start().await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    kubectl
        .table(&[
            ("auth whoami", &["kubernetes-admin", "system:masters"]),
            ("auth can-i '*' '*'", &["yes"]),
            ("auth can-i --list", &["*.*", "[*]"]),
            ("auth whoami --as=jane --as-group=dev", &["jane", "[dev system:authenticated]"]),
            ("get clusterroles cluster-admin admin edit view", &["cluster-admin", "view"]),
            (
                "create role reader --verb=get,list --resource=pods,pods/log",
                &["role.rbac.authorization.k8s.io/reader created"],
            ),
            ("create rolebinding reader --role=reader --user=jane", &["created"]),
            ("auth can-i list pods --as=jane", &["yes"]),
            ("auth can-i get pods --subresource=log --as=jane", &["yes"]),
            ("get pods --as=jane", &[]),
            ("create clusterrole custom --verb=get --resource=leases.coordination.k8s.io", &["created"]),
            ("label clusterrole custom rbac.authorization.k8s.io/aggregate-to-view=true", &["labeled"]),
            ("create rolebinding viewer --clusterrole=view --user=bob", &["created"]),
        ])
        .await;
    kubectl.until("auth can-i get leases.coordination.k8s.io --as=bob", "yes").await;
    for (line, wanted) in [
        (
            "get secrets --as=jane",
            "Error from server (Forbidden): secrets is forbidden: User \"jane\" cannot list resource \"secrets\" in API group \"\" in the namespace \"default\"",
        ),
        (
            "get pods --as=system:serviceaccount:default:default",
            "User \"system:serviceaccount:default:default\" cannot list resource \"pods\"",
        ),
        ("patch rolebinding reader --type=merge -p '{\"roleRef\":{\"name\":\"other\"}}'", "cannot change roleRef"),
    ] {
        let told = kubectl.refused(line).await;
        assert!(told.contains(wanted), "kubectl {line}: {told}");
    }
    let token = kubectl.told("create token default --duration=10m").await;
    assert_eq!(token.trim().split('.').count(), 3, "{token}");
    let role = kubectl.file(
        "role.yaml",
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: { name: reader, namespace: default }\n\
         rules: [{ apiGroups: [''], resources: [services], verbs: [get] }]\n",
    );
    let told = kubectl.told(&format!("auth reconcile -f {role}")).await;
    assert!(told.contains("reconciled"), "{told}");
    kubectl.until("auth can-i get services --as=jane", "yes").await;
    let secret = kubectl.file(
        "secret.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: token\n  annotations: { kubernetes.io/service-account.name: default }\n\
         type: kubernetes.io/service-account-token\n",
    );
    kubectl.told(&format!("apply -f {secret}")).await;
    kubectl.until("describe secret token", "token:").await;
    cluster.stop().await;
}
