//! Hooks, sidecars, ephemeral containers, resizes, evictions and container policies, as stories.

use super::*;

fn respec(spec: Value) -> Input {
    let pod: Pod = serde_json::from_value(json!({ "spec": spec })).unwrap();
    Input::Respec { plan: Box::new(PodPlan::of(&pod)), refused: None }
}

fn messages(story: &Story) -> Vec<String> {
    let message = |effect: &Effect| match effect {
        Effect::Event { message, .. } => Some(message.clone()),
        _ => None,
    };
    story.effects.iter().filter_map(message).collect()
}

#[test]
fn a_failed_post_start_hook_ends_the_container_and_shows_why() {
    let mut story = Story::new(one());
    let hooked = |story: &mut Story| {
        let launched = Launched { hook_error: Some("it said no".into()), ..story.ready() };
        story.feed(Input::Launched(0, Ok(launched)));
    };
    hooked(&mut story);
    assert_eq!((story.reasons(), story.stops()), (vec!["FailedPostStartHook", "Killing"], vec![(0, 30)]));
    assert_eq!(messages(&story), ["PostStartHook failed", "FailedPostStartHook"]);
    story.exit(0, 0);
    assert_eq!((story.launches(), story.line()), (vec![(0, 1)], "Running app=PostStartHookError#0".into()));
    let status = story.status().container_statuses.unwrap().remove(0);
    assert_eq!(status.state.unwrap().waiting.unwrap().message.as_deref(), Some("it said no"));
    assert_eq!(status.last_state.unwrap().terminated.unwrap().exit_code, 137);
    hooked(&mut story);
    story.exit(0, 0);
    assert_eq!((story.launches(), story.line()), (vec![], "Running app=CrashLoopBackOff#1".into()));
}

#[test]
fn sidecars_end_one_by_one_in_reverse_within_what_is_left_of_the_grace_period() {
    let sidecar = |name: &str| json!({ "name": name, "restartPolicy": "Always" });
    let mut story = Story::new(json!({
        "initContainers": [sidecar("one"), sidecar("two")],
        "containers": [{ "name": "app" }],
    }));
    (0..3).for_each(|index| story.up(index));
    story.feed(Input::Delete { grace: Duration::from_secs(10) });
    assert_eq!(story.stops(), [(2, 10)]);
    story.wait(4);
    story.exit(2, 0);
    assert_eq!((story.stops(), messages(&story)), (vec![(1, 6)], vec!["Stopping container two".to_owned()]));
    // A shorter grace period hurries the one that is being stopped, and the ones after it.
    story.wait(1);
    story.feed(Input::Delete { grace: Duration::from_secs(3) });
    assert_eq!(story.stops(), [(1, 3)]);
    story.wait(3);
    story.exit(1, 0);
    assert_eq!(story.stops(), [(0, 2)]);
    story.exit(0, 0);
    assert_eq!(story.effects, [Effect::Finish]);
}

#[test]
fn a_sidecar_does_not_keep_the_pod_alive_and_one_that_fails_its_probe_comes_back() {
    let mut story = Story::new(json!({
        "restartPolicy": "Never",
        "initContainers": [{ "name": "side", "restartPolicy": "Always", "livenessProbe": { "failureThreshold": 1 } }],
        "containers": [{ "name": "app" }],
    }));
    story.up(0);
    story.probe(ProbeKind::Liveness, Outcome::Success);
    story.up(1);
    story.wait(10);
    story.probe(ProbeKind::Liveness, Outcome::Failure("no".into()));
    assert_eq!(messages(&story).last().unwrap(), "Container side failed liveness probe, will be restarted");
    story.exit(0, 0);
    assert_eq!(story.launches(), [(0, 1)]);
    story.up(0);
    assert_eq!(story.line(), "Running app=Running+#0");
    story.exit(1, 0);
    assert_eq!((story.launches(), story.stops()), (vec![], vec![(0, 30)]));
    story.exit(0, 1);
    assert_eq!((story.launches(), story.line()), (vec![], "Succeeded app=Completed(0)#0".into()));
    assert_eq!(story.machine.wake(), None);
}

