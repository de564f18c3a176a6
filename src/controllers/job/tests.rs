//! Stories of Jobs, and that they end.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use proptest::prelude::*;
use serde_json::json;

use super::plan::plan;
use super::{FINALIZER, index_of, is_tracked};

/// A Job, its pods, and the time, as a controller's plans change them.
struct World {
    job: Job,
    pods: Vec<Arc<Pod>>,
    now: Timestamp,
    made: u32,
}

impl World {
    fn new(spec: serde_json::Value) -> Self {
        let spec: JobSpec = serde_json::from_value(spec).expect("a spec");
        let metadata = ObjectMeta { name: Some("sum".into()), uid: Some("job".into()), ..ObjectMeta::default() };
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1000);
        Self { job: Job { metadata, spec: Some(spec), status: None }, pods: Vec::new(), now, made: 0 }
    }

    /// Carries one plan out; whether it did anything.
    fn step(&mut self) -> bool {
        let plan = plan(&self.job, &self.pods, self.now);
        let busy = plan.status.is_some()
            || !(plan.untrack.is_empty() && plan.create.is_empty() && plan.remove.is_empty() && plan.end.is_empty());
        if let Some(status) = plan.status {
            assert!(status.ready.unwrap_or(0) <= status.active.unwrap_or(0), "the API refuses more ready than active");
            self.job.status = Some(status);
        }
        for gone in plan.untrack.iter().chain(&plan.remove) {
            self.change(gone, |pod| pod.metadata.finalizers = None);
        }
        for gone in plan.remove.iter().chain(&plan.end) {
            let now = self.now;
            self.change(gone, |pod| pod.metadata.deletion_timestamp = Some(Time(now)));
        }
        for index in plan.create {
            self.made += 1;
            let name = format!("p{}", self.made);
            let annotations = index.map(|index| {
                let all = super::tally::next_annotations(&self.job, &self.pods, index);
                all.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
            });
            let metadata = ObjectMeta {
                name: Some(name.clone()),
                uid: Some(name),
                finalizers: Some(vec![FINALIZER.to_owned()]),
                annotations,
                ..ObjectMeta::default()
            };
            self.pods.push(Arc::new(Pod { metadata, spec: None, status: Some(ready()) }));
        }
        // What is being deleted and held by nobody is gone.
        self.pods.retain(|pod| pod.metadata.deletion_timestamp.is_none() || is_tracked(pod));
        if !busy && let Some(again) = plan.again {
            self.now += SignedDuration::try_from(again).expect("a wait");
            return true;
        }
        busy
    }

    fn settle(&mut self) {
        for _ in 0..1000 {
            if !self.step() {
                return;
            }
            // A deadline that is far away is not waited for.
            if self.plan_waits() {
                return;
            }
        }
        panic!("it does not come to rest: {:?}", self.job.status);
    }

    fn plan_waits(&self) -> bool {
        let plan = plan(&self.job, &self.pods, self.now);
        plan.status.is_none()
            && plan.untrack.is_empty()
            && plan.create.is_empty()
            && plan.remove.is_empty()
            && plan.end.is_empty()
            && !self.running().is_empty()
    }

    fn change(&mut self, which: &Arc<Pod>, change: impl FnOnce(&mut Pod)) {
        if let Some(pod) = self.pods.iter_mut().find(|pod| pod.metadata.uid == which.metadata.uid) {
            change(Arc::make_mut(pod));
        }
    }

    fn running(&self) -> Vec<Arc<Pod>> {
        self.pods.iter().filter(|pod| !crate::pods::is_finished(pod)).cloned().collect()
    }

    fn finish(&mut self, pod: &Arc<Pod>, code: i32) {
        let now = self.now;
        self.change(pod, |pod| {
            let terminated =
                ContainerStateTerminated { exit_code: code, finished_at: Some(Time(now)), ..Default::default() };
            let state = ContainerState { terminated: Some(terminated), ..Default::default() };
            let container = ContainerStatus { name: "main".into(), state: Some(state), ..Default::default() };
            pod.status = Some(PodStatus {
                phase: Some(if code == 0 { "Succeeded" } else { "Failed" }.into()),
                container_statuses: Some(vec![container]),
                ..PodStatus::default()
            });
        });
    }

    /// Lets every pod that runs end with a code.
    fn finish_all(&mut self, code: i32) {
        for pod in self.running() {
            self.finish(&pod, code);
        }
    }

    fn told(&self) -> String {
        let status = self.job.status.clone().unwrap_or_default();
        let holds = status.conditions.iter().flatten().filter(|condition| condition.status == "True");
        let holds: Vec<String> =
            holds.map(|held| format!("{}({})", held.type_, held.reason.clone().unwrap_or_default())).collect();
        format!(
            "active {} succeeded {} failed {} {}",
            status.active.unwrap_or(0),
            status.succeeded.unwrap_or(0),
            status.failed.unwrap_or(0),
            holds.join(" ")
        )
    }
}

