//! Tests of apply.

mod lists;
mod properties;
mod sharing;

use serde_json::{Value, json};

use super::*;
use crate::schema::lookup;

/// One version, and nothing to convert.
pub(super) struct One(pub Option<&'static Definition>, pub &'static str);

impl Versions for One {
    fn definition(&self, api_version: &str) -> Option<Option<&Definition>> {
        (api_version == self.1).then_some(self.0)
    }
    fn convert(&self, object: &Value, to: &str) -> Option<Value> {
        (to == self.1).then(|| object.clone())
    }
}

pub(super) fn deployments() -> One {
    One(lookup("apps", "v1", "Deployment"), "apps/v1")
}
pub(super) fn config_maps() -> One {
    One(lookup("", "v1", "ConfigMap"), "v1")
}

pub(super) fn writer<'a>(versions: &One, manager: &'a str) -> Writer<'a> {
    Writer { manager, api_version: versions.1, subresource: "", now: "2026-01-01T00:00:00Z" }
}

pub(super) fn apply(versions: &One, live: &Value, wish: &Value, manager: &str) -> Value {
    applied(versions, live, wish, &writer(versions, manager), Reach::default(), false).expect("no conflict").object
}

pub(super) fn refused(versions: &One, live: &Value, wish: &Value, manager: &str) -> crate::Status {
    applied(versions, live, wish, &writer(versions, manager), Reach::default(), false).expect_err("a refusal").0
}

pub(super) fn force(versions: &One, live: &Value, wish: &Value, manager: &str) -> Value {
    applied(versions, live, wish, &writer(versions, manager), Reach::default(), true).expect("it is forced").object
}

pub(super) fn update(versions: &One, old: &Value, new: Value, manager: &str) -> Value {
    let mut new = new;
    updated(versions, old, &mut new, &writer(versions, manager), Reach::default());
    new
}

/// `[manager, fields]` of every entry.
pub(super) fn owners(object: &Value) -> Value {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array).cloned().unwrap_or_default();
    entries.iter().map(|entry| json!([entry["manager"], entry["fieldsV1"]])).collect()
}

pub(super) fn without_managers(object: &Value) -> Value {
    let mut bare = object.clone();
    crate::meta::unset(&mut bare, "managedFields");
    bare
}

#[test]
fn a_field_set_is_written_as_kubernetes_writes_it() {
    let fields = json!({
        "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
        "f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:ports": {
            "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {}}}}, "f:x": {"v:1": {}, "v:\"b\"": {}}, "f:y": {"i:3": {}}}
    });
    let set = FieldSet::from_json(&fields).unwrap();
    assert_eq!(set.to_json(), fields);
    assert_eq!(
        set.paths(),
        [
            ".metadata.labels",
            ".metadata.labels.app",
            ".spec.containers[name=\"a\"]",
            ".spec.containers[name=\"a\"].ports[containerPort=80,protocol=\"TCP\"]",
            ".spec.x[=\"b\"]",
            ".spec.x[=1]",
            ".spec.y[3]",
        ]
    );
    assert!(set.has(&["f:metadata", "f:labels", "f:app"]));
    assert!(!set.has(&["f:spec"]));
}

#[test]
fn odd_field_sets_are_read_or_refused() {
    let read = |fields: Value| FieldSet::from_json(&fields).map(|set| set.to_json());
    assert_eq!(read(json!({"k:{ \"name\": \"a\" }": {}})).unwrap(), json!({"k:{\"name\":\"a\"}": {}}));
    assert_eq!(read(json!({"z:later": {}})).unwrap(), json!({}));
    for wrong in
        [json!([]), json!({"f:a": 1}), json!({"k:{": {}}), json!({"k:1": {}}), json!({"i:x": {}}), json!({"f": {}})]
    {
        assert!(read(wrong.clone()).is_err(), "{wrong}");
    }
}

