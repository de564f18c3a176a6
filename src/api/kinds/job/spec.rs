//! What is wrong with a Job's spec, its own or that in a CronJob's template.

use serde_json::{Value, json};

use super::policies::{failure_policy_faults, success_policy_faults};
use crate::FieldError;
use crate::kinds::checks::{Faults, invalid_each, none_negative};
use crate::kinds::fields::{flag, get, int, is_set, text};
use crate::kinds::pod_template::template_faults;
use crate::names::{dns_subdomain_errors, regex_sentence};
use crate::selector::{LabelSelector, validate_label_selector};

/// The most pods of an indexed Job, and the most indexes of it that may fail.
const INDEXES_MAX: i64 = 100_000;
/// The same where completions are many and counted one by one.
const INDEXES_MAX_OF_MANY: i64 = 10_000;
const MANAGER_BYTES_MAX: usize = 63;

/// Faults of a Job's own spec.
pub(super) fn job_spec_faults(faults: &mut Faults, spec: &Value) {
    common(faults, spec, "spec");
    match get(spec, "selector") {
        None => faults.push(FieldError::required("spec.selector", "")),
        Some(selector) => faults.extend(validate_label_selector(selector, "spec.selector")),
    }
    let labels = spec.pointer("/template/metadata/labels");
    if LabelSelector::from_json(spec.get("selector")).is_ok_and(|selector| !selector.matches_json(labels)) {
        let shown = labels.cloned().unwrap_or(Value::Null);
        let detail = "`selector` does not match template `labels`";
        faults.push(FieldError::invalid("spec.template.metadata.labels", &shown, detail));
    }
}

/// Faults of a Job's spec that stands at `path` in a CronJob.
pub(crate) fn template_spec_faults(faults: &mut Faults, spec: &Value, path: &str) {
    common(faults, spec, path);
    if let Some(selector) = get(spec, "selector") {
        let detail = "`selector` will be auto-generated";
        faults.push(FieldError::invalid(format!("{path}.selector"), selector, detail));
    }
    if flag(spec, "manualSelector") {
        faults.push(FieldError::not_supported(format!("{path}.manualSelector"), &json!(true), &["nil", "false"]));
    }
}

fn common(faults: &mut Faults, spec: &Value, path: &str) {
    let counts = [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ];
    none_negative(faults, spec, path, &counts);
    if is_set(spec, "maxFailedIndexes") && !is_set(spec, "backoffLimitPerIndex") {
        let detail = "when maxFailedIndexes is specified";
        faults.push(FieldError::required(format!("{path}.backoffLimitPerIndex"), detail));
    }
    manager(faults, spec, path);
    mode(faults, spec, path);
    if let Some(policy) = get(spec, "podFailurePolicy") {
        failure_policy_faults(faults, spec, policy, &format!("{path}.podFailurePolicy"));
    }
    if let Some(policy) = get(spec, "successPolicy") {
        let path = format!("{path}.successPolicy");
        if text(spec, "completionMode") == "Indexed" {
            success_policy_faults(faults, spec, policy, &path);
        } else {
            faults.push(FieldError::invalid(path, policy, "requires indexed completion mode"));
        }
    }
    replacement(faults, spec, path);
    let empty = json!({});
    let template = get(spec, "template").unwrap_or(&empty);
    template_faults(faults, template, &format!("{path}.template"));
    restart(faults, spec, template, &format!("{path}.template.spec.restartPolicy"));
}

fn manager(faults: &mut Faults, spec: &Value, path: &str) {
    let Some(manager) = spec.get("managedBy").and_then(Value::as_str) else { return };
    let at = format!("{path}.managedBy");
    domain_path(faults, manager, &at);
    if manager.len() > MANAGER_BYTES_MAX {
        faults.push(FieldError::too_long(at, MANAGER_BYTES_MAX));
    }
}

