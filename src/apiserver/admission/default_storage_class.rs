//! A claim that names no storage class gets the default one, when there is one.

use api::{Status, meta};
use async_trait::async_trait;
use objects::{Admission, Reader, Review};
use serde_json::json;

use super::{is_new, newest_default};

pub(super) struct DefaultStorageClass(pub Reader);

const MARKS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
const OLD_FIELD: &str = "volume.beta.kubernetes.io/storage-class";

#[async_trait]
impl Admission for DefaultStorageClass {
    async fn mutate(&self, review: &mut Review<'_>) -> Result<(), Status> {
        if !is_new(review, "", "persistentvolumeclaims") {
            return Ok(());
        }
        // An empty name is a name: it asks for a volume without a class.
        let named = review.object.pointer("/spec/storageClassName").is_some_and(|name| !name.is_null());
        if named || meta::annotation(&review.object, OLD_FIELD).is_some() || !review.object["spec"].is_object() {
            return Ok(());
        }
        if let Some(class) = newest_default(&self.0, "storage.k8s.io", "storageclasses", &MARKS) {
            review.object["spec"]["storageClassName"] = json!(class.meta.name);
        }
        Ok(())
    }
}
