//! The queue: who is looked at when, and what wakes whom.

use std::sync::Arc;
use std::time::Duration;

use client::informers::Key;
use serde_json::json;
use tokio::time::Instant;

use super::{ask, node, pod};
use crate::events::Event;
use crate::plugins::number;
use crate::queue::Queue;

const SECOND: Duration = Duration::from_secs(1);

fn queue() -> Queue {
    Queue::new(SECOND, 10 * SECOND)
}

fn add(queue: &mut Queue, name: &str, priority: i32) -> Key {
    let pod = Arc::new(pod(name, "cpu=1", json!({"spec": {"priority": priority}})));
    let key = Key::of(pod.as_ref());
    queue.add(&key, &pod);
    key
}

fn take(queue: &mut Queue, now: Instant) -> Option<String> {
    queue.take(now).map(|ask| ask.key.name.clone())
}

fn refused_by(plugin: &str) -> u32 {
    1 << number(plugin).unwrap()
}

#[test]
fn important_pods_come_first_then_older_ones() {
    let (mut queue, now) = (queue(), Instant::now());
    for (name, priority) in [("b", 0), ("a", 0), ("vip", 9)] {
        add(&mut queue, name, priority);
    }
    let order: Vec<_> = std::iter::from_fn(|| take(&mut queue, now)).collect();
    assert_eq!(order, ["vip", "b", "a"]);
}

#[test]
fn only_what_may_help_wakes_a_pod() {
    let (mut queue, now) = (queue(), Instant::now());
    let key = add(&mut queue, "p", 0);
    take(&mut queue, now);
    queue.refused(&key, now, refused_by("NodeResourcesFit"));
    let small = node("small cpu=500m memory=1Gi pods=9");
    let large = node("large cpu=4 memory=1Gi pods=9");
    let relabelled = node("large cpu=4 memory=1Gi pods=9 label:a=b");
    for event in [
        Event::NodeAdded(small),
        Event::NodeChanged(large.clone(), relabelled),
        Event::Namespace,
        Event::Class,
        Event::PodPlaced(ask(pod("other", "", json!({})))),
    ] {
        queue.wake(&event, now);
        assert_eq!(take(&mut queue, now + SECOND), None, "{event:?}");
    }
    queue.wake(&Event::NodeAdded(large), now);
    assert_eq!(take(&mut queue, now + SECOND).as_deref(), Some("p"));
}

#[test]
fn back_off_doubles_and_yields_when_nothing_else_is_to_be_done() {
    let (mut queue, mut now) = (queue(), Instant::now());
    let key = add(&mut queue, "p", 0);
    let gone = Event::PodGone(ask(pod("other", "", json!({}))));
    for wait in [1, 2, 4, 8, 10, 10] {
        assert_eq!(take(&mut queue, now).as_deref(), Some("p"));
        queue.refused(&key, now, refused_by("NodeResourcesFit"));
        assert!(queue.next_due().is_some_and(|due| due > now + 200 * SECOND));
        queue.wake(&gone, now);
        // A share of the wait is enough while nobody else waits; never less than that.
        assert_eq!(queue.next_due(), Some(now + wait * SECOND / 20));
        assert_eq!(take(&mut queue, now + wait * SECOND / 20 - Duration::from_millis(1)), None);
        now += wait * SECOND / 20;
    }
    // What failed for no reason of its own sits its time out.
    assert_eq!(take(&mut queue, now).as_deref(), Some("p"));
    queue.failed(&key, now);
    assert_eq!(take(&mut queue, now + 9 * SECOND), None);
    assert_eq!(take(&mut queue, now + 10 * SECOND).as_deref(), Some("p"));
}

#[test]
fn a_pod_that_nothing_wakes_is_looked_at_after_five_minutes() {
    let (mut queue, now) = (queue(), Instant::now());
    let key = add(&mut queue, "p", 0);
    take(&mut queue, now);
    queue.refused(&key, now, refused_by("NodeAffinity"));
    assert_eq!(take(&mut queue, now + 299 * SECOND), None);
    assert_eq!(take(&mut queue, now + 300 * SECOND).as_deref(), Some("p"));
    assert_eq!(queue.next_due(), None);
}

#[test]
fn gates_hold_a_pod_and_changes_of_it_bring_it_back() {
    let (mut queue, now) = (queue(), Instant::now());
    let gated = Arc::new(pod("g", "", json!({"spec": {"schedulingGates": [{"name": "x"}]}})));
    let key = Key::of(gated.as_ref());
    queue.add(&key, &gated);
    assert_eq!((take(&mut queue, now), queue.counts()[3].1), (None, 1));
    queue.wake(&Event::Anything, now);
    assert_eq!(take(&mut queue, now), None);
    let open = Arc::new(pod("g", "", json!({})));
    queue.add(&key, &open);
    assert_eq!(take(&mut queue, now).as_deref(), Some("g"));
    queue.refused(&key, now, refused_by("TaintToleration"));
    let tolerant = Arc::new(pod("g", "", json!({"spec": {"tolerations": [{"operator": "Exists"}]}})));
    queue.add(&key, &tolerant);
    assert_eq!(take(&mut queue, now).as_deref(), Some("g"));
    queue.remove(&key);
    assert_eq!((queue.len(), queue.next_due()), (0, Some(now + 300 * SECOND)));
    assert_eq!(take(&mut queue, now + 300 * SECOND), None);
}
