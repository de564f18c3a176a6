//! Budgets, by table.

use std::fmt::Write;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::plan::*;
use super::*;

fn budget(spec: Value, status: Value) -> PodDisruptionBudget {
    serde_json::from_value(json!({
        "metadata": { "name": "b", "namespace": "n", "generation": 3 }, "spec": spec, "status": status,
    }))
    .unwrap()
}

fn no_status() -> Value {
    json!({ "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0 })
}

fn pods(ready: usize, not_ready: usize) -> Vec<Arc<Pod>> {
    let one = |at: usize| {
        let status = if at < ready { "True" } else { "False" };
        let conditions = json!([{ "type": "Ready", "status": status }]);
        serde_json::from_value(
            json!({ "metadata": { "name": format!("p{at}") }, "status": { "conditions": conditions } }),
        )
        .map(Arc::new)
        .unwrap()
    };
    (0..ready + not_ready).map(one).collect()
}

#[test]
fn budgets_are_counted_as_kubernetes_counts_them() {
    for (spec, replicas, ready, not_ready, wanted) in [
        (json!({ "minAvailable": 2 }), 0, 3, 0, (3, 2, 3, 1)),
        (json!({ "minAvailable": 2 }), 0, 2, 1, (3, 2, 2, 0)),
        (json!({ "minAvailable": 0 }), 0, 0, 0, (0, 0, 0, 0)),
        (json!({ "minAvailable": "50%" }), 5, 5, 0, (5, 3, 5, 2)),
        (json!({ "maxUnavailable": 1 }), 3, 3, 0, (3, 2, 3, 1)),
        (json!({ "maxUnavailable": 1 }), 3, 2, 1, (3, 2, 2, 0)),
        (json!({ "maxUnavailable": "34%" }), 3, 3, 0, (3, 1, 3, 2)),
        (json!({ "maxUnavailable": 5 }), 3, 3, 0, (3, 0, 3, 3)),
        (json!({}), 3, 3, 0, (0, 0, 3, 0)),
    ] {
        let budget = budget(spec.clone(), no_status());
        let pods = pods(ready, not_ready);
        let scales = [Scale { uid: "u".to_owned(), replicas }];
        let expected = expected(&budget, &pods, &scales).unwrap();
        let (status, _) = status(&budget, &pods, expected, Timestamp::UNIX_EPOCH);
        let found = (status.expected_pods, status.desired_healthy, status.current_healthy, status.disruptions_allowed);
        let wanted_some = (Some(wanted.0), Some(wanted.1), Some(wanted.2), Some(wanted.3));
        assert_eq!(found, wanted_some, "{spec}");
        let condition = &status.conditions.unwrap()[0];
        assert_eq!(condition.reason, if wanted.3 > 0 { "SufficientPods" } else { "InsufficientPods" });
        assert_eq!(condition.observed_generation, Some(3));
    }
}

#[test]
fn an_evicted_pod_counts_as_gone_for_two_minutes() {
    let mut told = no_status();
    told["disruptedPods"] = json!({ "p0": "1970-01-01T00:00:00Z", "gone": "1970-01-01T00:00:00Z" });
    let budget = budget(json!({ "minAvailable": 1 }), told);
    let pods = pods(3, 0);
    let expected = expected(&budget, &pods, &[]).unwrap();
    let at = |second| status(&budget, &pods, expected, Timestamp::from_second(second).unwrap());
    let (early, next) = at(10);
    assert_eq!((early.current_healthy, early.disruptions_allowed), (Some(2), Some(1)));
    assert_eq!(early.disrupted_pods.unwrap().len(), 1);
    assert_eq!(next, Some(Duration::from_secs(110)));
    let (late, next) = at(121);
    assert_eq!(
        (late.current_healthy, late.disruptions_allowed, late.disrupted_pods, next),
        (Some(3), Some(2), None, None)
    );
}

#[test]
fn without_a_controller_nobody_may_go() {
    let mut told = no_status();
    told["disruptionsAllowed"] = json!(2);
    let status = failed(&budget(json!({ "maxUnavailable": 1 }), told), "found no controllers", Timestamp::UNIX_EPOCH);
    assert_eq!(status.disruptions_allowed, Some(0));
    let condition = &status.conditions.unwrap()[0];
    assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("False", "SyncFailed"));
    assert_eq!(condition.message, "found no controllers");
}

/// A Deployment of three under a budget of two, a clock, and evictions as the API server decides them.
struct Drain {
    budget: PodDisruptionBudget,
    pods: Vec<Arc<Pod>>,
    second: i64,
    story: String,
}

impl Drain {
    fn new() -> Self {
        let budget = budget(json!({ "minAvailable": 2 }), no_status());
        let mut drain = Self { budget, pods: pods(3, 0), second: 0, story: String::new() };
        drain.look();
        drain
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.second).unwrap()
    }

    fn look(&mut self) {
        let scales = [Scale { uid: "u".to_owned(), replicas: 3 }];
        let expected = expected(&self.budget, &self.pods, &scales).unwrap();
        let (status, next) = status(&self.budget, &self.pods, expected, self.now());
        if self.budget.status.as_ref() != Some(&status) {
            let (healthy, allowed) = (status.current_healthy.unwrap(), status.disruptions_allowed.unwrap());
            let going: Vec<String> = status.disrupted_pods.clone().unwrap_or_default().into_keys().collect();
            let again = next.map(|next| format!(", looks again in {next:?}")).unwrap_or_default();
            let line = format!("{healthy} of 3 healthy, {allowed} may go, going: [{}]{again}", going.join(" "));
            writeln!(self.story, "at {} s {line}", self.second).unwrap();
            self.budget.status = Some(status);
        }
    }

    /// What the API server writes into the budget before it deletes the pod; or nothing.
    fn evict(&mut self, name: &str) {
        let now = Time(self.now());
        let status = self.budget.status.as_mut().unwrap();
        let allowed = status.disruptions_allowed.unwrap();
        writeln!(self.story, "at {} s {name} {}", self.second, if allowed > 0 { "is evicted" } else { "is protected" })
            .unwrap();
        if allowed > 0 {
            status.disruptions_allowed = Some(allowed - 1);
            status.disrupted_pods.get_or_insert_default().insert(name.to_owned(), now);
        }
        self.look();
    }

    fn at(&mut self, second: i64, pods: Vec<Arc<Pod>>) {
        (self.second, self.pods) = (second, pods);
        self.look();
    }
}

