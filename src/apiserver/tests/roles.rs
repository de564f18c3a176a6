//! Roles: who may do what, who may grant what, who may be whom.

use std::sync::Arc;

use serde_json::{Value, json};

use super::harness::{Answer, Cluster, cluster_over};
use crate::authentication::StaticTokens;
use crate::authorization::{Escalation, NodeRestriction, Rbac};
use crate::certificates::CertificateRequests;
use crate::{Authorizer, Config};

const GROUP: &str = "rbac.authorization.k8s.io";
const TOKENS: &str =
    "root,admin,1,system:masters\njane,jane,2,\"dev,ops\"\nbob,bob,3\nnode,system:node:a,4,system:nodes\n";

/// A server with users, and roles that let everybody ask about itself and masters do everything.
pub(super) async fn cluster() -> Cluster {
    let cluster = cluster_over(|objects| {
        let rbac = Rbac::new(objects);
        let authorizer: Arc<dyn Authorizer> = Arc::new(crate::authorization::Modes::default().union(objects, &rbac));
        objects.add_admission(Arc::new(NodeRestriction::new(objects)));
        objects.add_admission(Arc::new(CertificateRequests::new(Arc::clone(&authorizer))));
        objects.add_admission(Arc::new(Escalation::new(rbac, Arc::clone(&authorizer))));
        let tokens = StaticTokens::parse(TOKENS, "tokens").unwrap();
        Config { authorizer, authenticators: vec![Arc::new(tokens)], ..Config::default() }
    })
    .await;
    let everything = json!([
        { "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] },
        { "verbs": ["*"], "nonResourceURLs": ["*"] },
    ]);
    let questions = json!([{
        "verbs": ["create"],
        "apiGroups": ["authorization.k8s.io", "authentication.k8s.io"],
        "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"],
    }]);
    grant(&cluster, "cluster-admin", &everything, "Group", "system:masters").await;
    grant(&cluster, "basic", &questions, "Group", "system:authenticated").await;
    cluster
}

fn path(plural: &str) -> String {
    if plural.starts_with("cluster") {
        format!("/apis/{GROUP}/v1/{plural}")
    } else {
        format!("/apis/{GROUP}/v1/namespaces/default/{plural}")
    }
}

fn role(name: &str, rules: &Value) -> Value {
    json!({ "metadata": { "name": name }, "rules": rules })
}

fn binding(name: &str, role_kind: &str, role: &str, kind: &str, subject: &str) -> Value {
    let mut who = json!({ "kind": kind, "name": subject });
    if kind != "ServiceAccount" {
        who["apiGroup"] = json!(GROUP);
    }
    json!({
        "metadata": { "name": name },
        "roleRef": { "apiGroup": GROUP, "kind": role_kind, "name": role },
        "subjects": [who],
    })
}

/// A ClusterRole, and a binding to it everywhere.
async fn grant(cluster: &Cluster, name: &str, rules: &Value, kind: &str, subject: &str) {
    cluster.post(&path("clusterroles"), &role(name, rules)).await;
    cluster.post(&path("clusterrolebindings"), &binding(name, "ClusterRole", name, kind, subject)).await;
}

pub(super) async fn as_user(cluster: &Cluster, user: &str, method: &str, path: &str, body: &Value) -> Answer {
    let header = format!("Bearer {user}");
    let headers = [("authorization", header.as_str()), ("content-type", "application/json")];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    cluster.knock(method, path, &headers, body).await
}

async fn get(cluster: &Cluster, user: &str, path: &str) -> u16 {
    as_user(cluster, user, "GET", path, &Value::Null).await.code
}

fn rule(verbs: &[&str], resources: &[&str]) -> Value {
    json!([{ "verbs": verbs, "apiGroups": [""], "resources": resources }])
}

#[tokio::test]
async fn a_role_counts_from_the_answer_to_its_write_on() {
    let cluster = cluster().await;
    let pods = "/api/v1/namespaces/default/pods";
    assert_eq!(get(&cluster, "jane", pods).await, 403);
    cluster.post(&path("roles"), &role("reader", &rule(&["list"], &["pods"]))).await;
    cluster.post(&path("rolebindings"), &binding("reader", "Role", "reader", "Group", "dev")).await;
    assert_eq!(get(&cluster, "jane", pods).await, 200);
    assert_eq!(get(&cluster, "bob", pods).await, 403);
    assert_eq!(get(&cluster, "jane", "/api/v1/namespaces/other/pods").await, 403);
    assert_eq!(get(&cluster, "jane", "/api/v1/pods").await, 403);
    let named = format!("{}/reader", path("rolebindings"));
    assert_eq!(cluster.ask("DELETE", &named, &[], "").await.code, 200);
    assert_eq!(get(&cluster, "jane", pods).await, 403);
    // A binding to a role that is not there says so.
    cluster.post(&path("rolebindings"), &binding("none", "Role", "none", "User", "jane")).await;
    let refused = as_user(&cluster, "jane", "GET", pods, &Value::Null).await.refusal();
    let wanted = "403 Forbidden pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the \
                  namespace \"default\": RBAC: role.rbac.authorization.k8s.io \"none\" not found";
    assert_eq!(refused, wanted);
}

