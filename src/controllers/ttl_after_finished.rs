//! Deletes Jobs some time after they have finished, where they ask for it.

use std::time::Duration;

use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Next, Reconcile, RunError};
use client::informers::{Informer, Key};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, DeleteParams, Preconditions, PropagationPolicy};

use crate::Rig;
use crate::owners::is_deleting;

pub(crate) fn start(rig: Rig) {
    let jobs = rig.informers.of::<Job>();
    let controller = Controller::new("ttl_after_finished", &rig.metrics).workers(4).each(&jobs);
    controller.start(&rig.tasks, Expired { client: rig.client, jobs });
}

struct Expired {
    client: Client,
    jobs: Informer<Job>,
}

/// When the job is to go, if it asks for that and has finished.
fn end(job: &Job) -> Option<Timestamp> {
    let ttl = job.spec.as_ref()?.ttl_seconds_after_finished?;
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let ended = conditions
        .iter()
        .find(|condition| matches!(condition.type_.as_str(), "Complete" | "Failed") && condition.status == "True")?;
    let at = ended.last_transition_time.as_ref()?.0;
    at.checked_add(SignedDuration::from_secs(ttl.into())).ok()
}

#[async_trait]
impl Reconcile for Expired {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let Some(job) = self.jobs.at(key).filter(|job| !is_deleting(&job.metadata)) else { return Ok(Next::Done) };
        let Some(end) = end(&job) else { return Ok(Next::Done) };
        let left = Duration::try_from(end.duration_since(Timestamp::now())).unwrap_or_default();
        if !left.is_zero() {
            return Ok(Next::After(left));
        }
        let preconditions = Preconditions {
            uid: job.metadata.uid.clone(),
            // Somebody may have given it more time.
            resource_version: job.metadata.resource_version.clone(),
        };
        let mut params = DeleteParams::default().preconditions(preconditions);
        params.propagation_policy = Some(PropagationPolicy::Foreground);
        let jobs = Api::<Job>::namespaced(self.client.clone(), &key.namespace);
        match jobs.delete(&key.name, &params).await {
            Err(error) if client::is_not_found(&error) => Ok(Next::Done),
            other => Ok(other.map(|_| Next::Done)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_finished_jobs_with_a_time_to_live_end() {
        let ended = json!([{ "type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z" }]);
        let job = |ttl: Value, conditions: &Value| -> Job {
            let template = json!({ "spec": { "containers": [] } });
            let spec = json!({ "template": template, "ttlSecondsAfterFinished": ttl });
            serde_json::from_value(json!({ "metadata": {}, "spec": spec, "status": { "conditions": conditions } }))
                .unwrap()
        };
        assert_eq!(end(&job(json!(60), &ended)), Some("2026-01-01T00:01:00Z".parse().unwrap()));
        assert_eq!(end(&job(json!(0), &ended)), Some("2026-01-01T00:00:00Z".parse().unwrap()));
        assert_eq!(end(&job(Value::Null, &ended)), None);
        assert_eq!(end(&job(json!(60), &json!([]))), None);
    }
}
