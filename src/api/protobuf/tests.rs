//! Tests of protobuf.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::strict::{ContentType, FieldValidation};

/// Writes messages for tests.
#[derive(Default, Clone)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
            value >>= 7;
        }
        self.0.push(u8::try_from(value).unwrap());
    }
    fn int(mut self, number: u64, value: i64) -> Self {
        self.varint(number << 3);
        self.varint(value.cast_unsigned());
        self
    }
    fn bytes(mut self, number: u64, value: &[u8]) -> Self {
        self.varint(number << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
        self
    }
    fn text(self, number: u64, value: &str) -> Self {
        self.bytes(number, value.as_bytes())
    }
    fn message(self, number: u64, value: &Message) -> Self {
        self.bytes(number, &value.0)
    }
}

fn new() -> Message {
    Message::default()
}

fn envelope(api_version: &str, kind: &str, raw: &Message) -> Vec<u8> {
    let body = new().message(1, &new().text(1, api_version).text(2, kind)).message(2, raw).text(3, "").text(4, "");
    [PREFIX, &body.0].concat()
}

/// What Go writes for an ObjectMeta with a name and nothing else.
fn meta(name: &str) -> Message {
    new().text(1, name).text(2, "").text(3, "").text(4, "").text(5, "").text(6, "").int(7, 0).message(8, &new())
}

#[test]
fn a_deployment_comes_out_as_json_with_zeros_only_where_they_count() {
    let port = new().text(1, "").int(2, 0).int(3, 8080).text(4, "").text(5, "");
    let quantity = new().text(1, "100m");
    let limits = new().text(1, "cpu").message(2, &quantity);
    let probe = new()
        .message(
            1,
            &new().message(
                2,
                &new().text(1, "/").message(2, &new().int(1, 1).int(2, 0).text(3, "web")).text(3, "").text(4, ""),
            ),
        )
        .int(2, 0)
        .int(3, 5);
    let container = new()
        .text(1, "c")
        .text(2, "image")
        .message(6, &port)
        .message(8, &new().message(1, &limits))
        .message(10, &probe)
        .text(13, "")
        .text(14, "")
        .int(16, 0)
        .int(17, 0)
        .int(18, 0);
    let volume = new().text(1, "v").message(
        2,
        &new().message(19, &new().message(2, &new().text(1, "k").text(2, "p")).message(1, &new().text(1, "map"))),
    );
    let pod = new().message(1, &volume).message(2, &container).text(3, "Always").int(4, 0).text(6, "").int(11, 0);
    let template = new().message(1, &meta("")).message(2, &pod);
    let selector = new().message(1, &new().text(1, "app").text(2, "x"));
    let rolling = new().message(1, &new().int(1, 0).int(2, 0).text(3, ""));
    let strategy = new().text(1, "").message(2, &rolling);
    let spec = new().int(1, 0).message(2, &selector).message(3, &template).message(4, &strategy).int(5, 0).int(7, 0);
    let status = new().int(1, 0).int(2, 0);
    let body = envelope("apps/v1", "Deployment", &new().message(1, &meta("web")).message(2, &spec).message(3, &status));
    let decoded = crate::strict::decode(&body, ContentType::Protobuf, None, FieldValidation::Strict).unwrap();
    assert_eq!(
        decoded.object,
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {
                "replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "strategy": {"rollingUpdate": {"maxUnavailable": 0}},
                "template": {"spec": {
                    "restartPolicy": "Always", "terminationGracePeriodSeconds": 0,
                    "volumes": [{"name": "v", "configMap": {"name": "map", "items": [{"key": "k", "path": "p"}]}}],
                    "containers": [{"name": "c", "image": "image", "ports": [{"containerPort": 8080}],
                        "resources": {"limits": {"cpu": "100m"}},
                        "livenessProbe": {"httpGet": {"path": "/", "port": "web"}, "timeoutSeconds": 5}}]}}},
        })
    );
}

#[test]
fn secrets_hold_bytes_and_times_are_times() {
    let raw = new()
        .message(1, &meta("s").message(8, &new().int(1, 1_767_323_045).int(2, 0)))
        .message(2, &new().text(1, "k").bytes(2, b"\x00\xff"))
        .message(2, &new().text(1, "empty").bytes(2, b""))
        .text(3, "Opaque");
    assert_eq!(
        decode(&envelope("v1", "Secret", &raw)).unwrap(),
        json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": {"k": "AP8=", "empty": ""},
            "metadata": {"name": "s", "creationTimestamp": "2026-01-02T03:04:05Z"}})
    );
}

