//! Several managers and one object.

use serde_json::{Value, json};

use super::*;

fn map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data})
}

#[test]
fn an_apply_makes_changes_and_takes_back() {
    let kind = config_maps();
    let made = apply(&kind, &Value::Null, &map(json!({"a": "1", "b": "1"})), "one");
    assert_eq!(owners(&made), json!([["one", {"f:data": {"f:a": {}, "f:b": {}}}]]));
    assert_eq!(made["metadata"]["managedFields"][0]["operation"], "Apply");
    let again = apply(&kind, &made, &map(json!({"a": "1", "b": "1"})), "one");
    assert_eq!(again, made);
    let less = apply(&kind, &made, &map(json!({"a": "2"})), "one");
    assert_eq!(less["data"], json!({"a": "2"}));
    let none = apply(&kind, &less, &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}}), "one");
    assert_eq!(none.get("data"), None);
    assert_eq!(owners(&none), json!([]));
}

#[test]
fn what_another_manager_owns_is_a_conflict() {
    let kind = deployments();
    let wish = |replicas: i64| json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "n"}, "spec": {"replicas": replicas}});
    let made = update(&kind, &Value::Null, wish(1), "kubectl-create");
    let status = refused(&kind, &made, &wish(2), "two");
    assert_eq!((status.code, &*status.reason), (409, "Conflict"));
    assert_eq!(
        status.message,
        "Apply failed with 1 conflict: conflict with \"kubectl-create\" using apps/v1: .spec.replicas"
    );
    assert_eq!(
        status.to_json()["details"]["causes"],
        json!([{"reason": "FieldManagerConflict", "message": "conflict with \"kubectl-create\" using apps/v1", "field": ".spec.replicas"}])
    );
    // Both may want the same, and then both own it.
    let shared = apply(&kind, &made, &wish(1), "two");
    assert_eq!(owners(&shared).as_array().unwrap().len(), 2);
    // Who forces owns it alone.
    let forced = force(&kind, &shared, &wish(3), "two");
    assert_eq!(forced["spec"]["replicas"], 3);
    assert_eq!(owners(&forced), json!([["two", {"f:spec": {"f:replicas": {}}}]]));
    // What is given up by one stays while the other wants it.
    let shared = apply(&kind, &forced, &wish(3), "three");
    let empty = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "n"}});
    let left = apply(&kind, &shared, &empty, "two");
    assert_eq!(left["spec"]["replicas"], 3);
    assert_eq!(owners(&left), json!([["three", {"f:spec": {"f:replicas": {}}}]]));
}

#[test]
fn several_conflicts_are_told_by_manager() {
    let kind = config_maps();
    let one = apply(&kind, &Value::Null, &map(json!({"a": "1", "b": "1"})), "one");
    let two = apply(&kind, &one, &map(json!({"c": "1"})), "two");
    let status = refused(&kind, &two, &map(json!({"a": "2", "b": "2", "c": "2"})), "three");
    assert_eq!(
        status.message,
        "Apply failed with 3 conflicts: conflicts with \"one\":\n- .data.a\n- .data.b\nconflicts with \"two\":\n- .data.c"
    );
    assert_eq!(status.causes.len(), 3);
}

#[test]
fn what_was_there_before_has_an_owner_of_its_own() {
    let kind = config_maps();
    let status = refused(&kind, &map(json!({"a": "1"})), &map(json!({"a": "2"})), "one");
    assert_eq!(status.message, "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.a");
    let added = apply(&kind, &map(json!({"a": "1"})), &map(json!({"b": "2"})), "one");
    assert_eq!(added["data"], json!({"a": "1", "b": "2"}));
    assert_eq!(
        owners(&added),
        json!([["one", {"f:data": {"f:b": {}}}], ["before-first-apply", {"f:data": {".": {}, "f:a": {}}}]])
    );
}

#[test]
fn kubectl_takes_over_what_it_applied_as_a_client() {
    let kind = config_maps();
    let last = map(json!({"a": "1"}));
    let mut object = last.clone();
    object["metadata"]["annotations"] =
        json!({"kubectl.kubernetes.io/last-applied-configuration": format!("{last}\n")});
    let made = update(&kind, &Value::Null, object, "kubectl-client-side-apply");
    let taken = apply(&kind, &made, &map(json!({"a": "2"})), "kubectl");
    assert_eq!(taken["data"], json!({"a": "2"}));
    let annotation = &taken["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"];
    assert_eq!(annotation, &json!(format!("{}\n", map(json!({"a": "2"})))));
    let status = refused(&kind, &made, &map(json!({"a": "2"})), "another");
    assert_eq!(status.causes.len(), 1);
}

#[test]
fn wishes_that_do_not_fit_are_refused_in_kubernetes_words() {
    let kind = deployments();
    let base = |spec: Value| json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "n"}, "spec": spec});
    let check = |wish: Value, code: u16, message: &str| {
        let status = refused(&kind, &Value::Null, &wish, "one");
        assert_eq!((status.code, &*status.message), (code, message));
    };
    let typed = "failed to create typed patch object (n/d; apps/v1, Kind=Deployment): ";
    check(base(json!({"foo": 1})), 500, &format!("{typed}.spec.foo: field not declared in schema"));
    check(
        base(json!({"replicas": "1"})),
        500,
        &format!("{typed}.spec.replicas: expected numeric (int or float), got string"),
    );
    check(
        base(json!({"foo": 1, "template": []})),
        500,
        &format!(
            "{typed}errors:\n  .spec.foo: field not declared in schema\n  .spec.template: expected map, got &{{[]}}"
        ),
    );
    let twice = json!({"template": {"spec": {"containers": [{"name": "a"}, {"name": "a"}]}}});
    check(base(twice), 500, &format!("{typed}.spec.template.spec.containers: duplicate entries for key [name=\"a\"]"));
    let mut wish = base(json!({}));
    wish["metadata"]["managedFields"] = json!([]);
    check(wish, 400, "metadata.managedFields must be nil");
    let mut wish = base(json!({}));
    wish["apiVersion"] = json!("apps/v2");
    check(wish, 400, "Incorrect version specified in apply patch. Specified patch version: apps/v2, expected: apps/v1");
}
