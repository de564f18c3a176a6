//! What a Deployment's next step is. Pure: the same Deployment, ReplicaSets and time give the same plan.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use kube::ResourceExt;

use super::model::{self, Model};
use super::{canary, conditions, recreate, revisions, rolling, scaling, status, template};
use crate::owners::{is_deleting, name};

/// What a run does, in this order.
pub(super) struct Plan {
    /// The ReplicaSet for a new template.
    pub create: Option<ReplicaSet>,
    /// ReplicaSets that get another size or other annotations.
    pub changes: Vec<Change>,
    /// Old ReplicaSets that the history has no place for.
    pub delete: Vec<ReplicaSet>,
    /// The Deployment's revision annotation, when it changes.
    pub revision: Option<String>,
    /// The status, when it changes.
    pub status: Option<DeploymentStatus>,
    /// When to look again though nothing may happen.
    pub again: Option<Duration>,
}

/// What changes on one ReplicaSet.
pub(super) struct Change {
    /// As it was seen.
    pub set: Arc<ReplicaSet>,
    /// Its new size.
    pub replicas: Option<i32>,
    /// Annotations to set.
    pub annotations: BTreeMap<String, String>,
    /// Its new `minReadySeconds`.
    pub min_ready_seconds: Option<i32>,
}

/// Plans. `pods_of` counts the unfinished pods of a ReplicaSet.
pub(super) fn plan(
    deployment: &Deployment,
    sets: &[Arc<ReplicaSet>],
    pods_of: impl Fn(&ReplicaSet) -> usize,
    now: Timestamp,
) -> Plan {
    let mut model = Model::new(deployment, sets, now);
    let mut delete = Vec::new();
    let mut revision = None;
    let status = if is_deleting(&deployment.metadata) {
        status::counts(&model)
    } else {
        note_pause(&mut model);
        if let Some(size) = of_canary(&mut model, &mut revision) {
            canary::hold(&mut model, size);
            if canary::is_held(&model, size) {
                status::held(&model)
            } else {
                canary::go_on(&mut model);
                status::rollout(&model)
            }
        } else if model.is_paused() || scaling::is_needed(&model) {
            revision = adopt_revision(&mut model);
            scaling::scale(&mut model);
            if model.is_paused() {
                delete = revisions::surplus(&model);
            }
            status::counts(&model)
        } else {
            canary::go_on(&mut model);
            revision = if model.is_rolling() {
                let revision = find_or_make_new(&mut model);
                rolling::roll(&mut model);
                revision
            } else {
                recreate::roll(&mut model, &pods_of)
            };
            if status::is_complete(&model, &model.status) {
                delete = revisions::surplus(&model);
            }
            status::rollout(&model)
        }
    };
    let again = status::overdue_in(&model, &status);
    Plan {
        create: model.new.clone().filter(|set| set.metadata.uid.is_none()),
        changes: changes(&model, sets),
        delete,
        revision: revision.filter(|revision| deployment.annotations().get(revisions::REVISION) != Some(revision)),
        status: (deployment.status.as_ref() != Some(&status)).then_some(status),
        again,
    }
}

/// The size of a canary, if one runs; the ReplicaSet of its template is there or planned then.
fn of_canary(model: &mut Model<'_>, revision: &mut Option<String>) -> Option<i32> {
    let annotations = model.deployment.metadata.annotations.as_ref()?;
    if model.is_paused() || !annotations.contains_key(crate::canary::ANNOTATION) || !model.is_rolling() {
        return None;
    }
    // Where nothing runs yet, the usual way makes the first ReplicaSet.
    if model.new.is_none() && model.old.iter().all(|set| model::replicas(set) == 0) {
        return None;
    }
    *revision = find_or_make_new(model);
    canary::size(model)
}

/// A paused Deployment makes no progress, and that is no failure.
fn note_pause(model: &mut Model<'_>) {
    if model.progress_deadline().is_none()
        || conditions::has_reason(&model.status, conditions::PROGRESSING, conditions::TIMED_OUT)
    {
        return;
    }
    let was_paused = conditions::has_reason(&model.status, conditions::PROGRESSING, conditions::PAUSED);
    let (reason, message) = match (model.is_paused(), was_paused) {
        (true, false) => (conditions::PAUSED, "Deployment is paused"),
        (false, true) => (conditions::RESUMED, "Deployment is resumed"),
        _ => return,
    };
    let condition = conditions::new(conditions::PROGRESSING, "Unknown", reason, message, model.now);
    conditions::set(&mut model.status, condition);
}

