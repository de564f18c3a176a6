//! Who we are to registries, as Docker's configuration files say it.
//!
//! A key of such a file is a host, `registry.example`, with a port or a path if it has one, `registry.example:5000/team`. Parts
//! of the host may be globs, `*.example`. All keys that fit an image count, the most specific first; a registry that does
//! not take the first is offered the next.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use crate::Reference;
use crate::digest::Digest;

/// Who we are to one registry, or to a part of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The host, with its port and the start of a path if it has them.
    pub registry: String,
    /// The user.
    pub username: String,
    /// The password or token.
    pub password: String,
    /// What stands for both where the registry's token service takes it (`identitytoken`).
    pub identity_token: Option<String>,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").field("registry", &self.registry).finish_non_exhaustive()
    }
}

impl Credential {
    /// What tells one credential from another without giving it away.
    pub(crate) fn fingerprint(&self) -> String {
        let token = self.identity_token.as_deref().unwrap_or_default();
        let text = format!("{}\n{}\n{}\n{token}", self.registry, self.username, self.password);
        Digest::of(text.as_bytes()).hex().to_owned()
    }

    fn fits(&self, host: &str, path: &str) -> bool {
        let (own_host, own_path) = match self.registry.split_once('/') {
            Some((host, path)) => (host, path.trim_end_matches('/')),
            None => (self.registry.as_str(), ""),
        };
        same_host(own_host, host) && path.starts_with(own_path)
    }
}

/// Who we are to registries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials(pub Vec<Credential>);

impl Credentials {
    /// Those that fit an image, the most specific first.
    pub fn matching(&self, image: &Reference) -> Vec<&Credential> {
        self.for_path(&image.registry, &image.repository)
    }

    pub(crate) fn for_path(&self, host: &str, path: &str) -> Vec<&Credential> {
        let mut found: Vec<&Credential> = self.0.iter().filter(|credential| credential.fits(host, path)).collect();
        // Stable, so that of two Secrets for one registry the first that the pod names is tried first.
        found.sort_by(|a, b| b.registry.cmp(&a.registry));
        found.dedup();
        found
    }

    /// Reads `.dockerconfigjson` (`{"auths": {…}}`) or the older `.dockercfg` (the same without `auths`). What cannot be read
    /// is left out, as in Kubernetes: the registry has the last word.
    pub fn from_docker_config(bytes: &[u8]) -> Self {
        let config: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let auths = config.get("auths").unwrap_or(&config).as_object().cloned().unwrap_or_default();
        Self(auths.iter().filter_map(|(key, auth)| entry(key, auth)).collect())
    }
}

fn entry(key: &str, auth: &Value) -> Option<Credential> {
    let text = |name: &str| auth.get(name).and_then(Value::as_str).map(str::to_owned).filter(|text| !text.is_empty());
    let both = text("auth").and_then(|both| String::from_utf8(BASE64.decode(both.trim()).ok()?).ok());
    let split = both.as_deref().and_then(|both| both.split_once(':'));
    let identity_token = text("identitytoken");
    let (username, password) = match (text("username"), text("password"), split) {
        (Some(username), Some(password), _) => (username, password),
        (_, _, Some((username, password))) => (username.to_owned(), password.trim_end_matches('\0').to_owned()),
        _ if identity_token.is_some() => (String::new(), String::new()),
        _ => return None,
    };
    Some(Credential { registry: normal_key(key), username, password, identity_token })
}

/// `https://index.docker.io/v1/` → `docker.io`
fn normal_key(key: &str) -> String {
    let key = key.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let (host, path) = key.split_once('/').unwrap_or((key, ""));
    let host = match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        other => other,
    };
    let path = path.strip_prefix("v1").or_else(|| path.strip_prefix("v2")).map_or(path, |rest| rest.trim_matches('/'));
    if path.is_empty() { host.to_owned() } else { format!("{host}/{path}") }
}

/// Port by port and label by label, where `*` and `?` stand for letters of one label.
fn same_host(pattern: &str, host: &str) -> bool {
    let split = |text: &str| match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host.to_owned(), Some(port.to_owned())),
        _ => (text.to_owned(), None),
    };
    let ((pattern, own_port), (host, port)) = (split(pattern), split(host));
    let (labels, others): (Vec<&str>, Vec<&str>) = (pattern.split('.').collect(), host.split('.').collect());
    own_port == port
        && labels.len() == others.len()
        && labels.iter().zip(&others).all(|(pattern, label)| glob(pattern.as_bytes(), label.as_bytes()))
}

fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => (0..=text.len()).any(|at| glob(rest, &text[at..])),
        (Some((b'?', rest)), Some((_, tail))) => glob(rest, tail),
        (Some((first, rest)), Some((other, tail))) => first == other && glob(rest, tail),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(keys: &[&str]) -> Credentials {
        let auths: serde_json::Map<String, Value> = keys
            .iter()
            .map(|key| ((*key).to_owned(), serde_json::json!({ "auth": BASE64.encode(format!("{key}:p:w")) })))
            .collect();
        Credentials::from_docker_config(serde_json::json!({ "auths": auths }).to_string().as_bytes())
    }

    #[test]
    fn keys_fit_images_by_host_and_path() {
        for (key, image, fits) in [
            ("registry.example", "registry.example/a/b", true),
            ("https://registry.example/v2/", "registry.example/a", true),
            ("registry.example:5000", "registry.example/a", false),
            ("registry.example:5000", "registry.example:5000/a", true),
            ("registry.example/team", "registry.example/team/app", true),
            ("registry.example/team", "registry.example/other/app", false),
            ("*.example", "registry.example/a", true),
            ("*.example", "a.registry.example/a", false),
            ("https://index.docker.io/v1/", "hello", true),
            ("docker.io", "me/hello", true),
            ("[::1]:5000", "[::1]:5000/a", true),
        ] {
            let found = credentials(&[key]);
            assert_eq!(found.matching(&image.parse().unwrap()).len(), usize::from(fits), "{key} {image}");
        }
    }

    #[test]
    fn the_most_specific_comes_first_and_what_is_malformed_is_left_out() {
        let found = credentials(&["r.example", "r.example/a", "r.example/a/b"]);
        let names: Vec<&str> =
            found.matching(&"r.example/a/b/c".parse().unwrap()).iter().map(|one| one.username.as_str()).collect();
        assert_eq!(names, ["r.example/a/b", "r.example/a", "r.example"]);
        assert_eq!(found.0[0].password, "p:w");
        let old = br#"{"r.example": {"username": "u", "password": "p"}, "s.example": {"auth": "??"}, "t.example": {}}"#;
        let old = Credentials::from_docker_config(old);
        assert_eq!((old.0.len(), old.0[0].username.as_str()), (1, "u"));
        assert_eq!(Credentials::from_docker_config(b"no json"), Credentials::default());
        assert!(!format!("{old:?}").contains("\"p\""));
    }
}
