//! What holds for all objects.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn data() -> impl Strategy<Value = Value> {
    proptest::collection::btree_map("[a-f]", "[xy]", 0..5).prop_map(|map| json!(map))
}

/// A pod template's worth of maps, lists by key, sets and atoms.
fn spec() -> impl Strategy<Value = Value> {
    let env = proptest::collection::btree_map("[A-C]", "[xy]", 0..3)
        .prop_map(|map| map.iter().map(|(name, value)| json!({"name": name, "value": value})).collect::<Value>());
    let container = (env, proptest::option::of("[a-c]"), proptest::collection::vec("[a-b]", 0..3)).prop_map(
        |(env, image, command)| {
            let mut map = Map::new();
            map.insert("env".into(), env);
            map.extend(image.map(|image| ("image".into(), json!(image))));
            map.insert("command".into(), json!(command));
            Value::Object(map)
        },
    );
    let containers = proptest::collection::btree_map("[a-c]", container, 0..3).prop_map(|map| {
        let named = |(name, mut container): (String, Value)| {
            container["name"] = json!(name);
            container
        };
        map.into_iter().map(named).collect::<Value>()
    });
    (containers, data(), proptest::option::of(0..3)).prop_map(|(containers, labels, replicas)| {
        let mut spec = json!({"template": {"metadata": {"labels": labels}, "spec": {"containers": containers}}});
        if let Some(replicas) = replicas {
            spec["replicas"] = json!(replicas);
        }
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec})
    })
}

/// Adds a letter to every key of the data, so that two of these never share any.
fn map_of(data: &Value, letter: &str) -> Value {
    let data: Map<String, Value> =
        data.as_object().unwrap().iter().map(|(key, value)| (format!("{letter}{key}"), value.clone())).collect();
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data})
}

proptest! {
    #[test]
    fn applying_twice_changes_nothing(first in spec(), second in spec()) {
        let kind = deployments();
        let one = apply(&kind, &Value::Null, &first, "one");
        prop_assert_eq!(&apply(&kind, &one, &first, "one"), &one);
        let two = force(&kind, &one, &second, "two");
        prop_assert_eq!(&apply(&kind, &two, &second, "two"), &two);
    }

    #[test]
    fn managers_of_disjoint_fields_never_conflict(one in data(), two in data(), three in data()) {
        let kind = config_maps();
        let mut live = Value::Null;
        for (data, letter) in [(&one, "1"), (&two, "2"), (&three, "1"), (&one, "2")] {
            let wish = map_of(data, letter);
            let outcome = applied(&kind, &live, &wish, &writer(&kind, letter), Reach::default(), false);
            prop_assert!(outcome.is_ok());
            live = outcome.unwrap().object;
        }
        let mut wanted = map_of(&three, "1");
        let other = map_of(&one, "2");
        wanted["data"].as_object_mut().unwrap().extend(other["data"].as_object().unwrap().clone());
        let found = live.get("data").cloned().unwrap_or_else(|| json!({}));
        prop_assert_eq!(&found, &wanted["data"]);
    }

    #[test]
    fn what_one_owned_alone_goes_when_it_stops(first in spec(), second in spec()) {
        let kind = deployments();
        let one = apply(&kind, &Value::Null, &first, "one");
        let both = force(&kind, &one, &second, "two");
        let nothing = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}});
        let left = apply(&kind, &both, &nothing, "one");
        // What is left of it is what the other one wants, and nobody else owns anything.
        let owned = Managers::from_json(left.pointer("/metadata/managedFields")).unwrap();
        prop_assert!(owned.iter().all(|entry| entry.manager == "two"));
        let rest = super::super::extract::with_ways(kind.0, &super::super::extract::wished(kind.0, &left, Reach::default()));
        let mut wanted = super::super::extract::with_ways(kind.0, &super::super::extract::wished(kind.0, &second, Reach::default()));
        let mut extra = rest.clone();
        extra.subtract(&wanted);
        prop_assert!(extra.is_empty(), "{:?}", extra.paths());
        wanted.subtract(&rest);
        prop_assert!(wanted.is_empty(), "{:?}", wanted.paths());
    }

    #[test]
    fn an_update_takes_all_differences_from_others(first in spec(), second in spec()) {
        let kind = deployments();
        let one = update(&kind, &Value::Null, first, "one");
        let mut next = second;
        next["metadata"]["managedFields"] = one["metadata"]["managedFields"].clone();
        let two = update(&kind, &one, next, "two");
        let difference = super::super::compare::compare(kind.0, &without_managers(&one), &without_managers(&two), Reach::default());
        let managers = Managers::from_json(two.pointer("/metadata/managedFields")).unwrap();
        for entry in managers.iter().filter(|entry| entry.manager == "one") {
            prop_assert!(entry.set.common(&difference.changed()).is_empty());
            prop_assert!(entry.set.common(&difference.removed).is_empty());
        }
    }

    #[test]
    fn fields_are_read_as_they_are_written(object in spec()) {
        let set = super::super::extract::fields(deployments().0, &object);
        prop_assert_eq!(FieldSet::from_json(&set.to_json()).unwrap(), set);
    }

    #[test]
    fn nothing_panics(one in "\\PC{0,30}", value in data()) {
        let _ = FieldSet::from_json(&json!({one.clone(): {}}));
        let _ = FieldSet::from_json(&json!({format!("k:{one}"): {"f:a": value}}));
    }
}
