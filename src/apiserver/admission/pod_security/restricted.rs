//! What hardened workloads say of themselves.

use std::collections::BTreeSet;

use serde_json::Value;

use super::checks::{Violation, containers, counted, is_true, named, of_containers, quoted};
use crate::admission::{list, text};

const VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

pub(super) fn violations(spec: &Value) -> Vec<Violation> {
    let escalates =
        |container: &Value| container.pointer("/securityContext/allowPrivilegeEscalation") != Some(&Value::Bool(false));
    let all = [
        of_containers(
            "allowPrivilegeEscalation != false",
            &named(spec, escalates),
            "must set securityContext.allowPrivilegeEscalation=false",
        ),
        capabilities(spec),
        volumes(spec),
        non_root(spec),
        root_user(spec),
        seccomp(spec),
    ];
    all.into_iter().flatten().collect()
}

fn capabilities(spec: &Value) -> Option<Violation> {
    let strings = |container: &Value, field: &str| -> Vec<String> {
        let all = list(container, &format!("/securityContext/capabilities/{field}"));
        all.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let keeps = named(spec, |container| !strings(container, "drop").iter().any(|name| name == "ALL"));
    let mut details = Vec::new();
    if !keeps.is_empty() {
        details.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", counted("container", &keeps)));
    }
    let bad = |container: &Value| -> Vec<String> {
        strings(container, "add").into_iter().filter(|name| name != "NET_BIND_SERVICE").collect()
    };
    let adds = named(spec, |container| !bad(container).is_empty());
    if !adds.is_empty() {
        let forbidden: BTreeSet<String> = containers(spec).flat_map(bad).collect();
        let forbidden: Vec<String> = forbidden.into_iter().collect();
        details.push(format!(
            "{} must not include {} in securityContext.capabilities.add",
            counted("container", &adds),
            quoted(&forbidden)
        ));
    }
    (!details.is_empty()).then(|| Violation { reason: "unrestricted capabilities", detail: details.join("; ") })
}

fn volumes(spec: &Value) -> Option<Violation> {
    let (mut names, mut kinds) = (Vec::new(), BTreeSet::new());
    for volume in list(spec, "/volumes") {
        let fields = volume.as_object().into_iter().flatten();
        let kind = fields.filter(|(key, value)| *key != "name" && !value.is_null()).map(|(key, _)| key.as_str()).next();
        if let Some(kind) = kind.filter(|kind| !VOLUMES.contains(kind)) {
            names.push(text(volume, "/name"));
            kinds.insert(kind);
        }
    }
    let kinds: Vec<&str> = kinds.into_iter().collect();
    let uses = if names.len() == 1 { "uses" } else { "use" };
    let word = if kinds.len() == 1 { "type" } else { "types" };
    (!names.is_empty()).then(|| Violation {
        reason: "restricted volume types",
        detail: format!("{} {uses} restricted volume {word} {}", counted("volume", &names), quoted(&kinds)),
    })
}

fn non_root(spec: &Value) -> Option<Violation> {
    const FIELD: &str = "/securityContext/runAsNonRoot";
    let reason = "runAsNonRoot != true";
    let says_no = |value: &Value| value.pointer(FIELD) == Some(&Value::Bool(false));
    let denying = named(spec, says_no);
    let mut setters = Vec::new();
    if says_no(spec) {
        setters.push("pod".to_owned());
    }
    if !denying.is_empty() {
        setters.push(counted("container", &denying));
    }
    if !setters.is_empty() && (!denying.is_empty() || named(spec, |container| !is_true(container, FIELD)).is_empty()) {
        let detail = format!("{} must not set securityContext.runAsNonRoot=false", setters.join(" and "));
        return Some(Violation { reason, detail });
    }
    if says_no(spec) {
        return Some(Violation { reason, detail: "pod must not set securityContext.runAsNonRoot=false".to_owned() });
    }
    if is_true(spec, FIELD) {
        return None;
    }
    let silent = named(spec, |container| !is_true(container, FIELD));
    (!silent.is_empty()).then(|| Violation {
        reason,
        detail: format!("pod or {} must set securityContext.runAsNonRoot=true", counted("container", &silent)),
    })
}

fn root_user(spec: &Value) -> Option<Violation> {
    let is_root = |value: &Value| value.pointer("/securityContext/runAsUser").and_then(Value::as_i64) == Some(0);
    let mut setters = Vec::new();
    if is_root(spec) {
        setters.push("pod".to_owned());
    }
    let names = named(spec, is_root);
    if !names.is_empty() {
        setters.push(counted("container", &names));
    }
    let detail = format!("{} must not set runAsUser=0", setters.join(" and "));
    (!setters.is_empty()).then_some(Violation { reason: "runAsUser=0", detail })
}

fn seccomp(spec: &Value) -> Option<Violation> {
    const REASON: &str = "seccompProfile";
    let kind = |value: &Value| text(value, "/securityContext/seccompProfile/type").to_owned();
    let is_good = |value: &Value| matches!(kind(value).as_str(), "RuntimeDefault" | "Localhost");
    let is_bad = |value: &Value| !kind(value).is_empty() && !is_good(value);
    let mut setters = Vec::new();
    if is_bad(spec) {
        setters.push("pod".to_owned());
    }
    let names = named(spec, is_bad);
    if !names.is_empty() {
        setters.push(counted("container", &names));
    }
    if !setters.is_empty() {
        let kinds: BTreeSet<String> =
            std::iter::once(spec).chain(containers(spec)).filter(|v| is_bad(v)).map(kind).collect();
        let kinds: Vec<String> = kinds.into_iter().collect();
        let detail =
            format!("{} must not set securityContext.seccompProfile.type to {}", setters.join(" and "), quoted(&kinds));
        return Some(Violation { reason: REASON, detail });
    }
    if is_good(spec) {
        return None;
    }
    let silent = named(spec, |container| kind(container).is_empty());
    (!silent.is_empty()).then(|| Violation {
        reason: REASON,
        detail: format!(
            "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
            counted("container", &silent)
        ),
    })
}
