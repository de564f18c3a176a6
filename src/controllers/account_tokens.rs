//! Secrets of type `kubernetes.io/service-account-token`: each gets a token for the ServiceAccount that it names, and goes
//! with it.

use std::sync::Arc;

use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Next, Reconcile, RunError};
use client::informers::{Informer, Key, Selection};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, PostParams, Preconditions};

use crate::keys::Keys;
use crate::owners::is_deleting;
use crate::{Config, Rig};

const NAME: &str = "kubernetes.io/service-account.name";
const UID: &str = "kubernetes.io/service-account.uid";
const BY_ACCOUNT: &str = "account";

pub(crate) fn start(rig: Rig) {
    let Some(keys) = rig.config.keys.clone() else { return };
    let secrets = rig.informers.selected::<Secret>(&Selection::fields("type=kubernetes.io/service-account-token"));
    let accounts = rig.informers.of::<ServiceAccount>();
    secrets.add_index(BY_ACCOUNT, |secret: &Secret| {
        let account = secret.annotations().get(NAME);
        account.map(|name| format!("{}/{name}", secret.namespace().unwrap_or_default())).into_iter().collect()
    });
    let indexed = secrets.clone();
    let controller =
        Controller::new("account_tokens", &rig.metrics).workers(2).each(&secrets).watch(&accounts, move |change| {
            let account = format!("{}/{}", change.key.namespace, change.key.name);
            indexed.indexed(BY_ACCOUNT, &account).iter().map(|secret| Key::of(&**secret)).collect()
        });
    let tokens = AccountTokens { client: rig.client, secrets, accounts, keys, config: rig.config };
    controller.start(&rig.tasks, tokens);
}

struct AccountTokens {
    client: Client,
    secrets: Informer<Secret>,
    accounts: Informer<ServiceAccount>,
    keys: Arc<dyn Keys>,
    config: Arc<Config>,
}

#[async_trait]
impl Reconcile for AccountTokens {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        self.accounts.synced().await;
        let Some(secret) = self.secrets.at(key).filter(|secret| !is_deleting(&secret.metadata)) else {
            return Ok(Next::Done);
        };
        let Some(name) = secret.annotations().get(NAME).cloned() else { return Ok(Next::Done) };
        let api = Api::<Secret>::namespaced(self.client.clone(), &key.namespace);
        let account = match self.accounts.get(&key.namespace, &name) {
            Some(account) => Some(account),
            // The cache may lag: nothing is deleted without asking.
            None => {
                let accounts = Api::<ServiceAccount>::namespaced(self.client.clone(), &key.namespace);
                accounts.get_opt(&name).await?.map(Arc::new)
            }
        };
        let uid = account.as_ref().and_then(|account| account.metadata.uid.clone()).unwrap_or_default();
        let said = secret.annotations().get(UID).filter(|said| !said.is_empty());
        if account.is_none() || said.is_some_and(|said| *said != uid) {
            let own = Preconditions { uid: secret.metadata.uid.clone(), resource_version: None };
            match api.delete(&key.name, &DeleteParams::default().preconditions(own)).await {
                Err(error) if client::is_not_found(&error) || client::is_conflict(&error) => {}
                other => drop(other?),
            }
            return Ok(Next::Done);
        }
        let Some(wanted) = self.filled(&secret, key, &name, &uid) else { return Ok(Next::Done) };
        api.replace(&key.name, &PostParams::default(), &wanted).await?;
        Ok(Next::Done)
    }
}

impl AccountTokens {
    /// The Secret with everything that it lacks; nothing when it lacks nothing.
    fn filled(&self, secret: &Secret, key: &Key, account: &str, uid: &str) -> Option<Secret> {
        let mut wanted = secret.clone();
        let data = wanted.data.get_or_insert_default();
        if data.get("token").is_none_or(|token| token.0.is_empty()) {
            match self.keys.account_token(&key.namespace, account, uid, &key.name) {
                Ok(token) => drop(data.insert("token".to_owned(), ByteString(token.into_bytes()))),
                Err(why) => tracing::error!(%why, "cannot sign a token"),
            }
        }
        if let Some(ca) = &self.config.ca_certificate {
            data.insert("ca.crt".to_owned(), ByteString(ca.clone().into_bytes()));
        }
        data.insert("namespace".to_owned(), ByteString(key.namespace.clone().into_bytes()));
        wanted.annotations_mut().insert(UID.to_owned(), uid.to_owned());
        (wanted != *secret).then_some(wanted)
    }
}
