//! Scales what has a `scale` subresource by what its pods use (KEP-117, `autoscaling/v2`).
//!
//! *Owns*: `spec.replicas` of the targets of HorizontalPodAutoscalers, through `/scale`, and the autoscalers' status.
//!
//! *Guarantees*: a target is looked at every fifteen seconds; what a metric says is never followed faster than the policies
//! allow, nor down before the window of recommendations is over. With `minReplicas: 0` a target goes to nothing when nobody
//! has asked its pods for anything for as long as the annotation `coracle.dev/idle-after` says (a minute without it), and
//! not before; whoever asks then wakes it (the proxy's activator).
//!
//! Metrics of kinds Pods and Object come from `custom.metrics.k8s.io`, External ones from `external.metrics.k8s.io`, whoever
//! serves them.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Next, Reconcile, RunError};
use client::events::Recorder;
use client::informers::{Informer, Key};
use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus, MetricIdentifier};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, DynamicObject, PostParams};
use kube::core::GroupVersionKind;
use kube::core::gvk::ParseGroupVersionError;
use parking_lot::Mutex;

use crate::Rig;
use crate::owners::is_deleting;

mod behavior;
mod conditions;
pub(crate) mod custom;
mod figures;
mod idle;
mod outside;
mod plan;
mod selectors;
#[cfg(test)]
mod tests;

use behavior::Memory;
use conditions::Conditions;
use idle::Idleness;
use plan::{Proposal, Seen};
use selectors::Selectors;

/// How often a target is looked at.
const PERIOD: Duration = Duration::from_secs(15);
/// How often a scale is written that meets somebody else's write.
const CONFLICTS_MAX: u32 = 5;

pub(crate) fn start(rig: Rig) {
    let scalers = rig.informers.of::<HorizontalPodAutoscaler>();
    let pods = rig.informers.of::<Pod>();
    let controller = Controller::new("horizontal_pod_autoscaler", &rig.metrics).each(&scalers);
    let events = rig.recorder("horizontal-pod-autoscaler");
    let (memories, selectors) = Default::default();
    controller.start(&rig.tasks, Autoscalers { client: rig.client, scalers, pods, events, memories, selectors });
}

struct Autoscalers {
    client: Client,
    scalers: Informer<HorizontalPodAutoscaler>,
    pods: Informer<Pod>,
    events: Recorder,
    memories: Mutex<HashMap<Key, Memory>>,
    selectors: Selectors,
}

#[async_trait]
impl Reconcile for Autoscalers {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let Some(scaler) = self.scalers.at(key) else {
            self.memories.lock().remove(key);
            self.selectors.forget(key);
            return Ok(Next::Done);
        };
        if is_deleting(&scaler.metadata) {
            return Ok(Next::Done);
        }
        // Its own status brings it back at once; the time between two looks is kept all the same.
        let now = Timestamp::now();
        if let Some(rest) = self.memories.lock().entry(key.clone()).or_default().rest(&scaler, now, PERIOD) {
            return Ok(Next::After(rest));
        }
        let told = match self.look(key, &scaler, now).await {
            Ok(status) => self.publish(key, &scaler, status).await,
            Err(error) => Err(error),
        };
        if let Err(error) = told {
            // What could not be told was not seen: the next run looks again.
            self.memories.lock().entry(key.clone()).or_default().forget_look();
            return Err(error.into());
        }
        let period = self.memories.lock().get(key).map_or(PERIOD, |memory| memory.period(PERIOD));
        Ok(Next::After(period))
    }
}

/// Where a target's scale is.
struct Target {
    api: Api<DynamicObject>,
    scale: Scale,
}

/// Why it cannot be told which pods are meant.
struct Unclear {
    /// The condition's.
    reason: &'static str,
    /// The event's.
    event: &'static str,
    /// The condition's.
    message: String,
    /// The event's.
    told: String,
}

