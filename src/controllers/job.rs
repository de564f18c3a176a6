//! Runs pods of a template until as many as a Job asks for have succeeded, or it has failed.
//!
//! *Owns*: a Job's pods and its status; the finalizer that keeps a pod until it is counted.
//!
//! *Guarantees*: no pod is counted twice and none is lost, whatever stops in between; a Job that has ended has no pod that
//! runs; failures in a row are retried later and later.
//!
//! *Never*: touches a Job that somebody else manages (`spec.managedBy`).

use std::sync::Arc;

use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Expectations, Next, Reconcile, RunError};
use client::informers::{Informer, Key};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::core::SelectorExt;

use crate::owners::{controlled_by, controller_of, is_deleting, namespace};
use crate::pod_control::PodControl;
use crate::{Rig, claims};

mod act;
mod conditions;
mod indexes;
mod plan;
mod policy;
mod status;
mod tally;
#[cfg(test)]
mod tests;

/// Kubernetes' finalizer on pods that a Job has not counted yet.
const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
/// The label and annotation of a pod's completion index.
const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// The keys of pods that have lost their Job begin with this, which no object's name does.
const LOST: &str = "pod/";
/// Pods that wait to be counted, by `namespace/name` of their Job.
const TRACKED: &str = "tracked by job";
/// Who manages a Job that does not say.
const MANAGER: &str = "kubernetes.io/job-controller";

pub(crate) use conditions::{has_completed, is_over};

pub(crate) fn start(rig: Rig) {
    let jobs = rig.informers.of::<Job>();
    let pods = rig.informers.of::<Pod>();
    claims::index_orphans(&pods);
    pods.add_index(TRACKED, |pod: &Pod| {
        let job = controller_of(&pod.metadata).filter(|owner| owner.kind == "Job" && is_tracked(pod));
        job.map(|job| Key::new(namespace(&pod.metadata), job.name.clone()).to_string()).into_iter().collect()
    });
    let owners = jobs.clone();
    let controller = Controller::new("job", &rig.metrics).workers(16).each(&jobs).controlled(&pods, "Job").watch(
        &pods,
        move |change| {
            let mut adopters = claims::would_adopt(change, &owners, |job, labels| {
                let selects = claims::selector(&selector_of(job)).is_some_and(|selector| selector.matches(labels));
                selects && !is_over(job) && !is_deleting(&job.metadata)
            });
            let orphan = change.new.as_ref().filter(|pod| controller_of(&pod.metadata).is_none());
            if adopters.is_empty() && orphan.is_some_and(|pod| is_tracked(pod)) {
                adopters.push(Key::new(change.key.namespace.clone(), format!("{LOST}{}", change.key.name)));
            }
            adopters
        },
    );
    let control = PodControl::new(&rig, &pods, "job-controller");
    controller.start(&rig.tasks, Jobs { client: rig.client, jobs, pods, own: Expectations::default(), control });
}

struct Jobs {
    client: Client,
    jobs: Informer<Job>,
    pods: Informer<Pod>,
    /// Statuses written.
    own: Expectations,
    control: PodControl,
}

fn selector_of(job: &Job) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector {
    job.spec.as_ref().and_then(|spec| spec.selector.clone()).unwrap_or_default()
}

/// Whether a pod waits to be counted.
fn is_tracked(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
}

/// The completion index of a pod, if it has one.
fn index_of(pod: &Pod) -> Option<u32> {
    let annotation = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(INDEX));
    annotation.or_else(|| pod.metadata.labels.as_ref()?.get(INDEX))?.parse().ok()
}

#[async_trait]
impl Reconcile for Jobs {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        if let Some(name) = key.name.strip_prefix(LOST) {
            let pod = self.pods.get(&key.namespace, name).filter(|pod| controller_of(&pod.metadata).is_none());
            self.untrack_all(pod.as_slice()).await.map_or(Ok(()), Err)?;
            return Ok(Next::Done);
        }
        let found = self.jobs.at(key);
        self.let_go(key, found.as_deref()).await?;
        let Some(job) = found else {
            self.own.forget(key);
            self.control.forget(key);
            return Ok(Next::Done);
        };
        let manager = job.spec.as_ref().and_then(|spec| spec.managed_by.as_deref());
        if manager.is_some_and(|manager| manager != MANAGER) {
            return Ok(Next::Done);
        }
        // Counting from a cache that lags would count twice.
        if !self.own.met(key, &self.jobs) || !self.control.settled(key) {
            return Ok(Next::Done);
        }
        let Some(selector) = claims::selector(&selector_of(&job)) else { return Ok(Next::Done) };
        let claims = claims::claims(&job.metadata, &selector, &self.pods);
        if !claims.settled() && !is_over(&job) {
            claims.settle_held(&self.client, &controlled_by(job.as_ref()), Some(FINALIZER)).await?;
            return Ok(Next::Done);
        }
        let pods: Vec<Arc<Pod>> = claims.owned;
        if is_deleting(&job.metadata) && pods.is_empty() {
            return Ok(Next::Done);
        }
        let plan = plan::plan(&job, &pods, Timestamp::now());
        self.act(key, &job, &pods, &plan).await?;
        Ok(plan.again.map_or(Next::Done, Next::After))
    }
}

impl Jobs {
    /// Lets the pods go whose Job of that name is no more.
    async fn let_go(&self, key: &Key, job: Option<&Job>) -> Result<(), kube::Error> {
        let uid = job.and_then(|job| job.metadata.uid.as_deref());
        let of_another = |pod: &Arc<Pod>| {
            let owner = controller_of(&pod.metadata).filter(|owner| owner.kind == "Job" && owner.name == key.name);
            owner.is_some_and(|owner| Some(owner.uid.as_str()) != uid) && is_tracked(pod)
        };
        // A Job that is there is as good as always the one that its pods name.
        let named = self.pods.indexed(TRACKED, &key.to_string());
        let lost: Vec<Arc<Pod>> = named.into_iter().filter(of_another).collect();
        if lost.is_empty() {
            return Ok(());
        }
        self.untrack_all(&lost).await.map_or(Ok(()), Err)
    }
}
