//! Old events go.

use jiff::{SignedDuration, Timestamp};

use super::*;

#[tokio::test]
async fn events_go_some_time_after_they_happened_last() {
    let world = World::new().await;
    let now = Timestamp::now();
    let minutes = |minutes| now + SignedDuration::from_mins(minutes);
    for (name, last) in [("old", now), ("again", minutes(30))] {
        let object = json!({
            "metadata": {"name": name}, "reason": "Started", "message": "m", "type": "Normal",
            "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
            "firstTimestamp": api::meta::time_text(now), "lastTimestamp": api::meta::time_text(last),
            "source": {"component": "node"},
        });
        world.objects.create(&core_events(&world), Some("default"), object, &WriteOptions::default()).await.unwrap();
    }
    let there = async || {
        let list = world.objects.list(&core_events(&world), None, &ListOptions::default()).await.unwrap();
        names(&list).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    world.objects.expire_once(minutes(59)).await;
    assert_eq!(there().await, ["again", "old"]);
    world.objects.expire_once(minutes(61)).await;
    assert_eq!(there().await, ["again"]);
    world.objects.expire_once(minutes(91)).await;
    assert!(there().await.is_empty());
}

fn core_events(world: &World) -> Arc<Kind> {
    world.objects.kinds().by_resource("", "v1", "events").unwrap().clone()
}