impl Autoscalers {
    /// Looks, scales where it is needed, and answers the new status.
    async fn look(
        &self,
        key: &Key,
        scaler: &HorizontalPodAutoscaler,
        now: Timestamp,
    ) -> Result<HorizontalPodAutoscalerStatus, kube::Error> {
        let old = scaler.status.clone().unwrap_or_default();
        let mut conditions = Conditions::of(&old, now);
        let mut status = HorizontalPodAutoscalerStatus {
            observed_generation: scaler.metadata.generation,
            last_scale_time: old.last_scale_time.clone(),
            current_replicas: old.current_replicas,
            desired_replicas: old.desired_replicas,
            ..HorizontalPodAutoscalerStatus::default()
        };
        let target = match self.target(key, scaler).await {
            Ok(target) => target,
            Err(why) => {
                let message = format!("the HPA controller was unable to get the target's current scale: {why}");
                self.events.warning(scaler, "FailedGetScale", why);
                conditions.set("AbleToScale", false, "FailedGetScale", message);
                status.conditions = Some(conditions.all());
                return Ok(status);
            }
        };
        conditions.set(
            "AbleToScale",
            true,
            "SucceededGetScale",
            "the HPA controller was able to get the target's current scale",
        );
        let current = target.scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
        let existing = target.scale.status.as_ref().map_or(current, |status| status.replicas);
        status.current_replicas = Some(current);
        self.memories.lock().entry(key.clone()).or_default().met(current, now);
        if let Some(bound) = plan::bound(scaler, current, &mut conditions) {
            // No metric has a say in it.
            let proposal = Proposal::default();
            self.follow(key, scaler, &target, (current, bound), &proposal, (&mut status, &mut conditions)).await;
            status.conditions = Some(conditions.all());
            return Ok(status);
        }
        let pods = match self.pods_of(key, &target.scale) {
            Ok(pods) => pods,
            Err(unclear) => {
                self.events.warning(scaler, unclear.event, unclear.told.clone());
                conditions.set("ScalingActive", false, unclear.reason, unclear.message);
                self.events.warning(scaler, "FailedComputeMetricsReplicas", unclear.told);
                status.conditions = Some(conditions.all());
                return Ok(status);
            }
        };
        let metrics = scaler.spec.metrics.clone().unwrap_or_default();
        let selector = target.scale.status.as_ref().and_then(|status| status.selector.clone()).unwrap_or_default();
        let samples = match metrics.iter().any(|one| one.resource.is_some() || one.container_resource.is_some()) {
            true => figures::samples(&self.client, &key.namespace, &target.scale).await,
            false => Ok(Default::default()),
        };
        let readings = custom::readings(&self.client, &key.namespace, &selector, &metrics).await;
        let idleness = self.idleness(key, scaler, &selector, &pods, current).await;
        let is_idle = idleness == Idleness::Idle;
        let seen = Seen { current, existing, pods: &pods, samples: &samples, readings: &readings, is_idle };
        let proposal = plan::propose(scaler, &seen, now);
        let wanted = {
            let mut memories = self.memories.lock();
            let memory = memories.entry(key.clone()).or_default();
            memory.again(match idleness {
                Idleness::Busy(rest) => Some(rest.max(Duration::from_millis(50))),
                // It may be awake before the next look, and asleep again soon after.
                _ if (current == 0 || is_idle) && scaler.spec.min_replicas == Some(0) => {
                    idle::idle_after(scaler).ok().map(|after| after.max(Duration::from_secs(1)))
                }
                _ => None,
            });
            plan::decide(scaler, current, &proposal, idleness, memory, &mut conditions, now)
        };
        self.tell(scaler, &proposal);
        // Where no metric could be read nothing is desired anew.
        if proposal.replicas.is_some() {
            self.follow(key, scaler, &target, (current, wanted), &proposal, (&mut status, &mut conditions)).await;
        }
        status.current_metrics = Some(proposal.seen).filter(|seen| !seen.is_empty());
        status.conditions = Some(conditions.all());
        Ok(status)
    }

    fn tell(&self, scaler: &HorizontalPodAutoscaler, proposal: &Proposal) {
        for failure in &proposal.failures {
            self.events.warning(scaler, failure.reason, failure.message.clone());
        }
        if let Some(why) = &proposal.gave_up {
            self.events.warning(scaler, "FailedComputeMetricsReplicas", why.clone());
        }
    }

    /// Whether anybody asks for anything, where that decides about the last replica.
    async fn idleness(
        &self,
        key: &Key,
        scaler: &HorizontalPodAutoscaler,
        selector: &str,
        pods: &[std::sync::Arc<Pod>],
        current: i32,
    ) -> Idleness {
        if scaler.spec.min_replicas != Some(0) || current == 0 {
            return Idleness::Unknown;
        }
        let after = match idle::idle_after(scaler) {
            Ok(after) => after,
            Err(text) => {
                let message = format!(
                    "{} is {text:?}, which is no time; write seconds, or a duration as in \"90s\" or \"5m\"",
                    idle::ANNOTATION
                );
                self.events.warning(scaler, "InvalidIdleAfter", message);
                return Idleness::Busy(PERIOD);
            }
        };
        let metric = MetricIdentifier { name: "http_idle_seconds".to_owned(), selector: None };
        let read = custom::of_pods(&self.client, &key.namespace, selector, &metric).await;
        idle::of(pods, &read.unwrap_or_default(), after)
    }

