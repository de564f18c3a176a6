//! Bootstrap tokens: `id.secret`, each a Secret `bootstrap-token-ID` of `kube-system`, for whoever is to join the cluster and
//! has no identity yet.

use api::UserInfo;
use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use objects::{Objects, Shelf};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::authentication::{Authenticator, Credentials, Rejected};

const NAMESPACE: &str = "kube-system";
const TYPE: &str = "bootstrap.kubernetes.io/token";
const GROUP: &str = "system:bootstrappers";

/// Authenticates whoever holds a bootstrap token.
pub struct BootstrapTokens {
    secrets: Shelf,
}

impl std::fmt::Debug for BootstrapTokens {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("BootstrapTokens")
    }
}

impl BootstrapTokens {
    /// Over the Secrets of `objects`.
    pub fn new(objects: &Objects) -> Self {
        Self { secrets: objects.shelf("", "secrets") }
    }
}

#[async_trait]
impl Authenticator for BootstrapTokens {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<UserInfo>, Rejected> {
        let Some((id, secret)) = credentials.bearer.as_deref().and_then(parts) else { return Ok(None) };
        let Some(held) = self.secrets.get(Some(NAMESPACE), &format!("bootstrap-token-{id}")) else { return Ok(None) };
        Ok(user(&held.value(), id, secret, Timestamp::now()))
    }
}

/// Identifier and secret of what has a bootstrap token's form.
fn parts(token: &str) -> Option<(&str, &str)> {
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    token.split_once('.').filter(|(id, secret)| (id.len(), secret.len()) == (6, 16) && plain(id) && plain(secret))
}

/// Whom the Secret stands for, when the token is its own and is still good.
fn user(held: &Value, id: &str, secret: &str, now: Timestamp) -> Option<UserInfo> {
    let data = |key: &str| {
        let text = held.pointer("/data")?.get(key)?.as_str()?;
        String::from_utf8(BASE64_STANDARD.decode(text).ok()?).ok()
    };
    let is = |key: &str, wanted: &str| data(key).is_some_and(|found| Sha256::digest(found) == Sha256::digest(wanted));
    let still = match data("expiration").filter(|text| !text.is_empty()) {
        Some(text) => text.parse::<Timestamp>().is_ok_and(|until| until > now),
        None => true,
    };
    let is_good = held["type"] == TYPE
        && held.pointer("/metadata/deletionTimestamp").is_none_or(Value::is_null)
        && is("token-secret", secret)
        && is("token-id", id)
        && still
        && data("usage-bootstrap-authentication").as_deref() == Some("true");
    if !is_good {
        return None;
    }
    let extra = data("auth-extra-groups").unwrap_or_default();
    let extra: Vec<&str> = extra.split(',').map(str::trim).filter(|group| !group.is_empty()).collect();
    if !extra.iter().all(|group| is_group(group)) {
        return None;
    }
    let mut groups: Vec<&str> = [GROUP].into_iter().chain(extra).collect();
    groups.sort_unstable();
    groups.dedup();
    Some(UserInfo::new(format!("system:bootstrap:{id}"), groups))
}

/// Groups that a token may be in: nothing that anybody else is in.
fn is_group(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("system:bootstrappers:") else { return false };
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let all = rest.bytes().all(|byte| plain(byte) || byte == b':' || byte == b'-');
    all && rest.len() <= 256 && rest.bytes().last().is_some_and(plain)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn held(change: &[(&str, &str)]) -> Value {
        let mut data = json!({});
        let usual = [
            ("token-id", "abcdef"),
            ("token-secret", "0123456789abcdef"),
            ("usage-bootstrap-authentication", "true"),
            ("expiration", "2026-05-01T00:00:00Z"),
        ];
        for (key, value) in usual.iter().chain(change) {
            data[*key] = json!(BASE64_STANDARD.encode(value));
        }
        json!({ "type": TYPE, "metadata": {}, "data": data })
    }

    fn name(held: &Value, token: &str) -> String {
        let now = "2026-04-30T00:00:00Z".parse().expect("a time");
        let user = parts(token).and_then(|(id, secret)| user(held, id, secret, now));
        user.map_or_else(|| "nobody".to_owned(), |user| format!("{} {}", user.name, user.groups.join(" ")))
    }

    #[test]
    fn a_token_is_good_for_what_its_secret_says() {
        let token = "abcdef.0123456789abcdef";
        assert_eq!(name(&held(&[]), token), "system:bootstrap:abcdef system:bootstrappers system:authenticated");
        let groups = held(&[("auth-extra-groups", "system:bootstrappers:two,system:bootstrappers:one")]);
        assert_eq!(
            name(&groups, token),
            "system:bootstrap:abcdef system:bootstrappers system:bootstrappers:one system:bootstrappers:two system:authenticated"
        );
        for (key, value) in [
            ("token-id", "abcdeg"),
            ("token-secret", "0123456789abcdee"),
            ("usage-bootstrap-authentication", "yes"),
            ("expiration", "2026-04-29T00:00:00Z"),
            ("expiration", "soon"),
            ("auth-extra-groups", "system:masters"),
            ("auth-extra-groups", "system:bootstrappers:one:"),
        ] {
            assert_eq!(name(&held(&[(key, value)]), token), "nobody", "{key}={value}");
        }
        let mut deleted = held(&[]);
        deleted["metadata"]["deletionTimestamp"] = json!("2026-04-30T00:00:00Z");
        assert_eq!(name(&deleted, token), "nobody");
        for other in ["abcdef.0123456789ABCDEF", "abcde.0123456789abcdef", "abcdef", "a.b.c"] {
            assert_eq!(name(&held(&[]), other), "nobody");
        }
    }
}