fn ready() -> PodStatus {
    let conditions = json!([{ "type": "Ready", "status": "True" }]);
    serde_json::from_value(json!({ "phase": "Running", "conditions": conditions })).expect("a status")
}

#[test]
fn a_job_runs_until_enough_have_succeeded() {
    let mut world = World::new(json!({"parallelism": 2, "completions": 3, "template": {}}));
    world.settle();
    assert_eq!(world.told(), "active 2 succeeded 0 failed 0 ");
    world.finish_all(0);
    world.settle();
    assert_eq!(world.told(), "active 1 succeeded 2 failed 0 ");
    world.finish_all(0);
    world.settle();
    assert_eq!(
        world.told(),
        "active 0 succeeded 3 failed 0 SuccessCriteriaMet(CompletionsReached) Complete(CompletionsReached)"
    );
    let status = world.job.status.clone().unwrap_or_default();
    assert!(status.completion_time.is_some() && status.start_time.is_some());
    assert!(world.pods.iter().all(|pod| !is_tracked(pod)), "nothing is held any more");
}

#[test]
fn failures_are_retried_later_and_later_and_end_at_the_limit() {
    let mut world = World::new(json!({"backoffLimit": 2, "template": {}}));
    let mut waits = Vec::new();
    for _ in 0..3 {
        let before = world.now;
        world.settle();
        waits.push(world.now.duration_since(before).as_secs());
        world.finish_all(7);
    }
    assert_eq!(waits, [0, 10, 20]);
    world.settle();
    assert_eq!(
        world.told(),
        "active 0 succeeded 0 failed 3 FailureTarget(BackoffLimitExceeded) Failed(BackoffLimitExceeded)"
    );
}

#[test]
fn indexes_are_each_completed_once() {
    let mut world =
        World::new(json!({"completionMode": "Indexed", "parallelism": 3, "completions": 5, "template": {}}));
    world.settle();
    let indexes: Vec<_> = world.running().iter().filter_map(|pod| index_of(pod)).collect();
    assert_eq!(indexes, [0, 1, 2]);
    let second = world.running()[1].clone();
    world.finish(&second, 0);
    world.settle();
    let status = world.job.status.clone().unwrap_or_default();
    assert_eq!(status.completed_indexes.as_deref(), Some("1"));
    assert_eq!(world.running().iter().filter_map(|pod| index_of(pod)).collect::<Vec<_>>(), [0, 2, 3]);
    for _ in 0..3 {
        world.finish_all(0);
        world.settle();
    }
    assert_eq!(world.job.status.clone().unwrap_or_default().completed_indexes.as_deref(), Some("0-4"));
    assert!(world.told().contains("Complete("), "{}", world.told());
}

#[test]
fn an_index_that_keeps_failing_fails_alone() {
    let mut world = World::new(json!({"completionMode": "Indexed", "parallelism": 2, "completions": 2,
        "backoffLimitPerIndex": 1, "backoffLimit": 100, "template": {}}));
    world.settle();
    for _ in 0..3 {
        for pod in world.running() {
            let code = if index_of(&pod) == Some(0) { 3 } else { 0 };
            world.finish(&pod, code);
        }
        world.settle();
    }
    let status = world.job.status.clone().unwrap_or_default();
    assert_eq!((status.completed_indexes.as_deref(), status.failed_indexes.as_deref()), (Some("1"), Some("0")));
    assert!(world.told().ends_with("Failed(FailedIndexes)"), "{}", world.told());
    assert_eq!(status.failed, Some(2));
}