    /// Scales where it is needed, and says so in the status.
    async fn follow(
        &self,
        key: &Key,
        scaler: &HorizontalPodAutoscaler,
        target: &Target,
        (current, wanted): (i32, i32),
        proposal: &Proposal,
        (status, conditions): (&mut HorizontalPodAutoscalerStatus, &mut Conditions),
    ) {
        if wanted == current {
            status.desired_replicas = wanted;
            return;
        }
        let reason = match proposal.reason.as_str() {
            _ if current > scaler.spec.max_replicas => "Current number of replicas above Spec.MaxReplicas",
            _ if current < scaler.spec.min_replicas.unwrap_or(1) => "Current number of replicas below Spec.MinReplicas",
            "" => "All metrics below target",
            reason => reason,
        };
        match self.scale(scaler, target, (current, wanted)).await {
            Ok(()) => {
                let now = Timestamp::now();
                status.desired_replicas = wanted;
                status.last_scale_time = Some(Time(now));
                let message = format!("the HPA controller was able to update the target scale to {wanted}");
                conditions.set("AbleToScale", true, "SucceededRescale", message);
                self.events.normal(scaler, "SuccessfulRescale", format!("New size: {wanted}; reason: {reason}"));
                let mut memories = self.memories.lock();
                memories.entry(key.clone()).or_default().scaled(current, wanted, now);
            }
            Err(error) => {
                let why = client::explain(&error);
                let message = format!("the HPA controller was unable to update the target scale: {why}");
                conditions.set("AbleToScale", false, "FailedUpdateScale", message);
                self.events.warning(
                    scaler,
                    "FailedRescale",
                    format!("New size: {wanted}; reason: {reason}; error: {why}"),
                );
            }
        }
    }

    /// Writes the scale. Who only wrote something else to the target in between is no reason to wait for the next look.
    async fn scale(
        &self,
        scaler: &HorizontalPodAutoscaler,
        target: &Target,
        (current, wanted): (i32, i32),
    ) -> Result<(), kube::Error> {
        let name = scaler.spec.scale_target_ref.name.as_str();
        let mut scale = target.scale.clone();
        for left in (0..CONFLICTS_MAX).rev() {
            scale.spec.get_or_insert_default().replicas = Some(wanted);
            match target.api.replace_scale(name, &PostParams::default(), &scale).await {
                Err(error) if client::is_conflict(&error) && left > 0 => {
                    scale = target.api.get_scale(name).await?;
                    if scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0) != current {
                        return Err(error);
                    }
                }
                other => return other.map(drop),
            }
        }
        Ok(())
    }

    async fn target(&self, key: &Key, scaler: &HorizontalPodAutoscaler) -> Result<Target, String> {
        let reference = &scaler.spec.scale_target_ref;
        let version = reference.api_version.as_deref().unwrap_or("v1");
        let group: Result<kube::core::GroupVersion, ParseGroupVersionError> = version.parse();
        let group = group.map_err(|error| error.to_string())?;
        let kind = GroupVersionKind::gvk(&group.group, &group.version, &reference.kind);
        let found = kube::discovery::pinned_kind(&self.client, &kind).await;
        let (resource, _) = found.map_err(|error| {
            format!("no matches for kind {:?} in version {version:?}: {}", reference.kind, client::explain(&error))
        })?;
        let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), &key.namespace, &resource);
        let scale = api.get_scale(&reference.name).await.map_err(|error| client::explain(&error))?;
        Ok(Target { api, scale })
    }

    /// The pods that the target's selector means, where it is sure that they are this autoscaler's alone.
    fn pods_of(&self, key: &Key, scale: &Scale) -> Result<Vec<std::sync::Arc<Pod>>, Unclear> {
        let text = scale.status.as_ref().and_then(|status| status.selector.as_deref()).unwrap_or_default();
        if text.is_empty() {
            return Err(Unclear {
                reason: "InvalidSelector",
                event: "SelectorRequired",
                message: "the HPA target's scale is missing a selector".to_owned(),
                told: "selector is required".to_owned(),
            });
        }
        let unclear =
            |reason: &'static str, message: String| Unclear { reason, event: reason, told: message.clone(), message };
        let selector = text.parse::<api::LabelSelector>().map_err(|error| {
            let message = format!("couldn't convert selector into a corresponding internal selector object: {error}");
            unclear("InvalidSelector", message)
        })?;
        self.selectors.put(key, selector.clone());
        let is_meant = |pod: &std::sync::Arc<Pod>| selectors::selects(&selector, pod);
        let pods: Vec<_> = self.pods.in_namespace(&key.namespace).into_iter().filter(is_meant).collect();
        let rivals = self.selectors.of(&key.namespace, &pods);
        if rivals.len() > 1 {
            let names = rivals.iter().map(Key::to_string).collect::<Vec<_>>().join(" ");
            let message = format!("pods by selector {text} are controlled by multiple HPAs: [{names}]");
            return Err(unclear("AmbiguousSelector", message));
        }
        Ok(pods)
    }

    async fn publish(
        &self,
        key: &Key,
        scaler: &HorizontalPodAutoscaler,
        status: HorizontalPodAutoscalerStatus,
    ) -> Result<(), kube::Error> {
        if scaler.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let api = Api::<HorizontalPodAutoscaler>::namespaced(self.client.clone(), &key.namespace);
        let wanted = HorizontalPodAutoscaler { status: Some(status), ..scaler.clone() };
        match api.replace_status(&key.name, &PostParams::default(), &wanted).await {
            Err(error) if client::is_not_found(&error) => Ok(()),
            other => other.map(drop),
        }
    }
}
