//! From figures to a number of replicas. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricStatus, HorizontalPodAutoscaler, MetricSpec, MetricStatus, MetricTarget, MetricValueStatus,
    ResourceMetricStatus,
};
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::behavior::{self, Memory};
use super::conditions::Conditions;
use super::figures::{Sample, Samples};
use crate::owners::{is_deleting, name};
use crate::pods;

/// The CPU that a pod uses while it starts says nothing.
const STARTING: SignedDuration = SignedDuration::from_mins(5);
/// A pod that becomes ready soon after its start was not ready before.
const FIRST_READINESS: SignedDuration = SignedDuration::from_secs(30);

/// What the metrics ask for.
#[derive(Debug, Default)]
pub(super) struct Proposal {
    /// Nothing where no metric could be read.
    pub replicas: Option<i32>,
    /// The metric that asked for it.
    pub metric: String,
    /// Why it is another number than now, for the event.
    pub reason: String,
    pub seen: Vec<MetricStatus>,
    /// Reasons and messages of the metrics that could not be read.
    pub failures: Vec<(&'static str, String)>,
}

/// One metric of one autoscaler, about pods.
struct Question<'a> {
    resource: &'a str,
    container: Option<&'a str>,
    target: &'a MetricTarget,
    tolerance: (f64, f64),
}

/// What one metric asks for.
struct Answer {
    replicas: i32,
    seen: MetricValueStatus,
    metric: String,
}

/// Asks every metric; the one that wants the most counts.
pub(super) fn propose(
    scaler: &HorizontalPodAutoscaler,
    current: i32,
    pods: &[Arc<Pod>],
    samples: &Samples,
    now: Timestamp,
) -> Proposal {
    let mut proposal = Proposal::default();
    if current == 0 {
        return proposal;
    }
    let tolerance = behavior::tolerances(scaler);
    for metric in scaler.spec.metrics.iter().flatten() {
        match ask(metric, tolerance, current, pods, samples, now) {
            Ok(answer) => {
                if proposal.replicas.is_none_or(|most| answer.replicas > most) {
                    proposal.replicas = Some(answer.replicas);
                    proposal.metric.clone_from(&answer.metric);
                }
                proposal.seen.push(status_of(metric, answer.seen));
            }
            Err(failure) => proposal.failures.push(failure),
        }
    }
    // What cannot be read might ask for more: nothing is taken away on the word of the others.
    if !proposal.failures.is_empty() && proposal.replicas.is_some_and(|replicas| replicas < current) {
        proposal.replicas = None;
    }
    if let Some(replicas) = proposal.replicas.filter(|replicas| *replicas != current) {
        proposal.reason = match replicas > current {
            true => format!("{} above target", proposal.metric),
            false => "All metrics below target".to_owned(),
        };
    }
    proposal
}

fn ask(
    metric: &MetricSpec,
    tolerance: (f64, f64),
    current: i32,
    pods: &[Arc<Pod>],
    samples: &Samples,
    now: Timestamp,
) -> Result<Answer, (&'static str, String)> {
    let (question, reason) = match (&metric.resource, &metric.container_resource) {
        (Some(source), _) => {
            let (resource, target) = (source.name.as_str(), &source.target);
            (Question { resource, container: None, target, tolerance }, "FailedGetResourceMetric")
        }
        (_, Some(source)) => {
            let container = Some(source.container.as_str());
            let (resource, target) = (source.name.as_str(), &source.target);
            (Question { resource, container, target, tolerance }, "FailedGetContainerResourceMetric")
        }
        _ => {
            let (reason, which) = match metric.type_.as_str() {
                "Object" => ("FailedGetObjectMetric", "custom"),
                "External" => ("FailedGetExternalMetric", "external"),
                _ => ("FailedGetPodsMetric", "custom"),
            };
            return Err((reason, format!("unable to fetch metrics from {which} metrics API: it is not served here")));
        }
    };
    question.answer(current, pods, samples, now).map_err(|why| {
        let what = question.container.map_or(String::new(), |container| format!("container {container}: "));
        (reason, format!("{what}failed to get {} usage: {why}", question.resource))
    })
}