#[test]
fn containers_may_have_a_policy_of_their_own() {
    let rules =
        |operator: &str| json!([{ "action": "Restart", "exitCodes": { "operator": operator, "values": [42, 43] } }]);
    let rows = [
        (json!({ "restartPolicy": "Never" }), "Always", 1, "Failed app=Error(1)#0"),
        (json!({ "restartPolicy": "Always" }), "Never", 0, "Running app=Completed(0)#0"),
        (json!({ "restartPolicy": "OnFailure" }), "Never", 1, "Running app=Error(1)#0"),
        (
            json!({ "restartPolicy": "Never", "restartPolicyRules": rules("In") }),
            "Never",
            42,
            "Running app=Error(42)#0",
        ),
        (json!({ "restartPolicy": "Never", "restartPolicyRules": rules("In") }), "Never", 1, "Failed app=Error(1)#0"),
        (
            json!({ "restartPolicy": "Never", "restartPolicyRules": rules("NotIn") }),
            "Never",
            1,
            "Running app=Error(1)#0",
        ),
        (
            json!({ "restartPolicy": "Never", "restartPolicyRules": rules("NotIn") }),
            "Never",
            43,
            "Failed app=Error(43)#0",
        ),
        // Success is an end as any other.
        (
            json!({ "restartPolicy": "Never", "restartPolicyRules": rules("NotIn") }),
            "Never",
            0,
            "Running app=Completed(0)#0",
        ),
    ];
    for (fields, pod, code, wanted) in rows {
        let mut container = fields.clone();
        container["name"] = json!("app");
        let mut story = Story::new(json!({ "restartPolicy": pod, "containers": [container] }));
        story.up(0);
        story.exit(0, code);
        assert_eq!(story.line(), wanted, "{fields} in a pod with {pod}");
        assert_eq!(story.launches().is_empty(), wanted.starts_with("Failed"));
    }
}

#[test]
fn a_container_may_have_all_begin_again() {
    let rules = json!([{ "action": "RestartAllContainers", "exitCodes": { "operator": "In", "values": [88] } }]);
    let mut story = Story::new(json!({
        "restartPolicy": "Never",
        "initContainers": [{ "name": "i" }],
        "containers": [{ "name": "app" }, { "name": "done" }, { "name": "watch", "restartPolicy": "Never", "restartPolicyRules": rules }],
    }));
    story.up(0);
    story.exit(0, 0);
    for index in 1..4 {
        story.up(index);
    }
    story.exit(2, 0);
    story.exit(3, 88);
    assert_eq!((story.stops(), story.launches()), (vec![(1, 0)], vec![]));
    assert!(story.line().starts_with("Running app=Running+#0"), "{}", story.line());
    story.exit(1, 137);
    // From the first on, whatever had ended how.
    assert_eq!(story.launches(), [(0, 1)]);
    assert!(story.line().starts_with("Running app=PodInitializing"), "{}", story.line());
    story.up(0);
    story.exit(0, 0);
    for index in 1..4 {
        assert_eq!(story.launches(), [(index, 1)]);
        story.up(index);
    }
    assert_eq!(story.line(), "Running app=Running+#1 done=Running+#1 watch=Running+#1");
    // Another code is an end as ever.
    story.exit(3, 1);
    assert_eq!((story.stops(), story.launches()), (vec![], vec![]));
}