/// `example.com/what`
pub(crate) fn domain_path(faults: &mut Faults, value: &str, path: &str) {
    if value.is_empty() {
        faults.push(FieldError::required(path, ""));
        return;
    }
    match value.split_once('/').filter(|(host, rest)| !host.is_empty() && !rest.is_empty()) {
        None => {
            let detail = "must be a domain-prefixed path (such as \"acme.io/foo\")";
            faults.push(FieldError::invalid(path, &json!(value), detail));
        }
        Some((host, rest)) => {
            invalid_each(faults, path, host, dns_subdomain_errors(host));
            let good = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte);
            if !rest.bytes().all(good) {
                let detail = regex_sentence("Invalid path", r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+", &[]);
                faults.push(FieldError::invalid(path, &json!(rest), &detail));
            }
        }
    }
}

fn mode(faults: &mut Faults, spec: &Value, path: &str) {
    let said = text(spec, "completionMode");
    match said {
        "" | "NonIndexed" => {
            for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
                if let Some(count) = get(spec, field) {
                    let detail = "requires indexed completion mode";
                    faults.push(FieldError::invalid(format!("{path}.{field}"), count, detail));
                }
            }
        }
        "Indexed" => indexed(faults, spec, path),
        _ => {
            let at = format!("{path}.completionMode");
            faults.push(FieldError::not_supported(at, &json!(said), &["NonIndexed", "Indexed"]));
        }
    }
}

fn indexed(faults: &mut Faults, spec: &Value, path: &str) {
    let number = |field: &str| int(spec, field);
    let mut too_many = |field: &str, limit: i64, suffix: &str| {
        if let Some(count) = number(field).filter(|count| *count > limit) {
            let detail = format!("must be less than or equal to {limit}{suffix}");
            faults.push(FieldError::invalid(format!("{path}.{field}"), &json!(count), &detail));
        }
    };
    too_many("parallelism", INDEXES_MAX, " when completion mode is Indexed");
    too_many("maxFailedIndexes", INDEXES_MAX, "");
    let many = number("completions").is_some_and(|count| count > INDEXES_MAX) && is_set(spec, "backoffLimitPerIndex");
    if many {
        let suffix = format!(" when completions are above {INDEXES_MAX} and used with backoff limit per index");
        too_many("parallelism", INDEXES_MAX_OF_MANY, &suffix);
        too_many("maxFailedIndexes", INDEXES_MAX_OF_MANY, &suffix);
        if !is_set(spec, "maxFailedIndexes") {
            let detail = format!("must be specified when completions is above {INDEXES_MAX}");
            faults.push(FieldError::required(format!("{path}.maxFailedIndexes"), &detail));
        }
    }
    match number("completions") {
        None => {
            let detail = "when completion mode is Indexed";
            faults.push(FieldError::required(format!("{path}.completions"), detail));
        }
        Some(all) => {
            if let Some(failed) = number("maxFailedIndexes").filter(|failed| *failed > all) {
                let detail = "must be less than or equal to completions";
                faults.push(FieldError::invalid(format!("{path}.maxFailedIndexes"), &json!(failed), detail));
            }
        }
    }
}

fn replacement(faults: &mut Faults, spec: &Value, path: &str) {
    let Some(policy) = get(spec, "podReplacementPolicy") else { return };
    let allowed: &[&str] =
        if is_set(spec, "podFailurePolicy") { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    if !allowed.contains(&text(spec, "podReplacementPolicy")) {
        faults.push(FieldError::not_supported(format!("{path}.podReplacementPolicy"), policy, allowed));
    }
}

fn restart(faults: &mut Faults, spec: &Value, template: &Value, path: &str) {
    let said = template.get("spec").map(|pod| text(pod, "restartPolicy")).unwrap_or_default();
    match said {
        "" | "Always" => faults.push(FieldError::required(path, "valid values: \"OnFailure\", \"Never\"")),
        "OnFailure" if is_set(spec, "podFailurePolicy") => {
            let detail = "only \"Never\" is supported when podFailurePolicy is specified";
            faults.push(FieldError::invalid(path, &json!(said), detail));
        }
        "OnFailure" | "Never" => {}
        _ => faults.push(FieldError::not_supported(path, &json!(said), &["OnFailure", "Never"])),
    }
}
