//! What autoscalers decide, as tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::behavior::Memory;
use super::conditions::Conditions;
use super::custom::{Reading, Readings};
use super::figures::{Sample, Samples};
use super::idle::Idleness;
use super::plan::{Proposal, Seen, decide, propose};

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1000)
}

fn scaler(spec: serde_json::Value) -> HorizontalPodAutoscaler {
    let mut base = json!({"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "minReplicas": 1, "maxReplicas": 10,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]});
    base.as_object_mut().expect("an object").extend(spec.as_object().expect("an object").clone());
    serde_json::from_value(json!({"metadata": {"name": "web"}, "spec": base})).expect("an autoscaler")
}

/// Pods that ask for 100m, started long ago; `-`: nothing is known, `?`: not ready yet, else what they use.
fn world(uses: &str) -> (Vec<Arc<Pod>>, Samples) {
    let (mut pods, mut samples) = (Vec::new(), BTreeMap::new());
    for (at, word) in uses.split_whitespace().enumerate() {
        let name = format!("p{at}");
        let phase = if word == "?" { "Pending" } else { "Running" };
        let pod = json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "main",
            "resources": {"requests": {"cpu": "100m"}}}]}, "status": {"phase": phase, "startTime": "1970-01-02T00:00:00Z",
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "1970-01-02T00:00:10Z"}]}});
        pods.push(Arc::new(serde_json::from_value(pod).expect("a pod")));
        if let Ok(milli) = word.parse::<i64>() {
            let usage = BTreeMap::from([("cpu".to_owned(), milli)]);
            let containers = BTreeMap::from([("main".to_owned(), usage)]);
            samples.insert(name, Sample { at: Some(now()), window: SignedDuration::from_secs(15), containers });
        }
    }
    (pods, Ok(samples))
}

fn asked(spec: serde_json::Value, uses: &str) -> Option<i32> {
    let (pods, samples) = world(uses);
    let current = pods.len() as i32;
    let seen =
        Seen { current, existing: current, pods: &pods, samples: &samples, readings: &Vec::new(), is_idle: false };
    propose(&scaler(spec), &seen, now()).replicas
}

/// What one metric that is no resource asks for, of three pods that are ready and so many that are wanted.
fn asked_outside(metric: serde_json::Value, reading: Reading, current: i32) -> Proposal {
    let (pods, samples) = world("1 1 1");
    let readings: Readings = vec![Some(Ok(reading))];
    let pods = &pods[..3.min(current as usize)];
    let seen = Seen { current, existing: current, pods, samples: &samples, readings: &readings, is_idle: false };
    propose(&scaler(json!({ "metrics": [metric], "minReplicas": 0 })), &seen, now())
}

#[test]
fn requests_objects_and_queues_ask_for_replicas() {
    let pods = json!({"type": "Pods", "pods": {"metric": {"name": "http_requests_per_second"},
        "target": {"type": "AverageValue", "averageValue": "10"}}});
    let each = |values: [i64; 3]| Reading::Pods((0..3).map(|at| (format!("p{at}"), values[at] * 1000)).collect());
    let found = asked_outside(pods.clone(), each([20, 20, 20]), 3);
    assert_eq!((found.replicas, found.reason.as_str()), (Some(6), "pods metric http_requests_per_second above target"));
    assert_eq!(
        found.seen[0].pods.as_ref().and_then(|pods| pods.current.average_value.clone()).map(|value| value.0),
        Some("20".into())
    );
    assert_eq!(asked_outside(pods.clone(), each([11, 10, 10]), 3).replicas, Some(3), "within a tenth");
    assert_eq!(asked_outside(pods.clone(), each([0, 0, 0]), 3).replicas, Some(0));
    assert_eq!(asked_outside(pods, each([9, 9, 9]), 0).replicas, Some(0), "who sleeps is woken by requests");
    let queue = |target| json!({"type": "External", "external": {"metric": {"name": "queue"}, "target": target}});
    let value = queue(json!({"type": "Value", "value": "30"}));
    assert_eq!(asked_outside(value.clone(), Reading::One(60_000), 3).replicas, Some(6));
    assert_eq!(asked_outside(value.clone(), Reading::One(61_000), 0).replicas, Some(3), "a queue wakes by itself");
    assert_eq!(asked_outside(value, Reading::One(0), 3).replicas, Some(0));
    let average = queue(json!({"type": "AverageValue", "averageValue": "30"}));
    assert_eq!(asked_outside(average, Reading::One(100_000), 3).replicas, Some(4));
    let object = json!({"type": "Object", "object": {"metric": {"name": "hits"}, "target": {"type": "Value", "value": "2k"},
        "describedObject": {"kind": "Ingress", "name": "front", "apiVersion": "networking.k8s.io/v1"}}});
    let found = asked_outside(object, Reading::One(6_000_000), 2);
    assert_eq!((found.replicas, found.metric.as_str()), (Some(6), "Ingress metric hits"));
}

