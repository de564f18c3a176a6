//! What the checks of both levels share.

use std::fmt;

use serde_json::Value;

use crate::admission::{list, text};

/// One thing that a pod does and may not: `hostPort (container "a" uses hostPort 80)`.
#[derive(Debug)]
pub(super) struct Violation {
    pub reason: &'static str,
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.detail.is_empty() {
            return out.write_str(self.reason);
        }
        write!(out, "{} ({})", self.reason, self.detail)
    }
}

/// All containers, those that start the pod first.
pub(super) fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    ["/initContainers", "/containers", "/ephemeralContainers"].into_iter().flat_map(move |field| list(spec, field))
}

/// The names of the containers that `is_bad` finds.
pub(super) fn named(spec: &Value, is_bad: impl Fn(&Value) -> bool) -> Vec<&str> {
    containers(spec).filter(|container| is_bad(container)).map(|container| text(container, "/name")).collect()
}

/// `"a", "b"`
pub(super) fn quoted<T: AsRef<str>>(names: &[T]) -> String {
    names.iter().map(|name| format!("{:?}", name.as_ref())).collect::<Vec<_>>().join(", ")
}

/// `container "a"`, `containers "a", "b"`
pub(super) fn counted<T: AsRef<str>>(word: &str, names: &[T]) -> String {
    format!("{word}{} {}", if names.len() == 1 { "" } else { "s" }, quoted(names))
}

pub(super) fn is_true(value: &Value, pointer: &str) -> bool {
    value.pointer(pointer) == Some(&Value::Bool(true))
}

/// A fault of some containers, when there are any.
pub(super) fn of_containers(reason: &'static str, names: &[&str], rest: &str) -> Option<Violation> {
    (!names.is_empty()).then(|| Violation { reason, detail: format!("{} {rest}", counted("container", names)) })
}
