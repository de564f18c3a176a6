//! The machine, as tables and against random histories.

use std::collections::HashSet;
use std::time::SystemTime;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::sandbox::ExitReason;

mod lifecycle;

/// A pod with its machine and a clock that is moved by hand.
struct Story {
    pod: Pod,
    machine: PodMachine,
    start: Moment,
    passed: Duration,
    effects: Vec<Effect>,
}

impl Story {
    fn new(spec: Value) -> Self {
        Self::with_status(spec, json!({}))
    }

    fn with_status(spec: Value, status: Value) -> Self {
        let pod = json!({
            "metadata": { "name": "web", "namespace": "default", "uid": "u1", "generation": 1 },
            "spec": spec,
            "status": status,
        });
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let start = Moment { at: Instant::now(), wall: Timestamp::from_second(1_000_000).unwrap() };
        let machine = PodMachine::adopt(&pod, start);
        let mut story = Self { pod, machine, start, passed: Duration::ZERO, effects: Vec::new() };
        story.feed(Input::Tick);
        story
    }

    fn now(&self) -> Moment {
        let passed = jiff::SignedDuration::try_from(self.passed).unwrap();
        Moment { at: self.start.at + self.passed, wall: self.start.wall + passed }
    }

    fn feed(&mut self, input: Input) {
        let now = self.now();
        self.effects = self.machine.step(input, now);
    }

    fn wait(&mut self, seconds: u64) {
        self.passed += Duration::from_secs(seconds);
        self.feed(Input::Tick);
    }

    fn ready(&self) -> Launched {
        Launched {
            image: "i".into(),
            image_id: "id".into(),
            container_id: "c".into(),
            started: self.now().wall,
            hook_error: None,
        }
    }

    fn up(&mut self, container: usize) {
        let launched = self.ready();
        self.feed(Input::Launched(container, Ok(launched)));
    }

    fn refuse(&mut self, container: usize, reason: &'static str, class: LaunchFailure) {
        self.feed(Input::Launched(container, Err(LaunchError { reason, message: "why".into(), class })));
    }

    fn exit(&mut self, container: usize, code: i32) {
        let attempt = self.machine.containers[container].attempt;
        let finished = SystemTime::from(self.now().wall);
        let reason = if code == 0 { ExitReason::Completed } else { ExitReason::Error };
        let exit = Exit { code, reason, message: String::new(), started: finished, finished };
        self.feed(Input::Exited { container, attempt, exit, said: None });
    }

    fn probe(&mut self, kind: ProbeKind, outcome: Outcome) {
        let attempt = self.machine.containers[0].attempt;
        self.feed(Input::Probed { container: 0, attempt, kind, outcome });
    }

    fn launches(&self) -> Vec<(usize, u32)> {
        let launch = |effect: &Effect| match effect {
            Effect::Launch { container, attempt } => Some((*container, *attempt)),
            _ => None,
        };
        self.effects.iter().filter_map(launch).collect()
    }

    fn stops(&self) -> Vec<(usize, u64)> {
        let stop = |effect: &Effect| match effect {
            Effect::Stop { container, grace } => Some((*container, grace.as_secs())),
            _ => None,
        };
        self.effects.iter().filter_map(stop).collect()
    }

    fn reasons(&self) -> Vec<&'static str> {
        let reason = |effect: &Effect| match effect {
            Effect::Event { reason, .. } => Some(*reason),
            _ => None,
        };
        self.effects.iter().filter_map(reason).collect()
    }

    fn status(&mut self) -> PodStatus {
        let addresses = Addresses { pod: Some([10, 0, 0, 1].into()), host: [127, 0, 0, 1].into() };
        let now = self.now();
        self.machine.status(&self.pod, addresses, now)
    }

    /// Phase, and each main container's state, in one line.
    fn line(&mut self) -> String {
        let status = self.status();
        let states = status.container_statuses.iter().flatten().map(|container| {
            let state = container.state.clone().unwrap_or_default();
            let word = match (state.waiting, state.terminated) {
                (Some(waiting), _) => waiting.reason.unwrap(),
                (_, Some(terminated)) => format!("{}({})", terminated.reason.unwrap(), terminated.exit_code),
                _ => "Running".to_owned(),
            };
            format!("{}={word}{}#{}", container.name, if container.ready { "+" } else { "" }, container.restart_count)
        });
        let states: Vec<String> = states.collect();
        format!("{} {}", status.phase.unwrap(), states.join(" "))
    }

    fn condition(&mut self, kind: &str) -> (String, String) {
        let status = self.status();
        let found = status.conditions.into_iter().flatten().find(|condition| condition.type_ == kind).unwrap();
        (found.status, found.reason.unwrap_or_default())
    }
}

