//! The envelope, read, written and checked.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::kind::Plain;
use crate::{Kind, Scope};

fn kind(scope: Scope) -> Kind {
    Kind {
        group: String::new(),
        version: "v1".into(),
        kind: "Thing".into(),
        plural: "things".into(),
        singular: "thing".into(),
        short_names: Vec::new(),
        categories: Vec::new(),
        scope,
        status: false,
        scale: None,
        verbs: Vec::new(),
        extra_subresources: Vec::new(),
        columns: Vec::new(),
        strategic: true,
        form: None,
        custom: None,
        behaviour: Arc::new(Plain),
    }
}

fn check(scope: Scope, metadata: Value, old: Option<Value>, expected: &[&str]) {
    let object = json!({ "metadata": metadata });
    let old = old.map(|old| json!({ "metadata": old }));
    let errors: Vec<String> = validate(&kind(scope), &object, old.as_ref()).iter().map(ToString::to_string).collect();
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
    for (error, start) in errors.iter().zip(expected) {
        assert!(error.starts_with(start), "{error}\nshould start with\n{start}");
    }
}

#[test]
fn a_created_object_needs_a_good_name_and_the_right_scope() {
    check(Scope::Namespaced, json!({"name": "a", "namespace": "b"}), None, &[]);
    check(Scope::Cluster, json!({"name": "a"}), None, &[]);
    check(
        Scope::Cluster,
        json!({"namespace": "b"}),
        None,
        &[
            "metadata.name: Required value: name or generateName is required",
            "metadata.namespace: Forbidden: not allowed on this type",
        ],
    );
    check(
        Scope::Namespaced,
        json!({"name": "A"}),
        None,
        &[
            "metadata.name: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of",
            "metadata.namespace: Required value",
        ],
    );
}

#[test]
fn labels_annotations_owners_and_finalizers_are_checked() {
    check(
        Scope::Cluster,
        json!({"name": "a", "labels": {"a b": "x", "ok": "not ok"}}),
        None,
        &[
            "metadata.labels: Invalid value: \"a b\": name part must",
            "metadata.labels: Invalid value: \"not ok\": a valid label must",
        ],
    );
    check(
        Scope::Cluster,
        json!({"name": "a", "annotations": {"Upper.Case/IS-fine": "x".repeat(256 * 1024)}}),
        None,
        &["metadata.annotations: Too long: may not be more than 262144 bytes"],
    );
    let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", "controller": true});
    check(
        Scope::Cluster,
        json!({"name": "a", "ownerReferences": [owner, owner]}),
        None,
        &["metadata.ownerReferences: Invalid value: [{"],
    );
    check(
        Scope::Cluster,
        json!({"name": "a", "ownerReferences": [{"apiVersion": "v1", "kind": "Pod"}]}),
        None,
        &[
            "metadata.ownerReferences.name: Invalid value: \"\": must not be empty",
            "metadata.ownerReferences.uid: Invalid value: \"\": must not be empty",
        ],
    );
    check(
        Scope::Cluster,
        json!({"name": "a", "finalizers": ["orphan", "foregroundDeletion", "plain"]}),
        None,
        &[
            "metadata.finalizers: Invalid value: \"plain\": name is neither a standard finalizer name nor is it fully qualified",
            "metadata.finalizers: Invalid value: [\"orphan\",\"foregroundDeletion\",\"plain\"]: finalizer orphan and foregroundDeletion",
        ],
    );
}

#[test]
fn an_update_keeps_the_identity() {
    let old = json!({"name": "a", "uid": "u", "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"});
    check(Scope::Cluster, old.clone(), Some(old.clone()), &[]);
    check(
        Scope::Cluster,
        json!({"name": "b", "uid": "v"}),
        Some(old.clone()),
        &[
            "metadata.resourceVersion: Invalid value: \"\": must be specified for an update",
            "metadata.name: Invalid value: \"b\": field is immutable",
            "metadata.uid: Invalid value: \"v\": field is immutable",
            "metadata.creationTimestamp: Invalid value: null: field is immutable",
        ],
    );
    let mut dying = old.clone();
    dying["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let mut more = dying.clone();
    more["finalizers"] = json!(["a/b"]);
    check(
        Scope::Cluster,
        more,
        Some(dying),
        &[
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"a/b\"}",
        ],
    );
}

#[test]
fn what_a_client_leaves_out_is_carried_over() {
    let old =
        json!({"metadata": {"name": "a", "uid": "u", "generation": 3, "deletionTimestamp": "2026-01-01T00:00:00Z"}});
    let mut new = json!({"metadata": {"name": "a", "generation": 9, "selfLink": "/x"}});
    carry_over(&mut new, &old);
    assert_eq!(new, old);
    let old = json!({"metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z"}});
    let mut new = json!({"metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:00.000+00:00"}});
    carry_over(&mut new, &old);
    assert_eq!(new, old);
}

#[test]
fn generated_names_stay_within_a_label() {
    assert_eq!(generate_name("web-", [0, 1, 2, 26, 27]), "web-bcd9b");
    let long = generate_name(&"a".repeat(80), [0; 5]);
    assert_eq!(long.len(), 63);
    assert!(long.ends_with("abbbbb"));
}

#[test]
fn the_parsed_envelope_is_the_same_from_bytes_and_from_a_value() {
    let object = json!({
        "kind": "Pod", "spec": {"containers": []},
        "metadata": {
            "name": "a", "namespace": "b", "uid": "u", "resourceVersion": "12", "generation": 2,
            "labels": {"y": "2", "x": "1"}, "annotations": {"k": "v"}, "finalizers": ["f/g"],
            "ownerReferences": [{"uid": "o1"}, {"uid": "o2", "controller": true}],
            "creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": null,
        }
    });
    let meta = Meta::of(&object);
    assert_eq!(meta, Meta::from_json(object.to_string().as_bytes()).expect("it is JSON"));
    assert_eq!(meta.key(), "b/a");
    assert_eq!(meta.resource_version, 12);
    assert_eq!(meta.labels.get("x"), Some("1"));
    assert_eq!(meta.labels.get("z"), None);
    assert_eq!(meta.controller_uid.as_deref(), Some("o2"));
    assert_eq!(meta.owner_uids.len(), 2);
    assert_eq!(meta.creation_timestamp.map(time_text).as_deref(), Some("2026-01-01T00:00:00Z"));
    assert_eq!(Meta::of(&json!(3)), Meta::default());
}

#[test]
fn of_equal_keys_the_last_label_counts() {
    let labels: Labels = [("a", "1"), ("b", "2"), ("a", "3")].into_iter().collect();
    assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "3"), ("b", "2")]);
}

#[test]
fn times_are_written_as_kubernetes_writes_them() {
    let time: jiff::Timestamp = "2026-01-02T03:04:05.6789Z".parse().expect("a time");
    assert_eq!(time_text(time), "2026-01-02T03:04:05Z");
    assert_eq!(micro_time_text(time), "2026-01-02T03:04:05.678900Z");
}
