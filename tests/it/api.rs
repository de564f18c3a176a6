//! The API as client libraries use it: discovery, lists, patches, options, subresources, tables, every kind.

use http::{Method, StatusCode};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};
use testkit::TestCluster;

use crate::support::{connection, raw, with_samples_and};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";

/// A cluster with just the API, and the account that a controller would make.
pub async fn api() -> TestCluster {
    let roles = cluster::Roles::parse(&["api".to_owned()]).unwrap();
    let cluster = with_samples_and(&[], cluster::Config { roles, ..cluster::Config::default() }).await;
    let account = json!({ "metadata": { "name": "default" } });
    post(&cluster, "/api/v1/namespaces/default/serviceaccounts", &account).await;
    cluster
}

fn map(name: &str, value: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "labels": { "group": value } }, "data": { "value": value } })
}

fn deployment(name: &str) -> Value {
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name }, "spec": {
        "selector": { "matchLabels": { "app": name } },
        "template": {
            "metadata": { "labels": { "app": name } },
            "spec": { "containers": [
                { "name": "one", "image": "a", "ports": [{ "containerPort": 80 }] }, { "name": "two", "image": "b" },
            ] },
        },
    } })
}

async fn post(cluster: &TestCluster, path: &str, object: &Value) -> Value {
    let (status, answer) = raw(cluster, Method::POST, path, JSON, object.to_string()).await;
    assert_eq!(status, StatusCode::CREATED, "{path}: {answer}");
    answer
}

