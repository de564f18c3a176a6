//! What no ordinary workload needs.

use std::collections::BTreeSet;

use serde_json::Value;

use super::checks::{Violation, containers, counted, is_true, named, of_containers, quoted};
use crate::admission::{list, text};

const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
const SELINUX_TYPES: [&str; 5] = ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];
const APPARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// `stricter` leaves out what the restricted level checks more closely.
pub(super) fn violations(metadata: &Value, spec: &Value, stricter: bool) -> Vec<Violation> {
    let all = [
        app_armor(metadata, spec),
        (!stricter).then(|| capabilities(spec)).flatten(),
        host_namespaces(spec),
        (!stricter).then(|| host_paths(spec)).flatten(),
        host_ports(spec),
        host_probes(spec),
        of_containers(
            "privileged",
            &named(spec, |container| is_true(container, "/securityContext/privileged")),
            "must not set securityContext.privileged=true",
        ),
        proc_mount(spec),
        selinux(spec),
        (!stricter).then(|| seccomp(spec)).flatten(),
        sysctls(spec),
        windows(spec),
    ];
    all.into_iter().flatten().collect()
}

fn app_armor(metadata: &Value, spec: &Value) -> Option<Violation> {
    let mut details = Vec::new();
    let unconfined = |value: &Value| text(value, "/securityContext/appArmorProfile/type") == "Unconfined";
    if unconfined(spec) {
        details.push("pod must not set AppArmor profile type to \"Unconfined\"".to_owned());
    }
    let names = named(spec, unconfined);
    if !names.is_empty() {
        details.push(format!("{} must not set AppArmor profile type to \"Unconfined\"", counted("container", &names)));
    }
    for (key, value) in metadata.get("annotations").and_then(Value::as_object).into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        let is_allowed = value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
        if key.starts_with(APPARMOR) && !is_allowed {
            details.push(format!("annotation {key}={value:?}"));
        }
    }
    let reason = if details.len() == 1 { "forbidden AppArmor profile" } else { "forbidden AppArmor profiles" };
    (!details.is_empty()).then(|| Violation { reason, detail: details.join(", ") })
}

fn capabilities(spec: &Value) -> Option<Violation> {
    let mut forbidden = BTreeSet::new();
    let mut names = Vec::new();
    for container in containers(spec) {
        let added = list(container, "/securityContext/capabilities/add").iter().filter_map(Value::as_str);
        let bad: Vec<&str> = added.filter(|name| !CAPABILITIES.contains(name)).collect();
        if !bad.is_empty() {
            names.push(text(container, "/name"));
            forbidden.extend(bad);
        }
    }
    let forbidden: Vec<&str> = forbidden.into_iter().collect();
    let rest = format!("must not include {} in securityContext.capabilities.add", quoted(&forbidden));
    of_containers("non-default capabilities", &names, &rest)
}

fn host_namespaces(spec: &Value) -> Option<Violation> {
    let shared = ["hostNetwork", "hostPID", "hostIPC"];
    let found: Vec<String> = shared
        .iter()
        .filter(|field| spec.get(**field) == Some(&Value::Bool(true)))
        .map(|field| format!("{field}=true"))
        .collect();
    (!found.is_empty()).then(|| Violation { reason: "host namespaces", detail: found.join(", ") })
}

fn host_paths(spec: &Value) -> Option<Violation> {
    let on_host = |volume: &&Value| volume.get("hostPath").is_some_and(|path| !path.is_null());
    let names: Vec<&str> = list(spec, "/volumes").iter().filter(on_host).map(|volume| text(volume, "/name")).collect();
    (!names.is_empty()).then(|| Violation { reason: "hostPath volumes", detail: counted("volume", &names) })
}

fn host_ports(spec: &Value) -> Option<Violation> {
    let mut ports = BTreeSet::new();
    let mut names = Vec::new();
    for container in containers(spec) {
        let used = list(container, "/ports").iter().filter_map(|port| port.get("hostPort")?.as_i64());
        let used: Vec<String> = used.filter(|port| *port != 0).map(|port| port.to_string()).collect();
        if !used.is_empty() {
            names.push(text(container, "/name"));
            ports.extend(used);
        }
    }
    let uses = if names.len() == 1 { "uses" } else { "use" };
    let word = if ports.len() == 1 { "hostPort" } else { "hostPorts" };
    let ports: Vec<String> = ports.into_iter().collect();
    of_containers("hostPort", &names, &format!("{uses} {word} {}", ports.join(", ")))
}