#[test]
fn ephemeral_containers_join_at_any_time_and_run_once() {
    let with = json!({
        "initContainers": [{ "name": "i" }],
        "containers": [{ "name": "app" }],
        "ephemeralContainers": [{ "name": "look" }],
    });
    let mut story = Story::new(json!({ "initContainers": [{ "name": "i" }], "containers": [{ "name": "app" }] }));
    story.up(0);
    // It does not wait for the init container to be done.
    story.feed(respec(with.clone()));
    assert_eq!(story.launches(), [(2, 0)]);
    story.up(2);
    story.exit(2, 1);
    assert_eq!(story.launches(), []);
    let status = story.status().ephemeral_container_statuses.unwrap().remove(0);
    assert_eq!((status.name.as_str(), status.restart_count, status.ready), ("look", 0, false));
    assert_eq!(status.state.unwrap().terminated.unwrap().exit_code, 1);
    story.exit(0, 0);
    story.up(1);
    assert_eq!(story.condition("Ready").0, "True");
    // One that still runs ends with the pod.
    let mut more = with;
    more["ephemeralContainers"] = json!([{ "name": "look" }, { "name": "again" }]);
    story.feed(respec(more));
    story.up(3);
    story.feed(Input::Delete { grace: Duration::from_secs(5) });
    assert_eq!(story.stops(), [(1, 5), (3, 5)]);
}

#[test]
fn a_resize_holds_the_container_to_other_limits_or_restarts_it() {
    let spec = |cpu: &str, memory: &str| {
        json!({ "containers": [{
            "name": "app",
            "resources": { "limits": { "cpu": cpu, "memory": memory }, "requests": { "cpu": cpu, "memory": memory } },
            "resizePolicy": [{ "resourceName": "memory", "restartPolicy": "RestartContainer" }],
        }] })
    };
    let mut story = Story::new(spec("100m", "10Mi"));
    story.up(0);
    let limits = crate::sandbox::Limits { memory_bytes: Some(10 << 20), cpu_millis: Some(250), cpu_weight: 250 };
    story.feed(respec(spec("250m", "10Mi")));
    assert_eq!(story.effects, [Effect::Resize { container: 0, limits }]);
    let status = story.status().container_statuses.unwrap().remove(0);
    assert_eq!(status.allocated_resources.unwrap()["cpu"].0, "250m");
    assert_eq!(status.resources.unwrap().limits.unwrap()["cpu"].0, "250m");
    story.feed(respec(spec("250m", "20Mi")));
    assert_eq!((story.reasons(), story.stops()), (vec!["Killing"], vec![(0, 30)]));
    story.exit(0, 0);
    assert_eq!(story.launches(), [(0, 1)]);
    story.up(0);
    // What the node cannot give is said, and nothing changes.
    let pod: Pod = serde_json::from_value(json!({ "spec": spec("9000", "20Mi") })).unwrap();
    let refused = Some("Node didn't have enough capacity: cpu, requested: 9000000, capacity: 2000".to_owned());
    story.feed(Input::Respec { plan: Box::new(PodPlan::of(&pod)), refused });
    assert_eq!((story.effects.len(), story.condition("PodResizePending")), (0, ("True".into(), "Infeasible".into())));
    story.feed(respec(spec("250m", "20Mi")));
    assert!(!story.status().conditions.unwrap().iter().any(|condition| condition.type_ == "PodResizePending"));
}

#[test]
fn an_evicted_pod_is_sent_nothing_more_and_fails_once_it_has_ended() {
    let eviction = Eviction {
        reason: "Evicted",
        message: "The node was low on resource: memory. ".into(),
        grace: Duration::ZERO,
        disruption: true,
    };
    let mut story = Story::new(one());
    story.up(0);
    story.feed(Input::Evict(eviction.clone()));
    assert_eq!((story.reasons(), story.stops()), (vec!["Evicted", "Killing"], vec![(0, 0)]));
    assert_eq!(story.line(), "Running app=Running+#0");
    assert_eq!(story.condition("Ready"), ("False".into(), "PodFailed".into()));
    assert_eq!(story.condition("DisruptionTarget"), ("True".into(), "TerminationByKubelet".into()));
    story.feed(Input::Evict(eviction));
    assert_eq!(story.effects, []);
    story.exit(0, 137);
    let status = story.status();
    assert_eq!((status.phase.as_deref(), status.reason.as_deref()), (Some("Failed"), Some("Evicted")));
    assert_eq!((story.launches(), story.machine.wake()), (vec![], None));
    // Its object is deleted later, and it stays a failure.
    story.feed(Input::Delete { grace: Duration::from_secs(1) });
    assert_eq!(story.effects, [Effect::Finish]);
    assert_eq!(story.status().reason.as_deref(), Some("Evicted"));
}

