//! What a method and a path ask for: a verb on a resource, or a path that is no resource. Pure.

use http::Method;
use percent_encoding::percent_decode_str;

/// A request, taken apart as Kubernetes takes it apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// `get`, `list`, `watch`, `create`, … for resources, else the HTTP method in lower case.
    pub verb: &'static str,
    /// The path, decoded.
    pub path: String,
    /// Set when the path is below `/api/VERSION` or `/apis/GROUP/VERSION`.
    pub resource: Option<Resource>,
}

/// The resource that a path names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resource {
    pub group: String,
    pub version: String,
    pub plural: String,
    pub namespace: Option<String>,
    pub name: Option<String>,
    pub subresource: Option<String>,
    /// What follows the subresource (`proxy/a/b`).
    pub rest: Vec<String>,
}

impl Resource {
    pub fn subresource(&self) -> &str {
        self.subresource.as_deref().unwrap_or_default()
    }
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }
}

/// Takes a request apart; `watch` says that the query asks for a watch. A path that is not UTF-8 or holds control
/// characters is nothing.
pub(crate) fn parse(method: &Method, path: &str, watch: bool) -> Option<Asked> {
    let (own, proxied) = split_proxied(path);
    let segments = segments(own)?;
    let mut rest: Vec<&str> = segments.iter().map(String::as_str).collect();
    let decoded = match proxied {
        true => percent_decode_str(path).decode_utf8_lossy().into_owned(),
        false => percent_decode_str(path).decode_utf8().ok()?.into_owned(),
    };
    let (group, version, below) = match rest.as_slice() {
        ["api", version, below @ ..] if !below.is_empty() => (String::new(), (*version).to_owned(), below.to_vec()),
        ["apis", group, version, below @ ..] if !below.is_empty() => {
            ((*group).to_owned(), (*version).to_owned(), below.to_vec())
        }
        _ => return Some(Asked { verb: lower(method), path: decoded, resource: None }),
    };
    rest = below;
    // The form that came before `?watch=true`.
    let old_watch = rest.first() == Some(&"watch") && rest.len() > 1;
    if old_watch {
        rest.remove(0);
    }
    let resource = place(group, version, &rest);
    let verb = verb(method, &resource, watch || old_watch)?;
    Some(Asked { verb, path: decoded, resource: Some(resource) })
}

/// What is ours of a path, and whether somebody else's follows: below `/proxy` anything goes.
fn split_proxied(path: &str) -> (&str, bool) {
    let mut parts = path.split('/');
    let own = match (parts.nth(1), parts.nth(1)) {
        (Some("api"), Some("namespaces")) => 8,
        (Some("api"), Some("nodes")) => 6,
        _ => return (path, false),
    };
    if path.split('/').nth(own - 1) != Some("proxy") {
        return (path, false);
    }
    let length: usize = path.split('/').take(own).map(|part| part.len() + 1).sum();
    (path.get(..length - 1).unwrap_or(path), true)
}

fn place(group: String, version: String, parts: &[&str]) -> Resource {
    let mut found = Resource { group, version, ..Resource::default() };
    let parts = match parts {
        // `/namespaces/x` and its own subresources are about the Namespace, not about what is in it.
        ["namespaces", namespace, after @ ..] => {
            found.namespace = Some((*namespace).to_owned());
            match after {
                [] | ["status" | "finalize", ..] => parts,
                _ => after,
            }
        }
        _ => parts,
    };
    let mut parts = parts.iter().map(|part| (*part).to_owned());
    found.plural = parts.next().unwrap_or_default();
    found.name = parts.next();
    found.subresource = parts.next();
    found.rest = parts.collect();
    found
}

fn verb(method: &Method, resource: &Resource, watch: bool) -> Option<&'static str> {
    let named = resource.name.is_some();
    Some(match *method {
        Method::GET | Method::HEAD if watch && resource.subresource.is_none() => "watch",
        Method::GET | Method::HEAD if named => "get",
        Method::GET | Method::HEAD => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if named => "delete",
        Method::DELETE => "deletecollection",
        Method::OPTIONS if resource.subresource() == "proxy" => "options",
        _ => return None,
    })
}

