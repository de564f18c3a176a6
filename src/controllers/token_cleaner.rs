//! Deletes bootstrap tokens whose time is over.
//!
//! *Owns*: nothing but the end of Secrets of type `bootstrap.kubernetes.io/token` in `kube-system` that carry an `expiration`.

use std::time::Duration;

use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Next, Reconcile, RunError};
use client::informers::{Informer, Key, Selection};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, Preconditions};

use crate::Rig;
use crate::owners::{is_deleting, name, namespace};

const TYPE: &str = "bootstrap.kubernetes.io/token";
const NAMESPACE: &str = "kube-system";

pub(crate) fn start(rig: Rig) {
    // Of all Secrets only these are read whole.
    let tokens = rig.informers.selected::<Secret>(&Selection::fields(format!("type={TYPE}")));
    let controller = Controller::new("token_cleaner", &rig.metrics).workers(1).each(&tokens);
    controller.start(&rig.tasks, Cleaner { client: rig.client, tokens });
}

struct Cleaner {
    client: Client,
    tokens: Informer<Secret>,
}

#[async_trait]
impl Reconcile for Cleaner {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let Some(token) = self.tokens.at(key) else { return Ok(Next::Done) };
        if namespace(&token.metadata) != NAMESPACE || is_deleting(&token.metadata) {
            return Ok(Next::Done);
        }
        match rest(&token, Timestamp::now()) {
            None => Ok(Next::Done),
            Some(rest) if !rest.is_zero() => Ok(Next::After(rest)),
            Some(_) => {
                let preconditions = Preconditions { uid: token.metadata.uid.clone(), resource_version: None };
                let params = DeleteParams::default().preconditions(preconditions);
                let api = Api::<Secret>::namespaced(self.client.clone(), NAMESPACE);
                match api.delete(name(&token.metadata), &params).await {
                    Err(error) if client::is_not_found(&error) => Ok(Next::Done),
                    outcome => outcome.map(|_| Next::Done).map_err(RunError::from),
                }
            }
        }
    }
}

/// How long a token is good for; one that does not say is good for ever, and one that cannot be read never was.
fn rest(token: &Secret, now: Timestamp) -> Option<Duration> {
    let text = &token.data.as_ref()?.get("expiration")?.0;
    let until = std::str::from_utf8(text).ok().and_then(|text| text.trim().parse::<Timestamp>().ok());
    Some(until.map_or(Duration::ZERO, |until| Duration::try_from(until.duration_since(now)).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    #[test]
    fn tokens_end_when_they_say() {
        let now: Timestamp = "2026-05-01T00:00:00Z".parse().expect("a time");
        let token = |expiration: &str| Secret {
            data: Some([("expiration".to_owned(), ByteString(expiration.as_bytes().to_vec()))].into()),
            ..Secret::default()
        };
        assert_eq!(rest(&Secret::default(), now), None);
        assert_eq!(rest(&token("2026-05-01T02:00:00+01:00"), now), Some(Duration::from_secs(3600)));
        assert_eq!(rest(&token("2026-04-30T23:59:59Z"), now), Some(Duration::ZERO));
        assert_eq!(rest(&token("tomorrow"), now), Some(Duration::ZERO));
    }
}
