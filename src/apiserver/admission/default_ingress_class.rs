//! An Ingress that names no class gets the default one, when there is one.

use api::{Status, meta};
use async_trait::async_trait;
use objects::{Admission, Reader, Review};
use serde_json::json;

use super::{is_new, newest_default};

pub(super) struct DefaultIngressClass(pub Reader);

const MARK: &str = "ingressclass.kubernetes.io/is-default-class";
const OLD_FIELD: &str = "kubernetes.io/ingress.class";

#[async_trait]
impl Admission for DefaultIngressClass {
    async fn mutate(&self, review: &mut Review<'_>) -> Result<(), Status> {
        if !is_new(review, "networking.k8s.io", "ingresses") {
            return Ok(());
        }
        let named = review.object.pointer("/spec/ingressClassName").is_some_and(|name| !name.is_null());
        if named || meta::annotation(&review.object, OLD_FIELD).is_some() || !review.object["spec"].is_object() {
            return Ok(());
        }
        if let Some(class) = newest_default(&self.0, "networking.k8s.io", "ingressclasses", &[MARK]) {
            review.object["spec"]["ingressClassName"] = json!(class.meta.name);
        }
        Ok(())
    }
}