#[test]
fn a_create_is_owned_as_by_kubernetes() {
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "uid": "u", "labels": {"app": "web"}},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
            "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "a", "image": "x", "ports": [{"containerPort": 80}]}], "dnsPolicy": "Default"}}}
    });
    let made = update(&deployments(), &Value::Null, object, "kubectl-create");
    assert_eq!(
        made["metadata"]["managedFields"],
        json!([{
            "manager": "kubectl-create", "operation": "Update", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
            "time": "2026-01-01T00:00:00Z",
            "fieldsV1": {
                "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                "f:spec": {
                    "f:replicas": {}, "f:selector": {},
                    "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}, "f:type": {}},
                    "f:template": {"f:metadata": {"f:labels": {".": {}, "f:app": {}}}, "f:spec": {
                        "f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:image": {}, "f:name": {}, "f:resources": {},
                            "f:ports": {".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}},
                        "f:dnsPolicy": {}}}
                }
            }
        }])
    );
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"a": "1"}});
    assert_eq!(
        owners(&update(&config_maps(), &Value::Null, map, "")),
        json!([["unknown", {"f:data": {".": {}, "f:a": {}}}]])
    );
}

#[test]
fn an_update_takes_what_it_changes_and_only_that() {
    let kind = config_maps();
    let object =
        |data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data});
    let one = update(&kind, &Value::Null, object(json!({"a": "1", "b": "1"})), "one");
    let mut changed = one.clone();
    changed["data"] = json!({"a": "2", "c": "1"});
    let two = update(&kind, &one, changed, "two");
    assert_eq!(owners(&two), json!([["one", {"f:data": {}}], ["two", {"f:data": {"f:a": {}, "f:c": {}}}]]));
    // Who sends no managers, or unreadable ones, or none but his own object, changes none.
    for managers in [Value::Null, json!([{"operation": "Eat"}])] {
        let mut same = two.clone();
        same["metadata"]["managedFields"] = managers;
        assert_eq!(update(&kind, &two, same, "three"), two);
    }
    // An object of nobody stays nobody's.
    for reset in [json!([]), json!([{}])] {
        let mut free = two.clone();
        free["metadata"]["managedFields"] = reset;
        let free = update(&kind, &two, free, "three");
        assert_eq!(owners(&free), json!([]));
        let mut more = free.clone();
        more["data"]["d"] = json!("1");
        assert_eq!(owners(&update(&kind, &free, more, "three")), json!([]));
    }
}

#[test]
fn what_an_update_does_not_reach_is_not_owned() {
    let kind = deployments();
    let object =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"paused": true}});
    let old = update(&kind, &Value::Null, object, "one");
    let mut new = old.clone();
    new["spec"]["paused"] = json!(false);
    new["status"] = json!({"replicas": 1});
    let reach = Reach { only: Some(&["metadata", "status"]), ..Reach::default() };
    let by = Writer { subresource: "status", ..writer(&kind, "two") };
    updated(&kind, &old, &mut new, &by, reach);
    assert_eq!(owners(&new), json!([["one", {"f:spec": {"f:paused": {}}}], ["two", {"f:status": {"f:replicas": {}}}]]));
    assert_eq!(new["metadata"]["managedFields"][1]["subresource"], "status");
}

#[test]
fn the_oldest_updates_become_one_entry() {
    let kind = config_maps();
    let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {}});
    let mut old = Value::Null;
    for number in 0..13 {
        object["data"][format!("k{number}")] = json!("v");
        let manager = format!("m{number:02}");
        let now = format!("2026-01-01T00:00:{number:02}Z");
        let by = Writer { manager: &manager, api_version: "v1", subresource: "", now: &now };
        updated(&kind, &old, &mut object, &by, Reach::default());
        old = object.clone();
    }
    let owners = owners(&object);
    assert_eq!(owners.as_array().unwrap().len(), 10);
    let ancient = json!({"f:data": {".": {}, "f:k0": {}, "f:k1": {}, "f:k2": {}, "f:k3": {}}});
    assert_eq!(owners[0], json!(["ancient-changes", ancient]));
    assert_eq!(owners[1][0], "m04");
}

#[test]
fn an_unchanged_object_is_known_by_all_but_its_times() {
    let object = |time: &str, data: &str| json!({"metadata": {"name": "m", "managedFields": [{"manager": "a", "time": time}]}, "data": data});
    assert!(same_but_times(&object("1", "x"), &object("2", "x")));
    assert!(!same_but_times(&object("1", "x"), &object("1", "y")));
    let mut other = object("1", "x");
    other["metadata"]["managedFields"][0]["manager"] = json!("b");
    assert!(!same_but_times(&object("1", "x"), &other));
}
