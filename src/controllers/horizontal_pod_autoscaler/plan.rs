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
use super::custom::Readings;
use super::figures::{Sample, Samples};
use super::idle::Idleness;
use super::outside::{self, Wish};
use crate::owners::{is_deleting, name, namespace};
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
    /// The metrics that could not be read.
    pub failures: Vec<Failure>,
    /// Why there is no number, for the event.
    pub gave_up: Option<String>,
}

/// What is seen of a target.
pub(super) struct Seen<'a> {
    /// `spec.replicas` of its scale.
    pub current: i32,
    /// `status.replicas` of its scale.
    pub existing: i32,
    pub pods: &'a [Arc<Pod>],
    pub samples: &'a Samples,
    pub readings: &'a Readings,
    /// Whether nobody has asked for anything for long enough.
    pub is_idle: bool,
}

impl Seen<'_> {
    /// How many pods are ready.
    pub fn ready(&self) -> usize {
        self.pods.iter().filter(|pod| pods::phase(pod) == "Running" && pods::is_ready(pod)).count()
    }
}

/// One metric of one autoscaler, about pods.
struct Question<'a> {
    resource: &'a str,
    container: Option<&'a str>,
    target: &'a MetricTarget,
    tolerance: (f64, f64),
}

/// Asks every metric; the one that wants the most counts.
pub(super) fn propose(scaler: &HorizontalPodAutoscaler, seen: &Seen<'_>, now: Timestamp) -> Proposal {
    let mut proposal = Proposal::default();
    let current = seen.current;
    if current == 0 && scaler.spec.min_replicas != Some(0) {
        return proposal;
    }
    let tolerance = behavior::tolerances(scaler);
    let mut count = 0;
    for (at, metric) in scaler.spec.metrics.iter().flatten().enumerate() {
        count += 1;
        match ask(metric, at, tolerance, seen, now) {
            Ok(wish) => {
                if proposal.replicas.is_none_or(|most| wish.replicas > most) {
                    proposal.replicas = Some(wish.replicas);
                    proposal.metric = wish.metric;
                }
                proposal.seen.push(wish.status);
            }
            Err(failure) => {
                // Clients find a metric's status at the metric's own place.
                proposal.seen.push(MetricStatus::default());
                proposal.failures.push(failure);
            }
        }
    }
    // What cannot be read might ask for more: nothing is taken away on the word of the others.
    if !proposal.failures.is_empty() && proposal.replicas.is_none_or(|replicas| replicas < current) {
        proposal.replicas = None;
        if let Some(first) = proposal.failures.first() {
            let invalid = proposal.failures.len();
            let why = format!("invalid metrics ({invalid} invalid out of {count}), first error is: {}", first.whole);
            proposal.gave_up = Some(why);
        }
    }
    if let Some(replicas) = proposal.replicas.filter(|replicas| *replicas != current) {
        proposal.reason = match replicas > current {
            true => format!("{} above target", proposal.metric),
            false => "All metrics below target".to_owned(),
        };
    }
    proposal
}

/// A metric that could not be read.
#[derive(Debug)]
pub(super) struct Failure {
    pub reason: &'static str,
    pub message: String,
    /// The message with what it is about.
    pub whole: String,
}

