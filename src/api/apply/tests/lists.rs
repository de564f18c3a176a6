//! Every kind of list and map.

use serde_json::{Value, json};

use super::*;

fn kind() -> One {
    let schema = json!({"type": "object", "properties": {
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"}, "w": {"type": "integer"}}}},
        "atomic": {"type": "array", "items": {"type": "string"}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}},
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }});
    let definition = Definition::of_custom("e.com", "v1", "Thing", &schema);
    One(Some(Box::leak(Box::new(definition))), "e.com/v1")
}

fn thing(fields: Value) -> Value {
    let mut object = json!({"apiVersion": "e.com/v1", "kind": "Thing", "metadata": {"name": "t"}});
    object.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    object
}

/// Two managers one after the other; what is there then, what the second one owns, and what is left when it gives all up.
#[track_caller]
fn check(first: Value, second: Value, merged: Value, owned: Value, left: Value) {
    let kind = kind();
    let one = apply(&kind, &Value::Null, &thing(first), "one");
    let two = apply(&kind, &one, &thing(second), "two");
    assert_eq!(without_managers(&two), thing(merged));
    let all = owners(&two);
    let mine = all.as_array().unwrap().iter().find(|entry| entry[0] == "two").unwrap();
    assert_eq!(mine[1], owned);
    let nothing = apply(&kind, &two, &thing(json!({})), "two");
    assert_eq!(without_managers(&nothing), thing(left));
}

#[test]
fn a_set_is_shared_by_value() {
    check(
        json!({"set": ["a", "b"]}),
        json!({"set": ["c", "b"]}),
        json!({"set": ["a", "c", "b"]}),
        json!({"f:set": {"v:\"b\"": {}, "v:\"c\"": {}}}),
        json!({"set": ["a", "b"]}),
    );
}

#[test]
fn a_map_list_is_shared_by_key_and_field() {
    check(
        json!({"map": [{"k": "a", "v": 1}, {"k": "b", "v": 1}]}),
        json!({"map": [{"k": "b", "w": 2}, {"k": "c", "v": 3}]}),
        json!({"map": [{"k": "a", "v": 1}, {"k": "b", "v": 1, "w": 2}, {"k": "c", "v": 3}]}),
        json!({"f:map": {
            "k:{\"k\":\"b\"}": {".": {}, "f:k": {}, "f:w": {}}, "k:{\"k\":\"c\"}": {".": {}, "f:k": {}, "f:v": {}}}}),
        json!({"map": [{"k": "a", "v": 1}, {"k": "b", "v": 1}]}),
    );
}

#[test]
fn a_map_is_shared_by_key() {
    check(
        json!({"labels": {"a": "1"}}),
        json!({"labels": {"b": "2"}}),
        json!({"labels": {"a": "1", "b": "2"}}),
        json!({"f:labels": {"f:b": {}}}),
        json!({"labels": {"a": "1"}}),
    );
}

#[test]
fn what_no_schema_knows_is_shared_by_its_form() {
    check(
        json!({"open": {"a": {"x": 1}, "l": [1]}}),
        json!({"open": {"a": {"y": 2}, "l": [1]}}),
        json!({"open": {"a": {"x": 1, "y": 2}, "l": [1]}}),
        json!({"f:open": {"f:a": {".": {}, "f:y": {}}, "f:l": {}}}),
        json!({"open": {"a": {"x": 1}, "l": [1]}}),
    );
}

#[test]
fn what_is_atomic_is_owned_as_a_whole() {
    let kind = kind();
    for (field, was, wanted) in [
        ("atomic", json!(["a"]), json!(["a", "b"])),
        ("whole", json!({"a": 1}), json!({"b": 2})),
        ("set", json!(["a"]), json!(["a"])),
    ] {
        let one = apply(&kind, &Value::Null, &thing(json!({field: was})), "one");
        if field == "set" {
            assert_eq!(
                without_managers(&apply(&kind, &one, &thing(json!({field: wanted})), "two")),
                thing(json!({field: was}))
            );
            continue;
        }
        let status = refused(&kind, &one, &thing(json!({field: wanted})), "two");
        assert_eq!(status.message, format!("Apply failed with 1 conflict: conflict with \"one\": .{field}"));
        let forced = force(&kind, &one, &thing(json!({field: wanted})), "two");
        assert_eq!(without_managers(&forced), thing(json!({field: wanted})));
        assert_eq!(owners(&forced), json!([["two", {format!("f:{field}"): {}}]]));
    }
}

#[test]
fn the_order_of_a_wish_is_kept_among_what_others_have() {
    let kind = kind();
    for (live, wish, wanted) in [
        (json!(["a", "b", "c"]), json!(["c", "a"]), json!(["b", "c", "a"])),
        (json!(["a", "b"]), json!(["x", "b"]), json!(["a", "x", "b"])),
        (json!(["a", "b", "c", "d"]), json!(["d", "x", "a"]), json!(["b", "c", "d", "x", "a"])),
        (json!([]), json!(["a"]), json!(["a"])),
        (json!(["a"]), json!([]), json!(["a"])),
        (json!(["a", "a"]), json!(["a", "b"]), json!(["a", "b"])),
    ] {
        let merged = super::super::merge::merge(kind.0, &thing(json!({"set": live})), &thing(json!({"set": wish})));
        assert_eq!(merged, thing(json!({"set": wanted})), "{live} {wish}");
    }
}

#[test]
fn empty_wishes_are_wishes() {
    let kind = kind();
    let one = apply(&kind, &Value::Null, &thing(json!({"labels": {}, "whole": {}})), "one");
    assert_eq!(owners(&one), json!([["one", {"f:labels": {}, "f:whole": {}}]]));
}
