//! How far a canary is, as it stands in the Deployment, and the two ReplicaSets that it is about.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::ResourceExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::deployment::template;
use crate::owners::is_deleting;

/// The annotation that holds it. The proxy reads `phase`, `hash` and `weight` from it.
pub(crate) const STATUS: &str = "coracle.dev/canary-status";

/// What becomes of the newest template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// Step by step.
    Progressing,
    /// Until somebody says so.
    Waiting,
    /// To everybody.
    Promoted,
    /// Back to the template before.
    RolledBack,
}

impl Phase {
    pub fn reason(self) -> &'static str {
        match self {
            Self::Progressing => "CanaryProgressing",
            Self::Waiting => "CanaryWaiting",
            Self::Promoted => "CanaryPromoted",
            Self::RolledBack => "CanaryFailed",
        }
    }
}

/// The annotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    pub phase: Phase,
    /// `pod-template-hash` of the template that this is about.
    pub hash: String,
    /// The step, from one.
    pub step: usize,
    /// Of a hundred requests, how many go to the canary.
    pub weight: u32,
    /// Since when all pods of the step are available.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// For people.
    pub message: String,
}

impl State {
    /// What a Deployment says; nothing when it says nothing that can be read.
    pub fn of(deployment: &Deployment) -> Option<Self> {
        serde_json::from_str(deployment.annotations().get(STATUS)?).ok()
    }

    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Whether it has not come to an end.
    pub fn runs(&self) -> bool {
        matches!(self.phase, Phase::Progressing | Phase::Waiting)
    }
}

/// The canary and what it might replace.
#[derive(Debug)]
pub(crate) struct Pair {
    canary: Arc<ReplicaSet>,
    stable: Arc<ReplicaSet>,
}

fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

impl Pair {
    /// The ReplicaSet with the Deployment's template, and the one of the others that carries the most.
    pub fn of(deployment: &Deployment, sets: &[Arc<ReplicaSet>]) -> Option<Self> {
        let mut sets: Vec<_> = sets.iter().filter(|set| !is_deleting(&set.metadata)).cloned().collect();
        sets.sort_by_key(|set| (set.metadata.creation_timestamp.clone(), set.metadata.name.clone()));
        let at = sets.iter().position(|set| template::is_of(set, deployment))?;
        let canary = sets.remove(at);
        let with_pods = sets.iter().filter(|set| replicas(set) > 0).max_by_key(|set| replicas(set));
        // A canary whose template was taken away may have no pods any more before anybody has said what became of it.
        let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let left = || {
            let state = State::of(deployment).filter(|state| state.runs() && replicas(&canary) >= wanted.max(1))?;
            sets.iter().find(|set| hash(set) == state.hash)
        };
        let stable = with_pods.or_else(left)?.clone();
        Some(Self { canary, stable })
    }

    pub fn hash(&self) -> &str {
        hash(&self.canary)
    }

    pub fn stable_hash(&self) -> &str {
        hash(&self.stable)
    }

    pub fn canary_name(&self) -> &str {
        self.canary.metadata.name.as_deref().unwrap_or_default()
    }

    pub fn stable_name(&self) -> &str {
        self.stable.metadata.name.as_deref().unwrap_or_default()
    }

    /// Whether what has the Deployment's template is there in full, without having been a canary.
    pub fn is_whole(&self, wanted: i32) -> bool {
        wanted > 0 && replicas(&self.canary) >= wanted
    }

    pub fn available(&self) -> i32 {
        self.canary.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
    }

    /// A selector of the canary's pods alone.
    pub fn selector(&self) -> String {
        let labels = self.canary.spec.as_ref().and_then(|spec| spec.selector.match_labels.clone()).unwrap_or_default();
        labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
    }

    /// The template of before, as it stood in the Deployment.
    pub fn stable_template(&self) -> Value {
        let template = self.stable.spec.as_ref().and_then(|spec| spec.template.clone());
        let mut template = serde_json::to_value(template).unwrap_or_else(|_| json!({}));
        if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
            labels.remove(template::HASH_LABEL);
        }
        template
    }
}

fn hash(set: &ReplicaSet) -> &str {
    let label = set.metadata.labels.as_ref().and_then(|labels| labels.get(template::HASH_LABEL));
    label.map(String::as_str).unwrap_or_default()
}

/// How many pods a canary of so many of a hundred has.
pub(crate) fn size(percent: u32, wanted: i32) -> i32 {
    let hundredths = i64::from(percent) * i64::from(wanted.max(0));
    let whole = i32::try_from((hundredths + 99) / 100).unwrap_or(i32::MAX);
    if wanted > 0 { whole.max(1) } else { 0 }
}