fn ask(
    metric: &MetricSpec,
    at: usize,
    tolerance: (f64, f64),
    seen: &Seen<'_>,
    now: Timestamp,
) -> Result<Wish, Failure> {
    let (question, reason, about) = match (&metric.resource, &metric.container_resource) {
        (Some(source), _) => {
            let (resource, target) = (source.name.as_str(), &source.target);
            let about = format!("{resource} resource metric value");
            (Question { resource, container: None, target, tolerance }, "FailedGetResourceMetric", about)
        }
        (_, Some(source)) => {
            let container = Some(source.container.as_str());
            let (resource, target) = (source.name.as_str(), &source.target);
            let about = format!("{resource} container metric value");
            (Question { resource, container, target, tolerance }, "FailedGetContainerResourceMetric", about)
        }
        _ => {
            let (reason, about) = match (metric.type_.as_str(), &metric.external) {
                ("Object", _) => ("FailedGetObjectMetric", "object metric value".to_owned()),
                ("External", Some(source)) => {
                    ("FailedGetExternalMetric", format!("{} external metric value", source.metric.name))
                }
                _ => ("FailedGetPodsMetric", "pods metric value".to_owned()),
            };
            let none = || Err("it was not read".to_owned());
            let reading = seen.readings.get(at).cloned().flatten().unwrap_or_else(none);
            let wish = outside::ask(metric, &reading, seen, tolerance);
            return wish.map_err(|message| {
                let whole = format!("failed to get {about}: {message}");
                Failure { reason, message, whole }
            });
        }
    };
    if seen.current == 0 {
        // Nothing runs that could use anything.
        let status = status_of(metric, MetricValueStatus::default());
        return Ok(Wish { replicas: 0, status, metric: format!("{} resource", question.resource) });
    }
    let wish = question.answer(seen.current, seen.pods, seen.samples, now).map(|(replicas, value, metric_of)| Wish {
        replicas,
        status: status_of(metric, value),
        metric: metric_of,
    });
    wish.map_err(|why| {
        let what = if question.target.average_utilization.is_some() { "utilization" } else { "usage" };
        let message = format!("failed to get {} {what}: {why}", question.resource);
        let whole = format!("failed to get {about}: {message}");
        Failure { reason, message, whole }
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

    /// Why nothing can be said: a pod that is measured has no such container.
    fn lacking(&self, pods: &[Arc<Pod>], samples: &BTreeMap<String, Sample>) -> Option<String> {
        let container = self.container?;
        let lacks = |pod: &&Arc<Pod>| {
            samples.get(name(&pod.metadata)).is_some_and(|sample| !sample.containers.contains_key(container))
        };
        let pod = &pods.iter().find(lacks)?.metadata;
        let place = format!("{}/{}", namespace(pod), name(pod));
        Some(format!("failed to get container metrics: container {container} not present in metrics for pod {place}"))
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

    /// The number of replicas, what is seen, and the metric's name.
    fn answer(
        &self,
        current: i32,
        pods: &[Arc<Pod>],
        samples: &Samples,
        now: Timestamp,
    ) -> Result<(i32, MetricValueStatus, String), String> {
        let unread = |why: &String| format!("unable to get metrics for resource {}: {why}", self.resource);
        let samples = samples.as_ref().map_err(unread)?;
        self.lacking(pods, samples).map_or(Ok(()), |why| Err(unread(&why)))?;
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
                let ratio = |used: &BTreeMap<&str, i64>| share(used) / wish;
                let replicas = groups.replicas(current, self.tolerance, ratio, |pod| fill(pod, wish));
                let utilization = share(&groups.used) as i32;
                let seen = MetricValueStatus {
                    average_utilization: Some(utilization),
                    average_value: Some(milli(average)),
                    value: None,
                };
                Ok((replicas, seen, format!("{} resource utilization (percentage of request)", self.resource)))
            }
            None => {
                let text = self.target.average_value.as_ref().map(|value| value.0.as_str()).unwrap_or_default();
                let target = text.parse::<api::Quantity>().map_err(|error| error.to_string())?.milli_value().max(1);
                let ratio = |used: &BTreeMap<&str, i64>| {
                    used.values().sum::<i64>() as f64 / used.len().max(1) as f64 / target as f64
                };
                let replicas = groups.replicas(current, self.tolerance, ratio, |_| target);
                let seen = MetricValueStatus { average_value: Some(milli(average)), ..MetricValueStatus::default() };
                Ok((replicas, seen, format!("{} resource", self.resource)))
            }
        }
    }
}

/// Whether a ratio is near enough to one for nothing to happen.
pub(super) fn near(ratio: f64, tolerance: (f64, f64)) -> bool {
    (1.0 - tolerance.1..=1.0 + tolerance.0).contains(&ratio)
}

/// So many replicas; what is a hair above a whole number is that number.
pub(super) fn rounded(value: f64) -> i32 {
    (value - 1e-9).ceil() as i32
}

/// The pods by what is known of them.
pub(super) struct Groups<'p> {
    pub used: BTreeMap<&'p str, i64>,
    unready: Vec<&'p str>,
    missing: Vec<&'p str>,
    ignored: Vec<&'p str>,
}

