//! Every verb: codes, reasons, messages, forms.

use serde_json::{Value, json};

use super::harness::{cluster, pod};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn an_object_lives_from_create_to_delete() {
    let cluster = cluster().await;
    let made = cluster.config_map("a").await;
    assert_eq!((made["kind"].as_str(), made["apiVersion"].as_str()), (Some("ConfigMap"), Some("v1")));
    assert!(!made["metadata"]["uid"].as_str().unwrap().is_empty());

    let mut changed = made.clone();
    changed["data"]["key"] = json!("new");
    let put = cluster.ask("PUT", &format!("{MAPS}/a"), &[JSON], changed.to_string()).await;
    assert_eq!((put.code, put.json()["data"]["key"].as_str()), (200, Some("new")));

    let stale = cluster.ask("PUT", &format!("{MAPS}/a"), &[JSON], made.to_string()).await;
    assert!(
        stale.refusal().starts_with("409 Conflict Operation cannot be fulfilled on configmaps \"a\":"),
        "{}",
        stale.refusal()
    );

    let gone = cluster.ask("DELETE", &format!("{MAPS}/a"), &[], "").await;
    assert_eq!(gone.code, 200);
    let status = gone.json();
    assert_eq!(
        (&status["status"], &status["details"]["name"], &status["details"]["kind"]),
        (&json!("Success"), &json!("a"), &json!("configmaps"))
    );
    assert_eq!(cluster.get(&format!("{MAPS}/a")).await.refusal(), "404 NotFound configmaps \"a\" not found");
}

#[tokio::test]
async fn refusals_are_worded_as_kubernetes_words_them() {
    let cluster = cluster().await;
    cluster.config_map("a").await;
    let map = |value: Value| value.to_string();
    for (method, path, media_type, body, wanted) in [
        ("GET", "/api/v1/nothing", "", String::new(), "404 NotFound the server could not find the requested resource"),
        ("GET", "/apis/x/v1/things/a", "", String::new(), "404 NotFound the server could not find"),
        ("GET", "/api/v1/namespaces/default/nodes", "", String::new(), "404 NotFound"),
        (
            "POST",
            MAPS,
            "application/json",
            map(json!({ "metadata": { "name": "a" } })),
            "409 AlreadyExists configmaps \"a\" already exists",
        ),
        (
            "POST",
            "/api/v1/configmaps",
            "application/json",
            map(json!({ "metadata": { "name": "b" } })),
            "405 MethodNotAllowed",
        ),
        ("POST", &format!("{MAPS}/a"), "application/json", map(json!({})), "405 MethodNotAllowed"),
        ("PUT", MAPS, "application/json", map(json!({})), "405 MethodNotAllowed"),
        (
            "POST",
            MAPS,
            "application/json",
            map(json!({ "metadata": { "name": "b", "namespace": "other" } })),
            "400 BadRequest the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            "PUT",
            &format!("{MAPS}/a"),
            "application/json",
            map(json!({ "metadata": { "name": "b" } })),
            "400 BadRequest the name of the object (b) does not match the name on the URL (a)",
        ),
        (
            "PUT",
            &format!("{MAPS}/a"),
            "application/json",
            map(json!({ "metadata": {} })),
            "400 BadRequest the name of the object (a based on URL) was undeterminable",
        ),
        (
            "POST",
            MAPS,
            "application/json",
            map(json!({ "kind": "Pod", "apiVersion": "v1", "metadata": { "name": "b" } })),
            "400 BadRequest",
        ),
        (
            "POST",
            MAPS,
            "application/json",
            map(json!({ "metadata": { "name": "B_" } })),
            "422 Invalid ConfigMap \"B_\" is invalid: metadata.name:",
        ),
        ("POST", MAPS, "application/json", "{".to_owned(), "400 BadRequest"),
        (
            "POST",
            MAPS,
            "text/plain",
            "{}".to_owned(),
            "415 UnsupportedMediaType the body of the request was in an unknown format",
        ),
        ("PATCH", &format!("{MAPS}/a"), "application/json", "{}".to_owned(), "415 UnsupportedMediaType"),
        ("PATCH", &format!("{MAPS}/a"), "application/merge-patch+json", "[]".to_owned(), "400 BadRequest"),
        ("PATCH", &format!("{MAPS}/a"), "application/apply-patch+yaml", "{}".to_owned(), "422 Invalid"),
        ("PATCH", &format!("{MAPS}/a?force=true"), "application/merge-patch+json", "{}".to_owned(), "422 Invalid"),
        ("POST", &format!("{MAPS}?dryRun=Some"), "application/json", "{}".to_owned(), "422 Invalid"),
        ("GET", &format!("{MAPS}?labelSelector=a%20b%20c"), "", String::new(), "400 BadRequest"),
        ("GET", &format!("{MAPS}?fieldSelector=spec.x%3Dy"), "", String::new(), "400 BadRequest"),
        ("GET", &format!("{MAPS}?limit=x"), "", String::new(), "400 BadRequest"),
        (
            "DELETE",
            "/api/v1/namespaces/default",
            "",
            String::new(),
            "403 Forbidden namespaces \"default\" is forbidden: this namespace may not be deleted",
        ),
        (
            "POST",
            "/api/v1/namespaces/none/configmaps",
            "application/json",
            map(json!({ "metadata": { "name": "b" } })),
            "404 NotFound namespaces \"none\" not found",
        ),
        ("GET", &format!("{MAPS}/a/status"), "", String::new(), "404 NotFound"),
        ("GET", &format!("{MAPS}/a/b/c"), "", String::new(), "404 NotFound"),
    ] {
        let headers: &[(&str, &str)] = if media_type.is_empty() { &[] } else { &[("content-type", media_type)] };
        let refused = cluster.ask(method, path, headers, body.clone()).await.refusal();
        assert!(refused.starts_with(wanted), "{method} {path} {body}: {refused}");
    }
}