#[tokio::test]
async fn nobody_grants_what_they_do_not_have() {
    let cluster = cluster().await;
    let own = json!([
        { "verbs": ["create", "update", "get"], "apiGroups": [GROUP], "resources": ["roles", "rolebindings"] },
        { "verbs": ["get"], "apiGroups": [""], "resources": ["pods"] },
    ]);
    grant(&cluster, "granter", &own, "User", "jane").await;
    let create = |plural: &'static str, object: Value| {
        let cluster = &cluster;
        async move { as_user(cluster, "jane", "POST", &path(plural), &object).await }
    };
    assert_eq!(create("roles", role("fine", &rule(&["get"], &["pods"]))).await.code, 201);
    let refused = create("roles", role("more", &rule(&["get", "list"], &["pods", "secrets"]))).await.refusal();
    let wanted = "403 Forbidden roles.rbac.authorization.k8s.io \"more\" is forbidden: user \"jane\" \
                  (groups=[\"dev\" \"ops\" \"system:authenticated\"]) is attempting to grant RBAC permissions not currently \
                  held:\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"list\"]}\n\
                  {APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\" \"list\"]}";
    assert_eq!(refused, wanted);
    assert_eq!(create("rolebindings", binding("fine", "Role", "fine", "User", "bob")).await.code, 201);
    let refused = create("rolebindings", binding("all", "ClusterRole", "cluster-admin", "User", "bob")).await;
    assert!(refused.refusal().contains("is attempting to grant RBAC permissions not currently held"));
    let missing = create("rolebindings", binding("none", "ClusterRole", "none", "User", "bob")).await;
    assert_eq!(missing.refusal(), "404 NotFound clusterrole.rbac.authorization.k8s.io \"none\" not found");
    // Whoever may bind or escalate may do that.
    let more = json!([{ "verbs": ["bind", "escalate"], "apiGroups": [GROUP], "resources": ["roles", "clusterroles"] }]);
    grant(&cluster, "binder", &more, "User", "jane").await;
    assert_eq!(create("roles", role("more", &rule(&["get"], &["secrets"]))).await.code, 201);
    assert_eq!(create("rolebindings", binding("all", "ClusterRole", "cluster-admin", "User", "bob")).await.code, 201);
}

#[tokio::test]
async fn somebody_may_act_as_those_they_may_impersonate() {
    let cluster = cluster().await;
    let whom = json!([
        { "verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"], "resourceNames": ["bob"] },
        { "verbs": ["impersonate"], "apiGroups": ["authentication.k8s.io"], "resources": ["userextras/team"] },
    ]);
    grant(&cluster, "actor", &whom, "User", "jane").await;
    let who = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    for (headers, wanted) in [
        (vec![("impersonate-user", "bob")], Ok("bob")),
        (vec![("impersonate-user", "bob"), ("impersonate-extra-team", "x")], Ok("bob")),
        (
            vec![("impersonate-user", "eve")],
            Err(
                "403 Forbidden users \"eve\" is forbidden: User \"jane\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope",
            ),
        ),
        (
            vec![("impersonate-user", "bob"), ("impersonate-group", "system:masters")],
            Err(
                "403 Forbidden groups \"system:masters\" is forbidden: User \"jane\" cannot impersonate resource \"groups\" in API group \"\" at the cluster scope",
            ),
        ),
        (
            vec![("impersonate-user", "bob"), ("impersonate-uid", "7")],
            Err(
                "403 Forbidden uids.authentication.k8s.io \"7\" is forbidden: User \"jane\" cannot impersonate resource \"uids\" in API group \"authentication.k8s.io\" at the cluster scope",
            ),
        ),
        (
            vec![("impersonate-user", "system:serviceaccount:default:default")],
            Err(
                "403 Forbidden serviceaccounts \"default\" is forbidden: User \"jane\" cannot impersonate resource \"serviceaccounts\" in API group \"\" in the namespace \"default\"",
            ),
        ),
    ] {
        let mut all = vec![("authorization", "Bearer jane"), ("content-type", "application/json")];
        all.extend(headers.clone());
        let answer = cluster.knock("POST", who, &all, "{}").await;
        match wanted {
            Ok(name) => {
                assert_eq!(answer.code, 201, "{headers:?}: {}", answer.text());
                assert_eq!(answer.json()["status"]["userInfo"]["username"], name);
            }
            Err(message) => assert_eq!(answer.refusal(), message, "{headers:?}"),
        }
    }
}

