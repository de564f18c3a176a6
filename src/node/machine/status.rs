//! What the world sees of a pod: `status`, as Kubernetes words it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, HostIP,
    Pod, PodCondition, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::restart_all::{self, RestartAll};
use super::{Container, ContainerPlan, DEADLINE, Moment, Phase, PodMachine, Role, State, Termination};

/// Where the pod is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub pod: Option<IpAddr>,
    pub host: IpAddr,
}

/// Since when each condition has its status.
#[derive(Debug, Default)]
pub(super) struct Conditions(BTreeMap<String, (String, Timestamp)>);

impl Conditions {
    pub fn of(status: &PodStatus) -> Self {
        let conditions = status.conditions.iter().flatten().filter_map(|condition| {
            let Time(since) = condition.last_transition_time.as_ref()?;
            Some((condition.type_.clone(), (condition.status.clone(), *since)))
        });
        Self(conditions.collect())
    }

    /// Since when `kind` has this status: from now on, if it had another.
    fn since(&mut self, kind: &str, status: &str, now: Timestamp) -> Timestamp {
        match self.0.get(kind) {
            Some((known, since)) if known == status => *since,
            _ => {
                self.0.insert(kind.to_owned(), (status.to_owned(), now));
                now
            }
        }
    }
}

/// A condition before its time is known.
struct Fact {
    kind: &'static str,
    holds: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Fact {
    fn holds(kind: &'static str) -> Self {
        Self { kind, holds: true, reason: None, message: None }
    }
    fn fails(kind: &'static str, reason: &'static str, message: Option<String>) -> Self {
        Self { kind, holds: false, reason: Some(reason), message }
    }
}

impl PodMachine {
    /// The whole status of `pod`, but for conditions that are not the node's.
    pub fn status(&mut self, pod: &Pod, addresses: Addresses, now: Moment) -> PodStatus {
        let old = pod.status.clone().unwrap_or_default();
        if self.phase == Phase::Terminal {
            return old;
        }
        let phase = self.pod_phase();
        let judgement = self.judgement.as_ref().filter(|_| phase == "Failed");
        let (reason, message) =
            judgement.map(|judgement| (judgement.reason.to_owned(), judgement.message.clone())).unzip();
        let text = |address: IpAddr| address.to_string();
        // Of a pod that was sent away before it began, its reason is all there is to tell.
        let began = |container: &Container| {
            container.has_run || container.last.is_some() || matches!(container.state, State::Terminated(_))
        };
        let sent_away =
            judgement.is_some_and(|judgement| judgement.reason != DEADLINE) && !self.containers.iter().any(began);
        let statuses = |roles: &[Role]| {
            if sent_away {
                return None;
            }
            let some = self.plan.containers.iter().zip(&self.containers).filter(|(plan, _)| roles.contains(&plan.role));
            let all: Vec<ContainerStatus> = some.map(|(plan, container)| container.status(plan)).collect();
            Some(all).filter(|all| !all.is_empty())
        };
        let container_statuses = statuses(&[Role::Main]);
        let init_container_statuses = statuses(&[Role::Init, Role::Sidecar]);
        let ephemeral_container_statuses = statuses(&[Role::Ephemeral]);
        PodStatus {
            phase: Some(phase.to_owned()),
            reason,
            message,
            conditions: Some(self.conditions(pod, &old, addresses, phase, now)),
            container_statuses,
            init_container_statuses,
            ephemeral_container_statuses,
            host_ip: Some(text(addresses.host)),
            host_ips: Some(vec![HostIP { ip: text(addresses.host) }]),
            pod_ip: addresses.pod.map(text),
            pod_ips: addresses.pod.map(|address| vec![PodIP { ip: text(address) }]),
            start_time: Some(Time(self.started)),
            observed_generation: pod.metadata.generation,
            ..old
        }
    }

