//! Gives every namespace the ServiceAccount `default`.
//!
//! *Guarantees*: it is made as soon as the namespace is there, and made again when somebody deletes it.

use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Next, Reconcile, RunError};
use client::informers::{Informer, Key};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, PostParams};

use crate::Rig;
use crate::namespace::is_active;

const NAME: &str = "default";

pub(crate) fn start(rig: Rig) {
    let namespaces = rig.informers.of::<Namespace>();
    let accounts = rig.informers.of::<ServiceAccount>();
    let controller =
        Controller::new("service_account", &rig.metrics).workers(4).each(&namespaces).watch(&accounts, |change| {
            let is_gone = change.key.name == NAME && change.new.is_none();
            is_gone.then(|| Key::new("", change.key.namespace.clone())).into_iter().collect()
        });
    controller.start(&rig.tasks, ServiceAccounts { client: rig.client, namespaces, accounts });
}

struct ServiceAccounts {
    client: Client,
    namespaces: Informer<Namespace>,
    accounts: Informer<ServiceAccount>,
}

#[async_trait]
impl Reconcile for ServiceAccounts {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let Some(namespace) = self.namespaces.at(key) else { return Ok(Next::Done) };
        if !is_active(&namespace) || self.accounts.get(&key.name, NAME).is_some() {
            return Ok(Next::Done);
        }
        let account = ServiceAccount {
            metadata: ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() },
            ..ServiceAccount::default()
        };
        let api = Api::<ServiceAccount>::namespaced(self.client.clone(), &key.name);
        match api.create(&PostParams::default(), &account).await {
            Err(error) if client::is_taken(&error) => Ok(Next::Done),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(Next::Done),
        }
    }
}