async fn review(cluster: &Cluster, user: &str, group: &str, plural: &str, spec: Value) -> Value {
    let path = format!("/apis/{group}/v1/{plural}");
    let answer = as_user(cluster, user, "POST", &path, &json!({ "spec": spec })).await;
    assert_eq!(answer.code, 201, "{path}: {}", answer.text());
    answer.json()["status"].clone()
}

#[tokio::test]
async fn reviews_ask_the_same_authorizer() {
    let cluster = cluster().await;
    let pods = json!({ "resourceAttributes": { "verb": "list", "resource": "pods", "namespace": "default" } });
    let authorization = "authorization.k8s.io";
    for (user, wanted) in [("root", true), ("jane", false)] {
        let status = review(&cluster, user, authorization, "selfsubjectaccessreviews", pods.clone()).await;
        assert_eq!(status["allowed"], wanted, "{user}");
    }
    let mut about = pods.clone();
    about["groups"] = json!(["system:authenticated"]);
    about["user"] = json!("x");
    about["resourceAttributes"] =
        json!({ "verb": "create", "group": authorization, "resource": "selfsubjectaccessreviews" });
    let status = review(&cluster, "root", authorization, "subjectaccessreviews", about).await;
    let reason =
        "RBAC: allowed by ClusterRoleBinding \"basic\" of ClusterRole \"basic\" to Group \"system:authenticated\"";
    assert_eq!(status, json!({ "allowed": true, "reason": reason }));
    let mut local = pods.clone();
    local["user"] = json!("jane");
    let path = "namespaces/default/localsubjectaccessreviews";
    assert_eq!(review(&cluster, "root", authorization, path, local).await["allowed"], false);
    let rules = review(&cluster, "root", authorization, "selfsubjectrulesreviews", json!({ "namespace": "a" })).await;
    let all = rules["resourceRules"].as_array().unwrap();
    assert!(all.contains(&json!({ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] })), "{rules}");
    assert_eq!(rules["nonResourceRules"], json!([{ "verbs": ["*"], "nonResourceURLs": ["*"] }]));
    assert_eq!(rules["incomplete"], false);
    let who = review(&cluster, "jane", "authentication.k8s.io", "selfsubjectreviews", json!({})).await;
    assert_eq!(who["userInfo"]["groups"], json!(["dev", "ops", "system:authenticated"]));
    let token = review(&cluster, "root", "authentication.k8s.io", "tokenreviews", json!({ "token": "jane" })).await;
    assert_eq!((&token["authenticated"], &token["user"]["username"]), (&json!(true), &json!("jane")));
    let token = review(&cluster, "root", "authentication.k8s.io", "tokenreviews", json!({ "token": "x" })).await;
    assert!(token.get("authenticated").is_none());
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    for (body, wanted) in [
        (
            json!({ "spec": {} }),
            "spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified",
        ),
        (
            json!({ "metadata": { "name": "x" }, "spec": pods }),
            "metadata: Invalid value: {\"name\":\"x\"}: must be empty",
        ),
    ] {
        let refused = as_user(&cluster, "root", "POST", path, &body).await.refusal();
        assert!(refused.starts_with("422 Invalid") && refused.ends_with(wanted), "{refused}");
    }
    assert_eq!(cluster.get(path).await.code, 405);
}

