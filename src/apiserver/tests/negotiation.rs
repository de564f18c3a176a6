//! Which form an answer has.

use serde_json::json;

use super::harness::{cluster, pod};

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

#[tokio::test]
async fn objects_come_as_tables_and_as_metadata() {
    let cluster = cluster().await;
    let path = "/api/v1/namespaces/default/pods";
    cluster.post(path, &pod("p")).await;

    let table = cluster.ask("GET", path, &[("accept", TABLE)], "").await.json();
    assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
    assert_eq!(table["columnDefinitions"][0]["name"], "Name");
    assert_eq!(table["rows"][0]["cells"][0], "p");
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    assert!(table["metadata"]["resourceVersion"].is_string());

    let whole = cluster.ask("GET", &format!("{path}?includeObject=Object"), &[("accept", TABLE)], "").await.json();
    assert_eq!(whole["rows"][0]["object"]["kind"], "Pod");
    let one = cluster.ask("GET", &format!("{path}/p"), &[("accept", TABLE)], "").await.json();
    assert_eq!((&one["kind"], &one["rows"][0]["cells"][0]), (&json!("Table"), &json!("p")));

    let accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let list = cluster.ask("GET", path, &[("accept", accept)], "").await.json();
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][0]["metadata"]["name"], "p");
    assert!(list["items"][0].get("spec").is_none());

    let yaml = cluster.ask("GET", &format!("{path}/p"), &[("accept", "application/yaml")], "").await;
    assert_eq!(yaml.header("content-type"), "application/yaml");
    assert!(yaml.text().contains("kind: Pod\n"), "{}", yaml.text());

    let accept = "application/json;as=Table;v=v1beta1;g=meta.k8s.io";
    let refused = cluster.ask("GET", path, &[("accept", accept)], "").await.refusal();
    assert!(refused.starts_with("406 NotAcceptable only the following media types are accepted"), "{refused}");
}

#[tokio::test]
async fn discovery_answers_what_the_client_reads() {
    let cluster = cluster().await;
    let v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    for path in ["/api", "/apis"] {
        let answer = cluster.ask("GET", path, &[("accept", &format!("{v2},application/json"))], "").await;
        assert_eq!(answer.header("content-type"), v2, "{path}");
        assert_eq!(answer.json()["kind"], "APIGroupDiscoveryList");
        let tag = answer.header("etag").to_owned();
        let again = cluster.ask("GET", path, &[("accept", v2), ("if-none-match", &tag)], "").await;
        assert_eq!((again.code, again.body.len()), (304, 0), "{path}");
    }
    for (path, kind) in [
        ("/api", "APIVersions"),
        ("/apis", "APIGroupList"),
        ("/apis/apps", "APIGroup"),
        ("/api/v1", "APIResourceList"),
        ("/apis/apps/v1", "APIResourceList"),
        ("/apis/authorization.k8s.io/v1", "APIResourceList"),
    ] {
        let answer = cluster.get(path).await;
        assert_eq!((answer.code, &answer.json()["kind"]), (200, &json!(kind)), "{path}");
    }
    for path in ["/api/v2", "/apis/none", "/apis/apps/v2", "/openapi/v3/apis/none/v1"] {
        assert_eq!(cluster.get(path).await.code, 404, "{path}");
    }
    let index = cluster.get("/openapi/v3").await.json();
    assert!(index["paths"]["apis/apps/v1"]["serverRelativeURL"].is_string(), "{index}");
    let plain = cluster.get("/openapi/v3/api/v1").await;
    assert!(plain.json()["paths"].is_object());
    assert!(!plain.header("cache-control").contains("immutable"));
    let lasting = cluster.get(index["paths"]["api/v1"]["serverRelativeURL"].as_str().unwrap()).await;
    assert!(lasting.header("cache-control").contains("immutable"));
    assert_eq!(lasting.header("etag"), plain.header("etag"));
    assert!(cluster.get("/openapi/v2").await.json()["swagger"].is_string());
    let protobuf = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let answer = cluster.ask("GET", "/openapi/v2", &[("accept", protobuf)], "").await;
    assert_eq!((answer.code, answer.header("content-type")), (200, api::openapi::V2_PROTOBUF));
    assert_eq!(cluster.ask("GET", "/openapi/v2", &[("accept", "application/x-other")], "").await.code, 406);
}

