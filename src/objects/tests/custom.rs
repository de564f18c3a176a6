//! Definitions outlive the process: what was established is served before anything else is.

use std::sync::Arc;

use serde_json::json;
use store::Memory;

use super::World;
use crate::*;

#[tokio::test]
async fn after_a_restart_custom_resources_are_there_at_once() {
    let store: store::SharedStore = Arc::new(Memory::new());
    let definition = json!({
        "metadata": { "name": "things.a.example.com" },
        "spec": {
            "group": "a.example.com", "scope": "Namespaced", "names": { "plural": "things", "kind": "Thing" },
            "versions": [{
                "name": "v1", "served": true, "storage": true, "selectableFields": [{ "jsonPath": ".spec.color" }],
                "schema": { "openAPIV3Schema": { "type": "object", "properties": { "spec": { "type": "object", "properties": { "color": { "type": "string" } } } } } },
            }],
        },
    });
    {
        let world = World::over(store.clone(), Config::default()).await;
        world.create("customresourcedefinitions", definition).await.unwrap();
        let served = async {
            while world.objects.kinds().by_resource("a.example.com", "v1", "things").is_none() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), served).await.expect("the kind is served");
        for (name, color) in [("a", "red"), ("b", "blue")] {
            let thing = json!({ "metadata": { "name": name }, "spec": { "color": color, "unknown": 1 } });
            let made = world.create("things", thing).await.unwrap();
            assert_eq!(made.value()["spec"], json!({ "color": color }));
        }
    }
    let world = World::over(store, Config::default()).await;
    let kind =
        world.objects.kinds().by_resource("a.example.com", "v1", "things").expect("it is served at once").clone();
    let selected = ListOptions { field_selector: "spec.color=blue".parse().unwrap(), ..ListOptions::default() };
    let found = world.objects.list(&kind, Some("default"), &selected).await.unwrap();
    assert_eq!(found.items.iter().map(|item| &*item.meta.name).collect::<Vec<_>>(), ["b"]);
}
