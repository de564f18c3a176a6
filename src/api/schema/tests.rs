//! Tests of schema.

use serde_json::json;

use super::*;

#[test]
fn the_asset_is_whole() {
    assert_eq!(all().count(), 760);
    assert_eq!(asset().iter().count(), 770);
    for definition in asset().iter() {
        assert!(definition.fields.is_sorted_by(|a, b| a.name < b.name), "{}", definition.name);
        for field in &definition.fields {
            let mut schema = &field.schema;
            while let Some(inner) = schema.list().map(|list| &list.items).or(schema.values()) {
                schema = inner;
            }
            if let Schema::Ref(_) = schema {
                assert!(schema.definition().is_some(), "{} {}", definition.name, field.name);
            }
        }
    }
}

#[test]
fn a_kind_is_found_with_its_fields_and_marks() {
    let deployment = lookup("apps", "v1", "Deployment").unwrap();
    assert_eq!(deployment.name, "io.k8s.api.apps.v1.Deployment");
    assert_eq!(deployment.go_type(), "v1.Deployment");
    let spec = deployment.field("spec").unwrap().schema.definition().unwrap();
    assert_eq!(spec.short_name(), "DeploymentSpec");
    let replicas = spec.field("replicas").unwrap();
    assert!(replicas.pointer && replicas.number == 1 && matches!(replicas.schema, Schema::Int32));
    assert!(spec.field("strategy").unwrap().retain_keys);
    assert!(spec.field("selector").unwrap().schema.is_atomic());
    let pod = by_name("io.k8s.api.core.v1.PodSpec").unwrap();
    let containers = pod.field("containers").unwrap();
    assert!(containers.patch_merge && containers.required);
    assert_eq!(containers.merge_key, "name");
    assert_eq!(containers.schema.list().unwrap().kind, ListKind::Map(Box::new(["name".into()])));
    assert!(lookup("apps", "v1", "DeleteOptions").is_some());
    assert!(lookup("", "v1", "Nothing").is_none());
}

#[test]
fn a_container_port_is_patched_by_one_key_and_applied_by_two() {
    let ports = by_name("io.k8s.api.core.v1.Container").unwrap().field("ports").unwrap();
    assert_eq!(ports.merge_key, "containerPort");
    let keys: Box<[Name]> = Box::new(["containerPort".into(), "protocol".into()]);
    assert_eq!(ports.schema.list().unwrap().kind, ListKind::Map(keys));
}

#[test]
fn a_custom_schema_becomes_a_definition() {
    let schema = json!({"type": "object", "properties": {
    "spec": {"type": "object", "required": ["size"], "properties": {
        "size": {"type": "integer"},
        "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
            "items": {"type": "object", "properties": {"id": {"type": "string"}}}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }}}});
    let made = Definition::of_custom("example.com", "v1", "Widget", &schema);
    assert_eq!(made.name, "com.example.v1.Widget");
    assert!(made.field("metadata").unwrap().schema.definition().unwrap().field("labels").is_some());
    let spec = made.field("spec").unwrap().schema.definition().unwrap();
    assert!(spec.field("size").unwrap().required);
    assert!(matches!(spec.field("labels").unwrap().schema.values(), Some(Schema::String)));
    assert!(spec.field("free").unwrap().schema.definition().unwrap().open);
    let parts = spec.field("parts").unwrap().schema.list().unwrap();
    assert_eq!(parts.kind, ListKind::Map(Box::new(["id".into()])));
}