#[test]
fn a_drain_takes_one_pod_after_the_other() {
    let mut drain = Drain::new();
    drain.evict("p0");
    drain.evict("p1");
    // The pod is gone; another one comes and is not ready yet; then it is.
    let all = pods(4, 0);
    let after = |ready: bool| -> Vec<Arc<Pod>> {
        let new = if ready { all[3].clone() } else { pods(3, 1)[3].clone() };
        vec![all[1].clone(), all[2].clone(), new]
    };
    drain.at(1, after(false));
    drain.evict("p1");
    drain.at(2, after(true));
    drain.evict("p1");
    // Its deletion was refused by somebody: after two minutes it counts again.
    drain.at(122, after(true));
    expect_test::expect![[r#"
        at 0 s 3 of 3 healthy, 1 may go, going: []
        at 0 s p0 is evicted
        at 0 s 2 of 3 healthy, 0 may go, going: [p0], looks again in 120s
        at 0 s p1 is protected
        at 1 s 2 of 3 healthy, 0 may go, going: []
        at 1 s p1 is protected
        at 2 s 3 of 3 healthy, 1 may go, going: []
        at 2 s p1 is evicted
        at 2 s 2 of 3 healthy, 0 may go, going: [p1], looks again in 120s
        at 122 s 3 of 3 healthy, 1 may go, going: []
    "#]]
    .assert_eq(&drain.story);
}

proptest! {
    #[test]
    fn a_status_that_was_written_is_not_written_again(least in 0..6i32, ready in 0..6usize, not_ready in 0..3usize) {
        let first = budget(json!({ "minAvailable": least }), no_status());
        let pods = pods(ready, not_ready);
        let wanted = expected(&first, &pods, &[]).unwrap();
        let (once, _) = status(&first, &pods, wanted, Timestamp::UNIX_EPOCH);
        let second = PodDisruptionBudget { status: Some(once.clone()), ..first };
        let (twice, _) = status(&second, &pods, wanted, Timestamp::from_second(9).unwrap());
        prop_assert_eq!(&once, &twice);
        let number = |field: Option<i32>| field.unwrap_or_default();
        let (healthy, desired) = (number(once.current_healthy), number(once.desired_healthy));
        prop_assert!(number(once.disruptions_allowed) >= 0);
        prop_assert!(healthy - number(once.disruptions_allowed) >= desired.min(healthy));
    }
}
