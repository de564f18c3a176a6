//! The ingress class that Coracle answers for.

use std::collections::BTreeMap;

use base::backoff::Backoff;
use client::Client;
use k8s_openapi::api::networking::v1::{IngressClass, IngressClassSpec};
use kube::api::{Api, ObjectMeta, PostParams};
use std::time::Duration;

/// The name of the class.
pub const NAME: &str = "coracle";
/// What a class says in `spec.controller` when it is ours.
pub const CONTROLLER: &str = "coracle.dev/ingress";
/// How Ingresses named their class before `spec.ingressClassName` was there.
pub const LEGACY_ANNOTATION: &str = "kubernetes.io/ingress.class";
/// Marks the class of Ingresses that name none.
pub const DEFAULT_ANNOTATION: &str = "ingressclass.kubernetes.io/is-default-class";

/// Whether the class is served here.
pub fn is_ours(class: &IngressClass) -> bool {
    class.spec.as_ref().and_then(|spec| spec.controller.as_deref()) == Some(CONTROLLER)
}

/// Whether Ingresses without a class belong to it.
pub fn is_default(class: &IngressClass) -> bool {
    let annotations = class.metadata.annotations.as_ref();
    annotations.and_then(|all| all.get(DEFAULT_ANNOTATION)).is_some_and(|value| value == "true")
}

/// The class as it is created.
pub fn wanted() -> IngressClass {
    let annotations = BTreeMap::from([(DEFAULT_ANNOTATION.to_owned(), "true".to_owned())]);
    IngressClass {
        metadata: ObjectMeta { name: Some(NAME.to_owned()), annotations: Some(annotations), ..ObjectMeta::default() },
        spec: Some(IngressClassSpec { controller: Some(CONTROLLER.to_owned()), parameters: None }),
    }
}

/// Creates the class if it is not there. One that is there stays as it is: it may have been changed on purpose.
pub(crate) async fn ensure(client: Client) {
    let classes: Api<IngressClass> = Api::all(client);
    let params = PostParams { field_manager: Some("coracle-ingress".to_owned()), ..PostParams::default() };
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));
    loop {
        match classes.create(&params, &wanted()).await {
            Ok(_) => return tracing::debug!(class = NAME, "created the ingress class"),
            Err(error) if client::is_taken(&error) => return,
            Err(error) => {
                let wait = backoff.fail();
                tracing::debug!(%error, "cannot create the ingress class yet");
                tokio::time::sleep(wait).await;
            }
        }
    }
}