#[test]
fn options_reviews_and_lists_of_anything_are_known() {
    let raw = new().int(1, 0).message(2, &new().text(1, "uid")).text(4, "Background").text(5, "All");
    assert_eq!(
        decode(&envelope("v1", "DeleteOptions", &raw)).unwrap(),
        json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "preconditions": {"uid": "uid"},
            "propagationPolicy": "Background", "dryRun": ["All"]})
    );
    let extra = new().text(1, "scopes").message(2, &new().text(1, "a").text(1, "b"));
    let raw = new().message(1, &meta("")).message(2, &new().text(3, "me").text(4, "g").message(5, &extra));
    assert_eq!(
        decode(&envelope("authorization.k8s.io/v1", "SubjectAccessReview", &raw)).unwrap()["spec"],
        json!({"user": "me", "groups": ["g"], "extra": {"scopes": ["a", "b"]}})
    );
    let inner = envelope("v1", "ConfigMap", &new().message(1, &meta("a")));
    let raw = new().message(2, &new().bytes(1, &inner)).message(2, &new().bytes(1, br#"{"kind": "Pod"}"#));
    assert_eq!(
        decode(&envelope("v1", "List", &raw)).unwrap()["items"],
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}, {"kind": "Pod"}])
    );
    for (api_version, kind) in [
        ("authentication.k8s.io/v1", "TokenRequest"),
        ("authorization.k8s.io/v1", "SelfSubjectAccessReview"),
        ("authorization.k8s.io/v1", "SelfSubjectRulesReview"),
        ("autoscaling/v1", "Scale"),
        ("policy/v1", "Eviction"),
        ("v1", "Binding"),
        ("v1", "Status"),
        ("autoscaling/v2", "HorizontalPodAutoscaler"),
        ("coordination.k8s.io/v1", "Lease"),
    ] {
        assert_eq!(decode(&envelope(api_version, kind, &new())).unwrap()["kind"], kind);
    }
}

#[test]
fn a_schema_inside_a_definition_is_read() {
    let items = new().message(1, &new().text(5, "string"));
    let list = new().text(5, "array").message(24, &items).message(30, &new().int(1, 1));
    let schema = new().text(5, "object").message(29, &new().text(1, "a").message(2, &list));
    let version = new().text(1, "v1").int(2, 1).int(3, 1).message(4, &new().message(1, &schema));
    let raw = new().message(2, &new().text(1, "example.com").message(7, &version));
    assert_eq!(
        decode(&envelope("apiextensions.k8s.io/v1", "CustomResourceDefinition", &raw)).unwrap()["spec"]["versions"][0]
            ["schema"],
        json!({"openAPIV3Schema": {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}, "additionalProperties": true}}}})
    );
}

#[test]
fn negative_numbers_and_packed_lists() {
    let pod = new().message(14, &new().int(2, -1).bytes(4, &[1, 0x90, 0x4e])).message(2, &new().text(1, "c"));
    let read = decode(&envelope("v1", "Pod", &new().message(2, &pod))).unwrap();
    assert_eq!(read["spec"]["securityContext"], json!({"runAsUser": -1, "supplementalGroups": [1, 10_000]}));
}

#[test]
fn what_is_no_protobuf_is_refused() {
    assert_eq!(decode(b"{}"), Err(ProtobufError::NoPrefix));
    assert!(matches!(decode(b"k8s\0\xff"), Err(ProtobufError::Malformed(_))));
    assert!(matches!(decode(&envelope("v1", "Nothing", &new())), Err(ProtobufError::UnknownKind { .. })));
    let mut deep = new();
    for _ in 0..5_000 {
        deep = new().message(28, &deep);
    }
    let raw = new().message(2, &new().message(7, &new().message(4, &new().message(1, &deep))));
    assert!(decode(&envelope("apiextensions.k8s.io/v1", "CustomResourceDefinition", &raw)).is_err());
}

proptest! {
    #[test]
    fn no_bytes_are_fatal(raw in prop::collection::vec(any::<u8>(), 0..200), kind in prop::sample::select(vec!["Pod", "Service", "List"])) {
        let _ = decode(&envelope("v1", kind, &Message(raw.clone())));
        let _ = decode(&[PREFIX, &raw].concat());
    }
}

#[test]
fn an_api_service_comes_out_whole() {
    let service = new().text(1, "space").text(2, "name").int(3, 8443);
    let spec =
        new().message(1, &service).text(2, "example.com").text(3, "v1").int(4, 1).bytes(5, &[]).int(7, 100).int(8, 15);
    let raw = new().message(1, &meta("v1.example.com")).message(2, &spec).message(3, &new());
    let bytes = envelope("apiregistration.k8s.io/v1", "APIService", &raw);
    assert_eq!(
        decode(&bytes).unwrap()["spec"],
        json!({
            "service": {"namespace": "space", "name": "name", "port": 8443}, "group": "example.com", "version": "v1",
            "insecureSkipTLSVerify": true, "groupPriorityMinimum": 100, "versionPriority": 15,
        })
    );
}
