//! What of a pod's spec may change while it runs: images, amounts of resources, its deadline, ephemeral containers.

use k8s_openapi::api::core::v1::ResourceRequirements;

use super::{Container, ContainerPlan, Effect, Phase, PodMachine, PodPlan, Role, State, event};

impl PodMachine {
    pub(super) fn respec(&mut self, wanted: PodPlan, refused: Option<String>, effects: &mut Vec<Effect>) {
        if self.phase != Phase::Active {
            return;
        }
        self.plan.active_deadline = wanted.active_deadline;
        let resizes = refused.is_none();
        self.resize_refused = refused;
        for container in wanted.containers {
            let Some(index) = self.plan.containers.iter().position(|known| known.name == container.name) else {
                if container.role == Role::Ephemeral {
                    self.plan.containers.push(container);
                    self.containers.push(Container::waiting("ContainerCreating"));
                }
                continue;
            };
            if resizes {
                self.resize(index, &container, effects);
            }
            self.reimage(index, container.image, effects);
        }
    }

    /// A new image: what runs is replaced, what waits for the old one tries the new one at once.
    fn reimage(&mut self, index: usize, image: String, effects: &mut Vec<Effect>) {
        let (plan, container) = (&mut self.plan.containers[index], &mut self.containers[index]);
        if plan.image == image {
            return;
        }
        plan.image = image;
        match &container.state {
            State::Running { .. } => {
                let message = format!("Container {} definition changed, will be restarted", plan.name);
                self.replace(index, message, effects);
            }
            State::Waiting { .. } => {
                container.retry_at = None;
                container.shown_pull = None;
                container.launches.reset();
            }
            State::Terminated(_) => {}
        }
    }

    /// Other amounts: what runs is held to them, with a restart where its spec says so.
    fn resize(&mut self, index: usize, wanted: &ContainerPlan, effects: &mut Vec<Effect>) {
        let plan = &mut self.plan.containers[index];
        if same(&plan.requirements, &wanted.requirements) {
            return;
        }
        let restarts = plan.restarts_for(&wanted.requirements);
        plan.requirements = wanted.requirements.clone();
        if !self.containers[index].is_running() {
            return;
        }
        if restarts {
            let message = format!("Container {} resize requires restart", self.plan.containers[index].name);
            return self.replace(index, message, effects);
        }
        let limits = self.plan.containers[index].limits().changeable();
        effects.push(Effect::Resize { container: index, limits });
    }

    fn replace(&mut self, index: usize, message: String, effects: &mut Vec<Effect>) {
        let container = &mut self.containers[index];
        container.replaced = true;
        if !container.stopping {
            container.stopping = true;
            effects.push(event(index, false, "Killing", message));
            effects.push(Effect::Stop { container: index, grace: self.plan.grace });
        }
    }
}

fn same(one: &ResourceRequirements, other: &ResourceRequirements) -> bool {
    one.limits == other.limits && one.requests == other.requests
}
