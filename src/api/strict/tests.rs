//! Tests of strict.

use serde_json::{Value, json};

use super::*;

fn deployment<'a>() -> Option<Expected<'a>> {
    Some(Expected { group: "apps", version: "v1", kind: "Deployment", definition: None })
}

fn kind<'a>(kind: &'a str) -> Option<Expected<'a>> {
    Some(Expected { group: "", version: "v1", kind, definition: None })
}

fn strict(body: &Value, expected: Option<Expected<'_>>) -> Result<Value, String> {
    let bytes = body.to_string();
    decode(bytes.as_bytes(), ContentType::Json, expected, FieldValidation::Strict)
        .map(|decoded| decoded.object)
        .map_err(|status| format!("{} {}", status.code, status.message))
}

#[track_caller]
fn refused(body: &Value, expected: Option<Expected<'_>>, message: &str) {
    assert_eq!(strict(body, expected).unwrap_err(), format!("400 {message}"));
}

#[test]
fn unknown_fields_are_refused_warned_of_or_dropped() {
    let body =
        json!({"spec": {"foo": 1, "template": {"spec": {"containers": [{"name": "a"}, {"name": "b", "imag": "x"}]}}}});
    let expected = "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: \
        unknown field \"spec.foo\", unknown field \"spec.template.spec.containers[1].imag\"";
    refused(&body, deployment(), expected);
    let bytes = body.to_string();
    let warned = decode(bytes.as_bytes(), ContentType::Json, deployment(), FieldValidation::Warn).unwrap();
    assert_eq!(
        warned.warnings,
        ["unknown field \"spec.foo\"", "unknown field \"spec.template.spec.containers[1].imag\""]
    );
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "spec": {"template": {"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}}});
    assert_eq!(warned.object, object);
    let ignored = decode(bytes.as_bytes(), ContentType::Json, deployment(), FieldValidation::Ignore).unwrap();
    assert_eq!((ignored.object, ignored.warnings), (object, Vec::new()));
}

#[test]
fn duplicate_fields_are_refused_or_warned_of() {
    let body = br#"{"spec": {"replicas": 1, "replicas": 2}, "metadata": {"labels": {"a": "b", "a": "c"}}}"#;
    let status = decode(body, ContentType::Json, deployment(), FieldValidation::Strict).unwrap_err();
    assert!(
        status.message.ends_with("duplicate field \"spec.replicas\", duplicate field \"metadata.labels.a\""),
        "{status}"
    );
    let warned = decode(body, ContentType::Json, deployment(), FieldValidation::Warn).unwrap();
    assert_eq!(warned.warnings.len(), 2);
    assert_eq!(warned.object["spec"]["replicas"], 2);
    let body = b"kind: Deployment\nspec:\n  replicas: 1\n  replicas: 2\n";
    let warned = decode(body, ContentType::Yaml, deployment(), FieldValidation::Warn).unwrap();
    assert_eq!(warned.object["spec"]["replicas"], 2);
    assert_eq!(warned.warnings.len(), 1, "{:?}", warned.warnings);
    let status = decode(body, ContentType::Yaml, deployment(), FieldValidation::Strict).unwrap_err();
    assert!(status.message.contains("line 4"), "{status}");
}

#[test]
fn wrong_types_are_told_in_go_words() {
    let lead = "Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot unmarshal";
    for (spec, rest) in [
        (json!({"replicas": "3"}), "string into Go struct field DeploymentSpec.spec.replicas of type int32"),
        (json!({"replicas": 1.5}), "number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32"),
        (
            json!({"replicas": 3_000_000_000_u64}),
            "number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (json!({"paused": "yes"}), "string into Go struct field DeploymentSpec.spec.paused of type bool"),
        (json!({"template": []}), "array into Go struct field DeploymentSpec.spec.template of type v1.PodTemplateSpec"),
        (
            json!({"selector": {"matchLabels": {"a": true}}}),
            "bool into Go struct field LabelSelector.spec.selector.matchLabels of type string",
        ),
        (
            json!({"template": {"spec": {"containers": {}}}}),
            "object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
        ),
        (
            json!({"template": {"spec": {"containers": [{"imagePullPolicy": 5}]}}}),
            "number into Go struct field Container.spec.template.spec.containers.imagePullPolicy of type v1.PullPolicy",
        ),
        (
            json!({"template": {"spec": {"containers": [{"ports": [{"containerPort": "80"}]}]}}}),
            "string into Go struct field ContainerPort.spec.template.spec.containers.ports.containerPort of type int32",
        ),
        (json!({"strategy": {"rollingUpdate": {"maxSurge": true}}}), "bool into Go value of type int32"),
    ] {
        refused(&json!({"spec": spec}), deployment(), &format!("{lead} {rest}"));
    }
    refused(
        &json!({"metadata": {"labels": {"a": 1}}}),
        kind("Pod"),
        "Pod in version \"v1\" cannot be handled as a Pod: json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
    );
    refused(
        &json!({"data": {"a": "*"}}),
        kind("Secret"),
        "Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data at input byte 0",
    );
}

#[test]
fn values_are_brought_into_their_one_form() {
    let decoded = strict(
        &json!({
            "metadata": {"name": "p", "creationTimestamp": null, "deletionTimestamp": "2026-01-02T04:04:05.9+01:00",
                "labels": {}, "annotations": {"a": null}},
            "spec": {"hostNetwork": false, "priority": 0, "nodeName": "", "restartPolicy": null, "tolerations": [],
                "securityContext": {}, "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "c", "resources": {"limits": {"cpu": 1, "memory": "0.5Gi"}, "requests": {"cpu": 0.1}},
                    "livenessProbe": {"httpGet": {"port": 80}, "timeoutSeconds": 0}}],
                "volumes": [{"name": "v", "emptyDir": {}}, {"name": "m", "configMap": {"defaultMode": 420.0}}]},
            "status": {},
        }),
        kind("Pod"),
    )
    .unwrap();
    assert_eq!(
        decoded,
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "deletionTimestamp": "2026-01-02T03:04:05Z", "annotations": {"a": ""}},
            "spec": {"priority": 0, "securityContext": {}, "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "c", "resources": {"limits": {"cpu": "1", "memory": "512Mi"}, "requests": {"cpu": "100m"}},
                    "livenessProbe": {"httpGet": {"port": 80}}}],
                "volumes": [{"name": "v", "emptyDir": {}}, {"name": "m", "configMap": {"defaultMode": 420}}]},
        })
    );
}

