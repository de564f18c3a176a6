//! Recreate: no pod of the new template before the last of the old ones is gone.

use k8s_openapi::api::apps::v1::ReplicaSet;

use super::model::{self, Model};
use super::plan::{adopt_revision, find_or_make_new};
use super::rolling::resize;

/// One step. Returns the Deployment's revision, once its ReplicaSet is there.
pub(super) fn roll(model: &mut Model<'_>, pods_of: &impl Fn(&ReplicaSet) -> usize) -> Option<String> {
    let wanted = model.wanted();
    let revision = adopt_revision(model);
    let mut shrunk = false;
    for set in model.old.iter_mut().filter(|set| model::replicas(set) > 0) {
        resize(set, 0, wanted, wanted);
        shrunk = true;
    }
    if shrunk || model.old.iter().any(|set| model::existing(set) > 0 || pods_of(set) > 0) {
        return revision;
    }
    let revision = find_or_make_new(model);
    if let Some(new) = &mut model.new
        && model::replicas(new) != wanted
    {
        resize(new, wanted, wanted, wanted);
    }
    revision
}