fn one() -> Value {
    json!({ "containers": [{ "name": "app", "image": "x" }] })
}

fn with_policy(policy: &str) -> Value {
    json!({ "restartPolicy": policy, "containers": [{ "name": "app", "image": "x" }] })
}

#[test]
fn a_container_starts_and_the_pod_is_ready() {
    let mut story = Story::new(one());
    assert_eq!((story.launches(), story.line()), (vec![(0, 0)], "Pending app=ContainerCreating#0".into()));
    assert_eq!(story.condition("Ready"), ("False".into(), "ContainersNotReady".into()));
    story.up(0);
    assert_eq!(story.line(), "Running app=Running+#0");
    assert_eq!(story.condition("Ready"), ("True".into(), String::new()));
    assert_eq!(story.machine.wake(), None);
}

#[test]
fn crashes_back_off_and_long_runs_forgive_them() {
    let mut story = Story::new(one());
    story.up(0);
    story.exit(0, 1);
    // The first restart is immediate, the next ones wait 10, 20, 40… seconds.
    assert_eq!((story.launches(), story.line()), (vec![(0, 1)], "Running app=Error(1)#0".into()));
    for (attempt, wait) in [(2, 10), (3, 20), (4, 40), (5, 80), (6, 160), (7, 300), (8, 300)] {
        story.up(0);
        story.exit(0, 1);
        assert_eq!(story.line(), format!("Running app=CrashLoopBackOff#{}", attempt - 1));
        assert_eq!(story.reasons(), ["BackOff"]);
        story.wait(wait - 1);
        assert_eq!(story.launches(), []);
        story.wait(1);
        assert_eq!(story.launches(), [(0, attempt)]);
    }
    story.up(0);
    story.wait(601);
    story.exit(0, 1);
    assert_eq!(story.launches(), [(0, 9)]);
    let last = story.status().container_statuses.unwrap()[0].last_state.clone().unwrap();
    assert_eq!(last.terminated.unwrap().exit_code, 1);
}

#[test]
fn restart_policies_decide_what_an_exit_means() {
    let rows = [
        ("Always", 0, vec![(0, 1)], "Running app=Completed(0)#0"),
        ("OnFailure", 0, vec![], "Succeeded app=Completed(0)#0"),
        ("OnFailure", 3, vec![(0, 1)], "Running app=Error(3)#0"),
        ("Never", 0, vec![], "Succeeded app=Completed(0)#0"),
        ("Never", 3, vec![], "Failed app=Error(3)#0"),
    ];
    for (policy, code, launches, line) in rows {
        let mut story = Story::new(with_policy(policy));
        story.up(0);
        story.exit(0, code);
        assert_eq!((story.launches(), story.line()), (launches, line.to_owned()), "{policy} {code}");
    }
}

