//! Which part of a Service's calls goes to which ReplicaSet, while a canary runs.
//!
//! The canary controller says so in an annotation of the Deployment; a pod's ReplicaSet is known by its name.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use serde::Deserialize;

/// Where the state of a canary stands.
pub(crate) const ANNOTATION: &str = "coracle.dev/canary-status";

/// The part that the pods of one ReplicaSet get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// What the names of the Deployment's pods begin with.
    of: String,
    /// What those of the canary's begin with.
    canary: String,
    /// Of a hundred calls.
    percent: u32,
}

#[derive(Deserialize)]
struct Status {
    phase: String,
    hash: String,
    weight: u32,
}

/// What a Deployment says, if a canary of it runs.
pub(crate) fn of(deployment: &Deployment) -> Option<Share> {
    let annotation = deployment.metadata.annotations.as_ref()?.get(ANNOTATION)?;
    let status: Status = serde_json::from_str(annotation).ok()?;
    let name = deployment.metadata.name.as_deref()?;
    let runs = matches!(status.phase.as_str(), "Progressing" | "Waiting");
    let (of, canary) = (format!("{name}-"), format!("{name}-{}-", status.hash));
    runs.then_some(Share { of, canary, percent: status.weight.min(100) })
}

/// Whether pods of the Deployment's template are behind a Service with this selector.
pub(crate) fn is_selected(deployment: &Deployment, selector: &BTreeMap<String, String>) -> bool {
    let template = deployment.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref());
    let labels = template.and_then(|metadata| metadata.labels.as_ref());
    let fits = |labels: &BTreeMap<String, String>| selector.iter().all(|(key, value)| labels.get(key) == Some(value));
    !selector.is_empty() && labels.is_some_and(fits)
}

/// Gives endpoints their weights. Each comes with its pod's name; those that are of no such Deployment share what is left
/// with the stable ones.
pub(crate) fn weigh(shares: &[Share], endpoints: &mut [(Option<String>, network::Endpoint)]) {
    for share in shares {
        let wants = |endpoint: &network::Endpoint| endpoint.ready && !endpoint.terminating;
        let is = |pod: &Option<String>, start: &str| pod.as_deref().is_some_and(|pod| pod.starts_with(start));
        let count = |canary: bool| {
            let found = endpoints.iter().filter(|(pod, endpoint)| wants(endpoint) && is(pod, &share.canary) == canary);
            u32::try_from(found.count()).unwrap_or(u32::MAX)
        };
        let (canaries, others) = (count(true), count(false));
        // Where one side has nobody, the other has everything, whatever it was meant to have.
        if canaries == 0 || others == 0 {
            continue;
        }
        for (pod, endpoint) in endpoints.iter_mut() {
            let weight = match is(pod, &share.canary) {
                true => share.percent.saturating_mul(others),
                false => (100 - share.percent).saturating_mul(canaries),
            };
            endpoint.weight = Some(weight);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment(status: serde_json::Value) -> Deployment {
        serde_json::from_value(json!({
            "metadata": { "name": "web", "annotations": { ANNOTATION: status.to_string() } },
            "spec": { "selector": {}, "template": { "metadata": { "labels": { "app": "web", "tier": "front" } } } },
        }))
        .expect("a deployment")
    }

    fn weights(percent: u32, pods: &[&str]) -> Vec<Option<u32>> {
        let share = of(&deployment(json!({ "phase": "Progressing", "hash": "new", "weight": percent })));
        let endpoint = network::Endpoint::ready(([10, 128, 0, 1], 80).into());
        let mut endpoints: Vec<_> = pods.iter().map(|pod| (Some((*pod).to_owned()), endpoint.clone())).collect();
        weigh(&share.into_iter().collect::<Vec<_>>(), &mut endpoints);
        endpoints.into_iter().map(|(_, endpoint)| endpoint.weight).collect()
    }

    #[test]
    fn the_canary_gets_its_part_whatever_its_size() {
        let pods = ["web-old-a", "web-old-b", "web-old-c", "web-new-d"];
        assert_eq!(weights(10, &pods), [Some(90), Some(90), Some(90), Some(30)]);
        assert_eq!(weights(0, &pods), [Some(100), Some(100), Some(100), Some(0)]);
        assert_eq!(weights(25, &["web-old-a", "web-old-b"]), [None, None], "no canary yet");
        assert_eq!(weights(25, &["web-new-a"]), [None]);
    }

    #[test]
    fn a_canary_that_ended_has_no_share() {
        assert_eq!(of(&deployment(json!({ "phase": "Promoted", "hash": "new", "weight": 50 }))), None);
        assert_eq!(of(&deployment(json!("nonsense"))), None);
        let waiting = deployment(json!({ "phase": "Waiting", "hash": "new", "weight": 50 }));
        assert!(of(&waiting).is_some());
        let selector = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert!(is_selected(&waiting, &selector(&[("app", "web")])));
        assert!(!is_selected(&waiting, &selector(&[("app", "api")])) && !is_selected(&waiting, &selector(&[])));
    }
}
