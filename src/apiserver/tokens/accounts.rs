//! Believing tokens: signed by us, meant for us, not over, and everything that they are bound to is still there.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use api::UserInfo;
use async_trait::async_trait;
use jiff::Timestamp;
use objects::{Object, Objects, Shelf};
use parking_lot::Mutex;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{ISSUER, LEEWAY, LEGACY_ISSUER, TokenIssuer, jwt, texts};
use crate::authentication::{Authenticator, Credentials, Rejected};

/// How long a pod, Secret or account that is being deleted still vouches for its tokens.
const DELETED_GRACE: i64 = 60;
/// Tokens whose signature was checked already.
const REMEMBERED: usize = 4096;
const EXTRA: &str = "authentication.kubernetes.io";

/// Authenticates ServiceAccounts.
pub struct ServiceAccountTokens {
    issuer: Arc<TokenIssuer>,
    accounts: Shelf,
    pods: Shelf,
    secrets: Shelf,
    nodes: Shelf,
    checked: Mutex<HashMap<[u8; 32], Arc<Value>>>,
}

impl std::fmt::Debug for ServiceAccountTokens {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("ServiceAccountTokens")
    }
}

impl ServiceAccountTokens {
    /// Over the accounts of `objects`.
    pub fn new(issuer: Arc<TokenIssuer>, objects: &Objects) -> Self {
        let shelf = |plural| objects.shelf("", plural);
        Self {
            issuer,
            accounts: shelf("serviceaccounts"),
            pods: shelf("pods"),
            secrets: shelf("secrets"),
            nodes: shelf("nodes"),
            checked: Mutex::default(),
        }
    }

    /// The claims, if the signature is ours.
    fn claims(&self, token: &str) -> Option<Arc<Value>> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(claims) = self.checked.lock().get(&digest) {
            return Some(Arc::clone(claims));
        }
        let claims = Arc::new(self.issuer.key.verify(token)?);
        let mut checked = self.checked.lock();
        if checked.len() >= REMEMBERED {
            checked.clear();
        }
        checked.insert(digest, Arc::clone(&claims));
        Some(claims)
    }

    fn bound(&self, claims: &Value, audiences: &[String], now: i64) -> Option<UserInfo> {
        let time = |claim: &str| claims[claim].as_i64();
        let over = time("exp").is_none_or(|end| now > end + LEEWAY);
        let early = time("nbf").is_some_and(|start| now + LEEWAY < start);
        let ours = texts(&claims["aud"]).iter().any(|audience| match audiences {
            [] => audience == ISSUER,
            wanted => wanted.contains(audience),
        });
        if over || early || !ours {
            return None;
        }
        let private = claims.get("kubernetes.io")?;
        let text = |pointer: &str| private.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (namespace, name) = (text("/namespace"), text("/serviceaccount/name"));
        alive(self.accounts.get(Some(namespace), name), text("/serviceaccount/uid"), now)?;
        let mut user = UserInfo::service_account(namespace, name);
        text("/serviceaccount/uid").clone_into(&mut user.uid);
        if let Some(id) = claims["jti"].as_str() {
            add(&mut user.extra, "credential-id", &format!("JTI={id}"));
        }
        if private.get("secret").is_some() {
            alive(self.secrets.get(Some(namespace), text("/secret/name")), text("/secret/uid"), now)?;
        }
        if private.get("pod").is_some() {
            alive(self.pods.get(Some(namespace), text("/pod/name")), text("/pod/uid"), now)?;
            add(&mut user.extra, "pod-name", text("/pod/name"));
            add(&mut user.extra, "pod-uid", text("/pod/uid"));
        } else if private.get("node").is_some() {
            alive(self.nodes.get(None, text("/node/name")), text("/node/uid"), now)?;
        }
        if private.get("node").is_some() {
            add(&mut user.extra, "node-name", text("/node/name"));
            add(&mut user.extra, "node-uid", text("/node/uid"));
        }
        Some(user)
    }

    fn legacy(&self, token: &str, claims: &Value, audiences: &[String], now: i64) -> Option<UserInfo> {
        if !audiences.is_empty() && !audiences.iter().any(|audience| audience == ISSUER) {
            return None;
        }
        let text = |claim: &str| {
            claims.get(format!("kubernetes.io/serviceaccount/{claim}")).and_then(Value::as_str).unwrap_or_default()
        };
        let (namespace, name) = (text("namespace"), text("service-account.name"));
        let secret = self.secrets.get(Some(namespace), text("secret.name"))?;
        let held = secret.value().pointer("/data/token").and_then(Value::as_str).map(str::to_owned)?;
        let held = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, held).ok()?;
        if held != token.as_bytes() || is_gone(&secret, now) {
            return None;
        }
        alive(self.accounts.get(Some(namespace), name), text("service-account.uid"), now)?;
        let mut user = UserInfo::service_account(namespace, name);
        text("service-account.uid").clone_into(&mut user.uid);
        Some(user)
    }
}

fn add(extra: &mut BTreeMap<String, Vec<String>>, key: &str, value: &str) {
    if !value.is_empty() {
        extra.insert(format!("{EXTRA}/{key}"), vec![value.to_owned()]);
    }
}

/// The object, if it is the one with `uid` and still vouches for tokens.
fn alive(object: Option<Arc<Object>>, uid: &str, now: i64) -> Option<Arc<Object>> {
    object.filter(|object| *object.meta.uid == *uid && !is_gone(object, now))
}

fn is_gone(object: &Object, now: i64) -> bool {
    if !object.json.windows(20).any(|part| part == b"\"deletionTimestamp\":\"") {
        return false;
    }
    let value = object.value();
    let since = value.pointer("/metadata/deletionTimestamp").and_then(Value::as_str);
    let since = since.and_then(|text| text.parse::<Timestamp>().ok());
    since.is_some_and(|since| since.as_second() + DELETED_GRACE < now)
}

#[async_trait]
impl Authenticator for ServiceAccountTokens {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<UserInfo>, Rejected> {
        let Some(token) = credentials.bearer.as_deref() else { return Ok(None) };
        let Some(said) = jwt::unchecked_claims(token) else { return Ok(None) };
        let legacy = said["iss"] == LEGACY_ISSUER;
        if !legacy && said["iss"] != ISSUER {
            return Ok(None);
        }
        let claims = self.claims(token).ok_or(Rejected)?;
        let (audiences, now) = (credentials.audiences.as_slice(), Timestamp::now().as_second());
        let user =
            if legacy { self.legacy(token, &claims, audiences, now) } else { self.bound(&claims, audiences, now) };
        user.map(Some).ok_or(Rejected)
    }
}
