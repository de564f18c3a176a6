//! Claims grow only where their class says that its volumes can.

use api::{Quantity, Status};
use async_trait::async_trait;
use objects::{Admission, Operation, Reader, Review, Sub};
use serde_json::Value;

use super::{forbidden, text};

pub(super) struct PersistentVolumeClaimResize(pub Reader);

fn asked(claim: &Value) -> Option<Quantity> {
    Quantity::from_json(claim.pointer("/spec/resources/requests/storage")?).ok()
}

impl PersistentVolumeClaimResize {
    fn can_grow(&self, class: &str) -> bool {
        let class = self.0.get("storage.k8s.io", "storageclasses", None, class);
        class.is_some_and(|class| class.value().get("allowVolumeExpansion") == Some(&Value::Bool(true)))
    }
}

#[async_trait]
impl Admission for PersistentVolumeClaimResize {
    async fn validate(&self, review: &Review<'_>) -> Result<(), Status> {
        let is_update = review.operation == Operation::Update && review.sub == Sub::None;
        let Some(old) = review.old.filter(|_| is_update && review.is("", "persistentvolumeclaims")) else {
            return Ok(());
        };
        let grows = matches!((asked(&review.object), asked(old)), (Some(new), Some(old)) if new > old);
        if !grows {
            return Ok(());
        }
        let refuse = |why: &str| Err(forbidden(review.kind, review.name, why));
        if text(old, "/status/phase") != "Bound" {
            return refuse("Only bound persistent volume claims can be expanded");
        }
        let (class, was) = (text(&review.object, "/spec/storageClassName"), text(old, "/spec/storageClassName"));
        if class.is_empty() || class != was || !self.can_grow(class) {
            return refuse(
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
            );
        }
        Ok(())
    }
}
