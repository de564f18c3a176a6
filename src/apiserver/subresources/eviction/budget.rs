//! What a PodDisruptionBudget says to an eviction. Pure.

use api::{Cause, Status, meta};
use jiff::Timestamp;
use serde_json::{Value, json};

/// More evictions than this may not be waiting for their pods to be gone.
const WAITING_MAX: usize = 2000;
const REFUSED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, pointer: &str) -> i64 {
    value.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let all = object.pointer("/status/conditions").and_then(Value::as_array)?;
    all.iter().find(|condition| text(condition, "/type") == kind)
}

/// Whether a pod may go without asking anybody: it serves nobody, or goes already.
pub(super) fn is_free(pod: &Value) -> bool {
    matches!(text(pod, "/status/phase"), "Succeeded" | "Failed" | "Pending") || meta::is_being_deleted(pod)
}

/// Whether the pod is not ready, and may go for that.
pub(super) fn lets_unhealthy_go(budget: &Value, pod: &Value) -> bool {
    if condition(pod, "Ready").is_some_and(|ready| text(ready, "/status") == "True") {
        return false;
    }
    if text(budget, "/spec/unhealthyPodEvictionPolicy") == "AlwaysAllow" {
        return true;
    }
    let (healthy, desired) = (number(budget, "/status/currentHealthy"), number(budget, "/status/desiredHealthy"));
    desired > 0 && healthy >= desired
}

fn refused(message: String, retry_after_seconds: u32) -> Status {
    let mut status = Status::new(429, "TooManyRequests", REFUSED);
    status.retry_after_seconds = retry_after_seconds;
    status.causes.push(Cause { reason: "DisruptionBudget".into(), message, field: String::new() });
    status
}

fn forbidden(name: &str, why: &str) -> Status {
    let mut status = Status::new(403, "Forbidden", format!("poddisruptionbudgets.policy {name:?} is forbidden: {why}"));
    "policy".clone_into(&mut status.group);
    "poddisruptionbudgets".clone_into(&mut status.kind);
    name.clone_into(&mut status.name);
    status
}

/// Takes one disruption for the pod.
pub(super) fn spend(budget: &mut Value, pod: &str, now: Timestamp) -> Result<(), Status> {
    let name = meta::name(budget).to_owned();
    if number(budget, "/status/observedGeneration") < meta::generation(budget) {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return Err(refused(why, 10));
    }
    let allowed = number(budget, "/status/disruptionsAllowed");
    if allowed < 0 {
        return Err(forbidden(&name, "pdb disruptions allowed is negative"));
    }
    let waiting = budget.pointer("/status/disruptedPods").and_then(Value::as_object).map_or(0, serde_json::Map::len);
    if waiting > WAITING_MAX {
        let why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
        return Err(forbidden(&name, why));
    }
    if allowed == 0 {
        let failed = condition(budget, "DisruptionAllowed").filter(|held| text(held, "/reason") == "SyncFailed");
        let why = match failed {
            Some(failed) => format!(
                "The disruption budget {name} does not allow evicting pods currently because it failed sync: {}",
                text(failed, "/message")
            ),
            None => format!(
                "The disruption budget {name} needs {} healthy pods and has {} currently",
                number(budget, "/status/desiredHealthy"),
                number(budget, "/status/currentHealthy")
            ),
        };
        return Err(refused(why, 0));
    }
    let status = &mut budget["status"];
    status["disruptionsAllowed"] = json!(allowed - 1);
    if !status["disruptedPods"].is_object() {
        status["disruptedPods"] = json!({});
    }
    status["disruptedPods"][pod] = json!(meta::time_text(now));
    if allowed == 1 {
        let generation = status.get("observedGeneration").cloned().unwrap_or_default();
        let conditions = status.get_mut("conditions").and_then(Value::as_array_mut);
        for held in conditions.into_iter().flatten().filter(|held| text(held, "/type") == "DisruptionAllowed") {
            if text(held, "/status") != "False" {
                held["lastTransitionTime"] = json!(meta::time_text(now));
            }
            held["status"] = json!("False");
            held["reason"] = json!("InsufficientPods");
            held["message"] = json!("");
            held["observedGeneration"] = generation.clone();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(allowed: i64) -> Value {
        json!({
            "metadata": { "name": "b", "generation": 1 },
            "status": {
                "observedGeneration": 1, "disruptionsAllowed": allowed, "desiredHealthy": 2, "currentHealthy": 2 + allowed,
                "conditions": [{ "type": "DisruptionAllowed", "status": "True", "reason": "SufficientPods" }],
            },
        })
    }

    #[test]
    fn the_last_disruption_is_spent_once() {
        let mut held = budget(1);
        spend(&mut held, "p", Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(held["status"]["disruptionsAllowed"], 0);
        assert_eq!(held["status"]["disruptedPods"]["p"], "1970-01-01T00:00:00Z");
        assert_eq!(held["status"]["conditions"][0]["reason"], "InsufficientPods");
        held["status"]["currentHealthy"] = json!(2);
        let refusal = spend(&mut held, "q", Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!(
            (refusal.code, refusal.reason.as_str(), refusal.message.as_str()),
            (429, "TooManyRequests", REFUSED)
        );
        assert_eq!(refusal.causes[0].message, "The disruption budget b needs 2 healthy pods and has 2 currently");
    }

    #[test]
    fn a_budget_that_was_changed_is_looked_at_first() {
        let mut held = budget(1);
        held["metadata"]["generation"] = json!(2);
        let refusal = spend(&mut held, "p", Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!(refusal.causes[0].message, "The disruption budget b is still being processed by the server.");
        assert_eq!(refusal.retry_after_seconds, 10);
    }

    #[test]
    fn pods_that_serve_nobody_go_more_easily() {
        let pod = |phase: &str, ready: &str| {
            let conditions = json!([{ "type": "Ready", "status": ready }]);
            json!({ "status": { "phase": phase, "conditions": conditions } })
        };
        assert!(is_free(&pod("Pending", "False")));
        assert!(!is_free(&pod("Running", "False")));
        assert!(!lets_unhealthy_go(&budget(0), &pod("Running", "True")));
        assert!(lets_unhealthy_go(&budget(0), &pod("Running", "False")));
        let mut short = budget(0);
        short["status"]["currentHealthy"] = json!(1);
        assert!(!lets_unhealthy_go(&short, &pod("Running", "False")));
        short["spec"]["unhealthyPodEvictionPolicy"] = json!("AlwaysAllow");
        assert!(lets_unhealthy_go(&short, &pod("Running", "False")));
    }
}
