//! What the machine knows of a pod's spec.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod};

use super::Probes;

/// `spec.restartPolicy`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    Always,
    OnFailure,
    Never,
}

/// When in the life of its pod a container runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Before the others, to its end.
    Init,
    /// An init container that goes on running.
    Sidecar,
    /// All of the time.
    Main,
}

#[derive(Clone, Debug)]
pub(crate) struct ContainerPlan {
    pub name: String,
    pub image: String,
    pub role: Role,
    pub probes: Probes,
}

impl ContainerPlan {
    fn new(container: &Container, role: Role) -> Self {
        Self {
            name: container.name.clone(),
            image: container.image.clone().unwrap_or_default(),
            role,
            probes: Probes::of(container),
        }
    }

    /// Whether a container that ended is started again.
    pub fn restarts(&self, policy: Restart, failed: bool) -> bool {
        match (self.role, policy) {
            (Role::Sidecar, _) | (Role::Main, Restart::Always) => true,
            (Role::Main, Restart::OnFailure) | (Role::Init, Restart::Always | Restart::OnFailure) => failed,
            (Role::Main | Role::Init, Restart::Never) => false,
        }
    }
}

/// A pod as the machine sees it: init containers come first.
#[derive(Clone, Debug)]
pub(crate) struct PodPlan {
    /// `name_namespace(uid)`, as messages have it.
    pub pod: String,
    pub containers: Vec<ContainerPlan>,
    pub restart: Restart,
    pub grace: Duration,
    pub active_deadline: Option<Duration>,
}

impl PodPlan {
    pub fn of(pod: &Pod) -> Self {
        let (meta, spec) = (&pod.metadata, pod.spec.clone().unwrap_or_default());
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let inits = spec.init_containers.iter().flatten().map(|container| {
            let sidecar = container.restart_policy.as_deref() == Some("Always");
            ContainerPlan::new(container, if sidecar { Role::Sidecar } else { Role::Init })
        });
        let mains = spec.containers.iter().map(|container| ContainerPlan::new(container, Role::Main));
        let seconds = |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        Self {
            pod: format!("{}_{}({})", text(&meta.name), text(&meta.namespace), text(&meta.uid)),
            containers: inits.chain(mains).collect(),
            restart: match spec.restart_policy.as_deref() {
                Some("Never") => Restart::Never,
                Some("OnFailure") => Restart::OnFailure,
                _ => Restart::Always,
            },
            grace: seconds(spec.termination_grace_period_seconds.unwrap_or(30)),
            active_deadline: spec.active_deadline_seconds.map(seconds),
        }
    }
}
