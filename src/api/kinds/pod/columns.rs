//! What `kubectl get pods` prints.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::is_finished;
use crate::kinds::cells::{NONE, age_column, column, name_column, or, wide};
use crate::kinds::fields::{flag, get, int, list, list_at, text, text_at};
use crate::table::since;
use crate::{Column, meta};

pub(super) fn columns() -> Vec<Column> {
    vec![
        name_column(),
        column("Ready", "The aggregate readiness state of this pod for accepting traffic.", |pod, _| {
            let printed = Printed::of(pod);
            json!(format!("{}/{}", printed.ready, printed.total))
        }),
        column("Status", "The aggregate status of the containers in this pod.", |pod, _| {
            json!(Printed::of(pod).reason)
        }),
        column(
            "Restarts",
            "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted.",
            |pod, now| json!(restarts(pod, now)),
        ),
        age_column(),
        wide(column("IP", "The address of the pod.", |pod, _| {
            let first = list_at(pod, "/status/podIPs").first().map(|ip| text(ip, "ip"));
            json!(or(first.unwrap_or_else(|| text_at(pod, "/status/podIP")), NONE))
        })),
        wide(column("Node", "The node that the pod is bound to.", |pod, _| {
            json!(or(text_at(pod, "/spec/nodeName"), NONE))
        })),
        wide(column("Nominated Node", "The node that the pod waits for to be freed.", |pod, _| {
            json!(or(text_at(pod, "/status/nominatedNodeName"), NONE))
        })),
        wide(column("Readiness Gates", "The conditions of others that the pod's readiness depends on.", |pod, _| {
            json!(readiness_gates(pod))
        })),
    ]
}

/// What the columns are made of; they share one walk over the containers.
struct Printed {
    reason: String,
    ready: usize,
    total: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

impl Printed {
    fn of(pod: &Value) -> Self {
        let status = pod.get("status").unwrap_or(&Value::Null);
        let spec = pod.get("spec").unwrap_or(&Value::Null);
        let sidecars = list(spec, "initContainers").iter().filter(|container| is_sidecar(container)).count();
        let phase = text(status, "phase");
        let gated = condition(status, "PodScheduled").is_some_and(|found| text(found, "reason") == "SchedulingGated");
        let first = if gated { "SchedulingGated" } else { or(text(status, "reason"), phase) };
        let mut printed = Self {
            reason: first.to_owned(),
            ready: 0,
            total: list(spec, "containers").len() + sidecars,
            restarts: 0,
            last_restart: None,
        };
        let initializing = printed.initialize(spec, status);
        if !initializing || holds(status, "Initialized") {
            printed.run(spec, status);
        }
        if meta::is_being_deleted(pod) {
            if text(status, "reason") == "NodeLost" {
                printed.reason = "Unknown".to_owned();
            } else if !is_finished(pod) {
                printed.reason = "Terminating".to_owned();
            }
        }
        printed
    }

    /// Walks the init containers up to the one that is not done; tells whether there is one.
    fn initialize(&mut self, spec: &Value, status: &Value) -> bool {
        let wanted = list(spec, "initContainers");
        for (at, container) in list(status, "initContainerStatuses").iter().enumerate() {
            self.count(container);
            let terminated = state(container, "terminated");
            if terminated.is_some_and(|end| int(end, "exitCode").unwrap_or_default() == 0) {
                continue;
            }
            if is_sidecar_named(wanted, text(container, "name")) && flag(container, "started") {
                self.ready += usize::from(flag(container, "ready"));
                continue;
            }
            let waiting = state(container, "waiting").map(|waiting| text(waiting, "reason")).unwrap_or_default();
            self.reason = match terminated {
                Some(end) => format!("Init:{}", end_reason(end)),
                None if !waiting.is_empty() && waiting != "PodInitializing" => format!("Init:{waiting}"),
                None => format!("Init:{at}/{}", wanted.len()),
            };
            return true;
        }
        false
    }

    /// Walks the containers from the last to the first: the first has the last word.
    fn run(&mut self, spec: &Value, status: &Value) {
        let wanted = list(spec, "initContainers");
        self.restarts = 0;
        self.last_restart = None;
        for container in list(status, "initContainerStatuses") {
            if is_sidecar_named(wanted, text(container, "name")) {
                self.count(container);
            }
        }
        let mut any_running = false;
        for container in list(status, "containerStatuses").iter().rev() {
            self.count(container);
            let waiting = state(container, "waiting").map(|waiting| text(waiting, "reason")).unwrap_or_default();
            if !waiting.is_empty() {
                self.reason = waiting.to_owned();
            } else if let Some(end) = state(container, "terminated") {
                self.reason = end_reason(end);
            } else if flag(container, "ready") && state(container, "running").is_some() {
                any_running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" && any_running {
            self.reason = if holds(status, "Ready") { "Running" } else { "NotReady" }.to_owned();
        }
    }

    fn count(&mut self, container: &Value) {
        self.restarts += int(container, "restartCount").unwrap_or_default();
        let ended = container.pointer("/lastState/terminated/finishedAt");
        self.last_restart = self.last_restart.max(meta::time(ended));
    }
}

fn restarts(pod: &Value, now: Timestamp) -> String {
    let printed = Printed::of(pod);
    match printed.last_restart {
        Some(last) if printed.restarts != 0 => format!("{} ({} ago)", printed.restarts, since(Some(last), now)),
        _ => printed.restarts.to_string(),
    }
}

fn readiness_gates(pod: &Value) -> String {
    let gates = list_at(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return NONE.to_owned();
    }
    let status = pod.get("status").unwrap_or(&Value::Null);
    let open = gates.iter().filter(|gate| holds(status, text(gate, "conditionType"))).count();
    format!("{open}/{}", gates.len())
}

fn state<'a>(container: &'a Value, kind: &str) -> Option<&'a Value> {
    get(container.get("state")?, kind)
}

fn end_reason(end: &Value) -> String {
    let reason = text(end, "reason");
    match int(end, "signal").unwrap_or_default() {
        _ if !reason.is_empty() => reason.to_owned(),
        0 => format!("ExitCode:{}", int(end, "exitCode").unwrap_or_default()),
        signal => format!("Signal:{signal}"),
    }
}

fn is_sidecar(container: &Value) -> bool {
    text(container, "restartPolicy") == "Always"
}

fn is_sidecar_named(wanted: &[Value], name: &str) -> bool {
    wanted.iter().any(|container| text(container, "name") == name && is_sidecar(container))
}

fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    list(status, "conditions").iter().find(|condition| text(condition, "type") == kind)
}

fn holds(status: &Value, kind: &str) -> bool {
    condition(status, kind).is_some_and(|condition| text(condition, "status") == "True")
}
