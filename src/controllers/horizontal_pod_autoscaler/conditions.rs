//! What an autoscaler says about itself.

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscalerCondition, HorizontalPodAutoscalerStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The conditions in the making; times stay where the status stays.
pub(super) struct Conditions {
    all: Vec<HorizontalPodAutoscalerCondition>,
    now: Timestamp,
}

impl Conditions {
    pub fn of(status: &HorizontalPodAutoscalerStatus, now: Timestamp) -> Self {
        Self { all: status.conditions.clone().unwrap_or_default(), now }
    }

    pub fn set(&mut self, type_: &str, holds: bool, reason: &str, message: impl Into<String>) {
        let status = if holds { "True" } else { "False" };
        let at = match self.all.iter().position(|condition| condition.type_ == type_) {
            Some(at) => at,
            None => {
                self.all.push(HorizontalPodAutoscalerCondition { type_: type_.to_owned(), ..Default::default() });
                self.all.len() - 1
            }
        };
        let Some(found) = self.all.get_mut(at) else { return };
        if found.status != status {
            status.clone_into(&mut found.status);
            found.last_transition_time = Some(Time(self.now));
        }
        found.reason = Some(reason.to_owned());
        found.message = Some(message.into());
    }

    pub fn all(self) -> Vec<HorizontalPodAutoscalerCondition> {
        self.all
    }
}