#[test]
fn a_missing_image_turns_into_a_back_off_and_is_tried_again() {
    let mut story = Story::new(one());
    story.refuse(0, "ErrImagePull", LaunchFailure::Pull);
    assert_eq!((story.line(), story.reasons()), ("Pending app=ErrImagePull#0".into(), vec!["Failed"]));
    story.wait(2);
    assert_eq!((story.line(), story.reasons()), ("Pending app=ImagePullBackOff#0".into(), vec!["BackOff", "Failed"]));
    story.wait(8);
    assert_eq!(story.launches(), [(0, 0)]);
    // The image of a volume is told of under its own name, and as the pod's.
    story.refuse(0, "ErrImagePull", LaunchFailure::VolumePull { image: "r.example/data:v1".to_owned() });
    story.wait(2);
    let told = "Back-off pulling image \"r.example/data:v1\"".to_owned();
    assert!(story.effects.contains(&pod_event(false, "BackOff", told.clone())), "{:?}", story.effects);
    let waiting = story.status().container_statuses.unwrap().remove(0).state.unwrap().waiting.unwrap();
    assert_eq!(waiting.message, Some(format!("{told}: ErrImagePull: why")));
    story.wait(18);
    assert_eq!(story.launches(), [(0, 0)]);
    story.refuse(0, "ErrImagePull", LaunchFailure::Pull);
    story.wait(39);
    assert_eq!(story.launches(), []);
    story.wait(1);
    assert_eq!(story.launches(), [(0, 0)]);
    story.up(0);
    assert_eq!(story.line(), "Running app=Running+#0");
}

#[test]
fn other_refusals_keep_their_reason() {
    for (reason, class) in [
        ("InvalidImageName", LaunchFailure::Image),
        ("ErrImageNeverPull", LaunchFailure::Image),
        ("CreateContainerConfigError", LaunchFailure::Config),
        ("CreateContainerError", LaunchFailure::Create),
    ] {
        let mut story = Story::new(one());
        story.refuse(0, reason, class);
        story.wait(5);
        assert_eq!(story.line(), format!("Pending app={reason}#0"));
        story.wait(5);
        assert_eq!(story.launches(), [(0, 0)], "{reason}");
    }
}

#[test]
fn one_container_that_cannot_start_does_not_hold_back_the_next() {
    let mut story = Story::new(json!({ "containers": [{ "name": "a" }, { "name": "b" }] }));
    story.refuse(0, "CreateContainerError", LaunchFailure::Create);
    assert_eq!(story.launches(), [(1, 0)]);
    story.up(1);
    assert_eq!(story.line(), "Pending a=CreateContainerError#0 b=Running+#0");
}

#[test]
fn init_containers_run_in_order_and_sidecars_stay() {
    let mut story = Story::new(json!({
        "initContainers": [{ "name": "one" }, { "name": "side", "restartPolicy": "Always" }, { "name": "two" }],
        "containers": [{ "name": "app" }],
    }));
    assert_eq!((story.launches(), story.line()), (vec![(0, 0)], "Pending app=PodInitializing#0".into()));
    story.up(0);
    story.exit(0, 1);
    assert_eq!(story.launches(), [(0, 1)]);
    story.up(0);
    story.exit(0, 0);
    assert_eq!(story.launches(), [(1, 0)]);
    assert_eq!(story.condition("Initialized"), ("False".into(), "ContainersNotInitialized".into()));
    story.up(1);
    assert_eq!(story.launches(), [(2, 0)]);
    story.up(2);
    story.exit(2, 0);
    assert_eq!(story.launches(), [(3, 0)]);
    story.up(3);
    assert_eq!(story.condition("Initialized").0, "True");
    assert_eq!(story.condition("Ready").0, "True");
    // Sidecars end last.
    story.feed(Input::Delete { grace: Duration::from_secs(7) });
    assert_eq!(story.stops(), [(3, 7)]);
    story.exit(3, 0);
    assert_eq!(story.stops(), [(1, 7)]);
    story.exit(1, 0);
    assert_eq!(story.effects, [Effect::Finish]);
}

#[test]
fn an_init_container_that_fails_for_good_fails_the_pod() {
    let spec =
        json!({ "restartPolicy": "Never", "initContainers": [{ "name": "i" }], "containers": [{ "name": "app" }] });
    let mut story = Story::new(spec);
    story.up(0);
    story.exit(0, 1);
    assert_eq!((story.launches(), story.line()), (vec![], "Failed app=PodInitializing#0".into()));
}