/// Brings the annotations of the new ReplicaSet up to date, when it is there. Returns the Deployment's revision.
pub(super) fn adopt_revision(model: &mut Model<'_>) -> Option<String> {
    let revision = revisions::next_revision(&model.old);
    let set = model.new.as_mut()?;
    revisions::annotate_new(model.deployment, set, revision);
    if let (Some(set), Some(wanted)) = (&mut set.spec, &model.deployment.spec) {
        set.min_ready_seconds = wanted.min_ready_seconds;
    }
    let set = model.new.as_ref()?;
    if model.progress_deadline().is_some() && conditions::get(&model.status, conditions::PROGRESSING).is_none() {
        let message = format!("Found new replica set {:?}", name(&set.metadata));
        let condition = conditions::new(conditions::PROGRESSING, "True", conditions::SET_FOUND, message, model.now);
        conditions::set(&mut model.status, condition);
    }
    set.annotations().get(revisions::REVISION).cloned()
}

/// As [`adopt_revision`], and makes the new ReplicaSet when it is not there.
pub(super) fn find_or_make_new(model: &mut Model<'_>) -> Option<String> {
    if model.new.is_some() {
        return adopt_revision(model);
    }
    let mut set = template::new_set(model.deployment);
    let revision = revisions::next_revision(&model.old);
    revisions::annotate_new(model.deployment, &mut set, revision);
    model.new = Some(set);
    let size = rolling::size_of_new(model);
    let (desired, max) = (model.wanted(), model.wanted() + model.max_surge());
    let set = model.new.as_mut()?;
    model::resize(set, size);
    revisions::annotate_sizes(set, desired, max);
    let message = format!("Created new replica set {:?}", name(&set.metadata));
    if model.progress_deadline().is_some() {
        let condition = conditions::new(conditions::PROGRESSING, "True", conditions::SET_CREATED, message, model.now);
        conditions::set(&mut model.status, condition);
    }
    Some(revision.to_string())
}

/// The difference between the model and what was seen.
fn changes(model: &Model<'_>, sets: &[Arc<ReplicaSet>]) -> Vec<Change> {
    let change = |wanted: &ReplicaSet| {
        let seen = sets.iter().find(|seen| seen.metadata.uid == wanted.metadata.uid)?;
        let min_ready = |set: &ReplicaSet| set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
        let change = Change {
            set: seen.clone(),
            replicas: (model::replicas(seen) != model::replicas(wanted)).then(|| model::replicas(wanted)),
            annotations: wanted
                .annotations()
                .iter()
                .filter(|(name, value)| seen.annotations().get(*name) != Some(value))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            min_ready_seconds: (min_ready(seen) != min_ready(wanted)).then(|| min_ready(wanted)),
        };
        let empty = change.replicas.is_none() && change.annotations.is_empty() && change.min_ready_seconds.is_none();
        (!empty).then_some(change)
    };
    model.all().filter_map(change).collect()
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(set) = &self.create {
            writeln!(f, "create {} with {}", name(&set.metadata), model::replicas(set))?;
        }
        for Change { set, replicas, annotations, min_ready_seconds } in &self.changes {
            if let Some(replicas) = replicas {
                writeln!(f, "scale {} from {} to {replicas}", name(&set.metadata), model::replicas(set))?;
            }
            if let Some(seconds) = min_ready_seconds {
                writeln!(f, "minReadySeconds of {} is {seconds}", name(&set.metadata))?;
            }
            for (annotation, value) in annotations {
                let annotation = annotation.rsplit('/').next().unwrap_or_default();
                writeln!(f, "annotate {} {annotation}={value}", name(&set.metadata))?;
            }
        }
        for set in &self.delete {
            writeln!(f, "delete {}", name(&set.metadata))?;
        }
        if let Some(revision) = &self.revision {
            writeln!(f, "revision {revision}")?;
        }
        if let Some(status) = &self.status {
            write!(f, "{}", status::Sentence(status))?;
        }
        if let Some(again) = self.again {
            writeln!(f, "again in {} s", again.as_secs())?;
        }
        Ok(())
    }
}
