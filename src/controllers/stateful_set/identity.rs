//! What makes a pod one of a StatefulSet, and which one.

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::Pod;

use super::volumes;
use crate::history::{self, HASH_LABEL};
use crate::owners::name;
use crate::pod_control;

const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// The number at the end of a pod's name, if the rest is the set's.
pub(super) fn ordinal(set: &StatefulSet, pod: &str) -> Option<i32> {
    let digits = pod.strip_prefix(name(&set.metadata))?.strip_prefix('-')?;
    let number: i32 = digits.parse().ok()?;
    (number >= 0 && number.to_string() == digits).then_some(number)
}

/// The name of the ControllerRevision that a pod was made from.
pub(super) fn revision(pod: &Pod) -> &str {
    pod.metadata.labels.as_ref().and_then(|labels| labels.get(HASH_LABEL)).map_or("", String::as_str)
}

/// The pod of an ordinal, of the template of a revision.
pub(super) fn new_pod(set: &StatefulSet, revision: &ControllerRevision, ordinal: i32) -> Pod {
    let template = history::template_of(revision);
    let own = set.spec.as_ref().map(|spec| &spec.template);
    let mut pod = pod_control::of_template(set, template.as_ref().or(own));
    let pod_name = format!("{}-{ordinal}", name(&set.metadata));
    pod.metadata.generate_name = None;
    pod.metadata.name = Some(pod_name.clone());
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(POD_NAME.to_owned(), pod_name.clone());
    labels.insert(POD_INDEX.to_owned(), ordinal.to_string());
    labels.insert(HASH_LABEL.to_owned(), name(&revision.metadata).to_owned());
    if let Some(spec) = &mut pod.spec {
        spec.hostname = Some(pod_name);
        spec.subdomain = set.spec.as_ref().and_then(|spec| spec.service_name.clone()).filter(|name| !name.is_empty());
        volumes::attach(set, spec, ordinal);
    }
    pod
}
