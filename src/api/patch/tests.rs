//! Tests of patch.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::schema::lookup;

fn deployment() -> &'static Definition {
    lookup("apps", "v1", "Deployment").unwrap()
}

#[track_caller]
fn check(kind: (&str, &str, &str), object: Value, patch: Value, expected: Value) {
    let mut changed = object;
    strategic(&mut changed, &patch, lookup(kind.0, kind.1, kind.2).unwrap()).unwrap();
    assert_eq!(changed, expected);
}

const POD: (&str, &str, &str) = ("", "v1", "Pod");
const DEPLOYMENT: (&str, &str, &str) = ("apps", "v1", "Deployment");

#[test]
fn a_list_with_a_merge_key_is_merged_by_it() {
    check(
        POD,
        json!({"spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]}}),
        json!({"spec": {"containers": [{"name": "b", "image": "z"}, {"name": "c", "image": "w"}]}}),
        json!({"spec": {"containers": [
            {"name": "a", "image": "x"}, {"name": "b", "image": "z"}, {"name": "c", "image": "w"}]}}),
    );
}

#[test]
fn a_list_without_merge_strategy_is_replaced() {
    check(
        POD,
        json!({"spec": {"containers": [{"name": "a", "command": ["x", "y"]}]}}),
        json!({"spec": {"containers": [{"name": "a", "command": ["z"]}]}}),
        json!({"spec": {"containers": [{"name": "a", "command": ["z"]}]}}),
    );
}

#[test]
fn directives_delete_and_replace() {
    check(
        POD,
        json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}),
        json!({"spec": {"containers": [{"name": "a", "$patch": "delete"}]}}),
        json!({"spec": {"containers": [{"name": "b"}]}}),
    );
    check(
        POD,
        json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}),
        json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "c", "image": "i"}]}}),
        json!({"spec": {"containers": [{"name": "c", "image": "i"}]}}),
    );
    check(
        POD,
        json!({"spec": {"nodeSelector": {"a": "1"}, "x": 1}}),
        json!({"spec": {"nodeSelector": {"$patch": "replace", "b": "2"}}}),
        json!({"spec": {"nodeSelector": {"b": "2"}, "x": 1}}),
    );
    check(
        POD,
        json!({"metadata": {"labels": {"a": "1", "b": "2"}}}),
        json!({"metadata": {"labels": {"a": null, "$patch": "merge"}}}),
        json!({"metadata": {"labels": {"b": "2"}}}),
    );
    check(
        POD,
        json!({"metadata": {"labels": {"a": "1"}}}),
        json!({"metadata": {"labels": {"$patch": "delete"}}}),
        json!({"metadata": {"labels": {}}}),
    );
}

#[test]
fn primitive_lists_are_merged_and_deleted_from() {
    check(
        POD,
        json!({"metadata": {"finalizers": ["a", "b"]}}),
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"],
            "$setElementOrder/finalizers": ["c", "b"]}}),
        json!({"metadata": {"finalizers": ["c", "b"]}}),
    );
}

#[test]
fn the_wanted_order_keeps_what_only_the_server_has() {
    check(
        POD,
        json!({"spec": {"containers": [{"name": "s"}, {"name": "a"}, {"name": "b"}]}}),
        json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}, {"name": "n"}],
            "containers": [{"name": "n"}]}}),
        json!({"spec": {"containers": [{"name": "s"}, {"name": "b"}, {"name": "a"}, {"name": "n"}]}}),
    );
    check(
        POD,
        json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}),
        json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}),
        json!({"spec": {"containers": [{"name": "b"}, {"name": "a"}]}}),
    );
}

#[test]
fn retained_keys_drop_the_others() {
    check(
        DEPLOYMENT,
        json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}),
        json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
        json!({"spec": {"strategy": {"type": "Recreate"}}}),
    );
}