impl Question<'_> {
    /// What a pod uses, in thousandths.
    fn usage(&self, sample: &Sample) -> Option<i64> {
        let own =
            sample.containers.iter().filter(|(name, _)| self.container.is_none_or(|wanted| wanted == name.as_str()));
        let all: Option<Vec<i64>> = own.map(|(_, usage)| usage.get(self.resource).copied()).collect();
        all.filter(|all| !all.is_empty()).map(|all| all.iter().sum())
    }

    /// What a pod asks for, in thousandths.
    fn request(&self, pod: &Pod) -> Result<i64, String> {
        let spec = pod.spec.clone().unwrap_or_default();
        let sidecars =
            spec.init_containers.iter().flatten().filter(|init| init.restart_policy.as_deref() == Some("Always"));
        let own = spec.containers.iter().chain(sidecars);
        let mut sum = 0;
        for container in own.filter(|container| self.container.is_none_or(|wanted| wanted == container.name)) {
            let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
            let request = requests
                .and_then(|requests| requests.get(self.resource))
                .and_then(|text| text.0.parse::<api::Quantity>().ok());
            let missing = || {
                format!(
                    "missing request for {} in container {} of Pod {}",
                    self.resource,
                    container.name,
                    name(&pod.metadata)
                )
            };
            sum += request.ok_or_else(missing)?.milli_value();
        }
        Ok(sum)
    }

    fn answer(&self, current: i32, pods: &[Arc<Pod>], samples: &Samples, now: Timestamp) -> Result<Answer, String> {
        let samples = samples.as_ref().map_err(Clone::clone)?;
        let groups = Groups::of(self, pods, samples, now);
        if groups.used.is_empty() {
            return Err("did not receive metrics for targeted pods (pods might be unready)".to_owned());
        }
        let counted = i64::try_from(groups.used.len()).unwrap_or(1).max(1);
        let used: i64 = groups.used.values().sum();
        let average = used / counted;
        match self.target.average_utilization {
            Some(target) => {
                let mut requests = BTreeMap::new();
                for pod in pods.iter().filter(|pod| !groups.ignored.contains(&name(&pod.metadata))) {
                    requests.insert(name(&pod.metadata), self.request(pod)?);
                }
                let share = |used: &BTreeMap<&str, i64>| {
                    let asked: i64 = used.keys().filter_map(|pod| requests.get(pod)).sum();
                    if asked == 0 { 0.0 } else { used.values().sum::<i64>() as f64 / asked as f64 * 100.0 }
                };
                let wish = f64::from(target);
                let fill = |pod: &str, part: f64| {
                    requests.get(pod).map_or(0, |request| (*request as f64 * part / 100.0) as i64)
                };
                let replicas = self.replicas(current, &groups, |used| share(used) / wish, |pod| fill(pod, wish));
                let utilization = share(&groups.used) as i32;
                Ok(Answer {
                    replicas,
                    seen: MetricValueStatus {
                        average_utilization: Some(utilization),
                        average_value: Some(milli(average)),
                        value: None,
                    },
                    metric: format!("{} resource utilization (percentage of request)", self.resource),
                })
            }
            None => {
                let text = self.target.average_value.as_ref().map(|value| value.0.as_str()).unwrap_or_default();
                let target = text.parse::<api::Quantity>().map_err(|error| error.to_string())?.milli_value().max(1);
                let ratio = |used: &BTreeMap<&str, i64>| {
                    used.values().sum::<i64>() as f64 / used.len().max(1) as f64 / target as f64
                };
                let replicas = self.replicas(current, &groups, ratio, |_| target);
                let seen = MetricValueStatus { average_value: Some(milli(average)), ..MetricValueStatus::default() };
                Ok(Answer { replicas, seen, metric: format!("{} resource", self.resource) })
            }
        }
    }

    /// Kubernetes' rule: pods of which nothing is known are taken for what speaks against a change.
    fn replicas<'p>(
        &self,
        current: i32,
        groups: &Groups<'p>,
        ratio: impl Fn(&BTreeMap<&'p str, i64>) -> f64,
        target: impl Fn(&str) -> i64,
    ) -> i32 {
        let first = ratio(&groups.used);
        let near = |ratio: f64| (1.0 - self.tolerance.1..=1.0 + self.tolerance.0).contains(&ratio);
        let rounded = |value: f64| (value - 1e-9).ceil() as i32;
        if groups.missing.is_empty() && (groups.unready.is_empty() || first <= 1.0) {
            return if near(first) { current } else { rounded(first * groups.used.len() as f64) };
        }
        let mut used = groups.used.clone();
        for pod in &groups.missing {
            used.insert(pod, if first < 1.0 { target(pod) } else { 0 });
        }
        if first > 1.0 {
            used.extend(groups.unready.iter().map(|pod| (*pod, 0)));
        }
        let second = ratio(&used);
        if near(second) || (first < 1.0) != (second < 1.0) {
            return current;
        }
        let wanted = rounded(second * used.len() as f64);
        if (second < 1.0 && wanted > current) || (second > 1.0 && wanted < current) { current } else { wanted }
    }
}

/// The pods by what is known of them.
struct Groups<'p> {
    used: BTreeMap<&'p str, i64>,
    unready: Vec<&'p str>,
    missing: Vec<&'p str>,
    ignored: Vec<&'p str>,
}