#[test]
fn probes_decide_readiness_and_life() {
    let mut story = Story::new(json!({ "containers": [{
        "name": "app",
        "startupProbe": { "tcpSocket": { "port": 80 }, "periodSeconds": 1, "failureThreshold": 2 },
        "readinessProbe": { "tcpSocket": { "port": 80 }, "periodSeconds": 5 },
        "livenessProbe": { "tcpSocket": { "port": 80 }, "periodSeconds": 5, "failureThreshold": 1, "terminationGracePeriodSeconds": 3 },
    }] }));
    let probes = |story: &Story| -> Vec<ProbeKind> {
        let probe = |effect: &Effect| match effect {
            Effect::Probe { kind, .. } => Some(*kind),
            _ => None,
        };
        story.effects.iter().filter_map(probe).collect()
    };
    story.up(0);
    assert_eq!((probes(&story), story.line()), (vec![ProbeKind::Startup], "Running app=Running#0".into()));
    story.probe(ProbeKind::Startup, Outcome::Failure("no".into()));
    assert_eq!(story.reasons(), ["Unhealthy"]);
    story.wait(1);
    story.probe(ProbeKind::Startup, Outcome::Success);
    assert_eq!(probes(&story), [ProbeKind::Readiness, ProbeKind::Liveness]);
    story.probe(ProbeKind::Readiness, Outcome::Success);
    assert_eq!(story.line(), "Running app=Running+#0");
    story.wait(5);
    for _ in 0..3 {
        story.probe(ProbeKind::Readiness, Outcome::Failure("no".into()));
    }
    assert_eq!(story.line(), "Running app=Running#0");
    story.probe(ProbeKind::Liveness, Outcome::Failure("no".into()));
    assert_eq!((story.reasons(), story.stops()), (vec!["Unhealthy", "Killing"], vec![(0, 3)]));
    story.exit(0, 0);
    assert_eq!((story.launches(), story.line()), (vec![(0, 1)], "Running app=Error(137)#0".into()));
}

#[test]
fn another_image_replaces_what_runs_and_ends_the_wait_for_the_old_one() {
    let reimage = |image: &str| {
        let mut pod: Pod = serde_json::from_value(json!({ "spec": with_policy("Never") })).unwrap();
        pod.spec.as_mut().unwrap().containers[0].image = Some(image.to_owned());
        Input::Respec { plan: Box::new(PodPlan::of(&pod)), refused: None }
    };
    let mut story = Story::new(with_policy("Never"));
    story.refuse(0, "ErrImagePull", LaunchFailure::Pull);
    story.feed(reimage("y"));
    assert_eq!(story.launches(), [(0, 0)]);
    story.up(0);
    story.feed(reimage("y"));
    assert_eq!(story.effects, []);
    story.feed(reimage("z"));
    assert_eq!((story.reasons(), story.stops()), (vec!["Killing"], vec![(0, 30)]));
    story.exit(0, 0);
    assert_eq!(story.launches(), [(0, 1)]);
}

#[test]
fn a_deletion_stops_what_runs_and_launches_nothing() {
    let mut story = Story::new(one());
    story.feed(Input::Delete { grace: Duration::from_secs(9) });
    assert_eq!(story.effects, []);
    // The launch that was under way ends.
    story.up(0);
    assert_eq!(story.stops(), [(0, 9)]);
    story.feed(Input::Delete { grace: Duration::from_secs(1) });
    assert_eq!(story.stops(), [(0, 1)]);
    story.exit(0, 0);
    assert_eq!((story.effects.clone(), story.line()), (vec![Effect::Finish], "Succeeded app=Completed(0)#0".into()));
    story.feed(Input::Delete { grace: Duration::ZERO });
    story.wait(1000);
    assert_eq!(story.effects, []);
}

#[test]
fn a_pod_that_is_active_too_long_fails() {
    let mut story = Story::new(json!({ "activeDeadlineSeconds": 5, "containers": [{ "name": "app" }] }));
    story.up(0);
    story.wait(5);
    assert_eq!(story.stops(), [(0, 30)]);
    story.exit(0, 0);
    assert_eq!(story.line(), "Failed app=Completed(0)#0");
    assert_eq!(story.status().reason.as_deref(), Some("DeadlineExceeded"));
}