#[test]
fn a_pod_that_its_node_would_not_have_tells_why_and_nothing_of_containers() {
    let mut story = Story::new(one());
    let message = "Pod was rejected: Node didn't have enough resource: cpu".to_owned();
    story.feed(Input::Evict(Eviction { reason: "OutOfcpu", message, grace: Duration::ZERO, disruption: false }));
    let status = story.status();
    assert_eq!((status.phase.as_deref(), status.reason.as_deref()), (Some("Failed"), Some("OutOfcpu")));
    // kubectl prints what a container waits for before the reason of its pod.
    assert!(status.container_statuses.is_none() && status.init_container_statuses.is_none());
}

#[test]
fn a_deadline_that_is_set_later_counts_from_the_start() {
    let mut story = Story::new(one());
    story.up(0);
    story.wait(10);
    let mut spec = one();
    spec["activeDeadlineSeconds"] = json!(15);
    story.feed(respec(spec));
    assert_eq!(story.stops(), []);
    story.wait(5);
    assert_eq!((story.reasons(), story.stops()), (vec!["DeadlineExceeded", "Killing"], vec![(0, 30)]));
    // A pod that is done has no deadline.
    let mut story =
        Story::new(json!({ "activeDeadlineSeconds": 5, "restartPolicy": "Never", "containers": [{ "name": "app" }] }));
    story.up(0);
    story.exit(0, 0);
    assert_eq!(story.machine.wake(), None);
    story.wait(60);
    assert_eq!(story.line(), "Succeeded app=Completed(0)#0");
}

#[test]
fn the_last_words_of_a_container_are_its_message() {
    let mut story = Story::new(with_policy("Never"));
    story.up(0);
    let finished = SystemTime::from(story.now().wall);
    let exit = Exit { code: 3, reason: ExitReason::Error, message: "trap".into(), started: finished, finished };
    story.feed(Input::Exited { container: 0, attempt: 0, exit, said: Some("disk is gone".into()) });
    let state = story.status().container_statuses.unwrap()[0].state.clone().unwrap();
    assert_eq!(state.terminated.unwrap().message.as_deref(), Some("disk is gone"));
}

#[test]
fn a_probe_that_cannot_be_run_says_so_and_decides_nothing() {
    let mut story = Story::new(json!({ "containers": [{
        "name": "app", "readinessProbe": { "periodSeconds": 1 }, "livenessProbe": { "failureThreshold": 1 },
    }] }));
    story.up(0);
    story.probe(ProbeKind::Readiness, Outcome::Warning("Probe terminated redirects".into()));
    assert_eq!((story.reasons(), story.condition("Ready").0), (vec!["ProbeWarning"], "True".into()));
    story.probe(ProbeKind::Liveness, Outcome::Unknown("no".into()));
    assert_eq!((story.reasons(), story.stops()), (vec!["Unhealthy"], vec![]));
    assert_eq!(messages(&story), ["Liveness probe errored and resulted in unknown state: no"]);
}

