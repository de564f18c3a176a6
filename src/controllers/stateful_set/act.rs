//! Carrying out a plan, and telling how things stand.

use std::sync::Arc;
use std::time::Duration;

use client::controller::in_doubling_batches;
use client::informers::Key;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

use super::plan::Plan;
use super::{StatefulSets, identity, status, volumes};
use crate::history::History;
use crate::owners::{is_deleting, name};
use crate::pods;

impl StatefulSets {
    /// Returns how long failed pods still stay.
    pub(super) async fn act(
        &self,
        key: &Key,
        set: &StatefulSet,
        history: &History,
        plan: &Plan,
    ) -> Result<Option<Duration>, kube::Error> {
        self.keep_claims(key, set, plan).await?;
        let (due, wait) = self.due(key, &plan.delete);
        self.tell_of_ended(key, set, &due, &plan.condemned);
        for ordinal in &plan.pending {
            self.make_claims(key, set, *ordinal).await?;
        }
        let create = |at: usize| async move {
            let Some((ordinal, current)) = plan.create.get(at) else { return Ok(()) };
            let revision = if *current { self.current(set, history) } else { &history.update };
            if !self.make_claims(key, set, *ordinal).await? {
                return Ok(());
            }
            let pod = identity::new_pod(set, revision, *ordinal);
            self.control.create(key, set, Arc::new(pod)).await.map(drop)
        };
        if let Some(error) = in_doubling_batches(plan.create.len(), create).await.1 {
            return Err(error);
        }
        self.control.delete_all(key, set, &due).await.map_or(Ok(wait), Err)
    }

    /// Which pods may go now, and how long it is until the next one may: those that failed go later and later.
    fn due(&self, key: &Key, pods: &[Arc<Pod>]) -> (Vec<Arc<Pod>>, Option<Duration>) {
        let now = Timestamp::now();
        let (mut due, mut wait) = (Vec::new(), None);
        for pod in pods {
            let failed = pods::phase(pod) == "Failed";
            let may_go = if failed { self.failures.may_go(key, name(&pod.metadata), now) } else { Ok(()) };
            match may_go {
                Ok(()) => due.push(Arc::clone(pod)),
                Err(rest) => wait = wait.into_iter().chain(Some(rest)).min(),
            }
        }
        (due, wait)
    }

    /// Says which pods are made anew because they have ended.
    fn tell_of_ended(&self, key: &Key, set: &StatefulSet, due: &[Arc<Pod>], condemned: &[i32]) {
        let is_condemned =
            |pod: &Pod| identity::ordinal(set, name(&pod.metadata)).is_some_and(|ordinal| condemned.contains(&ordinal));
        for pod in due.iter().filter(|pod| pods::is_finished(pod) && !is_condemned(pod)) {
            let (place, own) = (format!("{}/{}", key.namespace, key.name), name(&pod.metadata));
            if pods::phase(pod) == "Failed" {
                let message = format!("StatefulSet {place} is recreating failed Pod {own}");
                self.control.events.warning(set, "RecreatingFailedPod", message);
            } else {
                let message = format!("StatefulSet {place} is recreating terminated Pod {own}");
                self.control.events.normal(set, "RecreatingTerminatedPod", message);
            }
        }
    }

    fn current<'a>(&self, set: &StatefulSet, history: &'a History) -> &'a ControllerRevision {
        let current = status::current_revision(set, history);
        history.all.iter().find(|revision| name(&revision.metadata) == current).map_or(&history.update, Arc::as_ref)
    }

    /// Makes the claims that a pod needs; whether all are there. One that is being deleted has to go first.
    async fn make_claims(&self, key: &Key, set: &StatefulSet, ordinal: i32) -> Result<bool, kube::Error> {
        let api = Api::<PersistentVolumeClaim>::namespaced(self.client.clone(), &key.namespace);
        let mut all = true;
        for claim in volumes::of(set, ordinal) {
            match self.volumes.get(&key.namespace, name(&claim.metadata)) {
                Some(found) => all &= !is_deleting(&found.metadata),
                None => match api.create(&PostParams::default(), &claim).await {
                    Ok(made) => {
                        let message = format!(
                            "create Claim {} Pod {}-{ordinal} in StatefulSet {} success",
                            name(&made.metadata),
                            key.name,
                            key.name
                        );
                        self.control.events.normal(set, "SuccessfulCreate", message);
                    }
                    Err(error) if client::is_taken(&error) => {}
                    Err(error) => {
                        self.control.events.warning(set, "FailedCreate", client::explain(&error));
                        return Err(error);
                    }
                },
            }
        }
        Ok(all)
    }

    /// Says of each claim who it goes with.
    async fn keep_claims(&self, key: &Key, set: &StatefulSet, plan: &Plan) -> Result<(), kube::Error> {
        let api = Api::<PersistentVolumeClaim>::namespaced(self.client.clone(), &key.namespace);
        let spec = set.spec.clone().unwrap_or_default();
        let first = spec.ordinals.and_then(|ordinals| ordinals.start).unwrap_or(0);
        let wanted = first..first.saturating_add(spec.replicas.unwrap_or(1));
        for (ordinal, condemned) in wanted.map(|at| (at, false)).chain(plan.condemned.iter().map(|at| (*at, true))) {
            let pod = self.pods.get(&key.namespace, &format!("{}-{ordinal}", key.name));
            for claim in volumes::of(set, ordinal) {
                let Some(found) = self.volumes.get(&key.namespace, name(&claim.metadata)) else { continue };
                let Some(owners) = volumes::owners(set, &found, pod.as_deref(), condemned) else { continue };
                let patch = json!({ "metadata": {
                    "uid": found.metadata.uid, "resourceVersion": found.metadata.resource_version, "ownerReferences": owners,
                } });
                match api.patch(name(&found.metadata), &PatchParams::default(), &Patch::Merge(patch)).await {
                    Err(error) if client::is_not_found(&error) => {}
                    other => drop(other?),
                }
            }
        }
        Ok(())
    }

    /// Writes the status, when it is another than the one that is there.
    pub(super) async fn publish(
        &self,
        key: &Key,
        set: &StatefulSet,
        owned: &[Arc<Pod>],
        history: &History,
        current: &str,
    ) -> Result<(), kube::Error> {
        let status = status::status(set, owned, history, current, Timestamp::now());
        if set.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let api = Api::<StatefulSet>::namespaced(self.client.clone(), &key.namespace);
        let wanted = StatefulSet { status: Some(status), ..set.clone() };
        match api.replace_status(&key.name, &PostParams::default(), &wanted).await {
            Ok(written) => self.own.wrote(key, &written.metadata, &self.sets),
            Err(error) if client::is_not_found(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