#[tokio::test]
async fn patches_change_objects() {
    let cluster = cluster().await;
    cluster.config_map("a").await;
    let path = format!("{MAPS}/a");
    for (media_type, body, key) in [
        ("application/merge-patch+json", json!({ "data": { "one": "1" } }), "one"),
        ("application/strategic-merge-patch+json", json!({ "data": { "two": "2" } }), "two"),
        ("application/json-patch+json", json!([{ "op": "add", "path": "/data/three", "value": "3" }]), "three"),
    ] {
        let answer = cluster.ask("PATCH", &path, &[("content-type", media_type)], body.to_string()).await;
        assert_eq!(answer.code, 200, "{}", answer.text());
        assert!(answer.json()["data"][key].is_string(), "{media_type}: {}", answer.text());
    }
    let apply = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: applied\ndata:\n  key: value\n";
    let path = format!("{MAPS}/applied?fieldManager=tester");
    let headers = [("content-type", "application/apply-patch+yaml")];
    let made = cluster.ask("PATCH", &path, &headers, apply).await;
    assert_eq!(made.code, 201, "{}", made.text());
    let again = cluster.ask("PATCH", &path, &headers, apply).await;
    assert_eq!(again.code, 200, "{}", again.text());
}

#[tokio::test]
async fn unknown_fields_are_refused_warned_about_or_dropped() {
    let cluster = cluster().await;
    let body = |name: &str| json!({ "metadata": { "name": name }, "data": {}, "dta": { "a": "b" } }).to_string();
    let strict = cluster.ask("POST", &format!("{MAPS}?fieldValidation=Strict"), &[JSON], body("a")).await;
    assert_eq!(strict.code, 400, "{}", strict.text());
    assert!(strict.text().contains("unknown field \\\"dta\\\""), "{}", strict.text());
    let warned = cluster.ask("POST", MAPS, &[JSON], body("b")).await;
    assert_eq!(warned.code, 201);
    assert_eq!(warned.header("warning"), "299 - \"unknown field \\\"dta\\\"\"");
    let ignored = cluster.ask("POST", &format!("{MAPS}?fieldValidation=Ignore"), &[JSON], body("c")).await;
    assert_eq!((ignored.code, ignored.header("warning")), (201, ""));
    assert!(ignored.json().get("dta").is_none());
}