async fn get(cluster: &TestCluster, path: &str) -> Value {
    let (status, answer) = raw(cluster, Method::GET, path, JSON, "").await;
    assert_eq!(status, StatusCode::OK, "{path}: {answer}");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn discovery_lists_what_is_served() {
    let cluster = api().await;
    assert_eq!(get(&cluster, "/version").await["minor"], "36");
    let groups = get(&cluster, "/apis").await;
    let names: Vec<&str> =
        groups["groups"].as_array().unwrap().iter().filter_map(|group| group["name"].as_str()).collect();
    for name in [
        "apps",
        "networking.k8s.io",
        "discovery.k8s.io",
        "coordination.k8s.io",
        "events.k8s.io",
        "authorization.k8s.io",
    ] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    let core = get(&cluster, "/api/v1").await;
    let resources: Vec<&str> =
        core["resources"].as_array().unwrap().iter().filter_map(|row| row["name"].as_str()).collect();
    for name in
        ["pods", "pods/log", "pods/status", "services", "nodes", "namespaces", "events", "endpoints", "serviceaccounts"]
    {
        assert!(resources.contains(&name), "{name} in {resources:?}");
    }
    let request = http::Request::get("/apis")
        .header("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
        .body(kube::client::Body::empty())
        .unwrap();
    let answer = cluster.client().send(request).await.unwrap();
    let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(kind.contains("g=apidiscovery.k8s.io") && kind.contains("as=APIGroupDiscoveryList"), "{kind}");
    let schema = get(&cluster, "/openapi/v3").await;
    assert!(schema["paths"]["apis/apps/v1"]["serverRelativeURL"].is_string(), "{schema}");
    let apps = get(&cluster, "/openapi/v3/apis/apps/v1").await;
    assert!(apps["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"].is_object());
    for path in ["/apis/none.example/v1", "/api/v1/namespaces/default/nothings", "/nowhere"] {
        let (status, _) = raw(&cluster, Method::GET, path, JSON, "").await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_is_created_changed_watched_and_deleted() {
    let cluster = api().await;
    let meta = |kind: &str| json!({ "name": format!("one-{}", kind.to_lowercase()) });
    let pod = json!({ "containers": [{ "name": "a", "image": "a" }] });
    let rows = [
        ("/api/v1/namespaces", "Namespace", "v1", json!({})),
        ("/api/v1/nodes", "Node", "v1", json!({})),
        ("/api/v1/namespaces/default/pods", "Pod", "v1", json!({ "spec": pod })),
        ("/api/v1/namespaces/default/services", "Service", "v1", json!({ "spec": { "ports": [{ "port": 80 }] } })),
        ("/api/v1/namespaces/default/endpoints", "Endpoints", "v1", json!({})),
        (MAPS, "ConfigMap", "v1", json!({})),
        ("/api/v1/namespaces/default/secrets", "Secret", "v1", json!({})),
        ("/api/v1/namespaces/default/serviceaccounts", "ServiceAccount", "v1", json!({})),
        (
            "/api/v1/namespaces/default/events",
            "Event",
            "v1",
            json!({ "involvedObject": { "kind": "Pod", "name": "a", "namespace": "default" }, "reason": "Why", "message": "so", "type": "Normal" }),
        ),
        (
            "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
            "EndpointSlice",
            "discovery.k8s.io/v1",
            json!({ "addressType": "IPv4", "endpoints": [] }),
        ),
        ("/apis/coordination.k8s.io/v1/namespaces/default/leases", "Lease", "coordination.k8s.io/v1", json!({})),
        (DEPLOYMENTS, "Deployment", "apps/v1", json!({ "spec": deployment("a")["spec"] })),
        (
            "/apis/apps/v1/namespaces/default/replicasets",
            "ReplicaSet",
            "apps/v1",
            json!({ "spec": deployment("a")["spec"] }),
        ),
        (
            "/apis/networking.k8s.io/v1/namespaces/default/ingresses",
            "Ingress",
            "networking.k8s.io/v1",
            json!({ "spec": { "defaultBackend": { "service": { "name": "a", "port": { "number": 80 } } } } }),
        ),
        (
            "/apis/networking.k8s.io/v1/ingressclasses",
            "IngressClass",
            "networking.k8s.io/v1",
            json!({ "spec": { "controller": "example.com/c" } }),
        ),
    ];
    // Each watch is ended by the server after a second: all at once.
    let cluster_ref = &cluster;
    let lives = rows.into_iter().map(async |(path, kind, version, mut object)| {
        object["apiVersion"] = json!(version);
        object["kind"] = json!(kind);
        object["metadata"] = meta(kind);
        let made = post(cluster_ref, path, &object).await;
        assert!(
            made["metadata"]["uid"].is_string() && made["metadata"]["creationTimestamp"].is_string(),
            "{kind}: {made}"
        );
        let one = format!("{path}/{}", made["metadata"]["name"].as_str().unwrap());
        let patch = json!({ "metadata": { "labels": { "a": "b" } } }).to_string();
        let (status, changed) = raw(cluster_ref, Method::PATCH, &one, MERGE, patch).await;
        assert_eq!(status, StatusCode::OK, "{kind}: {changed}");
        let found = get(cluster_ref, &format!("{path}?labelSelector=a%3Db")).await;
        assert_eq!(found["kind"], format!("{kind}List"));
        assert_eq!(found["items"].as_array().unwrap().len(), 1, "{kind}");
        let (status, again) = raw(cluster_ref, Method::PUT, &one, JSON, changed.to_string()).await;
        assert_eq!(
            (status, &again["metadata"]["resourceVersion"]),
            (StatusCode::OK, &changed["metadata"]["resourceVersion"]),
            "{kind}"
        );
        let from = made["metadata"]["resourceVersion"].as_str().unwrap();
        let (status, events) = raw(
            cluster_ref,
            Method::GET,
            &format!("{path}?watch=true&resourceVersion={from}&timeoutSeconds=1"),
            JSON,
            "",
        )
        .await;
        assert_eq!(status, StatusCode::OK);
        assert!(events.to_string().contains("MODIFIED"), "{kind}: {events}");
        let options = json!({ "gracePeriodSeconds": 0 }).to_string();
        let (status, gone) = raw(cluster_ref, Method::DELETE, &one, JSON, options).await;
        assert!(status == StatusCode::OK || status == StatusCode::ACCEPTED, "{kind}: {gone}");
    });
    futures::future::join_all(lives).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lists_come_in_pages_of_one_moment() {
    let cluster = api().await;
    for count in 0..25 {
        post(&cluster, MAPS, &map(&format!("m{count:02}"), if count % 2 == 0 { "even" } else { "odd" })).await;
    }
    let first = get(&cluster, &format!("{MAPS}?limit=10")).await;
    let names = |list: &Value| -> Vec<String> {
        list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&first).len(), 10);
    assert_eq!(first["metadata"]["remainingItemCount"], 15, "{}", first["metadata"]);
    // What comes and goes in between is not part of the list.
    post(&cluster, MAPS, &map("m99", "late")).await;
    raw(&cluster, Method::DELETE, &format!("{MAPS}/m20"), JSON, "").await;
    let mut all = names(&first);
    let mut token = first["metadata"]["continue"].as_str().unwrap().to_owned();
    while !token.is_empty() {
        let page = get(&cluster, &format!("{MAPS}?limit=10&continue={token}")).await;
        assert_eq!(page["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
        all.extend(names(&page));
        token = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
    }
    assert_eq!(all, (0..25).map(|count| format!("m{count:02}")).collect::<Vec<_>>());
    let (status, answer) = raw(&cluster, Method::GET, &format!("{MAPS}?limit=10&continue=nonsense"), JSON, "").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");

    let api: Api<ConfigMap> = Api::default_namespaced(cluster.client());
    let odd = api.list(&ListParams::default().labels("group in (odd,late)")).await.unwrap();
    assert_eq!(odd.items.len(), 13);
    let one = api.list(&ListParams::default().fields("metadata.name=m03")).await.unwrap();
    assert_eq!(one.items.len(), 1);
    let (status, answer) =
        raw(&cluster, Method::GET, &format!("{MAPS}?fieldSelector=data.value%3Dodd"), JSON, "").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    let gone =
        api.delete_collection(&DeleteParams::default(), &ListParams::default().labels("group=odd")).await.unwrap();
    assert!(gone.is_left() || gone.is_right());
    assert_eq!(api.list(&ListParams::default().labels("group=odd")).await.unwrap().items.len(), 0);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_patched_in_each_of_the_ways() {
    let cluster = api().await;
    post(&cluster, DEPLOYMENTS, &deployment("web")).await;
    let path = format!("{DEPLOYMENTS}/web");
    let images = |object: &Value| -> Vec<String> {
        let containers = object["spec"]["template"]["spec"]["containers"].as_array().unwrap();
        containers
            .iter()
            .map(|one| format!("{}={}", one["name"].as_str().unwrap(), one["image"].as_str().unwrap()))
            .collect()
    };
    let patch = async |kind: &str, patch: Value| raw(&cluster, Method::PATCH, &path, kind, patch.to_string()).await;
    let containers = |list: Value| json!({ "spec": { "template": { "spec": { "containers": list } } } });

    let strategic = containers(json!([{ "name": "two", "image": "b2" }, { "name": "three", "image": "c" }]));
    let (status, after) = patch("application/strategic-merge-patch+json", strategic).await;
    assert_eq!(status, StatusCode::OK, "{after}");
    let mut found = images(&after);
    found.sort();
    assert_eq!(found, ["one=a", "three=c", "two=b2"]);
    assert_eq!(after["metadata"]["generation"], 2);
    let remove = containers(json!([{ "$patch": "delete", "name": "three" }]));
    let (_, after) = patch("application/strategic-merge-patch+json", remove).await;
    assert_eq!(images(&after).len(), 2);
    let operations = json!([
        { "op": "test", "path": "/spec/replicas", "value": 1 }, { "op": "replace", "path": "/spec/replicas", "value": 3 },
    ]);
    let (status, after) = patch("application/json-patch+json", operations.clone()).await;
    assert_eq!((status, &after["spec"]["replicas"]), (StatusCode::OK, &json!(3)), "{after}");
    let (status, after) = patch("application/json-patch+json", operations).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{after}");
    let (status, after) = patch(MERGE, containers(json!([{ "name": "only", "image": "d" }]))).await;
    assert_eq!((status, images(&after)), (StatusCode::OK, vec!["only=d".to_owned()]));
    let (status, _) = patch("application/nonsense", json!({})).await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let (status, after) = patch(MERGE, json!({ "spec": { "selector": { "matchLabels": { "app": "other" } } } })).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{after}");
    let before = get(&cluster, &path).await;
    let (_, after) = patch(MERGE, json!({ "status": { "replicas": 9 }, "metadata": { "labels": { "a": "b" } } })).await;
    assert!(after["status"]["replicas"].is_null(), "status is not the spec's business: {after}");
    assert_eq!(after["metadata"]["generation"], before["metadata"]["generation"]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_scale_are_resources_of_their_own() {
    let cluster = api().await;
    post(&cluster, DEPLOYMENTS, &deployment("web")).await;
    let path = format!("{DEPLOYMENTS}/web");
    let patch = json!({ "spec": { "replicas": 7 }, "status": { "replicas": 2, "observedGeneration": 1 } }).to_string();
    let (status, after) = raw(&cluster, Method::PATCH, &format!("{path}/status"), MERGE, patch).await;
    assert_eq!(status, StatusCode::OK, "{after}");
    assert_eq!(
        (&after["spec"]["replicas"], &after["status"]["replicas"], &after["metadata"]["generation"]),
        (&json!(1), &json!(2), &json!(1))
    );
    let mut scale = get(&cluster, &format!("{path}/scale")).await;
    assert_eq!((&scale["kind"], &scale["apiVersion"]), (&json!("Scale"), &json!("autoscaling/v1")));
    assert_eq!(
        (&scale["spec"]["replicas"], &scale["status"]["replicas"], &scale["status"]["selector"]),
        (&json!(1), &json!(2), &json!("app=web"))
    );
    scale["spec"]["replicas"] = json!(4);
    let (status, after) = raw(&cluster, Method::PUT, &format!("{path}/scale"), JSON, scale.to_string()).await;
    assert_eq!((status, &after["spec"]["replicas"]), (StatusCode::OK, &json!(4)), "{after}");
    let after = get(&cluster, &path).await;
    assert_eq!((&after["spec"]["replicas"], &after["metadata"]["generation"]), (&json!(4), &json!(2)));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn options_of_a_write_do_what_they_say() {
    let cluster = api().await;
    let dry = post(&cluster, &format!("{MAPS}?dryRun=All"), &map("ghost", "a")).await;
    assert!(dry["metadata"]["uid"].is_string(), "{dry}");
    let (status, _) = raw(&cluster, Method::GET, &format!("{MAPS}/ghost"), JSON, "").await;
    assert_eq!(status, StatusCode::NOT_FOUND);

    let generated = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "generateName": "made-" } });
    let (one, two) = (post(&cluster, MAPS, &generated).await, post(&cluster, MAPS, &generated).await);
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    assert!(name(&one).starts_with("made-") && name(&one).len() == "made-".len() + 5 && name(&one) != name(&two));

    let mut unknown = map("strict", "a");
    unknown["dataa"] = json!({});
    let (status, answer) =
        raw(&cluster, Method::POST, &format!("{MAPS}?fieldValidation=Strict"), JSON, unknown.to_string()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(answer["message"].as_str().unwrap().contains("unknown field \"dataa\""), "{answer}");
    let request = http::Request::post(format!("{MAPS}?fieldValidation=Warn"))
        .header("content-type", JSON)
        .body(kube::client::Body::from(unknown.to_string().into_bytes()))
        .unwrap();
    let answer = cluster.client().send(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    assert!(answer.headers()["warning"].to_str().unwrap().contains("dataa"));
    let (status, answer) =
        raw(&cluster, Method::POST, &format!("{MAPS}?fieldValidation=Maybe"), JSON, unknown.to_string()).await;
    assert!(status == StatusCode::BAD_REQUEST || status == StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
    let (status, answer) = raw(&cluster, Method::POST, MAPS, JSON, map("strict", "a").to_string()).await;
    assert_eq!((status, &answer["reason"]), (StatusCode::CONFLICT, &json!("AlreadyExists")), "{answer}");
    let (_, yaml) = raw(
        &cluster,
        Method::POST,
        MAPS,
        "application/yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: yaml }\n",
    )
    .await;
    assert_eq!(name(&yaml), "yaml");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn finalizers_hold_an_object_back() {
    let cluster = api().await;
    let mut object = map("held", "a");
    object["metadata"]["finalizers"] = json!(["example.com/wait"]);
    post(&cluster, MAPS, &object).await;
    let path = format!("{MAPS}/held");
    let (status, gone) = raw(&cluster, Method::DELETE, &path, JSON, "").await;
    assert_eq!(status, StatusCode::OK, "{gone}");
    let found = get(&cluster, &path).await;
    assert!(found["metadata"]["deletionTimestamp"].is_string(), "{found}");
    let more = json!({ "metadata": { "finalizers": ["example.com/wait", "example.com/more"] } }).to_string();
    let (status, answer) = raw(&cluster, Method::PATCH, &path, MERGE, more).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
    // Whether by PATCH or by PUT: with its last finalizer it goes.
    let mut last = found;
    last["metadata"]["finalizers"] = json!([]);
    let (status, _) = raw(&cluster, Method::PUT, &path, JSON, last.to_string()).await;
    assert_eq!(status, StatusCode::OK);
    let (status, _) = raw(&cluster, Method::GET, &path, JSON, "").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_metadata_alone_are_forms_of_every_answer() {
    let cluster = api().await;
    post(&cluster, DEPLOYMENTS, &deployment("web")).await;
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let call = cli::connection::Call::get(DEPLOYMENTS).accept(table);
    let answer = connection(&cluster).json(call).await.unwrap();
    assert_eq!(answer["kind"], "Table");
    let columns: Vec<&str> =
        answer["columnDefinitions"].as_array().unwrap().iter().filter_map(|column| column["name"].as_str()).collect();
    assert_eq!(columns, ["Name", "Ready", "Up-to-date", "Available", "Age", "Containers", "Images", "Selector"]);
    let row = &answer["rows"][0];
    assert_eq!((&row["cells"][0], &row["cells"][1]), (&json!("web"), &json!("0/1")));
    assert_eq!(row["object"]["kind"], "PartialObjectMetadata");
    let call = cli::connection::Call::get(format!("{DEPLOYMENTS}/web"))
        .accept("application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io");
    let answer = connection(&cluster).json(call).await.unwrap();
    assert_eq!((&answer["kind"], &answer["spec"]), (&json!("PartialObjectMetadata"), &Value::Null), "{answer}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_every_cluster_has_is_there() {
    let cluster = api().await;
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        assert_eq!(get(&cluster, &format!("/api/v1/namespaces/{name}")).await["status"]["phase"], "Active");
    }
    let service = get(&cluster, "/api/v1/namespaces/default/services/kubernetes").await;
    assert_eq!(service["spec"]["ports"][0]["port"], 443, "{service}");
    let verbose = raw(&cluster, Method::GET, "/readyz?verbose", JSON, "").await.1;
    assert!(verbose.as_str().unwrap().contains("readyz check passed"), "{verbose}");
    let review = json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {
        "resourceAttributes": { "verb": "create", "group": "apps", "resource": "deployments", "namespace": "default" },
    } });
    let answer = post(&cluster, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &review).await;
    assert_eq!(answer["status"]["allowed"], true, "{answer}");
    let typed: Api<ConfigMap> = Api::default_namespaced(cluster.client());
    let made: ConfigMap = serde_json::from_value(map("typed", "a")).unwrap();
    typed.create(&PostParams::default(), &made).await.unwrap();
    let error = typed.create(&PostParams::default(), &made).await.unwrap_err();
    assert!(matches!(error, kube::Error::Api(status) if status.code == 409 && status.reason == "AlreadyExists"));
    cluster.stop().await;
}
