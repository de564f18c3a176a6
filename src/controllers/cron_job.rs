//! Makes Jobs at the times of a schedule.
//!
//! *Owns*: the Jobs of CronJobs (creation, deletion of old ones) and the CronJobs' status.
//!
//! *Guarantees*: one Job at most for each scheduled time, also over restarts; times that were missed are made up for by one
//! Job, for the newest of them.

use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Expectations, Next, Reconcile, RunError};
use client::events::Recorder;
use client::informers::{Informer, Key};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Api, DeleteParams, PostParams};

use crate::Rig;
use crate::owners::{controlled_by, controller_of, name};

mod plan;
mod schedule;
#[cfg(test)]
mod tests;

use plan::Plan;

pub(crate) fn start(rig: Rig) {
    let crons = rig.informers.of::<CronJob>();
    let jobs = rig.informers.of::<Job>();
    let controller = Controller::new("cron_job", &rig.metrics).each(&crons).controlled(&jobs, "CronJob");
    let events = rig.recorder("cronjob-controller");
    let (own, of_jobs) = (Expectations::default(), Expectations::default());
    controller.start(&rig.tasks, CronJobs { client: rig.client, crons, jobs, own, of_jobs, events });
}

struct CronJobs {
    client: Client,
    crons: Informer<CronJob>,
    jobs: Informer<Job>,
    /// Statuses written.
    own: Expectations,
    /// Jobs made and deleted.
    of_jobs: Expectations,
    events: Recorder,
}

#[async_trait]
impl Reconcile for CronJobs {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let Some(cron) = self.crons.at(key) else {
            self.own.forget(key);
            self.of_jobs.forget(key);
            return Ok(Next::Done);
        };
        if !self.own.met(key, &self.crons) || !self.of_jobs.met(key, &self.jobs) {
            return Ok(Next::Done);
        }
        let uid = cron.metadata.uid.as_deref().unwrap_or_default();
        let owned = self.jobs.owned_by(uid);
        let ours = owned.into_iter().filter(|job| controller_of(&job.metadata).is_some_and(|owner| owner.uid == uid));
        let plan = plan::plan(&cron, &ours.collect::<Vec<_>>(), Timestamp::now());
        self.act(key, &cron, &plan).await?;
        Ok(plan.again.map_or(Next::Done, Next::After))
    }
}

impl CronJobs {
    async fn act(&self, key: &Key, cron: &CronJob, plan: &Plan) -> Result<(), kube::Error> {
        let api = Api::<Job>::namespaced(self.client.clone(), &key.namespace);
        for job in &plan.delete {
            match api.delete(name(&job.metadata), &DeleteParams::background()).await {
                Ok(_) => {
                    self.of_jobs.deleted(key, &job.metadata);
                    self.events.normal(cron, "SuccessfulDelete", format!("Deleted job {}", name(&job.metadata)));
                }
                Err(error) if client::is_not_found(&error) => {}
                Err(error) => return Err(error),
            }
        }
        for (bad, reason, message) in &plan.news {
            if *bad {
                self.events.warning(cron, reason, message.clone());
            } else {
                self.events.normal(cron, reason, message.clone());
            }
        }
        let mut status = plan.status.clone();
        if let Some(at) = plan.create {
            match api.create(&PostParams::default(), &new_job(cron, at)).await {
                Ok(job) => {
                    self.of_jobs.created(key, &job.metadata, &self.jobs);
                    self.events.normal(cron, "SuccessfulCreate", format!("Created job {}", name(&job.metadata)));
                    status.active.get_or_insert_default().push(plan::reference(&job));
                }
                // It was made by a run whose answer was lost.
                Err(error) if client::is_taken(&error) => {}
                Err(error) => {
                    let message = format!("Error creating job: {}", client::explain(&error));
                    self.events.warning(cron, "FailedCreate", message);
                    return Err(error);
                }
            }
            status.last_schedule_time = Some(Time(at));
        }
        self.publish(key, cron, status).await
    }

    async fn publish(&self, key: &Key, cron: &CronJob, status: CronJobStatus) -> Result<(), kube::Error> {
        if cron.status.clone().unwrap_or_default() == status {
            return Ok(());
        }
        let api = Api::<CronJob>::namespaced(self.client.clone(), &key.namespace);
        let wanted = CronJob { status: Some(status), ..cron.clone() };
        match api.replace_status(&key.name, &PostParams::default(), &wanted).await {
            Ok(written) => self.own.wrote(key, &written.metadata, &self.crons),
            Err(error) if client::is_not_found(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// The Job for a scheduled time.
fn new_job(cron: &CronJob, at: Timestamp) -> Job {
    let template = cron.spec.job_template.clone();
    let given = template.metadata.unwrap_or_default();
    let mut annotations = given.annotations.unwrap_or_default();
    let zone = cron.spec.time_zone.as_deref();
    let zone = zone.and_then(|zone| jiff::tz::TimeZone::get(zone).ok()).unwrap_or(jiff::tz::TimeZone::UTC);
    let local = at.to_zoned(zone);
    annotations
        .insert(plan::SCHEDULED.to_owned(), local.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string().replace("+00:00", "Z"));
    Job {
        metadata: ObjectMeta {
            name: Some(plan::job_name(cron, at)),
            namespace: cron.metadata.namespace.clone(),
            labels: given.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![controlled_by(cron)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}
