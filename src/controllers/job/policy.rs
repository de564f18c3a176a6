//! What a failed pod means (`podFailurePolicy`, KEP-3329) and when enough has succeeded (`successPolicy`, KEP-3998).

use k8s_openapi::api::batch::v1::{Job, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::indexes::{self, Indexes};
use crate::owners::{name, namespace};

/// What is done about one failed pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It counts towards the limits.
    Count,
    /// It is as if it had never been.
    Ignore,
    /// Its index is not tried again.
    FailIndex,
    /// The whole Job has failed, and why.
    FailJob(String),
}

/// The first rule that matches decides.
pub(super) fn verdict(job: &Job, pod: &Pod) -> Verdict {
    let rules =
        job.spec.as_ref().and_then(|spec| spec.pod_failure_policy.as_ref()).map(|policy| policy.rules.as_slice());
    for (at, rule) in rules.unwrap_or_default().iter().enumerate() {
        if let Some(why) = matches(rule, at, pod) {
            return match rule.action.as_str() {
                "Ignore" => Verdict::Ignore,
                "FailIndex" => Verdict::FailIndex,
                "FailJob" => Verdict::FailJob(why),
                _ => Verdict::Count,
            };
        }
    }
    Verdict::Count
}

fn matches(rule: &PodFailurePolicyRule, at: usize, pod: &Pod) -> Option<String> {
    let place = format!("{}/{}", namespace(&pod.metadata), name(&pod.metadata));
    if let Some(codes) = &rule.on_exit_codes {
        let status = pod.status.as_ref()?;
        let all = status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
        return all.into_iter().find_map(|container| {
            let code = exit_code(container, codes)?;
            Some(format!(
                "Container {} for pod {place} failed with exit code {code} matching {} rule at index {at}",
                container.name, rule.action
            ))
        });
    }
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    rule.on_pod_conditions.iter().flatten().find_map(|pattern| {
        let wanted = pattern.status.as_deref().unwrap_or("True");
        let found = conditions.iter().find(|seen| seen.type_ == pattern.type_ && seen.status == wanted)?;
        Some(format!("Pod {place} has condition {} matching {} rule at index {at}", found.type_, rule.action))
    })
}

/// The exit code of a container that the requirement is about.
fn exit_code(container: &ContainerStatus, codes: &PodFailurePolicyOnExitCodesRequirement) -> Option<i32> {
    if codes.container_name.as_ref().is_some_and(|name| *name != container.name) {
        return None;
    }
    let code = container.state.as_ref()?.terminated.as_ref()?.exit_code;
    let listed = codes.values.contains(&code);
    let fits = if codes.operator == "NotIn" { code != 0 && !listed } else { listed };
    fits.then_some(code)
}

/// Why the indexes that have succeeded are enough, when they are.
pub(super) fn is_success(job: &Job, succeeded: &Indexes, completions: u32) -> Option<String> {
    let rules = job.spec.as_ref()?.success_policy.as_ref()?.rules.as_slice();
    rules.iter().enumerate().find_map(|(at, rule)| {
        let counted = match &rule.succeeded_indexes {
            Some(text) => indexes::parse(text, completions),
            None => (0..completions).collect(),
        };
        let met = match rule.succeeded_count {
            Some(count) => counted.intersection(succeeded).count() >= usize::try_from(count).unwrap_or(usize::MAX),
            None => counted.is_subset(succeeded),
        };
        met.then(|| format!("Matched rules at index {at}"))
    })
}
