//! Scales what has a `scale` subresource by what its pods use (KEP-117, `autoscaling/v2`).
//!
//! *Owns*: `spec.replicas` of the targets of HorizontalPodAutoscalers, through `/scale`, and the autoscalers' status.
//!
//! *Guarantees*: a target is looked at every fifteen seconds; what a metric says is never followed faster than the policies
//! allow, nor down before the window of recommendations is over.
//!
//! *Not there*: metrics of kinds Pods, Object and External need a custom metrics API; without one they say so in the
//! condition `ScalingActive`, as in a cluster that has no adapter.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Next, Reconcile, RunError};
use client::events::Recorder;
use client::informers::{Informer, Key};
use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus};
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
mod figures;
mod plan;
#[cfg(test)]
mod tests;

use behavior::Memory;
use conditions::Conditions;
use plan::Proposal;

/// How often a target is looked at.
const PERIOD: Duration = Duration::from_secs(15);

pub(crate) fn start(rig: Rig) {
    let scalers = rig.informers.of::<HorizontalPodAutoscaler>();
    let pods = rig.informers.of::<Pod>();
    let controller = Controller::new("horizontal_pod_autoscaler", &rig.metrics).each(&scalers);
    let events = rig.recorder("horizontal-pod-autoscaler");
    let memories = Mutex::default();
    controller.start(&rig.tasks, Autoscalers { client: rig.client, scalers, pods, events, memories });
}

struct Autoscalers {
    client: Client,
    scalers: Informer<HorizontalPodAutoscaler>,
    pods: Informer<Pod>,
    events: Recorder,
    memories: Mutex<HashMap<Key, Memory>>,
}

#[async_trait]
impl Reconcile for Autoscalers {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let Some(scaler) = self.scalers.at(key) else {
            self.memories.lock().remove(key);
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
        let status = self.look(key, &scaler, now).await?;
        self.publish(key, &scaler, status).await?;
        Ok(Next::After(PERIOD))
    }
}

/// Where a target's scale is.
struct Target {
    api: Api<DynamicObject>,
    scale: Scale,
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
        status.current_replicas = Some(target.scale.status.as_ref().map_or(current, |status| status.replicas));
        let pods = self.pods_of(key, &target.scale);
        let samples = figures::samples(&self.client, &key.namespace, &target.scale).await;
        let proposal = plan::propose(scaler, current, &pods, &samples, now);
        let wanted = {
            let mut memories = self.memories.lock();
            let memory = memories.entry(key.clone()).or_default();
            plan::decide(scaler, current, &proposal, memory, &mut conditions, now)
        };
        status.desired_replicas = wanted;
        self.tell(scaler, &proposal);
        if wanted != current {
            self.scale(key, scaler, &target, (current, wanted), &proposal, &mut conditions).await;
            status.last_scale_time = Some(Time(now));
        }
        status.current_metrics = Some(proposal.seen).filter(|seen| !seen.is_empty());
        status.conditions = Some(conditions.all());
        Ok(status)
    }

    fn tell(&self, scaler: &HorizontalPodAutoscaler, proposal: &Proposal) {
        for (reason, message) in &proposal.failures {
            self.events.warning(scaler, reason, message.clone());
        }
    }

    async fn scale(
        &self,
        key: &Key,
        scaler: &HorizontalPodAutoscaler,
        target: &Target,
        (current, wanted): (i32, i32),
        proposal: &Proposal,
        conditions: &mut Conditions,
    ) {
        let name = scaler.spec.scale_target_ref.name.as_str();
        let mut scale = target.scale.clone();
        scale.spec.get_or_insert_default().replicas = Some(wanted);
        match target.api.replace_scale(name, &PostParams::default(), &scale).await {
            Ok(_) => {
                let message = format!("the HPA controller was able to update the target scale to {wanted}");
                conditions.set("AbleToScale", true, "SucceededRescale", message);
                let why = if proposal.reason.is_empty() { "bounds" } else { &proposal.reason };
                self.events.normal(scaler, "SuccessfulRescale", format!("New size: {wanted}; reason: {why}"));
                let mut memories = self.memories.lock();
                memories.entry(key.clone()).or_default().scaled(current, wanted, Timestamp::now());
            }
            Err(error) => {
                let why = client::explain(&error);
                let message = format!("the HPA controller was unable to update the target scale: {why}");
                conditions.set("AbleToScale", false, "FailedUpdateScale", message);
                self.events.warning(scaler, "FailedRescale", format!("New size: {wanted}; error: {why}"));
            }
        }
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

    /// The pods that the target's selector means.
    fn pods_of(&self, key: &Key, scale: &Scale) -> Vec<std::sync::Arc<Pod>> {
        let text = scale.status.as_ref().and_then(|status| status.selector.as_deref()).unwrap_or_default();
        let Ok(selector) = text.parse::<api::LabelSelector>() else { return Vec::new() };
        if selector.is_everything() {
            return Vec::new();
        }
        let none = Default::default();
        let is_meant = |pod: &std::sync::Arc<Pod>| {
            let labels = pod.metadata.labels.as_ref().unwrap_or(&none);
            selector.matches_with(|label| labels.get(label).map(String::as_str))
        };
        self.pods.in_namespace(&key.namespace).into_iter().filter(is_meant).collect()
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
