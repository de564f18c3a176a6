//! Days of CronJobs, in no time.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, Job, JobCondition, JobStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::json;

use super::plan::{self, plan};
use crate::owners::name;

struct World {
    cron: CronJob,
    jobs: Vec<Arc<Job>>,
    now: Timestamp,
    told: Vec<&'static str>,
}

impl World {
    fn new(spec: serde_json::Value) -> Self {
        let now: Timestamp = "2026-05-01T00:00:30Z".parse().expect("a time");
        let mut base = json!({"schedule": "0 * * * *", "jobTemplate": {"spec": {"template": {}}}});
        base.as_object_mut().expect("an object").extend(spec.as_object().expect("an object").clone());
        let metadata =
            ObjectMeta { name: Some("tick".into()), creation_timestamp: Some(Time(now)), ..ObjectMeta::default() };
        let cron = CronJob { metadata, spec: serde_json::from_value(base).expect("a spec"), status: None };
        Self { cron, jobs: Vec::new(), now, told: Vec::new() }
    }

    /// Runs once; the name of the Job that was made.
    fn run(&mut self) -> Option<String> {
        let plan = plan(&self.cron, &self.jobs, self.now);
        self.told.extend(plan.news.iter().map(|(_, reason, _)| *reason));
        self.jobs.retain(|job| !plan.delete.iter().any(|gone| Arc::ptr_eq(gone, job)));
        let mut status = plan.status;
        let made = plan.create.map(|at| {
            let own = plan::job_name(&self.cron, at);
            let annotations = [(plan::SCHEDULED.to_owned(), at.to_string())].into();
            let metadata = ObjectMeta {
                name: Some(own.clone()),
                uid: Some(own.clone()),
                creation_timestamp: Some(Time(self.now)),
                annotations: Some(annotations),
                ..ObjectMeta::default()
            };
            let job = Job { metadata, ..Job::default() };
            status.active.get_or_insert_default().push(plan::reference(&job));
            status.last_schedule_time = Some(Time(at));
            self.jobs.push(Arc::new(job));
            own
        });
        self.cron.status = Some(status);
        made
    }

    fn wait(&mut self, minutes: i64) -> Option<String> {
        self.now += SignedDuration::from_mins(minutes);
        self.run()
    }

    fn end(&mut self, job: &str, how: &str) {
        let now = self.now;
        for found in self.jobs.iter_mut().filter(|found| name(&found.metadata) == job) {
            let condition = JobCondition { type_: how.into(), status: "True".into(), ..JobCondition::default() };
            Arc::make_mut(found).status = Some(JobStatus {
                conditions: Some(vec![condition]),
                completion_time: Some(Time(now)),
                ..JobStatus::default()
            });
        }
    }

    fn names(&self) -> Vec<&str> {
        self.jobs.iter().map(|job| name(&job.metadata)).collect()
    }
}

#[test]
fn a_day_of_hours() {
    let mut world = World::new(json!({}));
    assert_eq!(world.run(), None);
    let mut made = Vec::new();
    for _ in 0..24 * 6 {
        if let Some(job) = world.wait(10) {
            world.end(&job, "Complete");
            made.push(job);
        }
    }
    world.run();
    assert_eq!(made.len(), 24);
    // The three newest are kept.
    assert_eq!(world.names(), made[21..].iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(world.told.iter().filter(|told| **told == "SawCompletedJob").count(), 24);
    assert!(world.cron.status.as_ref().is_some_and(|status| status.last_successful_time.is_some()));
}

#[test]
fn who_runs_keeps_the_next_one_away_or_is_replaced() {
    for (policy, running) in [("Allow", 3), ("Forbid", 1), ("Replace", 1)] {
        let mut world = World::new(json!({"concurrencyPolicy": policy}));
        for _ in 0..3 {
            world.wait(60);
        }
        assert_eq!(world.jobs.len(), running, "{policy}");
        let listed = world.cron.status.as_ref().and_then(|status| status.active.as_ref()).map(Vec::len);
        assert_eq!((listed, world.told.contains(&"MissingJob")), (Some(running), false), "{policy}");
        let newest = world.names().last().map(|last| (*last).to_owned());
        let third = plan::job_name(&world.cron, "2026-05-01T03:00:00Z".parse().expect("a time"));
        assert_eq!(newest == Some(third), policy != "Forbid", "{policy}");
    }
}

#[test]
fn a_job_by_hand_keeps_nobody_away_and_is_not_replaced() {
    for policy in ["Forbid", "Replace"] {
        let mut world = World::new(json!({"concurrencyPolicy": policy}));
        let metadata =
            ObjectMeta { name: Some("by-hand".into()), uid: Some("by-hand".into()), ..ObjectMeta::default() };
        world.jobs.push(Arc::new(Job { metadata, ..Job::default() }));
        assert!(world.wait(60).is_some(), "{policy}");
        assert_eq!((world.jobs.len(), world.told.as_slice()), (2, &["UnexpectedJob"][..]), "{policy}");
        world.end("by-hand", "Complete");
        world.run();
        let status = world.cron.status.as_ref().expect("a status");
        assert!(status.last_successful_time.is_some() && status.active.as_ref().is_some_and(|all| all.len() == 1));
    }
}

#[test]
fn missed_times_are_made_up_for_by_one_job() {
    let mut world = World::new(json!({}));
    world.cron.spec.suspend = Some(true);
    assert_eq!(world.wait(60 * 5), None);
    world.cron.spec.suspend = Some(false);
    assert!(
        world
            .run()
            .is_some_and(|job| job == plan::job_name(&world.cron, "2026-05-01T05:00:00Z".parse().expect("a time")))
    );
    assert_eq!(world.run(), None);
    // A month later: it says so, and goes on.
    assert!(world.wait(60 * 24 * 30).is_some());
    assert!(world.told.contains(&"TooManyMissedTimes"));
    // The clock jumps back: what was made is not made again.
    assert_eq!(world.wait(-120), None);
}

#[test]
fn too_late_is_not_at_all() {
    let mut world = World::new(json!({"startingDeadlineSeconds": 20}));
    world.now += SignedDuration::from_mins(60);
    assert_eq!(world.run(), None, "thirty seconds late");
    world.now += SignedDuration::from_secs(60 * 60 - 15);
    assert!(world.run().is_some(), "fifteen seconds late");
}

#[test]
fn what_never_comes_and_what_cannot_be_read_rest() {
    let mut never = World::new(json!({"schedule": "0 0 31 2 *"}));
    assert_eq!((never.wait(60 * 24 * 400), plan(&never.cron, &[], never.now).again), (None, None));
    assert_eq!(never.told, ["InvalidSchedule"]);
    let mut wrong = World::new(json!({"schedule": "at dawn"}));
    assert_eq!((wrong.wait(60), wrong.told), (None, vec!["UnparseableSchedule"]));
}