impl<'p> Groups<'p> {
    fn of(question: &Question<'_>, all: &'p [Arc<Pod>], samples: &BTreeMap<String, Sample>, now: Timestamp) -> Self {
        let mut groups = Self { used: BTreeMap::new(), unready: Vec::new(), missing: Vec::new(), ignored: Vec::new() };
        for pod in all {
            let own = name(&pod.metadata);
            if is_deleting(&pod.metadata) || pods::is_finished(pod) {
                groups.ignored.push(own);
            } else if pods::phase(pod) != "Running" {
                groups.unready.push(own);
            } else {
                match samples.get(own).and_then(|sample| Some((sample, question.usage(sample)?))) {
                    None => groups.missing.push(own),
                    Some((sample, _)) if question.resource == "cpu" && is_starting(pod, sample, now) => {
                        groups.unready.push(own)
                    }
                    Some((_, usage)) => drop(groups.used.insert(own, usage)),
                }
            }
        }
        groups
    }
}

/// Whether what a pod uses is of its start.
fn is_starting(pod: &Pod, sample: &Sample, now: Timestamp) -> bool {
    let status = pod.status.clone().unwrap_or_default();
    let ready: Option<PodCondition> =
        status.conditions.into_iter().flatten().find(|condition| condition.type_ == "Ready");
    let (Some(ready), Some(started)) = (ready, status.start_time.map(|time| time.0)) else { return true };
    let since = ready.last_transition_time.as_ref().map_or(started, |time| time.0);
    if now.duration_since(started) < STARTING {
        let measured_before = sample.at.is_some_and(|at| at.duration_since(since) < sample.window);
        return ready.status == "False" || measured_before;
    }
    ready.status == "False" && since.duration_since(started) < FIRST_READINESS
}

fn milli(value: i64) -> Quantity {
    Quantity(api::Quantity::from_millis(value).to_string())
}

fn status_of(metric: &MetricSpec, current: MetricValueStatus) -> MetricStatus {
    let mut status = MetricStatus { type_: metric.type_.clone(), ..MetricStatus::default() };
    if let Some(source) = &metric.resource {
        status.resource = Some(ResourceMetricStatus { name: source.name.clone(), current });
    } else if let Some(source) = &metric.container_resource {
        let (container, name) = (source.container.clone(), source.name.clone());
        status.container_resource = Some(ContainerResourceMetricStatus { container, name, current });
    }
    status
}

/// The number of replicas within bounds, windows and policies.
pub(super) fn decide(
    scaler: &HorizontalPodAutoscaler,
    current: i32,
    proposal: &Proposal,
    memory: &mut Memory,
    conditions: &mut Conditions,
    now: Timestamp,
) -> i32 {
    let (least, most) = (scaler.spec.min_replicas.unwrap_or(1), scaler.spec.max_replicas);
    if current == 0 && least != 0 {
        let message = "scaling is disabled since the replica count of the target is zero";
        conditions.set("ScalingActive", false, "ScalingDisabled", message);
        return 0;
    }
    if current > most {
        return most;
    }
    if current < least {
        return least;
    }
    let Some(asked) = proposal.replicas else {
        let (reason, why) =
            proposal.failures.first().cloned().unwrap_or(("InvalidMetricSourceType", "no metrics".to_owned()));
        let message = format!("the HPA was unable to compute the replica count: {why}");
        conditions.set("ScalingActive", false, reason, message);
        return current;
    };
    let message = format!("the HPA was able to successfully calculate a replica count from {}", proposal.metric);
    conditions.set("ScalingActive", true, "ValidMetricFound", message);
    let stable = memory.stabilized(scaler, current, asked, now);
    if stable > asked {
        let message = "recent recommendations were higher than current one, applying the highest recent recommendation";
        conditions.set("AbleToScale", true, "ScaleDownStabilized", message);
    } else if stable < asked {
        let message = "recent recommendations were lower than current one, applying the lowest recent recommendation";
        conditions.set("AbleToScale", true, "ScaleUpStabilized", message);
    } else {
        conditions.set("AbleToScale", true, "ReadyForNewScale", "recommended size matches current size");
    }
    bounded((current, stable), (least, most), memory.limits(scaler, current, now), conditions)
}

fn bounded(
    (current, wanted): (i32, i32),
    (least, most): (i32, i32),
    (slowest, fastest): (i32, i32),
    conditions: &mut Conditions,
) -> i32 {
    let mut limited = |reason, message: &str| conditions.set("ScalingLimited", true, reason, message);
    if wanted > current {
        let top = fastest.max(current);
        if wanted > top && top < most {
            limited("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate");
            return top;
        }
        if wanted > most {
            limited("TooManyReplicas", "the desired replica count is more than the maximum replica count");
            return most;
        }
    } else if wanted < current {
        let bottom = slowest.min(current);
        if wanted < bottom && bottom > least {
            limited("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate");
            return bottom;
        }
        if wanted < least {
            limited("TooFewReplicas", "the desired replica count is less than the minimum replica count");
            return least;
        }
    }
    conditions.set("ScalingLimited", false, "DesiredWithinRange", "the desired count is within the acceptable range");
    wanted.clamp(least, most)
}