    fn pod_phase(&self) -> &'static str {
        let all = || self.plan.containers.iter().zip(&self.containers);
        let mains = || all().filter(|(plan, _)| plan.role == Role::Main).map(|(_, container)| container);
        let ended = |container: &Container| matches!(container.state, State::Terminated(_)) || container.last.is_some();
        let succeeded =
            |container: &Container| matches!(&container.state, State::Terminated(termination) if termination.code == 0);
        let running = mains().filter(|container| container.is_running()).count();
        if self.has_failed() && !all().any(|(_, container)| container.is_running()) {
            return "Failed";
        }
        if self.judgement.is_some() {
            return match all().any(|(_, container)| container.is_running()) {
                false => "Failed",
                true if running > 0 || mains().any(|container| container.has_run) => "Running",
                true => "Pending",
            };
        }
        if let Phase::Deleting { finished: true } = self.phase {
            return if mains().all(succeeded) { "Succeeded" } else { "Failed" };
        }
        // Who begins again has been initialized once.
        let again = self.restarting == RestartAll::Done && mains().any(ended);
        let initialized = all().all(|(plan, container)| {
            again
                || matches!(plan.role, Role::Main | Role::Ephemeral)
                || container.is_initialized(plan)
                || (plan.role == Role::Sidecar && container.has_run)
        });
        let waits =
            mains().any(|container| matches!(container.state, State::Waiting { .. }) && container.last.is_none());
        if !initialized || waits {
            return "Pending";
        }
        match () {
            () if running > 0 || self.restarting == RestartAll::UnderWay => "Running",
            () if !mains().any(ended) => "Pending",
            () if !self.is_done() => "Running",
            () if mains().all(succeeded) => "Succeeded",
            () => "Failed",
        }
    }

    fn conditions(
        &mut self,
        pod: &Pod,
        old: &PodStatus,
        addresses: Addresses,
        phase: &str,
        now: Moment,
    ) -> Vec<PodCondition> {
        let facts = self.facts(pod, old, addresses, phase);
        let generation = pod.metadata.generation;
        let mut conditions: Vec<PodCondition> = Vec::with_capacity(facts.len());
        for fact in facts {
            let status = if fact.holds { "True" } else { "False" };
            conditions.push(PodCondition {
                type_: fact.kind.to_owned(),
                status: status.to_owned(),
                reason: fact.reason.map(str::to_owned),
                message: fact.message,
                last_transition_time: Some(Time(self.conditions.since(fact.kind, status, seconds(now.wall)))),
                last_probe_time: None,
                observed_generation: generation,
            });
        }
        conditions
    }

    fn facts(&self, pod: &Pod, old: &PodStatus, addresses: Addresses, phase: &str) -> Vec<Fact> {
        let sandbox = match addresses.pod {
            // Who is over has no place to start containers in any more.
            Some(_) if !matches!(phase, "Succeeded" | "Failed") => Fact::holds("PodReadyToStartContainers"),
            _ => Fact { kind: "PodReadyToStartContainers", holds: false, reason: None, message: None },
        };
        let names = |wanted: &dyn Fn(&ContainerPlan, &Container) -> bool| -> Vec<&str> {
            let all = self.plan.containers.iter().zip(&self.containers);
            all.filter(|(plan, container)| wanted(plan, container)).map(|(plan, _)| plan.name.as_str()).collect()
        };
        let incomplete = names(&|plan, container| {
            matches!(plan.role, Role::Init | Role::Sidecar)
                && !container.is_initialized(plan)
                && !(plan.role == Role::Sidecar && container.has_run)
        });
        let over = phase == "Succeeded";
        let initialized = match incomplete.as_slice() {
            _ if over => Fact { reason: Some("PodCompleted"), ..Fact::holds("Initialized") },
            [] => Fact::holds("Initialized"),
            some => {
                let message = format!("containers with incomplete status: [{}]", some.join(" "));
                Fact::fails("Initialized", "ContainersNotInitialized", Some(message))
            }
        };
        let unready =
            names(&|plan, container| matches!(plan.role, Role::Main | Role::Sidecar) && !container.is_ready());
        let ready = |kind| match (phase, unready.as_slice()) {
            ("Succeeded", _) => Fact::fails(kind, "PodCompleted", None),
            ("Failed", _) => Fact::fails(kind, "PodFailed", None),
            // It is to fail: nobody is sent to it while it still runs.
            _ if self.judgement.is_some() => Fact::fails(kind, "PodFailed", None),
            (_, []) => Fact::holds(kind),
            (_, some) => {
                let message = format!("containers with unready status: [{}]", some.join(" "));
                Fact::fails(kind, "ContainersNotReady", Some(message))
            }
        };
        let mut pod_ready = ready("Ready");
        let closed = closed_gates(pod, old);
        if pod_ready.holds && !closed.is_empty() {
            pod_ready = Fact::fails("Ready", "ReadinessGatesNotReady", Some(closed.join(", ")));
        }
        let mut facts = vec![sandbox, initialized, pod_ready, ready("ContainersReady"), Fact::holds("PodScheduled")];
        if let Some(judgement) = self.judgement.as_ref().filter(|judgement| judgement.disruption) {
            let message = Some(judgement.message.clone());
            facts.push(Fact { reason: Some("TerminationByKubelet"), message, ..Fact::holds("DisruptionTarget") });
        }
        match self.restarting {
            RestartAll::Never => {}
            RestartAll::UnderWay => facts.push(Fact::holds(restart_all::CONDITION)),
            RestartAll::Done => {
                facts.push(Fact { kind: restart_all::CONDITION, holds: false, reason: None, message: None });
            }
        }
        if let Some(why) = &self.resize_refused {
            facts.push(Fact {
                reason: Some("Infeasible"),
                message: Some(why.clone()),
                ..Fact::holds("PodResizePending")
            });
        }
        facts
    }
}

