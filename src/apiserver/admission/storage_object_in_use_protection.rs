//! Volumes and claims stay while somebody uses them: their finalizers are taken away by controllers.

use api::{Status, meta};
use async_trait::async_trait;
use objects::{Admission, Review};
use serde_json::json;

use super::is_new;

pub(super) struct StorageObjectInUseProtection;

const PROTECTED: [(&str, &str); 2] =
    [("persistentvolumeclaims", "kubernetes.io/pvc-protection"), ("persistentvolumes", "kubernetes.io/pv-protection")];

#[async_trait]
impl Admission for StorageObjectInUseProtection {
    async fn mutate(&self, review: &mut Review<'_>) -> Result<(), Status> {
        for (plural, finalizer) in PROTECTED {
            if is_new(review, "", plural) && !meta::finalizers(&review.object).any(|held| held == finalizer) {
                let mut all: Vec<String> = meta::finalizers(&review.object).map(str::to_owned).collect();
                all.push(finalizer.to_owned());
                meta::set(&mut review.object, "finalizers", json!(all));
            }
        }
        Ok(())
    }
}