#[tokio::test]
async fn a_node_reads_what_its_pods_need() {
    let cluster = cluster().await;
    let secret = |name: &str| json!({ "metadata": { "name": name }, "data": {} });
    for name in ["mine", "other"] {
        cluster.post("/api/v1/namespaces/default/secrets", &secret(name)).await;
    }
    cluster.post("/api/v1/nodes", &json!({ "metadata": { "name": "a" } })).await;
    let secrets = "/api/v1/namespaces/default/secrets";
    let mine = format!("{secrets}/mine");
    assert_eq!(get(&cluster, "node", &mine).await, 403);
    let mut pod = super::harness::pod("p");
    pod["spec"]["nodeName"] = json!("a");
    pod["spec"]["volumes"] = json!([{ "name": "v", "secret": { "secretName": "mine" } }]);
    cluster.post("/api/v1/namespaces/default/pods", &pod).await;
    for (path, wanted) in [
        (mine.as_str(), 200),
        (&format!("{secrets}/other"), 403),
        (secrets, 403),
        ("/api/v1/namespaces/default/pods/p", 200),
        ("/api/v1/namespaces/default/pods", 403),
        ("/api/v1/pods?fieldSelector=spec.nodeName%3Da", 200),
        ("/api/v1/pods?fieldSelector=spec.nodeName%3Db", 403),
        ("/api/v1/nodes/a", 200),
        ("/api/v1/nodes/b", 403),
        ("/api/v1/nodes", 403),
        ("/api/v1/services", 200),
        ("/apis/apps/v1/deployments", 403),
    ] {
        assert_eq!(get(&cluster, "node", path).await, wanted, "{path}");
    }
    let named = "/api/v1/namespaces/default/pods/p?gracePeriodSeconds=0";
    assert_eq!(cluster.ask("DELETE", named, &[], "").await.code, 200);
    assert_eq!(get(&cluster, "node", &mine).await, 403);
}

#[tokio::test]
async fn a_node_writes_about_itself_and_its_pods() {
    let cluster = cluster().await;
    for name in ["a", "b"] {
        cluster.post("/api/v1/nodes", &json!({ "metadata": { "name": name } })).await;
    }
    for (name, node) in [("mine", "a"), ("other", "b")] {
        let mut pod = super::harness::pod(name);
        pod["spec"]["nodeName"] = json!(node);
        cluster.post("/api/v1/namespaces/default/pods", &pod).await;
    }
    let merge = [("authorization", "Bearer node"), ("content-type", "application/merge-patch+json")];
    let pods = "/api/v1/namespaces/default/pods";
    let status = json!({ "status": { "phase": "Running" } });
    for (path, body, wanted) in [
        ("/api/v1/nodes/a/status".to_owned(), json!({ "status": {} }), "200"),
        (
            "/api/v1/nodes/b/status".to_owned(),
            json!({ "status": {} }),
            "403 Forbidden nodes \"b\" is forbidden: node \"a\" is not allowed to modify node \"b\"",
        ),
        ("/api/v1/nodes/a".to_owned(), json!({ "metadata": { "labels": { "example.com/x": "1" } } }), "200"),
        (
            "/api/v1/nodes/a".to_owned(),
            json!({ "metadata": { "labels": { "node-restriction.kubernetes.io/x": "1" } } }),
            "403 Forbidden nodes \"a\" is forbidden: node \"a\" is not allowed to modify labels: node-restriction.kubernetes.io/x",
        ),
        (
            "/api/v1/nodes/a".to_owned(),
            json!({ "spec": { "taints": [{ "key": "a", "effect": "NoSchedule" }] } }),
            "403 Forbidden nodes \"a\" is forbidden: node \"a\" is not allowed to modify taints",
        ),
        (format!("{pods}/mine/status"), status.clone(), "200"),
        (
            format!("{pods}/other/status"),
            status,
            "403 Forbidden pods \"other\" is forbidden: node \"a\" can only update pod status for pods with spec.nodeName set to itself",
        ),
    ] {
        let answer = cluster.knock("PATCH", &path, &merge, body.to_string()).await;
        let found = if answer.code == 200 { "200".to_owned() } else { answer.refusal() };
        assert_eq!(found, wanted, "{path}: {body}");
    }
    let refused = as_user(&cluster, "node", "POST", pods, &super::harness::pod("new")).await.refusal();
    assert!(refused.ends_with("annotation, node \"a\" can only create mirror pods"), "{refused}");
    let refused = as_user(&cluster, "node", "DELETE", &format!("{pods}/other"), &Value::Null).await.refusal();
    assert!(refused.ends_with("node \"a\" can only delete pods with spec.nodeName set to itself"), "{refused}");
    let lease = |name: &str| json!({ "metadata": { "name": name } });
    cluster.post("/api/v1/namespaces", &json!({ "metadata": { "name": "kube-node-lease" } })).await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    for (name, wanted) in [("a", 201), ("b", 403)] {
        assert_eq!(as_user(&cluster, "node", "POST", leases, &lease(name)).await.code, wanted, "{name}");
    }
}

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

