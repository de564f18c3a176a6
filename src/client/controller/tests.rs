//! The queue, batches and expectations.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base::Tasks;
use base::metrics::Metrics;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::sync::mpsc;

use super::*;

fn map(name: &str, revision: u64) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            namespace: Some("a".into()),
            name: Some(name.into()),
            uid: Some(format!("uid-{name}")),
            resource_version: Some(revision.to_string()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_waits_once_and_runs_again_when_it_changed_meanwhile() {
    let queue = Queue::new(Delays::default());
    queue.add("key");
    queue.add("key");
    assert_eq!(queue.next().await, "key");
    assert!(queue.is_empty());
    queue.add("key");
    assert!(queue.is_empty(), "it is running");
    queue.succeeded(&"key", Next::Done, Duration::ZERO);
    assert_eq!(queue.next().await, "key");
    queue.succeeded(&"key", Next::Done, Duration::ZERO);
    assert!(tokio::time::timeout(Duration::from_secs(3600), queue.next()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_changes_all_the_time_rests_between_its_runs() {
    let queue = Queue::new(Delays::default());
    let rest = Duration::from_millis(20);
    queue.add("key");
    assert_eq!(queue.next().await, "key");
    // Nothing changed: it need not rest when something does.
    queue.succeeded(&"key", Next::Done, rest);
    queue.add("key");
    assert_eq!(tokio::time::timeout(Duration::ZERO, queue.next()).await, Ok("key"));
    queue.add("key");
    let before = Instant::now();
    queue.succeeded(&"key", Next::After(Duration::from_secs(9)), rest);
    queue.add("key");
    assert!(queue.is_empty(), "it rests");
    assert_eq!(queue.next().await, "key");
    assert_eq!(before.elapsed(), rest);
    queue.succeeded(&"key", Next::Done, rest);
    assert!(tokio::time::timeout(Duration::from_secs(60), queue.next()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_wished_otherwise_does_not_rest() {
    let queue = Queue::new(Delays::default());
    let (rest, before) = (Duration::from_millis(20), Instant::now());
    queue.add("key");
    assert_eq!(queue.next().await, "key");
    queue.add("key");
    queue.hurry("key");
    queue.succeeded(&"key", Next::Done, rest);
    assert_eq!(queue.next().await, "key");
    queue.add("key");
    queue.succeeded(&"key", Next::Done, rest);
    // It rests already.
    queue.hurry("key");
    assert_eq!((queue.next().await, before.elapsed()), ("key", Duration::ZERO));
    queue.succeeded(&"key", Next::Done, rest);
    assert!(tokio::time::timeout(Duration::from_secs(60), queue.next()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn failures_double_the_wait_and_a_success_forgets_them() {
    let queue = Queue::new(Delays::default());
    queue.add("key");
    let mut waits = Vec::new();
    for _ in 0..4 {
        let key = queue.next().await;
        waits.push(queue.failed(&key));
    }
    assert!(waits.windows(2).all(|pair| pair[1] > pair[0].mul_f64(1.5)), "{waits:?}");
    let key = queue.next().await;
    queue.succeeded(&key, Next::After(Duration::from_secs(10)), Duration::ZERO);
    let before = Instant::now();
    let key = queue.next().await;
    assert!(before.elapsed() >= Duration::from_secs(10));
    assert!(queue.failed(&key) < Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn the_earliest_of_several_wishes_counts() {
    let queue = Queue::new(Delays::default());
    queue.add_after("key", Duration::from_secs(5));
    queue.add_after("key", Duration::from_secs(1));
    queue.add_after("key", Duration::from_secs(9));
    let before = Instant::now();
    assert_eq!(queue.next().await, "key");
    assert!(before.elapsed() < Duration::from_secs(2));
    queue.succeeded(&"key", Next::Done, Duration::ZERO);
    assert!(tokio::time::timeout(Duration::from_secs(60), queue.next()).await.is_err());
}

#[tokio::test]
async fn batches_double_and_end_with_the_batch_that_fails() {
    let tried = AtomicUsize::new(0);
    let (succeeded, failure) = in_doubling_batches(100, |index| {
        tried.fetch_add(1, Ordering::Relaxed);
        async move { if index == 4 { Err("five") } else { Ok(()) } }
    })
    .await;
    assert_eq!((tried.into_inner(), succeeded, failure), (7, 6, Some("five")));
}

#[test]
fn a_cache_that_lags_does_not_meet_expectations() {
    let cache = Informer::<ConfigMap>::empty();
    cache.replace([map("old", 5)]);
    let (expectations, owner) = (Expectations::default(), Key::new("a", "owner"));
    assert!(expectations.met(&owner, &cache));

    expectations.created(&owner, &map("new", 6).metadata, &cache);
    expectations.deleted(&owner, &map("old", 5).metadata);
    assert!(!expectations.met(&owner, &cache));
    cache.apply(map("new", 6));
    assert!(!expectations.met(&owner, &cache));
    cache.remove(map("old", 7));
    assert!(expectations.met(&owner, &cache));

    // Created and deleted by somebody else before the cache looked: its revision has passed.
    expectations.created(&owner, &map("brief", 8).metadata, &cache);
    assert!(!expectations.met(&owner, &cache));
    cache.apply(map("other", 9));
    assert!(expectations.met(&owner, &cache));
}

#[test]
fn a_cache_from_before_a_write_does_not_meet_expectations() {
    let cache = Informer::<ConfigMap>::empty();
    cache.replace([map("one", 5)]);
    let (expectations, owner) = (Expectations::default(), Key::new("a", "owner"));
    expectations.wrote(&owner, &map("one", 5).metadata, &cache);
    assert!(expectations.met(&owner, &cache), "nothing was changed");
    expectations.wrote(&owner, &map("one", 6).metadata, &cache);
    assert!(!expectations.met(&owner, &cache));
    cache.apply(map("one", 6));
    assert!(expectations.met(&owner, &cache));
}

struct Panics(mpsc::UnboundedSender<()>);

#[async_trait]
impl Reconcile for Panics {
    async fn reconcile(&self, _key: &Key) -> Result<Next, RunError> {
        self.0.send(()).unwrap();
        panic!("on purpose");
    }
}

#[tokio::test]
async fn a_run_that_panics_is_a_run_that_failed() {
    let cache = Informer::<ConfigMap>::empty();
    let (runs, mut seen) = mpsc::unbounded_channel();
    let tasks = Tasks::new();
    Controller::new("test", &ControllerMetrics::new(&Metrics::default())).each(&cache).start(&tasks, Panics(runs));
    cache.replace([map("one", 1)]);
    seen.recv().await.unwrap();
    seen.recv().await.unwrap();
}

/// Counts its runs.
struct Counting(mpsc::UnboundedSender<Key>);

#[async_trait]
impl Reconcile for Counting {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let _ = self.0.send(key.clone());
        Ok(Next::Done)
    }
}

#[tokio::test]
async fn a_controller_that_may_act_no_longer_holds_nothing_and_another_one_takes_over() {
    let (informer, metrics) = (Informer::<ConfigMap>::empty(), ControllerMetrics::new(&Metrics::default()));
    informer.replace([map("old", 1)]);
    let begin = |tasks: &Tasks| {
        let (ran, runs) = mpsc::unbounded_channel();
        let controller = Controller::new("counting", &metrics).each(&informer);
        let queue = controller.queue();
        controller.start(tasks, Counting(ran));
        (queue, runs)
    };
    let term = Tasks::new();
    let (queue, mut runs) = begin(&term);
    assert_eq!(runs.recv().await.unwrap().name, "old");
    term.stop(Duration::from_secs(5)).await;
    assert!(runs.recv().await.is_none() && queue.is_closed());
    informer.apply(map("new", 2));
    assert!(queue.is_empty());
    let next = Tasks::new();
    let (_queue, mut runs) = begin(&next);
    let seen = [runs.recv().await.unwrap().name, runs.recv().await.unwrap().name];
    assert!(["new", "old"].iter().all(|name| seen.iter().any(|seen| seen == name)), "{seen:?}");
}
