//! Plans as sentences, and whole rollouts against a model of the ReplicaSet controller.

use std::sync::Arc;

use expect_test::{Expect, expect};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, ReplicaSet, ReplicaSetStatus, RollingUpdateDeployment,
};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use proptest::prelude::*;

use super::model::{available, replicas, resize};
use super::plan::{Plan, plan};
use super::rollback;

fn start() -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1_000)
}

fn amount(text: &str) -> IntOrString {
    text.parse().map_or_else(|_| IntOrString::String(text.into()), IntOrString::Int)
}

fn template(image: &str) -> PodTemplateSpec {
    PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some([("app".into(), "web".into())].into()), ..ObjectMeta::default() }),
        spec: Some(PodSpec {
            containers: vec![Container { name: "web".into(), image: Some(image.into()), ..Container::default() }],
            ..PodSpec::default()
        }),
    }
}

/// A Deployment and its ReplicaSets, carried forward plan by plan.
struct World {
    deployment: Deployment,
    sets: Vec<ReplicaSet>,
    now: Timestamp,
    made: u32,
}

impl World {
    fn new(wanted: i32, surge: &str, unavailable: &str) -> Self {
        let deployment = Deployment {
            metadata: ObjectMeta {
                name: Some("web".into()),
                uid: Some("deployment".into()),
                generation: Some(1),
                ..ObjectMeta::default()
            },
            spec: Some(DeploymentSpec {
                replicas: Some(wanted),
                selector: LabelSelector {
                    match_labels: Some([("app".into(), "web".into())].into()),
                    ..LabelSelector::default()
                },
                template: template("one"),
                strategy: Some(DeploymentStrategy {
                    type_: Some("RollingUpdate".into()),
                    rolling_update: Some(RollingUpdateDeployment {
                        max_surge: Some(amount(surge)),
                        max_unavailable: Some(amount(unavailable)),
                    }),
                }),
                progress_deadline_seconds: Some(600),
                revision_history_limit: Some(2),
                ..DeploymentSpec::default()
            }),
            status: None,
        };
        Self { deployment, sets: Vec::new(), now: start(), made: 0 }
    }

    fn recreate(mut self) -> Self {
        self.spec().strategy = Some(DeploymentStrategy { type_: Some("Recreate".into()), rolling_update: None });
        self
    }

    fn spec(&mut self) -> &mut DeploymentSpec {
        self.deployment.metadata.generation = self.deployment.metadata.generation.map(|generation| generation + 1);
        self.deployment.spec.as_mut().unwrap()
    }

    fn plan(&self) -> Plan {
        let sets: Vec<_> = self.sets.iter().cloned().map(Arc::new).collect();
        plan(&self.deployment, &sets, |set| usize::try_from(set.status.as_ref().unwrap().replicas).unwrap(), self.now)
    }

    /// Carries a plan out as the server would. Returns whether it did anything.
    fn carry_out(&mut self, plan: Plan) -> bool {
        let idle = plan.create.is_none()
            && plan.changes.is_empty()
            && plan.delete.is_empty()
            && plan.revision.is_none()
            && plan.status.is_none();
        if let Some(mut set) = plan.create {
            self.made += 1;
            set.metadata.uid = Some(format!("set{}", self.made));
            set.metadata.creation_timestamp = Some(Time(self.now + SignedDuration::from_secs(self.made.into())));
            set.status = Some(ReplicaSetStatus::default());
            self.sets.push(set);
        }
        for change in plan.changes {
            let set = self.sets.iter_mut().find(|set| set.metadata.uid == change.set.metadata.uid).unwrap();
            set.metadata.annotations.get_or_insert_default().extend(change.annotations);
            if let Some(replicas) = change.replicas {
                resize(set, replicas);
            }
        }
        self.sets.retain(|set| !plan.delete.iter().any(|gone| gone.metadata.uid == set.metadata.uid));
        if let Some(revision) = plan.revision {
            let annotations = self.deployment.metadata.annotations.get_or_insert_default();
            annotations.insert("deployment.kubernetes.io/revision".into(), revision);
        }
        if let Some(status) = plan.status {
            self.deployment.status = Some(status);
        }
        !idle
    }