#[test]
fn the_last_replica_goes_when_nobody_has_asked_for_long_enough() {
    let scaler = scaler(json!({ "minReplicas": 0 }));
    let decided = |current, asked, idleness| {
        let proposal = Proposal { replicas: Some(asked), ..Proposal::default() };
        let mut conditions = Conditions::of(&HorizontalPodAutoscalerStatus::default(), now());
        decide(&scaler, current, &proposal, idleness, &mut Memory::default(), &mut conditions, now())
    };
    assert_eq!(decided(3, 0, Idleness::Idle), 0, "at once, whatever the window");
    assert_eq!(decided(1, 0, Idleness::Busy(std::time::Duration::from_secs(1))), 1);
    assert_eq!(decided(1, 2, Idleness::Idle), 2, "something else asks for more");
    assert_eq!(decided(0, 0, Idleness::Unknown), 0);
}

#[test]
fn usage_is_brought_to_the_target() {
    assert_eq!(asked(json!({}), "50 50"), Some(2));
    assert_eq!(asked(json!({}), "100 100"), Some(4));
    assert_eq!(asked(json!({}), "10 10 10 10"), Some(1));
    // Within a tenth nothing happens.
    assert_eq!(asked(json!({}), "54 54"), Some(2));
    assert_eq!(asked(json!({"behavior": {"scaleUp": {"tolerance": "0.05"}}}), "54 54"), Some(3));
    // Who is not ready speaks against growing, whose use is unknown against any change.
    assert_eq!(asked(json!({}), "100 ? ?"), Some(3));
    assert_eq!(asked(json!({}), "10 10 - -"), Some(3));
    let value = json!({"metrics": [{"type": "Resource", "resource": {"name": "cpu",
        "target": {"type": "AverageValue", "averageValue": "20m"}}}]});
    assert_eq!(asked(value, "50 70"), Some(6));
}

#[test]
fn one_container_alone_may_count() {
    let of = |container: &str| {
        let source =
            json!({"name": "cpu", "container": container, "target": {"type": "Utilization", "averageUtilization": 50}});
        let spec = json!({"metrics": [{"type": "ContainerResource", "containerResource": source}]});
        let (pods, samples) = world("100 100");
        let seen =
            Seen { current: 2, existing: 2, pods: &pods, samples: &samples, readings: &Vec::new(), is_idle: false };
        propose(&scaler(spec), &seen, now())
    };
    assert_eq!(of("main").replicas, Some(4));
    let failed = of("other");
    let message = "failed to get cpu utilization: unable to get metrics for resource cpu: failed to get container metrics: \
        container other not present in metrics for pod /p0";
    assert_eq!((failed.replicas, failed.failures[0].reason), (None, "FailedGetContainerResourceMetric"));
    assert_eq!(failed.failures[0].message, message);
}