#[tokio::test]
async fn certificates_are_approved_by_those_who_may() {
    let cluster = cluster().await;
    let own = json!([
        { "verbs": ["create"], "apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests"] },
        { "verbs": ["update"], "apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests/approval"] },
    ]);
    grant(&cluster, "requester", &own, "User", "jane").await;
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    let request = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, pem);
    let request = json!({
        "metadata": { "name": "r" },
        "spec": {
            "request": request, "signerName": "example.com/signer", "usages": ["client auth"],
            "username": "somebody else",
        },
    });
    let made = as_user(&cluster, "jane", "POST", REQUESTS, &request).await;
    assert_eq!(made.code, 201, "{}", made.text());
    let mut made = made.json();
    assert_eq!(made["spec"]["username"], "jane");
    assert_eq!(made["spec"]["groups"], json!(["dev", "ops", "system:authenticated"]));
    made["status"]["conditions"] = json!([{ "type": "Approved", "status": "True", "reason": "Test" }]);
    let approval = format!("{REQUESTS}/r/approval");
    let refused = as_user(&cluster, "jane", "PUT", &approval, &made).await.refusal();
    let wanted = "403 Forbidden certificatesigningrequests.certificates.k8s.io \"r\" is forbidden: user not permitted to \
                  approve requests with signerName \"example.com/signer\"";
    assert_eq!(refused, wanted);
    let signers = json!([{
        "verbs": ["approve"], "apiGroups": ["certificates.k8s.io"], "resources": ["signers"],
        "resourceNames": ["example.com/*"],
    }]);
    grant(&cluster, "approver", &signers, "User", "jane").await;
    let approved = as_user(&cluster, "jane", "PUT", &approval, &made).await;
    assert_eq!(approved.code, 200, "{}", approved.text());
    let approved = approved.json();
    assert_eq!(approved["status"]["conditions"][0]["type"], "Approved");
    // What was said once stays said.
    let mut taken = approved.clone();
    taken["status"]["conditions"] = json!([]);
    let refused = as_user(&cluster, "jane", "PUT", &approval, &taken).await;
    assert_eq!(refused.code, 422, "{}", refused.text());
}

/// What a random change does: which kind, which object, and what it is to be; nothing when it is to go.
fn changes() -> impl proptest::strategy::Strategy<Value = Vec<(usize, usize, Option<usize>)>> {
    use proptest::prelude::*;
    prop::collection::vec((0..4_usize, 0..3_usize, prop::option::of(0..3_usize)), 1..25)
}

async fn change(cluster: &Cluster, (kind, at, wanted): (usize, usize, Option<usize>)) {
    let plural = ["clusterroles", "roles", "clusterrolebindings", "rolebindings"][kind];
    let name = format!("n{at}");
    let named = format!("{}/{name}", path(plural));
    // A binding's role never changes: it goes and comes back.
    cluster.ask("DELETE", &named, &[], "").await;
    let Some(wanted) = wanted else { return };
    let verbs = ["get", "list", "watch"];
    let subject = ["u0", "u1", "u2"][wanted];
    let object = match kind {
        0 | 1 => role(&name, &rule(&[verbs[wanted]], &["pods"])),
        2 => binding(&name, "ClusterRole", &name, "User", subject),
        _ => binding(&name, if at == 0 { "ClusterRole" } else { "Role" }, &name, "Group", subject),
    };
    cluster.post(&path(plural), &object).await;
}

/// What is known of roles after many changes is what is known by whoever looks for the first time.
#[test]
fn changes_leave_nothing_behind() {
    use proptest::test_runner::{Config as Runs, TestRunner};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(Runs { cases: 12, failure_persistence: None, ..Runs::default() });
    let outcome = runner.run(&changes(), |changes| {
        runtime.block_on(async {
            let cluster = cluster().await;
            let old = &cluster.server.inner.authorizer;
            for step in changes {
                change(&cluster, step).await;
                let objects = &cluster.server.inner.objects;
                let new = crate::authorization::Modes::default().union(objects, &Rbac::new(objects));
                for user in ["u0", "u1", "u2"] {
                    for verb in ["get", "list", "watch"] {
                        for namespace in ["", "default"] {
                            let request = api::AccessRequest {
                                user: api::UserInfo {
                                    name: user.to_owned(),
                                    groups: vec![user.to_owned()],
                                    ..Default::default()
                                },
                                verb: verb.to_owned(),
                                resource: "pods".to_owned(),
                                namespace: namespace.to_owned(),
                                ..Default::default()
                            };
                            let (old, new) = (old.authorize(&request).await, new.authorize(&request).await);
                            proptest::prop_assert_eq!(old, new, "{:?} {} {} {}", step, user, verb, namespace);
                        }
                    }
                }
            }
            Ok(())
        })
    });
    outcome.unwrap();
}
