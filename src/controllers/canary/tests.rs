//! Canaries as stories: what is seen second by second, and what is said.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::json;

use super::plan::{Decision, Requests, Seen, decide};
use super::settings::Settings;
use super::state::{Pair, Phase, State, size};
use super::*;

fn deployment(annotations: Value) -> Deployment {
    serde_json::from_value(json!({
        "metadata": { "name": "web", "annotations": annotations, "generation": 1 },
        "spec": { "replicas": 10, "selector": { "matchLabels": { "app": "web" } },
            "template": { "metadata": { "labels": { "app": "web" } }, "spec": { "containers": [{ "name": "web", "image": "two" }] } } },
        "status": { "observedGeneration": 1 },
    }))
    .expect("a deployment")
}

fn set(hash: &str, image: &str, replicas: i32, available: i32) -> Arc<ReplicaSet> {
    let labels = json!({ "app": "web", "pod-template-hash": hash });
    Arc::new(
        serde_json::from_value(json!({
            "metadata": { "name": format!("web-{hash}"), "labels": labels },
            "spec": { "replicas": replicas, "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels }, "spec": { "containers": [{ "name": "web", "image": image }] } } },
            "status": { "replicas": replicas, "availableReplicas": available },
        }))
        .expect("a replica set"),
    )
}

/// Each second: how many canary pods are available, how many requests they had, how many of them failed, and an order.
fn story(annotations: Value, seconds: &[(i32, i64, i64, &str)]) -> Vec<String> {
    let deployment = deployment(annotations);
    let settings = Settings::of(&deployment).expect("settings that can be read");
    let (mut state, mut now) = (None::<State>, Timestamp::UNIX_EPOCH);
    let mut told = Vec::new();
    for (available, all, failed, order) in seconds {
        let sets = [set("old", "one", 10, 10), set("new", "two", *available, *available)];
        let pair = Pair::of(&deployment, &sets).expect("two sets");
        let requests = Requests { all: *all, failed: *failed, p99: Some(Duration::from_millis(80)) };
        let order = Some(*order).filter(|order| !order.is_empty());
        let decision =
            decide(&settings, state.as_ref(), &Seen { deployment: &deployment, pair: &pair, requests, order, now });
        let (word, next) = match decision {
            Decision::Keep => ("", None),
            Decision::Set(next) => ("", Some(next)),
            Decision::RollBack(next) => ("back to ", Some(next)),
        };
        if let Some(next) = next {
            let held = if next.since.is_some() { ", held" } else { "" };
            told.push(format!("{word}{} {:?} {}%{held}", next.hash, next.phase, next.weight));
            if word.is_empty() {
                state = Some(next);
            } else {
                assert_eq!((next.hash.as_str(), next.phase), ("old", Phase::RolledBack));
                break;
            }
        } else {
            told.push("-".to_owned());
        }
        now += SignedDuration::from_secs(1);
    }
    told
}

#[test]
fn a_good_canary_goes_step_by_step() {
    let seconds = [
        (0, 0, 0, ""),
        (0, 0, 0, ""),
        (1, 0, 0, ""),
        (1, 100, 1, ""),
        (1, 200, 2, ""),
        (1, 200, 2, ""),
        (5, 300, 2, ""),
        (5, 500, 2, ""),
        (5, 500, 2, ""),
    ];
    let told = story(json!({ "coracle.dev/canary": "10%/2s, 50%/1s" }), &seconds);
    let wanted = [
        "new Progressing 10%",
        "-",
        "new Progressing 10%, held",
        "-",
        "new Progressing 50%",
        "-",
        "new Progressing 50%, held",
        "new Promoted 100%",
        "-",
    ];
    assert_eq!(told, wanted);
}

#[test]
fn a_bad_canary_goes_back_and_few_requests_say_nothing() {
    let steps = json!({ "coracle.dev/canary": "10%" });
    let told = story(steps.clone(), &[(0, 0, 0, ""), (1, 10, 10, ""), (1, 19, 19, ""), (1, 40, 3, "")]);
    assert_eq!(told, ["new Progressing 10%", "new Progressing 10%, held", "-", "back to old RolledBack 0%"]);
    let strict = json!({ "coracle.dev/canary": "10%", "coracle.dev/canary-max-error-rate": "0%", "coracle.dev/canary-min-requests": "1" });
    assert_eq!(story(strict, &[(0, 0, 0, ""), (1, 5, 1, "")])[1], "back to old RolledBack 0%");
    let slow = json!({ "coracle.dev/canary": "10%", "coracle.dev/canary-max-latency": "50ms" });
    assert_eq!(story(slow, &[(0, 0, 0, ""), (1, 50, 0, "")])[1], "back to old RolledBack 0%");
    assert_eq!(story(steps, &[(0, 0, 0, ""), (1, 0, 0, "abort")])[1], "back to old RolledBack 0%");
}

#[test]
fn a_manual_step_waits_for_a_word() {
    let steps = json!({ "coracle.dev/canary": "10%/manual, 50%/1h" });
    let seconds = [(0, 0, 0, ""), (1, 0, 0, ""), (1, 0, 0, ""), (1, 0, 0, "next"), (5, 0, 0, ""), (5, 0, 0, "full")];
    let wanted = [
        "new Progressing 10%",
        "new Waiting 10%, held",
        "-",
        "new Progressing 50%",
        "new Progressing 50%, held",
        "new Promoted 100%",
    ];
    assert_eq!(story(steps, &seconds), wanted);
}

#[test]
fn settings_that_cannot_be_read_say_what_to_write() {
    for bad in ["", "10", "50%, 10%", "0%", "101%", "10%/soon", "10%,,20%"] {
        let error = Settings::of(&deployment(json!({ "coracle.dev/canary": bad }))).map(drop);
        let text = error.map_err(|error| error.to_string()).expect_err(bad);
        assert!(
            text.starts_with(&format!("annotation coracle.dev/canary is {bad:?}; write steps that grow")),
            "{text}"
        );
    }
    let bad = json!({ "coracle.dev/canary": "10%", "coracle.dev/canary-max-error-rate": "much" });
    assert!(Settings::of(&deployment(bad)).is_err());
}

#[test]
fn a_canary_has_its_part_of_the_replicas_and_one_at_least() {
    let sizes: Vec<i32> = [(10, 10), (10, 1), (25, 10), (100, 7), (10, 0)].map(|(part, of)| size(part, of)).to_vec();
    assert_eq!(sizes, [1, 1, 3, 7, 0]);
}

#[test]
fn a_template_that_comes_back_by_itself_is_no_canary() {
    let deployment = deployment(json!({ "coracle.dev/canary": "20%/manual" }));
    let settings = Settings::of(&deployment).expect("settings that can be read");
    // The Deployment has the template of "new" again, which has its full size; "old" was the canary.
    let sets = [set("old", "one", 2, 2), set("new", "two", 10, 10)];
    let pair = Pair::of(&deployment, &sets).expect("two sets");
    let seen = Seen {
        deployment: &deployment,
        pair: &pair,
        requests: Requests::default(),
        order: None,
        now: Timestamp::UNIX_EPOCH,
    };
    assert_eq!(decide(&settings, None, &seen), Decision::Keep);
    let running = State {
        phase: Phase::Waiting,
        hash: "old".into(),
        step: 1,
        weight: 20,
        since: Some(Timestamp::UNIX_EPOCH),
        message: String::new(),
    };
    let Decision::Set(state) = decide(&settings, Some(&running), &seen) else { panic!("nothing was decided") };
    assert_eq!((state.phase, state.hash.as_str(), state.weight), (Phase::RolledBack, "new", 0));
}