/// The conditions that nobody but the node writes. [`PodMachine::status`] has all of them that hold or fail.
const OURS: [&str; 7] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
    "PodResizePending",
    restart_all::CONDITION,
];

/// Whether a condition is the node's to write, and to take away.
pub(crate) fn is_ours(condition: &PodCondition) -> bool {
    OURS.contains(&condition.type_.as_str())
}

/// What is to be said of the readiness gates that nobody has opened.
fn closed_gates(pod: &Pod, status: &PodStatus) -> Vec<String> {
    let conditions = || status.conditions.iter().flatten();
    let said = |kind: &str| match conditions().find(|condition| condition.type_ == kind) {
        None => Some(format!("corresponding condition of pod readiness gate {kind:?} does not exist.")),
        Some(condition) if condition.status == "True" => None,
        Some(condition) => {
            Some(format!("the status of pod readiness gate {kind:?} is not \"True\", but {}", condition.status))
        }
    };
    let gates = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
    gates.filter_map(|gate| said(&gate.condition_type)).collect()
}

impl Container {
    fn status(&self, plan: &ContainerPlan) -> ContainerStatus {
        let state = match &self.state {
            State::Waiting { reason, message } => ContainerState {
                waiting: Some(ContainerStateWaiting { reason: Some(reason.clone()), message: message.clone() }),
                ..ContainerState::default()
            },
            State::Running { started } => ContainerState {
                running: Some(ContainerStateRunning { started_at: Some(Time(seconds(*started))) }),
                ..ContainerState::default()
            },
            State::Terminated(termination) => termination.state(),
        };
        let completed = matches!(&self.state, State::Terminated(termination) if termination.code == 0);
        // What a container has been given is told from its first run on, also when it is nothing.
        let sized = self.container_id.is_some() && plan.role != Role::Ephemeral;
        ContainerStatus {
            name: plan.name.clone(),
            image: self.image.clone().unwrap_or_else(|| plan.image.clone()),
            image_id: self.image_id.clone().unwrap_or_default(),
            container_id: self.container_id.clone(),
            ready: match plan.role {
                Role::Init => completed,
                Role::Ephemeral => false,
                Role::Sidecar | Role::Main => self.is_ready(),
            },
            started: Some(self.is_started()).filter(|_| plan.role != Role::Ephemeral),
            allocated_resources: plan.requirements.requests.clone().filter(|some| sized && !some.is_empty()),
            resources: Some(plan.requirements.clone()).filter(|_| sized),
            restart_count: i32::try_from(self.attempt).unwrap_or(i32::MAX),
            state: Some(state),
            volume_mounts: plan.mounts.clone(),
            last_state: Some(self.last.as_ref().map(Termination::state).unwrap_or_default()),
            ..ContainerStatus::default()
        }
    }
}

impl Termination {
    fn state(&self) -> ContainerState {
        let terminated = ContainerStateTerminated {
            container_id: self.container_id.clone(),
            exit_code: self.code,
            reason: Some(self.reason.clone()).filter(|reason| !reason.is_empty()),
            message: self.message.clone(),
            signal: None,
            started_at: self.started.map(|at| Time(seconds(at))),
            finished_at: self.finished.map(|at| Time(seconds(at))),
        };
        ContainerState { terminated: Some(terminated), ..ContainerState::default() }
    }
}

/// Kubernetes' times have whole seconds; finer ones would differ from what is read back.
pub(super) fn seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}