#[test]
fn readiness_gates_hold_a_pod_back_until_somebody_opens_them() {
    let gates = json!([{ "conditionType": "a.com/one" }, { "conditionType": "a.com/two" }]);
    let spec = json!({ "readinessGates": gates, "containers": [{ "name": "a", "image": "i" }] });
    let missing = |gate: &str| format!("corresponding condition of pod readiness gate {gate:?} does not exist.");
    let closed = "the status of pod readiness gate \"a.com/two\" is not \"True\", but False";
    for (one, two, wanted) in [
        (None, None, Some(format!("{}, {}", missing("a.com/one"), missing("a.com/two")))),
        (Some("True"), Some("False"), Some(closed.to_owned())),
        (Some("True"), Some("True"), None),
    ] {
        let given = [("a.com/one", one), ("a.com/two", two)];
        let given = given.into_iter().filter_map(|(kind, status)| Some(json!({ "type": kind, "status": status? })));
        let mut story = Story::with_status(spec.clone(), json!({ "conditions": given.collect::<Vec<_>>() }));
        story.up(0);
        let conditions = story.status().conditions.unwrap();
        let of = |kind: &str| conditions.iter().find(|condition| condition.type_ == kind).unwrap().clone();
        assert_eq!(of("ContainersReady").status, "True");
        let ready = of("Ready");
        assert_eq!((ready.status == "True", &ready.message), (wanted.is_none(), &wanted));
        assert_eq!(ready.reason.as_deref(), wanted.map(|_| "ReadinessGatesNotReady"));
    }
}

#[test]
fn mounts_are_told_of_as_they_are_made() {
    let mount = |more: Value| {
        let mut mount = json!({ "name": "v", "mountPath": "/v" });
        mount.as_object_mut().unwrap().append(&mut more.as_object().unwrap().clone());
        mount
    };
    let deep = |mode: &str| mount(json!({ "readOnly": true, "recursiveReadOnly": mode, "subPath": "part" }));
    let mounts = [
        mount(json!({})),
        mount(json!({ "readOnly": false })),
        mount(json!({ "readOnly": true })),
        deep("Disabled"),
        deep("IfPossible"),
        deep("Enabled"),
    ];
    let mut story =
        Story::new(json!({ "containers": [{ "name": "app", "volumeMounts": mounts }, { "name": "bare" }] }));
    let told = |story: &mut Story| json!(story.status().container_statuses.unwrap());
    let shown = |mode: &str| mount(json!({ "readOnly": true, "recursiveReadOnly": mode }));
    let wanted = json!([
        mount(json!({})),
        mount(json!({})),
        shown("Disabled"),
        shown("Disabled"),
        shown("Enabled"),
        shown("Enabled")
    ]);
    assert_eq!(told(&mut story)[0]["volumeMounts"], wanted);
    assert_eq!(told(&mut story)[1].get("volumeMounts"), None);
    story.up(0);
    assert_eq!(told(&mut story)[0]["volumeMounts"], wanted);
}

#[test]
fn what_a_container_was_given_is_told_once_it_has_run() {
    let resources = json!({ "requests": { "cpu": "1" }, "limits": { "memory": "1Gi" } });
    let mut story =
        Story::new(json!({ "containers": [{ "name": "app", "resources": resources }, { "name": "bare" }] }));
    let told = |story: &mut Story, field: &str| -> Vec<Value> {
        let containers = story.status().container_statuses.unwrap();
        containers.iter().map(|container| json!(container)[field].clone()).collect()
    };
    assert_eq!(told(&mut story, "resources"), [Value::Null, Value::Null]);
    story.up(0);
    story.up(1);
    let given = [resources, json!({})];
    assert_eq!(told(&mut story, "resources"), given);
    assert_eq!(told(&mut story, "allocatedResources"), [json!({ "cpu": "1" }), Value::Null]);
    story.exit(0, 1);
    assert_eq!(told(&mut story, "resources"), given);
}

#[test]
fn a_start_that_was_told_stays_although_the_object_does_not_show_it_yet() {
    let mut story = Story::new(one());
    story.up(0);
    let told = story.status();
    story.wait(3);
    assert_eq!(story.status(), told);
    // It is the agent's second life that takes it over from the object.
    let again = Story::with_status(one(), json!({ "startTime": "1970-01-02T00:00:00Z" })).status();
    assert_eq!(again.start_time.unwrap().0, Timestamp::from_second(86_400).unwrap());
}
