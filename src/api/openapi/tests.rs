//! Tests of openapi.

use serde_json::Value;

use super::*;
use crate::discovery::tests::kinds;

fn document(path: &str) -> Value {
    serde_json::from_slice(&v3_document(&kinds(), path).unwrap()).unwrap()
}

/// Every reference in `value`.
fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                match inner {
                    Value::String(target) if name == "$ref" => found.push(target),
                    inner => references(inner, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn the_index_names_every_group_version_with_its_hash() {
    let index: Value = serde_json::from_slice(&v3_index(&kinds())).unwrap();
    let paths = index["paths"].as_object().unwrap();
    let names: Vec<&String> = paths.keys().collect();
    assert_eq!(names, ["api/v1", "apis/apps/v1", "apis/autoscaling/v1", "apis/autoscaling/v2", "apis/example.com/v1"]);
    let url = paths["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap();
    assert_eq!(url, format!("/openapi/v3/apis/apps/v1?hash={}", v3_hash(&kinds(), "apis/apps/v1").unwrap()));
    assert_ne!(v3_hash(&kinds(), "apis/apps/v1"), v3_hash(&kinds(), "api/v1"));
    assert!(v3_document(&kinds(), "apis/nothing/v1").is_none());
}

#[test]
fn every_reference_has_its_schema() {
    for path in ["api/v1", "apis/apps/v1", "apis/autoscaling/v2", "apis/example.com/v1"] {
        let document = document(path);
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for target in found {
            let name = target.strip_prefix("#/components/schemas/").unwrap();
            assert!(document["components"]["schemas"].get(name).is_some(), "{path} {target}");
        }
    }
    let document: Value = serde_json::from_slice(&v2(&kinds())).unwrap();
    let mut found = Vec::new();
    references(&document, &mut found);
    for target in found {
        let name = target.strip_prefix("#/definitions/").unwrap();
        assert!(document["definitions"].get(name).is_some(), "{target}");
    }
}

#[test]
fn patches_list_what_clients_look_for() {
    let document = document("apis/apps/v1");
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "apps", "version": "v1", "kind": "Deployment"})
    );
    assert_eq!(patch["x-kubernetes-action"], "patch");
    assert_eq!(patch["operationId"], "patchAppsV1NamespacedDeployment");
    let names: Vec<_> =
        patch["parameters"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["dryRun", "fieldManager", "fieldValidation", "force"]);
    assert!(patch["requestBody"]["content"].get("application/strategic-merge-patch+json").is_some());
    let scale = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"]["put"];
    assert_eq!(scale["x-kubernetes-group-version-kind"]["kind"], "Scale");
    assert!(document["paths"]["/apis/apps/v1/deployments"].get("post").is_none());
}

#[test]
fn schemas_keep_the_marks_of_merging() {
    let document = document("apis/apps/v1");
    let schemas = &document["components"]["schemas"];
    let spec = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"];
    assert_eq!(spec["containers"]["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(spec["containers"]["x-kubernetes-list-type"], "map");
    assert_eq!(spec["volumes"]["x-kubernetes-patch-strategy"], "merge,retainKeys");
    assert_eq!(
        schemas["io.k8s.api.apps.v1.Deployment"]["x-kubernetes-group-version-kind"],
        json!([{"group": "apps", "version": "v1", "kind": "Deployment"}])
    );
    assert_eq!(schemas["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]["format"], "int-or-string");
}

#[test]
fn the_second_version_has_a_protobuf_form() {
    let bytes = v2_protobuf(&kinds());
    assert_eq!(bytes[..5], [10, 3, b'2', b'.', b'0']);
    let has = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(has("io.k8s.api.apps.v1.DeploymentSpec") && has("x-kubernetes-patch-merge-key") && has("fieldValidation"));
}