#[test]
fn who_is_sent_away_by_a_job_that_failed_has_failed() {
    let mut world = World::new(json!({"parallelism": 2, "completions": 2, "backoffLimit": 0, "template": {}}));
    world.settle();
    let [one, other] = &world.running()[..] else { panic!("two pods") };
    world.finish(one, 1);
    world.step();
    // It ends as if nothing had happened, in the moment in which it is deleted.
    world.finish(other, 0);
    world.settle();
    assert_eq!(
        world.told(),
        "active 0 succeeded 0 failed 2 FailureTarget(BackoffLimitExceeded) Failed(BackoffLimitExceeded)"
    );
}

#[test]
fn a_policy_tells_failures_apart() {
    let rules = json!({"rules": [
        {"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": [42]}},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]});
    let mut world = World::new(json!({"parallelism": 2, "completions": 2, "podFailurePolicy": rules, "template": {}}));
    world.settle();
    let [one, _] = &world.running()[..] else { panic!("two pods") };
    world.finish(one, 42);
    world.settle();
    assert!(world.told().contains("FailureTarget(PodFailurePolicy)"), "{}", world.told());
    // The other one is asked to go; once it is gone the Job has failed.
    world.finish_all(143);
    world.settle();
    assert!(world.told().ends_with("Failed(PodFailurePolicy)"), "{}", world.told());
}

#[test]
fn a_suspended_job_has_no_pods_and_no_failures() {
    let mut world = World::new(json!({"parallelism": 2, "completions": 2, "template": {}}));
    world.settle();
    let suspend = |world: &mut World, on| world.job.spec.as_mut().expect("spec").suspend = Some(on);
    suspend(&mut world, true);
    world.settle();
    assert_eq!(world.told(), "active 0 succeeded 0 failed 0 Suspended(JobSuspended)");
    assert!(world.pods.is_empty());
    suspend(&mut world, false);
    world.settle();
    assert_eq!(world.told(), "active 2 succeeded 0 failed 0 ");
}

#[test]
fn the_deadline_ends_what_runs() {
    let mut world = World::new(json!({"activeDeadlineSeconds": 30, "template": {}}));
    world.settle();
    world.now += SignedDuration::from_secs(31);
    world.settle();
    world.finish_all(143);
    world.settle();
    assert!(
        world.told().ends_with("failed 1 FailureTarget(DeadlineExceeded) Failed(DeadlineExceeded)"),
        "{}",
        world.told()
    );
}

#[test]
fn enough_indexes_are_enough() {
    let policy = json!({"rules": [{"succeededIndexes": "0,2", "succeededCount": 1}]});
    let mut world = World::new(json!({"completionMode": "Indexed", "parallelism": 3, "completions": 3,
        "successPolicy": policy, "template": {}}));
    world.settle();
    let third = world.running()[2].clone();
    world.finish(&third, 0);
    world.settle();
    world.finish_all(143);
    world.settle();
    assert!(world.told().ends_with("Complete(SuccessPolicy)"), "{}", world.told());
}

proptest! {
    #[test]
    fn every_job_ends_and_counts_what_happened(
        parallelism in 1..5i32, completions in 1..9i32, indexed: bool, backoff in 0..4i32,
        codes in proptest::collection::vec(0..3i32, 64),
    ) {
        let mode = if indexed { "Indexed" } else { "NonIndexed" };
        let mut world = World::new(json!({"parallelism": parallelism, "completions": completions,
            "completionMode": mode, "backoffLimit": backoff, "template": {}}));
        let mut codes = codes.into_iter().cycle();
        let (mut good, mut bad) = (0, 0);
        for _ in 0..200 {
            world.settle();
            let Some(pod) = world.running().first().cloned() else { break };
            // Two in three are well.
            let code = i32::from(codes.next() == Some(0));
            if code == 0 { good += 1 } else { bad += 1 }
            world.finish(&pod, code);
        }
        world.settle();
        let status = world.job.status.clone().unwrap_or_default();
        let (succeeded, failed) = (status.succeeded.unwrap_or(0), status.failed.unwrap_or(0));
        if world.told().contains("Complete(") {
            prop_assert_eq!(succeeded, completions);
        } else {
            prop_assert!(world.told().contains("Failed("), "{}", world.told());
        }
        prop_assert!(succeeded <= good && failed >= bad.min(backoff + 1), "{good} {bad}: {}", world.told());
        prop_assert!(world.pods.iter().all(|pod| !is_tracked(pod)));
    }
}