#[tokio::test]
async fn a_dry_run_leaves_nothing() {
    let cluster = cluster().await;
    let body = json!({ "metadata": { "name": "a" } }).to_string();
    let answer = cluster.ask("POST", &format!("{MAPS}?dryRun=All"), &[JSON], body).await;
    assert_eq!(answer.code, 201, "{}", answer.text());
    assert_eq!(cluster.get(&format!("{MAPS}/a")).await.code, 404);
}

#[tokio::test]
async fn lists_are_whole_paged_and_selected() {
    let cluster = cluster().await;
    for name in ["a", "b", "c"] {
        cluster.config_map(name).await;
    }
    let list = cluster.get(MAPS).await.json();
    assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("ConfigMapList"), &json!("v1")));
    assert_eq!(list["items"].as_array().unwrap().len(), 3);
    assert!(!list["metadata"]["resourceVersion"].as_str().unwrap().is_empty());

    let first = cluster.get(&format!("{MAPS}?limit=2")).await.json();
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    assert_eq!(first["metadata"]["remainingItemCount"], 1);
    let token = first["metadata"]["continue"].as_str().unwrap();
    let rest = cluster.get(&format!("{MAPS}?limit=2&continue={token}")).await.json();
    assert_eq!(rest["items"][0]["metadata"]["name"], "c");

    for query in ["labelSelector=app%3Db", "fieldSelector=metadata.name%3Db"] {
        let found = cluster.get(&format!("{MAPS}?{query}")).await.json();
        assert_eq!(found["items"].as_array().unwrap().len(), 1, "{query}");
    }
    let everywhere = cluster.get("/api/v1/configmaps").await.json();
    assert_eq!(everywhere["items"].as_array().unwrap().len(), 3);

    let gone = cluster.ask("DELETE", &format!("{MAPS}?labelSelector=app%3Da"), &[], "").await.json();
    assert_eq!((&gone["kind"], gone["items"].as_array().unwrap().len()), (&json!("ConfigMapList"), 1));
    assert_eq!(cluster.get(MAPS).await.json()["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_scale_is_read_and_written() {
    let cluster = cluster().await;
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let template = json!({
        "metadata": { "labels": { "app": "d" } },
        "spec": { "containers": [{ "name": "c", "image": "coracle.local/hello" }] },
    });
    let deployment = json!({
        "metadata": { "name": "d" },
        "spec": { "replicas": 1, "selector": { "matchLabels": { "app": "d" } }, "template": template },
    });
    cluster.post(path, &deployment).await;
    let scale = cluster.get(&format!("{path}/d/scale")).await.json();
    assert_eq!((&scale["kind"], &scale["apiVersion"]), (&json!("Scale"), &json!("autoscaling/v1")));
    assert_eq!((&scale["spec"]["replicas"], &scale["status"]["selector"]), (&json!(1), &json!("app=d")));
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let table = cluster.ask("GET", &format!("{path}/d/scale"), &[("accept", accept)], "").await.json();
    let columns: Vec<_> = table["columnDefinitions"].as_array().expect("columns").iter().map(|c| &c["name"]).collect();
    assert_eq!(columns, ["Name", "Desired", "Available", "Age"]);
    assert_eq!(
        table["rows"][0]["cells"].as_array().map(|cells| &cells[..3]),
        Some(&[json!("d"), json!(1), json!(0)][..])
    );
    let mut wanted = scale;
    wanted["spec"]["replicas"] = json!(3);
    let put = cluster.ask("PUT", &format!("{path}/d/scale"), &[JSON], wanted.to_string()).await;
    assert_eq!((put.code, &put.json()["spec"]["replicas"]), (200, &json!(3)), "{}", put.text());
    let patch = [("content-type", "application/merge-patch+json")];
    let patched = cluster.ask("PATCH", &format!("{path}/d/scale"), &patch, r#"{"spec":{"replicas":0}}"#).await;
    assert_eq!((patched.code, &patched.json()["spec"]["replicas"]), (200, &json!(0)), "{}", patched.text());
    assert_eq!(cluster.get(&format!("{path}/d")).await.json()["spec"]["replicas"], 0);
}

#[tokio::test]
async fn a_status_is_written_apart() {
    let cluster = cluster().await;
    let path = "/api/v1/namespaces/default/pods";
    cluster.post(path, &pod("p")).await;
    let patch = [("content-type", "application/merge-patch+json")];
    let body = json!({ "status": { "phase": "Running" }, "spec": { "nodeName": "x" } }).to_string();
    let answer = cluster.ask("PATCH", &format!("{path}/p/status"), &patch, body).await;
    assert_eq!(answer.code, 200, "{}", answer.text());
    assert_eq!(answer.json()["status"]["phase"], "Running");
    assert!(answer.json()["spec"].get("nodeName").is_none());
}

#[tokio::test]
async fn bodies_may_be_yaml_protobuf_or_packed() {
    let cluster = cluster().await;
    let yaml = "metadata:\n  name: yaml\ndata:\n  a: b\n";
    let answer = cluster.ask("POST", MAPS, &[("content-type", "application/yaml")], yaml).await;
    assert_eq!(answer.code, 201, "{}", answer.text());

    // k8s\0, Unknown { typeMeta { apiVersion v1, kind ConfigMap }, raw ConfigMap { metadata { name: "p" } } }
    let mut packed = b"k8s\0".to_vec();
    packed.extend_from_slice(b"\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x05\x0a\x03\x0a\x01p");
    let headers = [("content-type", "application/vnd.kubernetes.protobuf")];
    let answer = cluster.ask("POST", MAPS, &headers, packed).await;
    assert_eq!(answer.code, 201, "{}", answer.text());
    assert_eq!(answer.json()["metadata"]["name"], "p");

    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, json!({ "metadata": { "name": "z" } }).to_string().as_bytes()).unwrap();
    let headers = [JSON, ("content-encoding", "gzip")];
    let answer = cluster.ask("POST", MAPS, &headers, gzip.finish().unwrap()).await;
    assert_eq!(answer.code, 201, "{}", answer.text());
}

#[tokio::test]
async fn bodies_that_are_too_much_are_refused() {
    let cluster = cluster().await;
    let large = vec![b' '; 3 * 1024 * 1024 + 1];
    let answer = cluster.ask("POST", MAPS, &[JSON], large.clone()).await;
    assert!(answer.refusal().starts_with("413 RequestEntityTooLarge"), "{}", answer.refusal());
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut bomb, &large).unwrap();
    let answer = cluster.ask("POST", MAPS, &[JSON, ("content-encoding", "gzip")], bomb.finish().unwrap()).await;
    assert_eq!(answer.code, 413);
    for body in ["[".repeat(10_000), "{\"a\":".repeat(10_000)] {
        assert_eq!(cluster.ask("POST", MAPS, &[JSON], body.clone()).await.code, 400);
        let answer = cluster.ask("POST", MAPS, &[("content-type", "application/yaml")], body).await;
        assert_eq!(answer.code, 400, "{}", answer.text());
    }
}