    /// Plans and carries out until nothing is left to do, with no pod changing meanwhile.
    fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 20, "plans do not end");
            let plan = self.plan();
            if !self.carry_out(plan) {
                return;
            }
        }
    }

    /// The pods become what the ReplicaSets want: all of them there, and `ready` of each set available.
    fn pods(&mut self, ready: impl Fn(&ReplicaSet) -> i32) {
        for set in &mut self.sets {
            let ready = ready(set).min(replicas(set));
            set.status = Some(ReplicaSetStatus {
                replicas: replicas(set),
                ready_replicas: Some(ready),
                available_replicas: Some(ready),
                ..ReplicaSetStatus::default()
            });
        }
    }

    fn roll_out(&mut self) {
        for round in 0.. {
            assert!(round < 200, "the rollout does not end");
            let plan = self.plan();
            if !self.carry_out(plan) && self.sets.iter().all(|set| available(set) == replicas(set)) {
                return;
            }
            self.pods(replicas);
        }
    }

    fn sizes(&self) -> Vec<i32> {
        self.sets.iter().map(replicas).collect()
    }

    fn check(&self, expected: Expect) {
        expected.assert_eq(&self.plan().to_string());
    }
}

#[test]
fn a_new_deployment_gets_a_replica_set_of_its_size() {
    World::new(3, "25%", "25%").check(expect![[r#"
        create web-58cb44d795 with 3
        revision 1
        status 0 replicas, 0 updated, 0 ready, 0 available
          Progressing=True NewReplicaSetCreated
          Available=False MinimumReplicasUnavailable
        again in 601 s
    "#]]);
}

#[test]
fn the_conditions_tell_how_a_rollout_goes() {
    let mut world = World::new(3, "25%", "25%");
    world.settle();
    world.check(expect![[r#"
        again in 601 s
    "#]]);
    world.pods(|_| 1);
    world.check(expect![[r#"
        status 3 replicas, 3 updated, 1 ready, 1 available
          Available=False MinimumReplicasUnavailable
          Progressing=True ReplicaSetUpdated
        again in 601 s
    "#]]);
    world.settle();
    world.pods(replicas);
    world.check(expect![[r#"
        status 3 replicas, 3 updated, 3 ready, 3 available
          Available=True MinimumReplicasAvailable
          Progressing=True NewReplicaSetAvailable
    "#]]);
    world.settle();
    world.check(expect![[r#""#]]);
}

#[test]
fn a_rolling_update_surges_first_and_then_shrinks_the_old() {
    let mut world = World::new(4, "25%", "25%");
    world.roll_out();
    world.spec().template = template("two");
    world.check(expect![[r#"
        create web-5c67bff477 with 1
        scale web-58cb44d795 from 4 to 3
        revision 2
        status 4 replicas, 0 updated, 4 ready, 4 available
          Available=True MinimumReplicasAvailable
          Progressing=True NewReplicaSetCreated
        again in 601 s
    "#]]);
    world.settle();
    assert_eq!(world.sizes(), [3, 2]);
    world.pods(replicas);
    world.settle();
    assert_eq!(world.sizes(), [1, 4]);
    world.roll_out();
    assert_eq!(world.sizes(), [0, 4]);
}

#[test]
fn recreate_waits_for_the_last_old_pod() {
    let mut world = World::new(2, "0", "1").recreate();
    world.roll_out();
    world.spec().template = template("two");
    world.settle();
    assert_eq!(world.sizes(), [0], "the old pods are still there");
    world.pods(replicas);
    world.settle();
    assert_eq!(world.sizes(), [0, 2]);
}

#[test]
fn scaling_in_the_middle_of_a_rollout_keeps_the_proportion() {
    let mut world = World::new(10, "3", "2");
    world.roll_out();
    world.spec().template = template("two");
    world.settle();
    assert_eq!(world.sizes(), [8, 5]);
    world.spec().replicas = Some(15);
    let plan = world.plan();
    world.carry_out(plan);
    assert_eq!(world.sizes(), [11, 7]);
}

#[test]
fn a_paused_deployment_scales_and_does_not_roll() {
    let mut world = World::new(2, "25%", "25%");
    world.roll_out();
    world.spec().paused = Some(true);
    world.spec().template = template("two");
    world.spec().replicas = Some(4);
    world.check(expect![[r#"
        scale web-58cb44d795 from 2 to 4
        annotate web-58cb44d795 desired-replicas=4
        annotate web-58cb44d795 max-replicas=5
        status 2 replicas, 0 updated, 2 ready, 2 available
          Progressing=Unknown DeploymentPaused
          Available=False MinimumReplicasUnavailable
    "#]]);
    world.settle();
    assert_eq!(world.sizes(), [4]);
    world.spec().paused = Some(false);
    world.roll_out();
    assert_eq!(world.sizes(), [0, 4]);
}

#[test]
fn a_rollout_without_progress_times_out() {
    let mut world = World::new(1, "25%", "25%");
    world.settle();
    let wait = world.plan().again.unwrap();
    assert_eq!(wait.as_secs(), 601);
    world.now += SignedDuration::from_secs(601);
    world.check(expect![[r#"
        status 0 replicas, 0 updated, 0 ready, 0 available
          Available=False MinimumReplicasUnavailable
          Progressing=False ProgressDeadlineExceeded
    "#]]);
    world.settle();
    assert_eq!(world.plan().again, None);
}

#[test]
fn going_back_to_an_old_template_reuses_its_replica_set_under_a_new_revision() {
    let mut world = World::new(1, "1", "0");
    for image in ["one", "two", "one"] {
        world.spec().template = template(image);
        world.roll_out();
    }
    assert_eq!(world.sizes(), [1, 0]);
    let annotations = world.sets[0].metadata.annotations.clone().unwrap();
    assert_eq!(annotations["deployment.kubernetes.io/revision"], "3");
    assert_eq!(annotations["deployment.kubernetes.io/revision-history"], "1");
}

#[test]
fn the_history_keeps_as_many_old_replica_sets_as_it_may() {
    let mut world = World::new(1, "1", "0");
    for image in ["one", "two", "three", "four", "five"] {
        world.spec().template = template(image);
        world.roll_out();
        world.roll_out();
    }
    assert_eq!(world.sets.len(), 3);
}

#[test]
fn an_annotation_goes_back_to_a_revision() {
    let mut world = World::new(1, "1", "0");
    world.settle();
    world.deployment.metadata.annotations.get_or_insert_default().insert("about".into(), "two".into());
    world.spec().template = template("two");
    world.settle();
    let image = |deployment: &Deployment| {
        let pod = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
        pod.and_then(|pod| pod.containers[0].image.clone()).unwrap_or_default()
    };
    let asked = |to: &str| {
        let mut deployment = world.deployment.clone();
        deployment.metadata.annotations.get_or_insert_default().insert(rollback::ROLLBACK_TO.into(), to.into());
        let sets: Vec<_> = world.sets.iter().cloned().map(Arc::new).collect();
        let rollback = rollback::plan(&deployment, &sets)?;
        let annotations = rollback.deployment.metadata.annotations.clone().unwrap_or_default();
        assert!(!annotations.contains_key(rollback::ROLLBACK_TO));
        assert_eq!(annotations.contains_key("about"), image(&rollback.deployment) == "two");
        Some(format!("{} {}: {}", image(&rollback.deployment), rollback.news.1, rollback.news.2))
    };
    let to_one = "one DeploymentRollback: Rolled back deployment \"web\" to revision 1";
    assert_eq!(asked("0").as_deref(), Some(to_one));
    assert_eq!(asked("1").as_deref(), Some(to_one));
    let same = "two DeploymentRollbackTemplateUnchanged: The rollback revision contains the same template as current \
                deployment \"web\"";
    assert_eq!(asked("2").as_deref(), Some(same));
    let unknown = "two DeploymentRollbackRevisionNotFound: Unable to find the revision to rollback to.";
    assert_eq!(asked("9").as_deref(), Some(unknown));
    assert_eq!(asked("none"), None);
}

proptest! {
    #[test]
    fn a_rollout_keeps_its_bounds_and_ends(
        wanted in 0..30i32,
        surge in prop_oneof!["[0-9]", "[0-9]{1,2}%"],
        unavailable in prop_oneof!["[0-9]", "[0-9]{1,2}%"],
        readiness in proptest::collection::vec(0..6i32, 1..40),
        resized in proptest::option::of(0..30i32),
    ) {
        let mut world = World::new(wanted, &surge, &unavailable);
        world.roll_out();
        world.spec().template = template("two");
        let bounds = |world: &World| {
            let sets: Vec<Arc<ReplicaSet>> = Vec::new();
            let model = super::model::Model::new(&world.deployment, &sets, world.now);
            (model.wanted() + model.max_surge(), model.wanted() - model.max_unavailable())
        };
        for ready in &readiness {
            world.settle();
            let (max, min) = bounds(&world);
            prop_assert!(world.sizes().iter().sum::<i32>() <= max, "{:?} of {max}", world.sizes());
            // What is still wanted of the available pods.
            let kept: i32 = world.sets.iter().map(|set| available(set).min(replicas(set))).sum();
            prop_assert!(kept >= min, "{kept} of {min}");
            let before: Vec<i32> = world.sets.iter().map(available).collect();
            for (index, set) in world.sets.iter_mut().enumerate() {
                let grown = (before[index] + ready).min(replicas(set));
                set.status = Some(ReplicaSetStatus {
                    replicas: replicas(set),
                    ready_replicas: Some(grown),
                    available_replicas: Some(grown),
                    ..ReplicaSetStatus::default()
                });
            }
        }
        if let Some(resized) = resized {
            world.spec().replicas = Some(resized);
        }
        world.roll_out();
        prop_assert_eq!(world.sizes().iter().sum::<i32>(), resized.unwrap_or(wanted));
        let status = world.deployment.status.unwrap_or_default();
        prop_assert_eq!(status.updated_replicas.unwrap_or(0), resized.unwrap_or(wanted));
    }
}