fn lower(method: &Method) -> &'static str {
    match *method {
        Method::GET => "get",
        Method::HEAD => "head",
        Method::POST => "post",
        Method::PUT => "put",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        Method::OPTIONS => "options",
        _ => "other",
    }
}

/// The decoded parts between slashes; empty ones are left out, as `/version/` is `/version`. A part that holds a slash
/// after decoding, or is `.` or `..`, can be no name.
fn segments(path: &str) -> Option<Vec<String>> {
    path.split('/')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let part = percent_decode_str(part).decode_utf8().ok()?.into_owned();
            let bad = part.contains('/') || part.contains(char::is_control) || part == "." || part == "..";
            (!bad).then_some(part)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(method: &str, path: &str, watch: bool) -> String {
        let Some(asked) = parse(&method.parse().unwrap(), path, watch) else { return "nothing".into() };
        let Some(found) = asked.resource else { return format!("{} {}", asked.verb, asked.path) };
        format!(
            "{} {}/{}/{} ns={} name={} sub={}",
            asked.verb,
            found.group,
            found.version,
            found.plural,
            found.namespace.as_deref().unwrap_or("-"),
            found.name.as_deref().unwrap_or("-"),
            found.subresource.as_deref().unwrap_or("-"),
        )
    }

    #[test]
    fn requests_are_taken_apart() {
        for (method, path, watch, wanted) in [
            ("GET", "/", false, "get /"),
            ("GET", "/version/", false, "get /version/"),
            ("GET", "/api/v1", false, "get /api/v1"),
            ("GET", "/apis/apps/v1", false, "get /apis/apps/v1"),
            ("GET", "/api/v1/pods", false, "list /v1/pods ns=- name=- sub=-"),
            ("GET", "/api/v1/pods", true, "watch /v1/pods ns=- name=- sub=-"),
            ("GET", "/api/v1/watch/pods", false, "watch /v1/pods ns=- name=- sub=-"),
            ("GET", "/api/v1/namespaces/a/pods/b", false, "get /v1/pods ns=a name=b sub=-"),
            ("GET", "/api/v1/namespaces/a/pods/b/log", false, "get /v1/pods ns=a name=b sub=log"),
            ("GET", "/api/v1/namespaces", false, "list /v1/namespaces ns=- name=- sub=-"),
            ("GET", "/api/v1/namespaces/a", false, "get /v1/namespaces ns=a name=a sub=-"),
            ("PUT", "/api/v1/namespaces/a/finalize", false, "update /v1/namespaces ns=a name=a sub=finalize"),
            ("POST", "/apis/apps/v1/namespaces/a/deployments", false, "create apps/v1/deployments ns=a name=- sub=-"),
            (
                "DELETE",
                "/apis/apps/v1/namespaces/a/deployments",
                false,
                "deletecollection apps/v1/deployments ns=a name=- sub=-",
            ),
            ("DELETE", "/api/v1/nodes/n%3A1", false, "delete /v1/nodes ns=- name=n:1 sub=-"),
            ("GET", "/api/v1/nodes/n/proxy/a%2fb/../%ff", false, "get /v1/nodes ns=- name=n sub=proxy"),
            ("POST", "/api/v1/namespaces/a/pods/b:80/proxy/c", false, "create /v1/pods ns=a name=b:80 sub=proxy"),
            ("OPTIONS", "/api/v1/namespaces/a/pods/b/proxy", false, "options /v1/pods ns=a name=b sub=proxy"),
            ("GET", "/api/v1/nodes/a%2fb", false, "nothing"),
            ("GET", "/api/v1/nodes/..", false, "nothing"),
            ("GET", "/api/v1/nodes/%ff", false, "nothing"),
            ("TRACE", "/api/v1/nodes/a", false, "nothing"),
        ] {
            assert_eq!(shown(method, path, watch), wanted, "{method} {path}");
        }
    }
}
