//! ServiceAccount tokens: who is issued one, what it says, when it is believed.
//!
//! A token is a JWT signed with ES256. The key lies in the data folder, so that tokens outlive a restart; its public half
//! is served at `/openid/v1/jwks`, so that others can check tokens without asking.

mod accounts;
mod bootstrap;
mod discovery;
mod jwt;
mod request;

use std::path::{Path, PathBuf};

use base::files::{Access, write_atomically};
use jiff::Timestamp;
use serde_json::{Value, json};
use thiserror::Error;

pub use accounts::ServiceAccountTokens;
pub use bootstrap::BootstrapTokens;
pub(crate) use discovery::{configuration, key_set};
pub(crate) use request::answer;

/// Who issues tokens, and whom they are for when nobody else is named.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// Who issued the tokens in Secrets.
const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";
/// Clocks differ.
const LEEWAY: i64 = 10;

/// Why tokens cannot be issued.
#[derive(Debug, Error)]
pub enum TokenKeyError {
    /// The file of the key cannot be read or written.
    #[error("cannot use the token key {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file holds no key.
    #[error(
        "{} holds no usable P-256 key in PKCS#8 ({detail}); remove it to have a new one made, which ends all tokens",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// No key can be made.
    #[error("cannot make a key for tokens: {0}")]
    Make(String),
}

/// Signs tokens, and knows its own again.
pub struct TokenIssuer {
    key: jwt::Key,
}

impl std::fmt::Debug for TokenIssuer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("TokenIssuer")
    }
}

/// What a token is issued for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grant<'a> {
    pub namespace: &'a str,
    pub account: Named,
    pub pod: Option<Named>,
    pub secret: Option<Named>,
    pub node: Option<Named>,
    pub audiences: Vec<String>,
    pub seconds: i64,
    /// After so many seconds whoever still uses it should be told to fetch another.
    pub warn_after: Option<i64>,
}

/// An object, this very one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    pub name: String,
    pub uid: String,
}

impl Named {
    fn to_json(&self) -> Value {
        // A node may be gone when a token is issued for a pod on it.
        if self.uid.is_empty() { json!({ "name": self.name }) } else { json!({ "name": self.name, "uid": self.uid }) }
    }
}

impl TokenIssuer {
    /// Reads `sa.key` of `folder`, or makes it.
    ///
    /// # Errors
    /// When the file is there and cannot be used; it is never overwritten then.
    pub fn load_or_create(folder: &Path) -> Result<Self, TokenKeyError> {
        let path = folder.join("sa.key");
        match std::fs::read_to_string(&path) {
            Ok(pem) => {
                let damaged = |detail| TokenKeyError::Damaged { path: path.clone(), detail };
                Ok(Self { key: jwt::Key::from_pem(&pem).map_err(damaged)? })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let (key, pem) = jwt::Key::make().map_err(TokenKeyError::Make)?;
                write_atomically(&path, pem.as_bytes(), Access::Private)
                    .map_err(|source| TokenKeyError::Io { path, source })?;
                Ok(Self { key })
            }
            Err(source) => Err(TokenKeyError::Io { path, source }),
        }
    }

    /// With a key in memory only.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn ephemeral() -> Result<Self, TokenKeyError> {
        Ok(Self { key: jwt::Key::make().map_err(TokenKeyError::Make)?.0 })
    }

    /// Signs a token for an account. Answers it with its id.
    pub(crate) fn bound(&self, grant: &Grant<'_>, now: Timestamp) -> Result<String, String> {
        let now = now.as_second();
        let mut private = json!({ "namespace": grant.namespace, "serviceaccount": grant.account.to_json() });
        for (key, object) in [("pod", &grant.pod), ("secret", &grant.secret), ("node", &grant.node)] {
            if let Some(object) = object {
                private[key] = object.to_json();
            }
        }
        if let Some(after) = grant.warn_after {
            private["warnafter"] = json!(now.saturating_add(after));
        }
        self.key.sign(&json!({
            "aud": grant.audiences,
            "exp": now.saturating_add(grant.seconds),
            "iat": now,
            "iss": ISSUER,
            "jti": uuid::Uuid::new_v4().to_string(),
            "kubernetes.io": private,
            "nbf": now,
            "sub": format!("system:serviceaccount:{}:{}", grant.namespace, grant.account.name),
        }))
    }

    /// Signs the token of a Secret of type `kubernetes.io/service-account-token`: it has no end of its own.
    ///
    /// # Errors
    /// When signing fails.
    pub fn legacy(&self, namespace: &str, account: &str, uid: &str, secret: &str) -> Result<String, String> {
        self.key.sign(&json!({
            "iss": LEGACY_ISSUER,
            "kubernetes.io/serviceaccount/namespace": namespace,
            "kubernetes.io/serviceaccount/secret.name": secret,
            "kubernetes.io/serviceaccount/service-account.name": account,
            "kubernetes.io/serviceaccount/service-account.uid": uid,
            "sub": format!("system:serviceaccount:{namespace}:{account}"),
        }))
    }
}

/// Whom a token that was already believed is for.
pub(crate) fn audiences(token: &str) -> Option<Vec<String>> {
    let claims = jwt::unchecked_claims(token)?;
    Some(texts(&claims["aud"]))
}

/// A string or a list of strings.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(list) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}
