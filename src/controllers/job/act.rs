//! Carrying out a plan.

use std::sync::Arc;

use client::controller::in_doubling_batches;
use client::informers::Key;
use futures::StreamExt;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector, Pod};
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

use super::plan::Plan;
use super::{FINALIZER, INDEX, Jobs, is_tracked, tally};
use crate::owners::{name, namespace};
use crate::pod_control;

const AT_ONCE: usize = 64;

impl Jobs {
    /// Writes in the order in which a crash between two steps loses nothing: what is counted, then what is no longer held,
    /// then pods.
    pub(super) async fn act(&self, key: &Key, job: &Job, pods: &[Arc<Pod>], plan: &Plan) -> Result<(), kube::Error> {
        if let Some(status) = &plan.status {
            let api = Api::<Job>::namespaced(self.client.clone(), &key.namespace);
            let wanted = Job { status: Some(status.clone()), ..job.clone() };
            match api.replace_status(&key.name, &PostParams::default(), &wanted).await {
                Ok(written) => self.own.wrote(key, &written.metadata, &self.jobs),
                Err(error) if client::is_not_found(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
            for (bad, reason, message) in &plan.news {
                if *bad {
                    self.control.events.warning(job, reason, message.clone());
                } else {
                    self.control.events.normal(job, reason, message.clone());
                }
            }
        }
        let mut failure = self.untrack_all(&plan.untrack).await;
        failure = self.untrack_all(&plan.remove).await.or(failure);
        failure = self.control.delete_all(key, job, &plan.remove).await.or(failure);
        failure = self.control.delete_all(key, job, &plan.end).await.or(failure);
        let create = |at: usize| async move {
            let index = plan.create.get(at).copied().flatten();
            self.control.create(key, job, Arc::new(new_pod(job, pods, index))).await.map(drop)
        };
        failure = in_doubling_batches(plan.create.len(), create).await.1.or(failure);
        failure.map_or(Ok(()), Err)
    }

    /// Lets pods go that are counted; the last failure, if there was one.
    pub(super) async fn untrack_all(&self, pods: &[Arc<Pod>]) -> Option<kube::Error> {
        let each: Vec<_> = pods.iter().map(|pod| self.untrack(pod)).collect();
        let outcomes = futures::stream::iter(each).buffer_unordered(AT_ONCE);
        outcomes.filter_map(|outcome| std::future::ready(outcome.err())).collect::<Vec<_>>().await.pop()
    }

    async fn untrack(&self, pod: &Pod) -> Result<(), kube::Error> {
        if !is_tracked(pod) {
            return Ok(());
        }
        let patch = json!({ "metadata": {
            "uid": pod.metadata.uid,
            "$deleteFromPrimitiveList/finalizers": [FINALIZER],
        } });
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace(&pod.metadata));
        match api.patch(name(&pod.metadata), &PatchParams::default(), &Patch::Strategic(patch)).await {
            Err(error) if client::is_not_found(&error) => Ok(()),
            other => other.map(drop),
        }
    }
}

/// A pod of the Job's template.
fn new_pod(job: &Job, pods: &[Arc<Pod>], index: Option<u32>) -> Pod {
    let mut pod = pod_control::of_template(job, job.spec.as_ref().map(|spec| &spec.template));
    pod.metadata.finalizers.get_or_insert_default().push(FINALIZER.to_owned());
    let Some(index) = index else { return pod };
    let own = name(&job.metadata);
    pod.metadata.generate_name = Some(format!("{own}-{index}-"));
    pod.metadata.labels.get_or_insert_default().insert(INDEX.to_owned(), index.to_string());
    let annotations = pod.metadata.annotations.get_or_insert_default();
    for (key, value) in tally::next_annotations(job, pods, index) {
        annotations.insert(key.to_owned(), value);
    }
    if let Some(spec) = &mut pod.spec {
        spec.hostname = Some(format!("{own}-{index}"));
        for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
            let env = container.env.get_or_insert_default();
            if !env.iter().any(|variable| variable.name == COMPLETION_INDEX) {
                env.push(completion_index());
            }
        }
    }
    pod
}

const COMPLETION_INDEX: &str = "JOB_COMPLETION_INDEX";

fn completion_index() -> EnvVar {
    let field = ObjectFieldSelector { field_path: format!("metadata.labels['{INDEX}']"), ..Default::default() };
    let source = EnvVarSource { field_ref: Some(field), ..Default::default() };
    EnvVar { name: COMPLETION_INDEX.to_owned(), value_from: Some(source), ..EnvVar::default() }
}