#[test]
fn what_cannot_be_read_takes_nothing_away() {
    let two = json!({"metrics": [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}},
        {"type": "Pods", "pods": {"metric": {"name": "requests"}, "target": {"type": "AverageValue", "averageValue": "1"}}},
    ]});
    assert_eq!(asked(two.clone(), "10 10 10"), None);
    assert_eq!(asked(two, "100 100"), Some(4));
}

#[test]
fn each_metric_has_its_own_place_in_the_status() {
    let two = json!({"metrics": [
        {"type": "Pods", "pods": {"metric": {"name": "requests"}, "target": {"type": "AverageValue", "averageValue": "1"}}},
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}},
    ]});
    let (pods, samples) = world("100 100");
    let seen = Seen { current: 2, existing: 2, pods: &pods, samples: &samples, readings: &Vec::new(), is_idle: false };
    let seen = propose(&scaler(two), &seen, now()).seen;
    assert_eq!(seen.iter().map(|status| status.type_.as_str()).collect::<Vec<_>>(), ["", "Resource"]);
}

#[test]
fn a_target_that_was_larger_keeps_its_size_for_a_window() {
    let scaler = scaler(json!({"maxReplicas": 5}));
    let (mut memory, mut time) = (Memory::default(), now());
    memory.met(6, time);
    let mut decided = |seconds| {
        time += SignedDuration::from_secs(seconds);
        let proposal = Proposal { replicas: Some(1), ..Default::default() };
        let mut conditions = Conditions::of(&HorizontalPodAutoscalerStatus::default(), time);
        decide(&scaler, 5, &proposal, Idleness::Unknown, &mut memory, &mut conditions, time)
    };
    assert_eq!([15, 270, 30].map(&mut decided), [5, 5, 1]);
}

/// What is decided at each moment, fifteen seconds apart, when a metric asks for these numbers.
fn story(spec: serde_json::Value, mut current: i32, asks: &[i32]) -> Vec<i32> {
    let scaler = scaler(spec);
    let mut memory = Memory::default();
    let mut time = now();
    asks.iter()
        .map(|ask| {
            let proposal = Proposal { replicas: Some(*ask), ..Default::default() };
            let mut conditions = Conditions::of(&HorizontalPodAutoscalerStatus::default(), time);
            let wanted = decide(&scaler, current, &proposal, Idleness::Unknown, &mut memory, &mut conditions, time);
            if wanted != current {
                memory.scaled(current, wanted, time);
            }
            current = wanted;
            time += SignedDuration::from_secs(15);
            wanted
        })
        .collect()
}

#[test]
fn growth_has_a_pace_and_shrinking_waits() {
    // Four more or twice as many, whichever is more, in fifteen seconds.
    let said = json!({"maxReplicas": 100, "behavior": {"scaleUp": {"selectPolicy": "Max"}}});
    assert_eq!(story(said, 1, &[50, 50, 50, 50]), [5, 10, 20, 40]);
    // Four, or twice as many, where nothing is said.
    assert_eq!(story(json!({}), 1, &[50, 50, 50]), [4, 8, 10]);
    // Five minutes at the lower number.
    let mut asks = vec![8];
    asks.extend([2; 21]);
    let down = story(json!({}), 8, &asks);
    assert_eq!((down[20], down[21]), (8, 2));
    let quick = json!({"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0,
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": 30}]}}});
    assert_eq!(story(quick, 8, &[2, 2, 2, 2]), [7, 7, 6, 6]);
    let never = json!({"behavior": {"scaleDown": {"selectPolicy": "Disabled", "stabilizationWindowSeconds": 0}}});
    assert_eq!(story(never, 8, &[2, 2]), [8, 8]);
}

#[test]
fn bounds_hold_and_nothing_is_scaled_from_zero() {
    assert_eq!(story(json!({"minReplicas": 3}), 1, &[1]), [3]);
    assert_eq!(story(json!({"maxReplicas": 2}), 5, &[5]), [2]);
    assert_eq!(story(json!({}), 0, &[5]), [0]);
}