#[test]
fn the_body_must_be_what_the_path_says() {
    refused(
        &json!({"apiVersion": "v1", "kind": "Pod"}),
        deployment(),
        "Pod in version \"v1\" cannot be handled as a Deployment: converting (v1.Pod) to (v1.Deployment): unknown conversion",
    );
    refused(
        &json!({"apiVersion": "apps/v1beta9", "kind": "Deployment"}),
        deployment(),
        "the API version in the data (apps/v1beta9) does not match the expected API version (apps/v1)",
    );
    refused(
        &json!({"kind": "Foo"}),
        deployment(),
        "Foo in version \"v1\" cannot be handled as a Deployment: no kind \"Foo\" is registered for version \"apps/v1\" in scheme \"coracle\"",
    );
    let expected = Some(Expected { group: "", version: "v1", kind: "DeleteOptions", definition: None });
    let body = json!({"apiVersion": "apps/v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "propagationPolicy": "Orphan"});
    assert_eq!(strict(&body, expected).unwrap()["gracePeriodSeconds"], 0);
}

#[test]
fn bodies_that_cannot_be_read_are_refused_cleanly() {
    let read = |body: &[u8], content| decode(body, content, deployment(), FieldValidation::Warn).unwrap_err();
    for content in [ContentType::Json, ContentType::Yaml, ContentType::Protobuf] {
        let deep = [b"[".repeat(10_000), b"]".repeat(10_000)].concat();
        assert_eq!(read(&deep, content).code, 400);
        let deep = [br#"{"a":"#.repeat(10_000), b"1".to_vec(), b"}".repeat(10_000)].concat();
        assert_eq!(read(&deep, content).code, 400);
        assert_eq!(read(b"\xff\xfe", content).code, 400);
        assert_eq!(read(b"[1]", content).code, 400);
    }
    let message = read(b"{\"a\": ", ContentType::Json).message;
    assert!(message.starts_with("the object provided is unrecognized (must be of type Deployment): couldn't get version/kind; json parse error: "), "{message}");
    assert!(message.ends_with("({\"a\": )"), "{message}");
    assert!(
        decode(b"{}", ContentType::Json, None, FieldValidation::Warn)
            .unwrap_err()
            .message
            .starts_with("Object 'Kind' is missing in '{}'")
    );
}

#[test]
fn custom_resources_are_pruned_and_not_type_checked() {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "size": {"type": "integer"}, "maybe": {"type": "string", "nullable": true}, "text": {"type": "string"},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}});
    let definition = Definition::of_custom("example.com", "v1", "Widget", &schema);
    let expected =
        Some(Expected { group: "example.com", version: "v1", kind: "Widget", definition: Some(&definition) });
    let body = json!({"metadata": {"name": "w"}, "spec": {"size": "big", "maybe": null, "text": null, "x": 1, "free": {"y": 1}}});
    refused(
        &body,
        expected,
        "Widget in version \"v1\" cannot be handled as a Widget: strict decoding error: unknown field \"spec.x\"",
    );
    let decoded = decode(body.to_string().as_bytes(), ContentType::Json, expected, FieldValidation::Warn).unwrap();
    assert_eq!(decoded.object["spec"], json!({"size": "big", "maybe": null, "free": {"y": 1}}));
    let wrong = json!({"metadata": {"name": 5}});
    refused(
        &wrong,
        expected,
        "Widget in version \"v1\" cannot be handled as a Widget: json: cannot unmarshal number into Go struct field ObjectMeta.metadata.name of type string",
    );
}