#[test]
fn a_service_port_is_known_by_its_port_and_a_container_port_by_its_number() {
    check(
        ("", "v1", "Service"),
        json!({"spec": {"ports": [{"port": 80, "protocol": "TCP"}]}}),
        json!({"spec": {"ports": [{"port": 80, "targetPort": 8080}]}}),
        json!({"spec": {"ports": [{"port": 80, "protocol": "TCP", "targetPort": 8080}]}}),
    );
}

#[test]
fn directives_in_new_values_leave_no_trace() {
    check(
        DEPLOYMENT,
        json!({}),
        json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate", "rollingUpdate": null},
            "template": {"spec": {"$setElementOrder/containers": [{"name": "a"}],
                "containers": [{"name": "a"}, {"name": "b", "$patch": "delete"}]}}}}),
        json!({"spec": {"strategy": {"type": "Recreate"}, "template": {"spec": {"containers": [{"name": "a"}]}}}}),
    );
}

#[test]
fn a_refused_patch_changes_nothing() {
    let before = json!({"spec": {"containers": [{"name": "a"}]}, "metadata": {}});
    for patch in [
        json!({"metadata": {"labels": {"x": "y"}}, "spec": {"containers": [{"image": "x"}]}}),
        json!({"spec": {"$patch": "explode"}}),
        json!([]),
        json!({"spec": {"$retainKeys": "x"}}),
        json!({"spec": {"$retainKeys": ["a"], "b": 1}}),
        json!({"spec": {"$deleteFromPrimitiveList/x": 5}}),
    ] {
        let mut object = before.clone();
        let status = strategic(&mut object, &patch, lookup("", "v1", "Pod").unwrap()).unwrap_err();
        assert!(matches!(status.code, 400 | 500), "{status}");
        assert_eq!(object, before);
    }
}

#[test]
fn json_patches_within_limits() {
    let mut object = json!({"a": [1], "b": "x"});
    json(&mut object, &json!([{"op": "add", "path": "/a/-", "value": 2}, {"op": "remove", "path": "/b"}])).unwrap();
    assert_eq!(object, json!({"a": [1, 2]}));
    let code = |patch: &Value| json(&mut json!({"a": [1, 2]}), patch).unwrap_err().code;
    assert_eq!(code(&json!([{"op": "remove", "path": "/nothing"}])), 422);
    assert_eq!(code(&json!([{"op": "test", "path": "/a", "value": 3}])), 422);
    assert_eq!(code(&json!({"op": "remove"})), 400);
    assert_eq!(code(&json!([{"op": "explode", "path": "/a"}])), 400);
    let many = vec![json!({"op": "add", "path": "/b", "value": 1}); 10_001];
    assert_eq!(code(&Value::Array(many)), 413);
    let doubling = vec![json!({"op": "copy", "from": "/a", "path": "/a/-"}); 60];
    assert_eq!(code(&Value::Array(doubling)), 422);
}

#[test]
fn merge_patches_delete_with_null() {
    let mut object = json!({"a": {"b": 1, "c": 2}, "d": [1]});
    merge(&mut object, &json!({"a": {"b": null, "e": {"f": null, "g": 1}}, "d": [2]}));
    assert_eq!(object, json!({"a": {"c": 2, "e": {"g": 1}}, "d": [2]}));
}

#[test]
fn apply_sends_what_kubectl_sends() {
    let original = json!({"spec": {"replicas": 2, "template": {"spec": {"containers": [
        {"name": "a", "image": "x", "env": [{"name": "P", "value": "1"}, {"name": "Q", "value": "2"}]}, {"name": "b", "image": "y"}]}}}});
    let modified = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "a", "image": "z", "env": [{"name": "Q", "value": "2"}]}]}}}});
    let current = json!({"spec": {"replicas": 5, "template": {"spec": {"containers": [
        {"name": "a", "image": "x", "imagePullPolicy": "Always", "env": [{"name": "P", "value": "1"}, {"name": "Q", "value": "2"}]},
        {"name": "b", "image": "y"}, {"name": "injected", "image": "i"}]}}}});
    let patch = three_way(&original, &modified, &current, deployment()).unwrap();
    assert_eq!(
        patch,
        json!({"spec": {"replicas": null, "template": {"spec": {
            "$setElementOrder/containers": [{"name": "a"}],
            "containers": [
                {"name": "a", "image": "z", "$setElementOrder/env": [{"name": "Q"}], "env": [{"name": "P", "$patch": "delete"}]},
                {"name": "b", "$patch": "delete"}]}}}})
    );
    let mut after = current;
    strategic(&mut after, &patch, deployment()).unwrap();
    assert_eq!(
        after,
        json!({"spec": {"template": {"spec": {"containers": [
            {"name": "a", "image": "z", "imagePullPolicy": "Always", "env": [{"name": "Q", "value": "2"}]},
            {"name": "injected", "image": "i"}]}}}})
    );
}

