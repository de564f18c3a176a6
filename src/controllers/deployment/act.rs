//! Carrying out a plan.

use client::controller::RunError;
use client::informers::Key;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Status;
use serde_json::json;

use super::plan::{Change, Plan};
use super::rollback::Rollback;
use super::{Deployments, conditions, model, revisions, template};
use crate::owners::{controller_of, name, namespace};

impl Deployments {
    /// Stops at the first failure; the next run plans anew.
    pub(super) async fn act(&self, deployment: &Deployment, plan: &Plan) -> Result<(), RunError> {
        let sets = Api::<ReplicaSet>::namespaced(self.client.clone(), namespace(&deployment.metadata));
        if let Some(set) = &plan.create {
            self.create(&sets, deployment, set, plan).await?;
        }
        for change in &plan.changes {
            self.change(&sets, deployment, change).await?;
        }
        for set in &plan.delete {
            let preconditions = Preconditions { uid: set.metadata.uid.clone(), resource_version: None };
            let deleted =
                sets.delete(name(&set.metadata), &DeleteParams::background().preconditions(preconditions)).await;
            deleted.map(drop).or_else(ignore_missing)?;
        }
        if plan.revision.is_none() && plan.status.is_none() {
            return Ok(());
        }
        // Annotations written with the status do not count for the generation.
        let mut metadata = deployment.metadata.clone();
        if let Some(revision) = &plan.revision {
            metadata.annotations.get_or_insert_default().insert(revisions::REVISION.to_owned(), revision.clone());
        }
        let status = plan.status.clone().or_else(|| deployment.status.clone()).unwrap_or_default();
        Ok(self.publish(deployment, metadata, status).await?)
    }

    /// Writes the Deployment with its old template; the watch brings it back.
    pub(super) async fn roll_back(&self, rollback: Rollback) -> Result<(), RunError> {
        let Rollback { deployment, news: (bad, reason, message) } = rollback;
        let api = Api::<Deployment>::namespaced(self.client.clone(), namespace(&deployment.metadata));
        let written = api.replace(name(&deployment.metadata), &PostParams::default(), &deployment).await?;
        self.own.wrote(&Key::of(&deployment), &written.metadata, &self.deployments);
        if bad {
            self.events.warning(&deployment, reason, message);
        } else {
            self.events.normal(&deployment, reason, message);
        }
        Ok(())
    }

    async fn create(
        &self,
        sets: &Api<ReplicaSet>,
        deployment: &Deployment,
        set: &ReplicaSet,
        plan: &Plan,
    ) -> Result<(), RunError> {
        match sets.create(&PostParams::default(), set).await {
            Ok(created) => {
                self.of_sets.created(&Key::of(deployment), &created.metadata, &self.sets);
                self.say_scaled(deployment, set, 0, model::replicas(set));
                Ok(())
            }
            Err(error) if client::is_taken(&error) => self.resolve_collision(sets, deployment, set).await,
            Err(error) if client::is_namespace_terminating(&error) => Err(error.into()),
            Err(error) => {
                self.publish_failed_creation(deployment, set, &error, plan).await?;
                Err(error.into())
            }
        }
    }

    /// The name is taken: by the very ReplicaSet that is wanted, when the cache lags; else the next name is tried.
    async fn resolve_collision(
        &self,
        sets: &Api<ReplicaSet>,
        deployment: &Deployment,
        set: &ReplicaSet,
    ) -> Result<(), RunError> {
        let taken_by = sets.get(name(&set.metadata)).await?;
        let is_ours =
            controller_of(&taken_by.metadata).map(|owner| Some(&owner.uid) == deployment.metadata.uid.as_ref());
        if is_ours == Some(true) && template::is_of(&taken_by, deployment) {
            return Err(again("the cache does not show the new replica set yet"));
        }
        let mut status = deployment.status.clone().unwrap_or_default();
        status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
        self.publish(deployment, deployment.metadata.clone(), status).await?;
        Err(again("the new replica set's name was taken"))
    }

    async fn publish_failed_creation(
        &self,
        deployment: &Deployment,
        set: &ReplicaSet,
        error: &kube::Error,
        plan: &Plan,
    ) -> Result<(), RunError> {
        let why = client::explain(error);
        let message = format!("Failed to create new replica set {:?}: {why}", name(&set.metadata));
        self.events.warning(deployment, "ReplicaSetCreateError", message.as_str());
        let mut status = plan.status.clone().or_else(|| deployment.status.clone()).unwrap_or_default();
        let now = jiff::Timestamp::now();
        let condition = conditions::new(conditions::PROGRESSING, "False", "ReplicaSetCreateError", message, now);
        conditions::set(&mut status, condition);
        if deployment
            .status
            .as_ref()
            .and_then(|seen| conditions::get(seen, conditions::PROGRESSING))
            .is_some_and(|seen| seen.reason.as_deref() == Some("ReplicaSetCreateError"))
        {
            return Ok(());
        }
        Ok(self.publish(deployment, deployment.metadata.clone(), status).await?)
    }

    async fn change(&self, sets: &Api<ReplicaSet>, deployment: &Deployment, change: &Change) -> Result<(), RunError> {
        let Change { set, replicas, annotations, min_ready_seconds } = change;
        // Null would take the field away in a merge patch: absent fields are left out instead.
        let mut patch = json!({"metadata": {
            "uid": set.metadata.uid,
            "resourceVersion": set.metadata.resource_version,
        }});
        if !annotations.is_empty() {
            patch["metadata"]["annotations"] = json!(annotations);
        }
        if let Some(replicas) = replicas {
            patch["spec"]["replicas"] = json!(replicas);
        }
        if let Some(seconds) = min_ready_seconds {
            patch["spec"]["minReadySeconds"] = json!(seconds);
        }
        let written = sets.patch(name(&set.metadata), &PatchParams::default(), &Patch::Merge(patch)).await?;
        self.of_sets.wrote(&Key::of(deployment), &written.metadata, &self.sets);
        if let Some(replicas) = replicas {
            self.say_scaled(deployment, set, model::replicas(set), *replicas);
        }
        Ok(())
    }

    fn say_scaled(&self, deployment: &Deployment, set: &ReplicaSet, from: i32, to: i32) {
        if from != to {
            let direction = if to > from { "up" } else { "down" };
            let message = format!("Scaled {direction} replica set {} from {from} to {to}", name(&set.metadata));
            self.events.normal(deployment, "ScalingReplicaSet", message);
        }
    }

    async fn publish(
        &self,
        deployment: &Deployment,
        metadata: ObjectMeta,
        status: DeploymentStatus,
    ) -> Result<(), kube::Error> {
        let api = Api::<Deployment>::namespaced(self.client.clone(), namespace(&deployment.metadata));
        let wanted = Deployment { metadata, status: Some(status), ..deployment.clone() };
        match api.replace_status(name(&deployment.metadata), &PostParams::default(), &wanted).await {
            Ok(written) => self.own.wrote(&Key::of(deployment), &written.metadata, &self.deployments),
            Err(error) if client::is_not_found(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

fn ignore_missing(error: kube::Error) -> Result<(), kube::Error> {
    if client::is_not_found(&error) { Ok(()) } else { Err(error) }
}

/// Looks again soon, as after a conflict.
fn again(why: &str) -> RunError {
    RunError::Api(kube::Error::Api(Box::new(Status::failure(why, "Conflict").with_code(409))))
}
