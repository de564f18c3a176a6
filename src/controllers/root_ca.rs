//! Gives every namespace the API server's CA as the ConfigMap `kube-root-ca.crt`.
//!
//! *Guarantees*: a changed or deleted one is put right. Without a CA in the configuration it does nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Next, Reconcile, RunError};
use client::informers::{Informer, Key};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, Patch, PatchParams, PostParams};

use crate::namespace::is_active;
use crate::{Config, Rig};

const NAME: &str = "kube-root-ca.crt";
const DESCRIBED: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";

pub(crate) fn start(rig: Rig) {
    if rig.config.ca_certificate.is_none() {
        return;
    }
    let namespaces = rig.informers.of::<Namespace>();
    let maps = rig.informers.metadata_of::<ConfigMap>();
    let controller = Controller::new("root_ca", &rig.metrics).workers(4).each(&namespaces).watch(&maps, |change| {
        let is_it = change.key.name == NAME;
        is_it.then(|| Key::new("", change.key.namespace.clone())).into_iter().collect()
    });
    controller.start(&rig.tasks, RootCa { client: rig.client, namespaces, config: rig.config });
}

struct RootCa {
    client: Client,
    namespaces: Informer<Namespace>,
    config: Arc<Config>,
}

#[async_trait]
impl Reconcile for RootCa {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let (Some(namespace), Some(ca)) = (self.namespaces.at(key), &self.config.ca_certificate) else {
            return Ok(Next::Done);
        };
        if !is_active(&namespace) {
            return Ok(Next::Done);
        }
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), &key.name);
        let data = BTreeMap::from([("ca.crt".to_owned(), ca.clone())]);
        // The cache holds metadata only: the content is read where it may have changed.
        match api.get_opt(NAME).await? {
            Some(map) if map.data.as_ref() == Some(&data) => {}
            Some(_) => {
                let patch = serde_json::json!({"data": data});
                api.patch(NAME, &PatchParams::default(), &Patch::Merge(patch)).await?;
            }
            None => {
                let map = ConfigMap {
                    metadata: ObjectMeta {
                        name: Some(NAME.to_owned()),
                        annotations: Some([("kubernetes.io/description".to_owned(), DESCRIBED.to_owned())].into()),
                        ..ObjectMeta::default()
                    },
                    data: Some(data),
                    ..ConfigMap::default()
                };
                match api.create(&PostParams::default(), &map).await {
                    Err(error) if client::is_taken(&error) => {}
                    other => drop(other?),
                }
            }
        }
        Ok(Next::Done)
    }
}