#[tokio::test]
async fn deletions_take_options_from_the_body() {
    let cluster = cluster().await;
    let made = cluster.config_map("a").await;
    let path = format!("{MAPS}/a");
    let uid = json!({ "kind": "DeleteOptions", "apiVersion": "v1", "preconditions": { "uid": "other" } });
    assert_eq!(cluster.ask("DELETE", &path, &[JSON], uid.to_string()).await.code, 409);
    for (body, wanted) in [
        (json!({ "propagationPolicy": "Some" }), 422),
        (json!({ "propagationPolicy": "Orphan", "orphanDependents": true }), 422),
        (json!({ "kind": "Pod" }), 400),
        (json!({ "dryRun": ["All"] }), 200),
    ] {
        assert_eq!(cluster.ask("DELETE", &path, &[JSON], body.to_string()).await.code, wanted, "{body}");
    }
    let mut held = made;
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    cluster.ask("PUT", &path, &[JSON], held.to_string()).await;
    let marked = cluster.ask("DELETE", &path, &[], "").await;
    assert_eq!((marked.code, &marked.json()["kind"]), (200, &json!("ConfigMap")), "{}", marked.text());
    assert!(marked.json()["metadata"]["deletionTimestamp"].is_string());
    let patch = [("content-type", "application/merge-patch+json")];
    cluster.ask("PATCH", &path, &patch, r#"{"metadata":{"finalizers":null}}"#).await;
    assert_eq!(cluster.get(&path).await.code, 404);
}