#[test]
fn a_pod_of_an_earlier_life_is_started_again_with_its_count() {
    let running = json!({ "phase": "Running", "containerStatuses": [{
        "name": "app", "image": "x", "imageID": "", "ready": true, "restartCount": 2, "state": { "running": {} },
    }] });
    let mut story = Story::with_status(one(), running);
    assert_eq!((story.launches(), story.line()), (vec![(0, 3)], "Running app=Unknown(255)#2".into()));
    story.up(0);
    assert_eq!(story.line(), "Running app=Running+#3");
    let over = json!({ "phase": "Succeeded", "containerStatuses": [{
        "name": "app", "image": "x", "imageID": "", "ready": false, "restartCount": 0,
        "state": { "terminated": { "exitCode": 0, "reason": "Completed" } },
    }] });
    let mut story = Story::with_status(with_policy("Never"), over);
    assert_eq!((story.effects.clone(), story.line()), (vec![], "Succeeded app=Completed(0)#0".into()));
    story.feed(Input::Delete { grace: Duration::from_secs(30) });
    assert_eq!(story.effects, [Effect::Finish]);
}

#[test]
fn a_condition_keeps_the_time_since_which_it_holds() {
    let mut story = Story::new(one());
    story.up(0);
    let ready = |story: &mut Story| {
        let status = story.status();
        status
            .conditions
            .unwrap()
            .into_iter()
            .find(|condition| condition.type_ == "Ready")
            .unwrap()
            .last_transition_time
    };
    let before = ready(&mut story);
    story.wait(60);
    assert_eq!(ready(&mut story), before);
    story.exit(0, 1);
    assert_ne!(ready(&mut story), before);
}

#[derive(Clone, Debug)]
enum Happening {
    LaunchEnds(bool),
    Exit(usize, i32),
    Wait(u64),
    Delete,
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let one = prop_oneof![
        4 => any::<bool>().prop_map(Happening::LaunchEnds),
        4 => (0usize..3, 0i32..2).prop_map(|(container, code)| Happening::Exit(container, code)),
        3 => (0u64..400).prop_map(Happening::Wait),
        1 => Just(Happening::Delete),
    ];
    proptest::collection::vec(one, 0..60)
}

proptest! {
    /// No container is launched twice at a time, nothing is launched after a deletion, and the end comes once, after
    /// everything has stopped.
    #[test]
    fn whatever_happens_the_guarantees_hold(policy in 0..3usize, history in happenings()) {
        let policy = ["Always", "OnFailure", "Never"][policy];
        let spec = json!({
            "restartPolicy": policy,
            "initContainers": [{ "name": "i" }],
            "containers": [{ "name": "a" }, { "name": "b" }],
        });
        let mut story = Story::new(spec);
        let (mut launching, mut running) = (None, HashSet::new());
        let (mut deleted, mut finished) = (false, 0);
        for happening in std::iter::once(Happening::Wait(0)).chain(history) {
            match happening {
                Happening::LaunchEnds(good) => match launching.take() {
                    Some(index) if good => {
                        running.insert(index);
                        story.up(index);
                    }
                    Some(index) => story.refuse(index, "ErrImagePull", LaunchFailure::Pull),
                    None => continue,
                },
                Happening::Exit(index, code) => {
                    if !running.remove(&index) {
                        continue;
                    }
                    story.exit(index, code);
                }
                Happening::Wait(0) if launching.is_none() && !deleted => {
                    // The first launch came with the making of the story.
                    launching = story.launches().first().map(|launch| launch.0);
                    continue;
                }
                Happening::Wait(seconds) => story.wait(seconds),
                Happening::Delete => {
                    deleted = true;
                    story.feed(Input::Delete { grace: Duration::from_secs(1) });
                }
            }
            for (index, _) in story.launches() {
                prop_assert!(!deleted && launching.is_none() && !running.contains(&index));
                launching = Some(index);
            }
            for (index, _) in story.stops() {
                prop_assert!(running.contains(&index));
            }
            finished += story.effects.iter().filter(|effect| **effect == Effect::Finish).count();
            let ends_now = deleted && launching.is_none() && running.is_empty();
            prop_assert_eq!(finished, usize::from(ends_now));
            // A timer that is due has been acted upon.
            let now = story.now().at;
            prop_assert!(story.machine.wake().is_none_or(|at| at > now || launching.is_some()));
            story.status();
        }
    }
}
