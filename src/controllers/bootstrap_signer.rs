//! Signs what `kube-public/cluster-info` says with each bootstrap token that is good for signing, so that whoever holds such a
//! token can tell that it is this cluster which says it.
//!
//! *Owns*: the keys `jws-kubeconfig-ID` of that ConfigMap.

use std::collections::BTreeMap;

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use client::Client;
use client::controller::{Controller, Next, Reconcile, RunError};
use client::informers::{Informer, Key, Selection};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, PostParams};
use ring::hmac;

use crate::Rig;
use crate::owners::{is_deleting, namespace};

const NAMESPACE: &str = "kube-public";
const NAME: &str = "cluster-info";
const CONTENT: &str = "kubeconfig";
const SIGNATURE: &str = "jws-kubeconfig-";

pub(crate) fn start(rig: Rig) {
    let tokens = rig.informers.selected::<Secret>(&Selection::fields("type=bootstrap.kubernetes.io/token"));
    let maps = rig.informers.selected::<ConfigMap>(&Selection::fields(format!("metadata.name={NAME}")));
    let here = || vec![Key::new(NAMESPACE, NAME)];
    let controller = Controller::new("bootstrap_signer", &rig.metrics)
        .workers(1)
        .watch(&tokens, move |_| here())
        .watch(&maps, move |change| if change.key.namespace == NAMESPACE { here() } else { Vec::new() });
    controller.start(&rig.tasks, Signer { client: rig.client, tokens, maps });
}

struct Signer {
    client: Client,
    tokens: Informer<Secret>,
    maps: Informer<ConfigMap>,
}

#[async_trait]
impl Reconcile for Signer {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        self.tokens.synced().await;
        let Some(map) = self.maps.at(key) else { return Ok(Next::Done) };
        let tokens = self.tokens.list();
        let secrets = tokens.iter().map(AsRef::as_ref).filter_map(|token| signs(token, Timestamp::now()));
        let Some(data) = signed(map.data.as_ref(), secrets) else { return Ok(Next::Done) };
        let wanted = ConfigMap { data: Some(data), ..map.as_ref().clone() };
        Api::<ConfigMap>::namespaced(self.client.clone(), NAMESPACE)
            .replace(NAME, &PostParams::default(), &wanted)
            .await?;
        Ok(Next::Done)
    }
}

/// Identifier and secret of a token that may sign.
fn signs(token: &Secret, now: Timestamp) -> Option<(String, String)> {
    let data = |key: &str| {
        let bytes = &token.data.as_ref()?.get(key)?.0;
        String::from_utf8(bytes.clone()).ok().filter(|text| !text.is_empty())
    };
    let (id, secret) = (data("token-id")?, data("token-secret")?);
    let is_its_own = token.metadata.name.as_deref() == Some(format!("bootstrap-token-{id}").as_str());
    let is_good = data("expiration").is_none_or(|text| text.parse::<Timestamp>().is_ok_and(|until| until > now));
    let may = data("usage-bootstrap-signing").as_deref() == Some("true");
    let is_here = namespace(&token.metadata) == "kube-system" && !is_deleting(&token.metadata);
    (is_its_own && is_good && may && is_here).then_some((id, secret))
}

/// The ConfigMap's data with a signature of each of these tokens and no other; nothing where it has them.
fn signed(
    data: Option<&BTreeMap<String, String>>,
    tokens: impl Iterator<Item = (String, String)>,
) -> Option<BTreeMap<String, String>> {
    let held = data?;
    let content = held.get(CONTENT)?;
    let mut wanted = held.clone();
    wanted.retain(|key, _| !key.starts_with(SIGNATURE));
    wanted.extend(tokens.map(|(id, secret)| (format!("{SIGNATURE}{id}"), signature(content, &id, &secret))));
    (wanted != *held).then_some(wanted)
}

/// A JWS whose content is left out, since it stands beside it.
fn signature(content: &str, id: &str, secret: &str) -> String {
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let head = encode(format!(r#"{{"alg":"HS256","kid":"{id}"}}"#).as_bytes());
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("{head}.{}", encode(content.as_bytes())).as_bytes());
    format!("{head}..{}", encode(tag.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_the_tokens_that_are_good() {
        let expected = "eyJhbGciOiJIUzI1NiIsImtpZCI6ImpvaG51YSJ9..r6W0743RxK7kRzE85rdF7M4P2HTMeDF5PuViTTseemk";
        let held = BTreeMap::from([
            (CONTENT.to_owned(), "content".to_owned()),
            ("other".to_owned(), "stays".to_owned()),
            (format!("{SIGNATURE}gone12"), "x..y".to_owned()),
        ]);
        let tokens = || [("johnua".to_owned(), "secret".to_owned())].into_iter();
        let wanted = signed(Some(&held), tokens()).expect("a change");
        assert_eq!(wanted[&format!("{SIGNATURE}johnua")], expected);
        assert_eq!((wanted.len(), wanted["other"].as_str()), (3, "stays"));
        assert_eq!(signed(Some(&wanted), tokens()), None);
        assert_eq!(signed(None, tokens()), None);
    }
}
