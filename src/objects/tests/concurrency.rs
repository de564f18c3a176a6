//! Many at once.

use std::collections::HashSet;

use futures::StreamExt;
use futures::future::join_all;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_that_race_all_happen() {
    let world = World::new().await;
    world.create("configmaps", json!({"metadata": {"name": "a"}, "data": {"n": "0"}})).await.unwrap();
    let kind = world.kind("configmaps");
    let options = WriteOptions::default();
    let edit = |_| {
        let change = |object: &mut Value| {
            let n: u32 = object["data"]["n"].as_str().unwrap().parse().unwrap();
            object["data"]["n"] = json!((n + 1).to_string());
            Ok(())
        };
        world.objects.edit(&kind, Some("default"), "a", Sub::None, change, &options)
    };
    for outcome in join_all((0..20).map(edit)).await {
        outcome.unwrap();
    }
    assert_eq!(world.get("configmaps", "a").await.unwrap().value()["data"]["n"], "20");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_made_at_once_never_share_an_address_or_a_port() {
    let services = ServiceRanges { prefix_length: 25, ports: (30000, 30099), ..ServiceRanges::default() };
    let world = World::with(Config { services, ..Config::default() }).await;
    let make = |n: usize| {
        let world = &world;
        async move {
            let object =
                json!({"metadata": {"name": format!("s{n}")}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}});
            world.create("services", object).await.unwrap().value()
        }
    };
    let made = join_all((0..50).map(make)).await;
    let addresses: HashSet<&str> = made.iter().map(|made| made["spec"]["clusterIP"].as_str().unwrap()).collect();
    let ports: HashSet<u64> = made.iter().map(|made| made["spec"]["ports"][0]["nodePort"].as_u64().unwrap()).collect();
    assert_eq!((addresses.len(), ports.len()), (50, 50));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_and_the_watch_after_it_are_everything() {
    let world = World::new().await;
    let kind = world.kind("configmaps");
    let writers = (0..4).map(|writer| {
        let world = &world;
        async move {
            for n in 0..25 {
                world.config_map(&format!("{writer}-{n}"), "1").await;
                if n % 3 == 0 {
                    world.delete("configmaps", &format!("{writer}-{n}"), DeleteOptions::default()).await.unwrap();
                }
            }
        }
    });
    let reader = async {
        let list = world.list("configmaps", ListOptions::default()).await.unwrap();
        let mut seen: HashSet<String> = names(&list).into_iter().map(str::to_owned).collect();
        let from = WatchOptions { resource_version: Some(list.revision.to_string()), ..WatchOptions::default() };
        let mut watch = world.objects.watch(&kind, Some("default"), &from).await.unwrap();
        let mut last = list.revision;
        while seen.len() < 64
            || seen.iter().any(|name| name.split('-').nth(1).unwrap().parse::<u32>().unwrap() % 3 == 0)
        {
            match watch.next().await.unwrap() {
                WatchEvent::Added(object) => {
                    assert!(object.revision > last);
                    last = object.revision;
                    assert!(seen.insert(object.meta.name.to_string()));
                }
                WatchEvent::Deleted(object) => {
                    last = object.revision;
                    assert!(seen.remove(&*object.meta.name));
                }
                other => panic!("{other:?}"),
            }
        }
    };
    let all = async { tokio::join!(join_all(writers), reader) };
    tokio::time::timeout(std::time::Duration::from_secs(30), all).await.unwrap();
}
