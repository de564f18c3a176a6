//! Rolls a Deployment's template out step by step, and back by itself when requests fail or take too long.
//!
//! *Owns*: the annotation `coracle.dev/canary-status` of Deployments that have `coracle.dev/canary`, and the template of one
//! whose canary failed, which it puts back.
//!
//! *Guarantees*: while a canary runs, the stable ReplicaSet keeps its full size, so that going back costs nobody a request;
//! a step is taken only when its pods are available and have been for as long as it says; what is read of requests is
//! counted where they pass, for the canary's pods alone.
//!
//! *Never*: sizes a ReplicaSet. The Deployment controller does, by the annotation; the proxy reads the share of requests
//! from it.
//!
//! ```text
//! template changes → canary of 0 pods → status: step 1 ─▶ pods ─▶ available ─▶ held ─▶ step 2 … ─▶ Promoted ─▶ rolling
//!                                                          │ errors, latency, deadline, abort
//!                                                          └────────▶ template put back: RolledBack
//! ```

use std::time::Duration;

use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Next, Reconcile, RunError};
use client::events::Recorder;
use client::informers::{Informer, Key};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::autoscaling::v2::MetricIdentifier;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use crate::Rig;
use crate::horizontal_pod_autoscaler::custom;
use crate::owners::is_deleting;

mod plan;
mod settings;
mod state;
#[cfg(test)]
mod tests;

pub(crate) use settings::ANNOTATION;
pub(crate) use state::{STATUS, State, size};

use plan::{Decision, Requests, Seen, decide};
use settings::Settings;

/// How often a canary that runs is judged.
const PERIOD: Duration = Duration::from_secs(1);
/// What moves a canary that waits: `next`, `full` or `abort`.
pub(crate) const PROMOTE: &str = "coracle.dev/canary-promote";

pub(crate) fn start(rig: Rig) {
    let deployments = rig.informers.of::<Deployment>();
    let sets = rig.informers.of::<ReplicaSet>();
    let controller =
        Controller::new("canary", &rig.metrics).workers(2).each(&deployments).controlled(&sets, "Deployment");
    let events = rig.recorder("canary-controller");
    controller.start(&rig.tasks, Canaries { client: rig.client, deployments, sets, events });
}

struct Canaries {
    client: Client,
    deployments: Informer<Deployment>,
    sets: Informer<ReplicaSet>,
    events: Recorder,
}

#[async_trait]
impl Reconcile for Canaries {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let Some(deployment) = self.deployments.at(key) else { return Ok(Next::Done) };
        if is_deleting(&deployment.metadata) || !deployment.annotations().contains_key(ANNOTATION) {
            return Ok(Next::Done);
        }
        let settings = match Settings::of(&deployment) {
            Ok(settings) => settings,
            Err(error) => {
                self.events.warning(deployment.as_ref(), "InvalidCanary", error.to_string());
                return Ok(Next::Done);
            }
        };
        let sets = self.sets.owned_by(deployment.metadata.uid.as_deref().unwrap_or_default());
        let Some(pair) = state::Pair::of(&deployment, &sets) else { return Ok(Next::Done) };
        let state = State::of(&deployment);
        let runs = state.as_ref().is_some_and(|state| state.runs() && state.hash == pair.hash());
        let requests = if runs { self.requests(key, &pair).await } else { Requests::default() };
        let order = deployment.annotations().get(PROMOTE).map(String::as_str);
        let seen = Seen { deployment: &deployment, pair: &pair, requests, order, now: Timestamp::now() };
        let decision = decide(&settings, state.as_ref(), &seen);
        self.carry_out(&deployment, &pair, state.as_ref(), &decision).await?;
        let runs = matches!(&decision, Decision::Set(state) if state.runs()) || (decision == Decision::Keep && runs);
        Ok(if runs { Next::After(PERIOD) } else { Next::Done })
    }
}

impl Canaries {
    /// What is known of the canary's requests. What cannot be read judges nobody.
    async fn requests(&self, key: &Key, pair: &state::Pair) -> Requests {
        let selector = pair.selector();
        let read = async |metric: &str| {
            let metric = MetricIdentifier { name: metric.to_owned(), selector: None };
            custom::of_pods(&self.client, &key.namespace, &selector, &metric).await.unwrap_or_default()
        };
        let whole = |values: std::collections::BTreeMap<String, i64>| values.values().map(|value| value / 1000).sum();
        let slowest = read("http_request_duration_p99_seconds").await.into_values().max();
        Requests {
            all: whole(read("http_requests_total").await),
            failed: whole(read("http_request_errors_total").await),
            p99: slowest.and_then(|millis| u64::try_from(millis).ok()).map(Duration::from_millis),
        }
    }

    async fn carry_out(
        &self,
        deployment: &Deployment,
        pair: &state::Pair,
        before: Option<&State>,
        decision: &Decision,
    ) -> Result<(), RunError> {
        let (state, template) = match decision {
            Decision::Keep => return Ok(()),
            Decision::Set(state) => (state, None),
            Decision::RollBack(state) => (state, Some(pair.stable_template())),
        };
        let api = Api::<Deployment>::namespaced(
            self.client.clone(),
            deployment.metadata.namespace.as_deref().unwrap_or_default(),
        );
        let path = |annotation: &str| format!("/metadata/annotations/{}", annotation.replace('/', "~1"));
        let mut steps = vec![
            json!({ "op": "test", "path": "/metadata/resourceVersion", "value": deployment.metadata.resource_version }),
            json!({ "op": "add", "path": path(STATUS), "value": state.to_text() }),
        ];
        if deployment.annotations().contains_key(PROMOTE) {
            steps.push(json!({ "op": "remove", "path": path(PROMOTE) }));
        }
        if let Some(template) = template {
            steps.push(json!({ "op": "replace", "path": "/spec/template", "value": template }));
        }
        let patch: json_patch::Patch =
            serde_json::from_value(Value::Array(steps)).map_err(|error| RunError::Failed(error.to_string()))?;
        let name = deployment.name_any();
        match api.patch(&name, &PatchParams::default(), &Patch::<Deployment>::Json(patch)).await {
            Ok(_) => {
                self.tell(deployment, before, state);
                Ok(())
            }
            Err(error) if client::is_not_found(&error) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn tell(&self, deployment: &Deployment, before: Option<&State>, state: &State) {
        let same = before
            .is_some_and(|before| (before.phase, before.step, &before.hash) == (state.phase, state.step, &state.hash));
        if !same {
            match state.phase {
                state::Phase::RolledBack => {
                    self.events.warning(deployment, "CanaryFailed", state.message.clone());
                }
                _ => self.events.normal(deployment, state.phase.reason(), state.message.clone()),
            }
        }
    }
}