/// The patch is what kubectl 1.36 sent for these three objects.
#[test]
fn apply_sends_the_same_patch_as_kubectl() {
    let template = |containers: Value, volume: Value| json!({"metadata": {"labels": {"app": "d"}}, "spec": {"containers": containers, "volumes": [volume]}});
    let original = json!({"metadata": {"labels": {"x": "y", "gone": "1"}}, "spec": {"replicas": 2, "template": template(
        json!([{"name": "a", "image": "a:1", "env": [{"name": "A", "value": "1"}, {"name": "Q", "value": "1"}]},
            {"name": "b", "image": "b:1", "ports": [{"containerPort": 80}, {"containerPort": 81}]}, {"name": "c", "image": "c"}]),
        json!({"name": "v", "configMap": {"name": "m"}}))}});
    let mut current = original.clone();
    current["metadata"]["resourceVersion"] = json!("5");
    current["spec"]["replicas"] = json!(7);
    current["spec"]["strategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}});
    current["spec"]["template"]["spec"]["volumes"][0]["configMap"]["defaultMode"] = json!(420);
    current["spec"]["template"]["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "injected", "image": "i"}));
    let modified = json!({"metadata": {"labels": {"x": "yy"}}, "spec": {"strategy": {"type": "Recreate"}, "template": template(
        json!([{"name": "b", "image": "b:2", "ports": [{"containerPort": 80}]},
            {"name": "a", "image": "a:1", "env": [{"name": "Z", "value": "1"}, {"name": "A", "value": "2"}]}]),
        json!({"name": "v", "emptyDir": {}}))}});
    assert_eq!(
        three_way(&original, &modified, &current, deployment()).unwrap(),
        json!({"metadata": {"labels": {"gone": null, "x": "yy"}}, "spec": {"replicas": null,
            "strategy": {"$retainKeys": ["type"], "type": "Recreate"},
            "template": {"spec": {
                "$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
                "$setElementOrder/volumes": [{"name": "v"}],
                "containers": [
                    {"$setElementOrder/ports": [{"containerPort": 80}], "image": "b:2", "name": "b",
                        "ports": [{"$patch": "delete", "containerPort": 81}]},
                    {"$setElementOrder/env": [{"name": "Z"}, {"name": "A"}], "name": "a",
                        "env": [{"name": "Z", "value": "1"}, {"name": "A", "value": "2"}, {"$patch": "delete", "name": "Q"}]},
                    {"$patch": "delete", "name": "c"}],
                "volumes": [{"$retainKeys": ["emptyDir", "name"], "configMap": null, "emptyDir": {}, "name": "v"}]}}}})
    );
}

#[test]
fn apply_keeps_what_others_set_and_what_never_was_applied() {
    let applied = json!({"spec": {"selector": {"matchLabels": {"a": "b"}}}});
    let current = json!({"spec": {"replicas": 5, "selector": {"matchLabels": {"a": "b"}}}});
    assert_eq!(three_way(&applied, &applied, &current, deployment()).unwrap(), json!({}));
}

#[test]
fn apply_of_a_custom_resource_is_a_merge_patch() {
    let patch = three_way_merge(
        &json!({"spec": {"a": 1, "gone": {"x": 1}}}),
        &json!({"spec": {"a": 2, "list": [1]}}),
        &json!({"spec": {"a": 1, "gone": {"x": 1}, "other": 1}}),
    );
    assert_eq!(patch, json!({"spec": {"a": 2, "list": [1], "gone": null}}));
}

fn subset(part: &Value, whole: &Value, key: &str) -> bool {
    match (part, whole) {
        (Value::Object(a), Value::Object(b)) => {
            a.iter().all(|(name, inner)| b.get(name).is_some_and(|other| subset(inner, other, key)))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.iter().all(|item| b.iter().any(|other| item.get(key) == other.get(key) && subset(item, other, key)))
        }
        _ => part == whole,
    }
}

fn containers() -> impl Strategy<Value = Value> {
    let env = prop::collection::btree_map("[A-D]", "[0-3]", 0..4)
        .prop_map(|map| map.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect::<Vec<_>>());
    let container = ("[x-z]", prop::option::of("[0-2]"), env, any::<bool>());
    prop::collection::btree_map("[a-e]", container, 0..5).prop_shuffle_values()
}

trait Shuffle {
    fn prop_shuffle_values(self) -> BoxedStrategy<Value>;
}

type Parts = std::collections::BTreeMap<String, (String, Option<String>, Vec<Value>, bool)>;

impl<S: Strategy<Value = Parts> + 'static> Shuffle for S {
    fn prop_shuffle_values(self) -> BoxedStrategy<Value> {
        self.prop_map(|map| {
            map.into_iter()
                .map(|(name, (image, policy, env, tty))| {
                    let mut made = json!({"name": name, "image": image});
                    if let Some(policy) = policy {
                        made["imagePullPolicy"] = json!(policy);
                    }
                    if !env.is_empty() {
                        made["env"] = json!(env);
                    }
                    if tty {
                        made["tty"] = json!(true);
                    }
                    made
                })
                .collect::<Vec<_>>()
        })
        .prop_shuffle()
        .prop_map(Value::Array)
        .boxed()
    }
}

fn object() -> impl Strategy<Value = Value> {
    let labels = prop::collection::btree_map("[a-c]", "[0-2]", 0..3);
    let finalizers = prop::sample::subsequence(vec!["f", "g", "h"], 0..=3).prop_shuffle();
    (containers(), labels, finalizers, prop::option::of(0..3), any::<bool>()).prop_map(
        |(containers, labels, finalizers, replicas, recreate)| {
            let strategy = if recreate {
                json!({"type": "Recreate"})
            } else {
                json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}})
            };
            let mut made = json!({"metadata": {"labels": labels, "finalizers": finalizers},
                "spec": {"strategy": strategy, "template": {"spec": {"containers": containers}}}});
            if let Some(replicas) = replicas {
                made["spec"]["replicas"] = json!(replicas);
            }
            made
        },
    )
}

proptest! {
    #[test]
    fn what_is_applied_is_there_and_applying_again_does_nothing(
        original in object(), modified in object(), current in object(),
    ) {
        let patch = three_way(&original, &modified, &current, deployment()).unwrap();
        let mut once = current.clone();
        strategic(&mut once, &patch, deployment()).unwrap();
        prop_assert!(subset(&modified["spec"], &once["spec"], "name"), "{patch} {once}");
        let again = three_way(&modified, &modified, &once, deployment()).unwrap();
        let mut twice = once.clone();
        strategic(&mut twice, &again, deployment()).unwrap();
        prop_assert_eq!(&once, &twice, "first {} then {}", patch, again);
    }

    #[test]
    fn a_merge_applied_is_there(original in object(), modified in object(), current in object()) {
        let patch = three_way_merge(&original, &modified, &current);
        let mut once = current;
        merge(&mut once, &patch);
        prop_assert!(subset(&modified["spec"], &once["spec"], "name"));
        prop_assert_eq!(three_way_merge(&modified, &modified, &once), json!({}));
    }
}
