//! What the machine knows of a pod's spec.

use std::time::Duration;

use k8s_openapi::api::core::v1::{
    Container, ContainerRestartRule, EphemeralContainer, Pod, PodSpec, ResourceRequirements, VolumeMount,
    VolumeMountStatus,
};

use super::Probes;
use crate::resources::Resources;

/// `restartPolicy`, of the pod or of one container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    Always,
    OnFailure,
    Never,
}

impl Restart {
    fn parse(text: Option<&str>) -> Option<Self> {
        match text? {
            "Always" => Some(Self::Always),
            "OnFailure" => Some(Self::OnFailure),
            "Never" => Some(Self::Never),
            _ => None,
        }
    }

    fn after(self, code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => code != 0,
            Self::Never => false,
        }
    }
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
    /// Added to look at the others; runs once.
    Ephemeral,
}

/// Exit codes after which a container is started again whatever its policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    among: bool,
    codes: Vec<i32>,
    /// All others are, too.
    all: bool,
}

impl Rule {
    fn of(rule: &ContainerRestartRule) -> Option<Self> {
        let all = rule.action == "RestartAllContainers";
        let exit = rule.exit_codes.as_ref().filter(|_| all || rule.action == "Restart")?;
        Some(Self { among: exit.operator == "In", codes: exit.values.clone().unwrap_or_default(), all })
    }

    fn matches(&self, code: i32) -> bool {
        self.codes.contains(&code) == self.among
    }
}

/// What there is to tell of a mount. What a guest may only read, it may only read however deep it goes, so that every wish
/// for that is met.
fn mounted(mount: &VolumeMount) -> VolumeMountStatus {
    let read_only = mount.read_only.filter(|only| *only);
    let deep = if matches!(mount.recursive_read_only.as_deref(), Some("Enabled" | "IfPossible")) {
        "Enabled"
    } else {
        "Disabled"
    };
    VolumeMountStatus {
        name: mount.name.clone(),
        mount_path: mount.mount_path.clone(),
        read_only,
        recursive_read_only: read_only.map(|_| deep.to_owned()),
        ..VolumeMountStatus::default()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct ContainerPlan {
    pub name: String,
    pub image: String,
    pub role: Role,
    pub probes: Probes,
    pub requirements: ResourceRequirements,
    /// What its status tells of its mounts; nothing where there are none.
    pub mounts: Option<Vec<VolumeMountStatus>>,
    restart: Option<Restart>,
    rules: Vec<Rule>,
    /// Resources whose change needs a restart.
    restart_for: Vec<String>,
}

impl ContainerPlan {
    fn new(container: &Container, role: Role) -> Self {
        let policies = container.resize_policy.iter().flatten();
        Self {
            name: container.name.clone(),
            image: container.image.clone().unwrap_or_default(),
            role,
            probes: Probes::of(container),
            requirements: container.resources.clone().unwrap_or_default(),
            mounts: container.volume_mounts.as_ref().map(|all| all.iter().map(mounted).collect()),
            restart: Restart::parse(container.restart_policy.as_deref()),
            rules: container.restart_policy_rules.iter().flatten().filter_map(Rule::of).collect(),
            restart_for: policies
                .filter(|policy| policy.restart_policy == "RestartContainer")
                .map(|policy| policy.resource_name.clone())
                .collect(),
        }
    }

    /// Whether a container that ended with this code is started again.
    pub fn restarts(&self, policy: Restart, code: i32) -> bool {
        match self.role {
            Role::Ephemeral => false,
            Role::Sidecar => true,
            Role::Main => self.has_rule_for(code) || self.restart.unwrap_or(policy).after(code),
            // What an init container was for is done when it succeeds, whatever its rules say.
            Role::Init => code != 0 && (self.has_rule_for(code) || self.restart.unwrap_or(policy).after(code)),
        }
    }

    fn has_rule_for(&self, code: i32) -> bool {
        self.rules.iter().any(|rule| rule.matches(code))
    }

    /// Whether every container of the pod is started anew when this one ends with this code: the first rule that fits says so.
    pub fn restarts_all(&self, code: i32) -> bool {
        let fitting = self.rules.iter().find(|rule| rule.matches(code));
        let counts = self.role == Role::Main || (self.role != Role::Ephemeral && code != 0);
        counts && fitting.is_some_and(|rule| rule.all)
    }

    pub fn limits(&self) -> Resources {
        Resources::required(&self.requirements)
    }

    /// Whether changing to these amounts needs a restart.
    pub fn restarts_for(&self, wanted: &ResourceRequirements) -> bool {
        self.restart_for.iter().any(|name| {
            let amount = |side: &Option<std::collections::BTreeMap<_, _>>| side.as_ref()?.get(name).cloned();
            amount(&self.requirements.limits) != amount(&wanted.limits)
                || amount(&self.requirements.requests) != amount(&wanted.requests)
        })
    }
}

/// A pod as the machine sees it: init containers come first, ephemeral ones last.
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
        let none = PodSpec::default();
        let (meta, spec) = (&pod.metadata, pod.spec.as_ref().unwrap_or(&none));
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let inits = spec.init_containers.iter().flatten().map(|container| {
            let sidecar = container.restart_policy.as_deref() == Some("Always");
            ContainerPlan::new(container, if sidecar { Role::Sidecar } else { Role::Init })
        });
        let mains = spec.containers.iter().map(|container| ContainerPlan::new(container, Role::Main));
        let ephemeral = spec.ephemeral_containers.iter().flatten();
        let ephemeral = ephemeral.map(|container| ContainerPlan::new(&plain(container), Role::Ephemeral));
        let seconds = |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        Self {
            pod: format!("{}_{}({})", text(&meta.name), text(&meta.namespace), text(&meta.uid)),
            containers: inits.chain(mains).chain(ephemeral).collect(),
            restart: Restart::parse(spec.restart_policy.as_deref()).unwrap_or(Restart::Always),
            grace: seconds(spec.termination_grace_period_seconds.unwrap_or(30)),
            active_deadline: spec.active_deadline_seconds.map(seconds),
        }
    }
}

/// An ephemeral container as what it is: a container whose every other wish is refused by the API.
pub(crate) fn plain(container: &EphemeralContainer) -> Container {
    let EphemeralContainer {
        args,
        command,
        env,
        env_from,
        image,
        image_pull_policy,
        name,
        security_context,
        stdin,
        stdin_once,
        termination_message_path,
        termination_message_policy,
        tty,
        volume_mounts,
        working_dir,
        ..
    } = container.clone();
    Container {
        args,
        command,
        env,
        env_from,
        image,
        image_pull_policy,
        name,
        security_context,
        stdin,
        stdin_once,
        termination_message_path,
        termination_message_policy,
        tty,
        volume_mounts,
        working_dir,
        ..Container::default()
    }
}