#[test]
fn a_definition_with_a_schema_in_it_is_checked_all_the_way() {
    let expected = Some(Expected {
        group: "apiextensions.k8s.io",
        version: "v1",
        kind: "CustomResourceDefinition",
        definition: None,
    });
    let body = json!({"spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": {"type": "object", "properties":
        {"a": {"type": "array", "items": {"type": "string", "typo": 1}, "additionalProperties": false}}}}}]}});
    let message = strict(&body, expected).unwrap_err();
    assert!(
        message.ends_with("unknown field \"spec.versions[0].schema.openAPIV3Schema.properties.a.items.typo\""),
        "{message}"
    );
}

#[test]
fn a_mistyped_field_has_a_neighbour() {
    let definition = schema::lookup("apps", "v1", "Deployment").unwrap();
    let meant = |path| did_you_mean(definition, path);
    assert_eq!(meant("spec.replica").as_deref(), Some("replicas"));
    assert_eq!(meant("spec.template.spec.containers[0].imag").as_deref(), Some("image"));
    assert_eq!(meant("spec.zzz"), None);
    assert_eq!(meant("nothing.at.all"), None);
}

#[test]
fn a_key_twice_in_yaml_is_told_in_the_words_of_go() {
    let body = b"apiVersion: v1\nkind: ConfigMap\ndata:\n  a: '1'\n  a: '2'\n";
    let decoded = decode(body, ContentType::Yaml, None, FieldValidation::Warn).unwrap();
    assert_eq!(decoded.warnings, ["line 5: key \"a\" already set in map"]);
    let refused = decode(body, ContentType::Yaml, None, FieldValidation::Strict).unwrap_err();
    assert!(refused.message.ends_with(": yaml: unmarshal errors:\n  line 5: key \"a\" already set in map"));
}
