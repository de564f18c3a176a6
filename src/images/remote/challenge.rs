//! What a registry asks for before it answers, and what is answered to that.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderValue;
use serde_json::Value;

use crate::Credential;

const WORDS_MAX: usize = 300;

/// One challenge of a `WWW-Authenticate` header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password with each request.
    Basic,
    /// A token from a service of its own.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

impl Challenge {
    /// The first challenge in `text` that is known.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let parameters = parameters(rest);
        let find = |name: &str| {
            parameters.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
        };
        Some(Self::Bearer { realm: find("realm")?, service: find("service"), scope: find("scope") })
    }
}

/// `a="b, c",d=e`, where commas may stand in quotes.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    while let Some((name, tail)) = rest.split_once('=') {
        let name = name.trim_matches([',', ' ']).to_owned();
        let (value, next) = match tail.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => tail.split_once(',').unwrap_or((tail, "")),
        };
        found.push((name, value.to_owned()));
        rest = next.trim_start_matches([',', ' ']);
    }
    found
}

/// The header for user and password.
pub(super) fn basic(credential: &Credential) -> Option<HeaderValue> {
    if credential.username.is_empty() && credential.password.is_empty() {
        return None;
    }
    let text = format!("Basic {}", BASE64.encode(format!("{}:{}", credential.username, credential.password)));
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A form that asks for a token by another one.
pub(super) fn refresh_form(service: Option<&str>, scope: &str, identity: &str) -> String {
    let mut url = reqwest::Url::parse("form:").ok();
    if let Some(url) = &mut url {
        url.query_pairs_mut()
            .append_pair("grant_type", "refresh_token")
            .append_pair("client_id", "coracle")
            .append_pair("service", service.unwrap_or_default())
            .append_pair("scope", scope)
            .append_pair("refresh_token", identity);
    }
    url.and_then(|url| url.query().map(str::to_owned)).unwrap_or_default()
}

/// The header for the token that a token service gave.
pub(super) fn token_in(answer: &[u8]) -> Option<HeaderValue> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let token = ["token", "access_token"].iter().find_map(|name| answer.get(name)?.as_str())?;
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What a registry says about its refusal, short and on one line.
pub(super) fn refusal_in(answer: &[u8]) -> String {
    let words = |answer: &Value| {
        let first = answer.get("errors")?.get(0)?;
        let text = |name: &str| first.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        Some(format!("{} {}", text("code"), text("message")).trim().to_owned())
    };
    let found = serde_json::from_slice(answer).ok().as_ref().and_then(words).unwrap_or_default();
    found.chars().filter(|letter| !letter.is_control()).take(WORDS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        };
        for (text, wanted) in [
            ("Basic realm=\"x\"", Some(Challenge::Basic)),
            ("basic", Some(Challenge::Basic)),
            (
                r#"Bearer realm="https://a/t",service="a",scope="repository:x:pull,push""#,
                Some(bearer("https://a/t", Some("a"), Some("repository:x:pull,push"))),
            ),
            (r#"bearer realm="https://a/t", service=a"#, Some(bearer("https://a/t", Some("a"), None))),
            ("Bearer service=\"a\"", None),
            ("Negotiate", None),
            ("", None),
        ] {
            assert_eq!(Challenge::parse(text), wanted, "{text}");
        }
    }

    #[test]
    fn refusals_are_short_and_on_one_line() {
        let answer = br#"{"errors":[{"code":"DENIED","message":"no\nway"}]}"#;
        assert_eq!(refusal_in(answer), "DENIED noway");
        assert_eq!(refusal_in(b"<html>"), "");
        assert!(token_in(br#"{"access_token":"t"}"#).is_some());
        assert!(token_in(br#"{"token":"a\nb"}"#).is_none());
        assert!(refresh_form(Some("s"), "repository:x:pull", "t&u").ends_with("refresh_token=t%26u"));
    }
}