#[tokio::test]
async fn the_server_describes_itself() {
    let cluster = cluster().await;
    let version = cluster.get("/version/").await.json();
    assert_eq!((&version["major"], &version["minor"]), (&json!("1"), &json!("36")));
    let paths = cluster.get("/").await.json();
    let paths: Vec<&str> = paths["paths"].as_array().unwrap().iter().filter_map(|path| path.as_str()).collect();
    for path in ["/api/v1", "/apis/apps", "/apis/apps/v1", "/healthz", "/version"] {
        assert!(paths.contains(&path), "{path} in {paths:?}");
    }
    cluster.get("/api/v1/pods").await;
    let metrics = cluster.get("/metrics").await.text();
    assert!(metrics.contains("coracle_apiserver_request_total{verb=\"list\""), "{metrics}");
}

#[tokio::test]
async fn large_answers_are_packed_for_who_asks() {
    let cluster = cluster().await;
    let text = "x".repeat(200_000);
    let object = json!({ "metadata": { "name": "large" }, "data": { "text": text } });
    cluster.post("/api/v1/namespaces/default/configmaps", &object).await;
    let path = "/api/v1/namespaces/default/configmaps/large";
    let plain = cluster.get(path).await;
    let packed = cluster.ask("GET", path, &[("accept-encoding", "gzip")], "").await;
    assert_eq!((plain.header("content-encoding"), packed.header("content-encoding")), ("", "gzip"));
    let mut unpacked = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(packed.body.as_slice()), &mut unpacked).unwrap();
    assert_eq!(unpacked, plain.body);
}

#[tokio::test]
async fn people_get_indented_answers() {
    let cluster = cluster().await;
    let path = "/api/v1/namespaces/default";
    for (headers, query, pretty) in [
        (vec![], "", false),
        (vec![], "?pretty=true", true),
        (vec![("user-agent", "curl/8.5.0")], "", true),
        (vec![("user-agent", "curl/8.5.0")], "?pretty=false", false),
    ] {
        let text = cluster.ask("GET", &format!("{path}{query}"), &headers, "").await.text();
        assert_eq!(text.contains("\n  \""), pretty, "{query} {headers:?}: {text}");
    }
}

/// A list that is too large to be held whole is the same document in every form, packed or not.
#[tokio::test]
async fn large_lists_are_written_piece_by_piece() {
    let cluster = cluster().await;
    for at in 0..150 {
        let object =
            json!({ "metadata": { "name": format!("large-{at:03}") }, "data": { "text": "x y".repeat(4096) } });
        assert_eq!(cluster.post("/api/v1/namespaces/default/configmaps", &object).await.code, 201);
    }
    let path = "/api/v1/namespaces/default/configmaps";
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let partial = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    for (accept, items) in [("application/json", "items"), (partial, "items"), (table, "rows")] {
        let plain = cluster.ask("GET", path, &[("accept", accept)], "").await;
        assert_eq!(plain.json()[items].as_array().map(Vec::len), Some(150), "{accept}");
        let packed = cluster.ask("GET", path, &[("accept", accept), ("accept-encoding", "gzip")], "").await;
        assert_eq!(packed.header("content-encoding"), "gzip", "{accept}");
        let mut unpacked = Vec::new();
        let mut reader = flate2::read::GzDecoder::new(packed.body.as_slice());
        std::io::Read::read_to_end(&mut reader, &mut unpacked).unwrap();
        assert!(unpacked == plain.body, "{accept}");
    }
}