impl<'p> Groups<'p> {
    /// Kubernetes' rule: pods of which nothing is known are taken for what speaks against a change.
    pub fn replicas(
        &self,
        current: i32,
        tolerance: (f64, f64),
        ratio: impl Fn(&BTreeMap<&'p str, i64>) -> f64,
        target: impl Fn(&str) -> i64,
    ) -> i32 {
        let first = ratio(&self.used);
        if self.missing.is_empty() && (self.unready.is_empty() || first <= 1.0) {
            return if near(first, tolerance) { current } else { rounded(first * self.used.len() as f64) };
        }
        let mut used = self.used.clone();
        for pod in &self.missing {
            used.insert(pod, if first < 1.0 { target(pod) } else { 0 });
        }
        if first > 1.0 {
            used.extend(self.unready.iter().map(|pod| (*pod, 0)));
        }
        let second = ratio(&used);
        if near(second, tolerance) || (first < 1.0) != (second < 1.0) {
            return current;
        }
        let wanted = rounded(second * used.len() as f64);
        if (second < 1.0 && wanted > current) || (second > 1.0 && wanted < current) { current } else { wanted }
    }

    /// By values of another kind than use.
    pub fn of_values(all: &'p [Arc<Pod>], values: &BTreeMap<String, i64>) -> Self {
        let mut groups = Self { used: BTreeMap::new(), unready: Vec::new(), missing: Vec::new(), ignored: Vec::new() };
        for pod in all {
            let own = name(&pod.metadata);
            match values.get(own) {
                _ if is_deleting(&pod.metadata) || pods::is_finished(pod) => groups.ignored.push(own),
                _ if pods::phase(pod) != "Running" => groups.unready.push(own),
                None => groups.missing.push(own),
                Some(value) => drop(groups.used.insert(own, *value)),
            }
        }
        groups
    }

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

/// Thousandths as they are written in objects.
pub(super) fn milli(value: i64) -> Quantity {
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

/// The number of replicas where the spec alone decides about it, and no metric is asked.
pub(super) fn bound(scaler: &HorizontalPodAutoscaler, current: i32, conditions: &mut Conditions) -> Option<i32> {
    let (least, most) = (scaler.spec.min_replicas.unwrap_or(1), scaler.spec.max_replicas);
    if current == 0 && least != 0 {
        let message = "scaling is disabled since the replica count of the target is zero";
        conditions.set("ScalingActive", false, "ScalingDisabled", message);
        return Some(0);
    }
    let within = current.clamp(least.min(most), most);
    (within != current).then_some(within)
}

/// The number of replicas within bounds, windows and policies.
pub(super) fn decide(
    scaler: &HorizontalPodAutoscaler,
    current: i32,
    proposal: &Proposal,
    idleness: Idleness,
    memory: &mut Memory,
    conditions: &mut Conditions,
    now: Timestamp,
) -> i32 {
    let (least, most) = (scaler.spec.min_replicas.unwrap_or(1), scaler.spec.max_replicas);
    if let Some(bound) = bound(scaler, current, conditions) {
        return bound;
    }
    let Some(asked) = proposal.replicas else {
        let none =
            Failure { reason: "InvalidMetricSourceType", message: "no metrics".to_owned(), whole: String::new() };
        let first = proposal.failures.first().unwrap_or(&none);
        let message = format!("the HPA was unable to compute the replica count: {}", first.message);
        conditions.set("ScalingActive", false, first.reason, message);
        return current;
    };
    let message = format!("the HPA was able to successfully calculate a replica count from {}", proposal.metric);
    conditions.set("ScalingActive", true, "ValidMetricFound", message);
    let asked = match idleness {
        // To nothing at once: what waits for nobody needs no window.
        Idleness::Idle if asked == 0 && least == 0 => {
            memory.stabilized(scaler, 0, 0, now);
            conditions.set("AbleToScale", true, "ReadyForNewScale", "recommended size matches current size");
            let within = "the desired count is within the acceptable range";
            conditions.set("ScalingLimited", false, "DesiredWithinRange", within);
            return 0;
        }
        Idleness::Busy(_) if least == 0 => asked.max(1),
        _ => asked,
    };
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
