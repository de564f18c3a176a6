//! What is wrong with how a container is to be stopped and started again: signals and rules of restarts.

use serde_json::{Value, json};

use crate::FieldError;
use crate::kinds::checks::{Faults, one_of};
use crate::kinds::fields::{get, is_set, list, text};

const RULES_MAX: usize = 20;
const CODES_MAX: usize = 255;

/// Signals that a spec may name for a container on Linux, beside those of real time.
const SIGNALS: [&str; 34] = [
    "SIGABRT",
    "SIGALRM",
    "SIGBUS",
    "SIGCHLD",
    "SIGCLD",
    "SIGCONT",
    "SIGFPE",
    "SIGHUP",
    "SIGILL",
    "SIGINT",
    "SIGIO",
    "SIGIOT",
    "SIGKILL",
    "SIGPIPE",
    "SIGPOLL",
    "SIGPROF",
    "SIGPWR",
    "SIGQUIT",
    "SIGSEGV",
    "SIGSTKFLT",
    "SIGSTOP",
    "SIGSYS",
    "SIGTERM",
    "SIGTRAP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGUSR1",
    "SIGUSR2",
    "SIGVTALRM",
    "SIGWINCH",
    "SIGXCPU",
    "SIGXFSZ",
];
const ON_WINDOWS: [&str; 2] = ["SIGKILL", "SIGTERM"];

/// `SIGRTMIN`, `SIGRTMIN+1` to `SIGRTMIN+15`, `SIGRTMAX-14` to `SIGRTMAX`.
fn is_real_time(signal: &str) -> bool {
    let number = |text: &str, max: u8| {
        text.is_empty()
            || text[1..].parse().is_ok_and(|number: u8| (1..=max).contains(&number) && text[1..] == number.to_string())
    };
    let after = |name: &str, sign: char, max: u8| {
        signal.strip_prefix(name).is_some_and(|rest| (rest.is_empty() || rest.starts_with(sign)) && number(rest, max))
    };
    after("SIGRTMIN", '+', 15) || after("SIGRTMAX", '-', 14)
}

/// A signal means something on one operating system or another, so the pod has to say which is its own.
pub(super) fn stop_signal_faults(faults: &mut Faults, spec: &Value, container: &Value, path: &str) {
    let Some(lifecycle) = get(container, "lifecycle").filter(|lifecycle| is_set(lifecycle, "stopSignal")) else {
        return;
    };
    let (path, signal) = (format!("{path}.lifecycle.stopSignal"), text(lifecycle, "stopSignal"));
    match spec.pointer("/os/name").and_then(Value::as_str).unwrap_or_default() {
        "" => {
            let detail = "may not be set for containers with empty `spec.os.name`";
            faults.push(FieldError::forbidden(path, detail));
        }
        "windows" if !ON_WINDOWS.contains(&signal) => {
            faults.push(FieldError::not_supported(path, &json!(signal), &ON_WINDOWS));
        }
        "linux" if !SIGNALS.contains(&signal) && !is_real_time(signal) => {
            faults.push(FieldError::not_supported(path, &json!(signal), &SIGNALS));
        }
        _ => {}
    }
}

/// A container's own policy, and after which exit codes that does not count.
pub(super) fn restart_faults(faults: &mut Faults, container: &Value, path: &str) {
    let rules = list(container, "restartPolicyRules");
    one_of(faults, container, path, "restartPolicy", &["Always", "Never", "OnFailure"], false);
    if rules.is_empty() {
        return;
    }
    if text(container, "restartPolicy").is_empty() {
        let detail = "must specify restartPolicy when restart rules are used";
        faults.push(FieldError::required(format!("{path}.restartPolicy"), detail));
        return;
    }
    if rules.len() > RULES_MAX {
        faults.push(FieldError::too_many(format!("{path}.restartPolicyRules"), rules.len(), RULES_MAX));
    }
    for (at, rule) in rules.iter().enumerate() {
        let path = format!("{path}.restartPolicyRules[{at}]");
        one_of(faults, rule, &path, "action", &["Restart", "RestartAllContainers"], true);
        let Some(codes) = get(rule, "exitCodes") else {
            faults.push(FieldError::required(format!("{path}.exitCodes"), "must be specified"));
            continue;
        };
        let path = format!("{path}.exitCodes");
        one_of(faults, codes, &path, "operator", &["In", "NotIn"], true);
        let count = list(codes, "values").len();
        if count > CODES_MAX {
            faults.push(FieldError::too_many(format!("{path}.values"), count, CODES_MAX));
        }
    }
}
