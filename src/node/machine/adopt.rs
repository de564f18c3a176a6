//! Taking over a pod that was bound to this node, perhaps by an earlier life of the agent.
//!
//! Containers do not outlive the process. One that was running is shown as having ended for an unknown reason and is started
//! again with its count raised; one that had ended for good stays as it was.

use base::backoff::Backoff;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::status::{Conditions, seconds};
use super::{
    BACKOFF_FIRST, BACKOFF_MAX, Container, Moment, Phase, PodMachine, PodPlan, RestartAll, Role, State, Termination,
};

impl PodMachine {
    /// A machine for `pod` in whatever state its status says.
    pub fn adopt(pod: &Pod, now: Moment) -> Self {
        let plan = PodPlan::of(pod);
        let status = pod.status.clone().unwrap_or_default();
        let inits = plan.containers.iter().any(|container| container.role == Role::Init);
        let first = if inits { "PodInitializing" } else { "ContainerCreating" };
        let containers = plan.containers.iter().map(|planned| match known(&status, &planned.name) {
            Some(known) => adopted(known, first, now),
            None => Container::waiting(first),
        });
        let containers = containers.collect();
        let terminal = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        let since = status.start_time.as_ref().map_or(now.wall, |Time(start)| *start);
        let began_at = now.at.checked_sub(now.wall.duration_since(since).unsigned_abs()).unwrap_or(now.at);
        Self {
            plan,
            containers,
            phase: if terminal { Phase::Terminal } else { Phase::Active },
            judgement: None,
            restarting: RestartAll::Never,
            launching: None,
            began_at,
            started: seconds(since),
            gone_by: None,
            resize_refused: None,
            conditions: Conditions::of(&status),
        }
    }
}

fn known<'a>(status: &'a PodStatus, name: &str) -> Option<&'a ContainerStatus> {
    let all = [&status.init_container_statuses, &status.container_statuses, &status.ephemeral_container_statuses];
    all.into_iter().flatten().flatten().find(|status| status.name == name)
}

fn adopted(known: &ContainerStatus, first: &str, now: Moment) -> Container {
    let mut container = Container::waiting(first);
    container.attempt = u32::try_from(known.restart_count).unwrap_or(0);
    container.image = Some(known.image.clone()).filter(|image| !image.is_empty());
    container.image_id = Some(known.image_id.clone()).filter(|id| !id.is_empty());
    container.container_id = known.container_id.clone();
    container.last = known.last_state.as_ref().and_then(|last| last.terminated.as_ref()).map(termination);
    container.has_run = container.last.is_some();
    match &known.state {
        Some(ContainerState { terminated: Some(terminated), .. }) => {
            container.has_run = true;
            container.crashes = Some(Backoff::new(BACKOFF_FIRST, BACKOFF_MAX));
            container.state = State::Terminated(termination(terminated));
        }
        Some(ContainerState { running: Some(running), .. }) => {
            container.has_run = true;
            container.state = State::Terminated(Termination {
                code: 255,
                reason: "Unknown".to_owned(),
                message: Some("the node agent was restarted".to_owned()),
                started: running.started_at.as_ref().map(|Time(at)| *at),
                finished: Some(now.wall),
                container_id: known.container_id.clone(),
            });
        }
        _ => {}
    }
    container
}

fn termination(terminated: &ContainerStateTerminated) -> Termination {
    let at = |time: &Option<Time>| -> Option<Timestamp> { time.as_ref().map(|Time(at)| *at) };
    Termination {
        code: terminated.exit_code,
        reason: terminated.reason.clone().unwrap_or_default(),
        message: terminated.message.clone(),
        started: at(&terminated.started_at),
        finished: at(&terminated.finished_at),
        container_id: terminated.container_id.clone(),
    }
}