/// Probes and hooks that ask another host than the pod.
fn host_probes(spec: &Value) -> Option<Violation> {
    let places = ["/livenessProbe", "/readinessProbe", "/startupProbe", "/lifecycle/postStart", "/lifecycle/preStop"];
    let mut hosts = BTreeSet::new();
    let names = named(spec, |container| {
        places.iter().any(|place| {
            ["httpGet", "tcpSocket"].iter().any(|action| {
                let host = text(container, &format!("{place}/{action}/host"));
                !matches!(host, "" | "127.0.0.1" | "::1")
            })
        })
    });
    for container in containers(spec) {
        for place in places {
            for action in ["httpGet", "tcpSocket"] {
                let host = text(container, &format!("{place}/{action}/host"));
                if !matches!(host, "" | "127.0.0.1" | "::1") {
                    hosts.insert(host);
                }
            }
        }
    }
    let hosts: Vec<&str> = hosts.into_iter().collect();
    let uses = if names.len() == 1 { "uses" } else { "use" };
    let word = if hosts.len() == 1 { "host" } else { "hosts" };
    of_containers("probe or lifecycle host", &names, &format!("{uses} probe or lifecycle {word} {}", quoted(&hosts)))
}

fn proc_mount(spec: &Value) -> Option<Violation> {
    let mut kinds = BTreeSet::new();
    for container in containers(spec) {
        let kind = text(container, "/securityContext/procMount");
        if !matches!(kind, "" | "Default") {
            kinds.insert(kind);
        }
    }
    let names = named(spec, |container| !matches!(text(container, "/securityContext/procMount"), "" | "Default"));
    let kinds: Vec<&str> = kinds.into_iter().collect();
    of_containers("procMount", &names, &format!("must not set securityContext.procMount to {}", quoted(&kinds)))
}

fn selinux(spec: &Value) -> Option<Violation> {
    let at = "/securityContext/seLinuxOptions";
    let field = |value: &Value, name: &str| text(value, &format!("{at}/{name}")).to_owned();
    let is_bad = |value: &Value| {
        !SELINUX_TYPES.contains(&field(value, "type").as_str())
            || !field(value, "user").is_empty()
            || !field(value, "role").is_empty()
    };
    let names = named(spec, is_bad);
    let mut setters = Vec::new();
    if is_bad(spec) {
        setters.push("pod".to_owned());
    }
    if !names.is_empty() {
        setters.push(counted("container", &names));
    }
    if setters.is_empty() {
        return None;
    }
    let everything: Vec<&Value> = std::iter::once(spec).chain(containers(spec)).collect();
    let mut details = Vec::new();
    let types: BTreeSet<String> = everything
        .iter()
        .map(|value| field(value, "type"))
        .filter(|kind| !SELINUX_TYPES.contains(&kind.as_str()))
        .collect();
    if !types.is_empty() {
        let word = if types.len() == 1 { "type" } else { "types" };
        details.push(format!("{word} {}", quoted(&types.into_iter().collect::<Vec<_>>())));
    }
    for name in ["user", "role"] {
        if everything.iter().any(|value| !field(value, name).is_empty()) {
            details.push(format!("{name} may not be set"));
        }
    }
    let detail =
        format!("{} set forbidden securityContext.seLinuxOptions: {}", setters.join(" and "), details.join("; "));
    Some(Violation { reason: "seLinuxOptions", detail })
}

fn seccomp(spec: &Value) -> Option<Violation> {
    let is_bad = |value: &Value| text(value, "/securityContext/seccompProfile/type") == "Unconfined";
    let mut setters = Vec::new();
    if is_bad(spec) {
        setters.push("pod".to_owned());
    }
    let names = named(spec, is_bad);
    if !names.is_empty() {
        setters.push(counted("container", &names));
    }
    let detail =
        format!("{} must not set securityContext.seccompProfile.type to \"Unconfined\"", setters.join(" and "));
    (!setters.is_empty()).then_some(Violation { reason: "seccompProfile", detail })
}

fn sysctls(spec: &Value) -> Option<Violation> {
    let names = list(spec, "/securityContext/sysctls").iter().map(|sysctl| text(sysctl, "/name"));
    let bad: Vec<&str> = names.filter(|name| !api::sysctls::SAFE.contains(name)).collect();
    (!bad.is_empty()).then(|| Violation { reason: "forbidden sysctls", detail: bad.join(", ") })
}

fn windows(spec: &Value) -> Option<Violation> {
    let is_bad = |value: &Value| is_true(value, "/securityContext/windowsOptions/hostProcess");
    let mut setters = Vec::new();
    if is_bad(spec) {
        setters.push("pod".to_owned());
    }
    let names = named(spec, is_bad);
    if !names.is_empty() {
        setters.push(counted("container", &names));
    }
    let detail = format!("{} must not set securityContext.windowsOptions.hostProcess=true", setters.join(" and "));
    (!setters.is_empty()).then_some(Violation { reason: "hostProcess", detail })
}
