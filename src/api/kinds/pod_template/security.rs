//! What is wrong with the rights that a pod and its containers ask for.

use serde_json::{Value, json};

use crate::FieldError;
use crate::kinds::checks::{Faults, one_of};
use crate::kinds::fields::{flag, get, int, is_set, list, text};
use crate::names::inclusive_range;

const ID_MAX: i64 = i32::MAX as i64;
const SYSCTL_BYTES_MAX: usize = 253;

fn id(faults: &mut Faults, number: i64, path: String) {
    if !(0..=ID_MAX).contains(&number) {
        faults.push(FieldError::invalid(path, &json!(number), &inclusive_range(0, ID_MAX)));
    }
}

fn ids(faults: &mut Faults, context: &Value, fields: &[&str], path: &str) {
    for field in fields {
        if let Some(number) = int(context, field) {
            id(faults, number, format!("{path}.{field}"));
        }
    }
}

/// Faults of a pod's `securityContext`.
pub(super) fn pod_security_faults(faults: &mut Faults, spec: &Value, path: &str) {
    let Some(context) = get(spec, "securityContext") else { return };
    let path = format!("{path}.securityContext");
    ids(faults, context, &["runAsUser", "runAsGroup", "fsGroup"], &path);
    for (at, group) in list(context, "supplementalGroups").iter().filter_map(Value::as_i64).enumerate() {
        id(faults, group, format!("{path}.supplementalGroups[{at}]"));
    }
    one_of(faults, context, &path, "fsGroupChangePolicy", &["Always", "OnRootMismatch"], false);
    one_of(faults, context, &path, "supplementalGroupsPolicy", &["Merge", "Strict"], false);
    sysctls(faults, context, &path);
    profile(faults, context, &path);
}

/// Faults of a container's `securityContext`.
pub(super) fn container_security_faults(faults: &mut Faults, container: &Value, path: &str) {
    let Some(context) = get(container, "securityContext") else { return };
    let path = format!("{path}.securityContext");
    ids(faults, context, &["runAsUser", "runAsGroup"], &path);
    one_of(faults, context, &path, "procMount", &["Default", "Unmasked"], false);
    profile(faults, context, &path);
    if context.get("allowPrivilegeEscalation") != Some(&Value::Bool(false)) {
        return;
    }
    if flag(context, "privileged") {
        let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
        faults.push(FieldError::invalid(path.as_str(), context, detail));
    }
    let added = context.get("capabilities").map_or(&[][..], |capabilities| list(capabilities, "add"));
    if added.iter().any(|capability| capability == "CAP_SYS_ADMIN") {
        let detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
        faults.push(FieldError::invalid(path, context, detail));
    }
}

/// The profiles of seccomp and AppArmor: a file's name stands where the type says so, and nowhere else.
fn profile(faults: &mut Faults, context: &Value, path: &str) {
    for field in ["seccompProfile", "appArmorProfile"] {
        let Some(profile) = get(context, field) else { continue };
        let path = format!("{path}.{field}");
        let kinds = ["Localhost", "RuntimeDefault", "Unconfined"];
        let kind = text(profile, "type");
        one_of(faults, profile, &path, "type", &kinds, true);
        let file = format!("{path}.localhostProfile");
        if kind == "Localhost" && !is_set(profile, "localhostProfile") {
            let what = if field == "seccompProfile" { "seccomp type" } else { "AppArmor type" };
            faults.push(FieldError::required(file, &format!("must be set when {what} is Localhost")));
        } else if kind != "Localhost" && is_set(profile, "localhostProfile") {
            let what = if field == "seccompProfile" { "seccomp type" } else { "AppArmor type" };
            let shown = &profile["localhostProfile"];
            faults.push(FieldError::invalid(file, shown, &format!("can only be set when {what} is Localhost")));
        }
    }
}

fn sysctls(faults: &mut Faults, context: &Value, path: &str) {
    const PART: &str = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
    let mut seen: Vec<String> = Vec::new();
    for (at, sysctl) in list(context, "sysctls").iter().enumerate() {
        let path = format!("{path}.sysctls[{at}].name");
        let name = text(sysctl, "name");
        let edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_part = |part: &str| {
            let bytes = part.as_bytes();
            matches!((bytes.first(), bytes.last()), (Some(first), Some(last)) if edge(*first) && edge(*last))
                && bytes.iter().all(|byte| edge(*byte) || b"-_".contains(byte))
        };
        if name.is_empty() {
            faults.push(FieldError::required(path.as_str(), ""));
        } else if name.len() > SYSCTL_BYTES_MAX || !name.split(['.', '/']).all(is_part) {
            let regex = format!(r"^({PART}[\./])*{PART}$");
            let rule = format!("must have at most {SYSCTL_BYTES_MAX} characters and match regex {regex}");
            faults.push(FieldError::invalid(path.as_str(), &json!(name), &rule));
        }
        let plain = name.replace('/', ".");
        if seen.contains(&plain) {
            faults.push(FieldError::duplicate(path, &json!(name)));
        }
        seen.push(plain);
    }
}

/// A pod of which it is said what system it is made for.
pub(super) fn system_faults(faults: &mut Faults, spec: &Value, path: &str) {
    let Some(system) = get(spec, "os") else { return };
    let path = format!("{path}.os.name");
    let name = text(system, "name");
    if name.is_empty() {
        faults.push(FieldError::required(path, ""));
    } else if !["linux", "windows"].contains(&name) {
        faults.push(FieldError::not_supported(path, &json!(name), &["linux", "windows"]));
    }
}
