//! The door of the images registry, `/v2/`: the same identities and rights as everywhere, in the words of registries' clients.
//!
//! Such clients send no bearer token and no certificate of their own accord. They wait for a challenge and answer it with a
//! user and a password: the password is any token that the API takes (`kubectl create token NAME`), whatever the user is
//! called. Who asks without one is asked for it, and what is refused is refused in OCI's form.

use api::Status;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue};
use serde_json::json;

use crate::authentication::Credentials;
use crate::reply::Reply;

/// Whether a path is the registry's.
pub(crate) fn is_registry(path: &str) -> bool {
    path == "/v2" || path.starts_with("/v2/")
}

/// The verb that a request to the registry needs. Who may push may also give up what he has not finished.
pub(crate) fn verb<'a>(path: &str, verb: &'a str) -> &'a str {
    if verb == "delete" && is_registry(path) && path.contains("/blobs/uploads/") { "put" } else { verb }
}

/// Takes the password of basic authentication for a token, where no better credentials came along.
pub(crate) fn credentials(headers: &HeaderMap, found: Credentials) -> Credentials {
    if found.bearer.is_some() {
        return found;
    }
    Credentials { bearer: password(headers), ..found }
}

fn password(headers: &HeaderMap) -> Option<String> {
    let (scheme, both) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let both = String::from_utf8(BASE64_STANDARD.decode(both.trim()).ok()?).ok()?;
    both.split_once(':').map(|(_, password)| password.to_owned()).filter(|password| !password.is_empty())
}

/// A refusal as registries word it. Whoever proved nothing yet is asked to.
pub(crate) fn refusal(status: &Status, proved: bool) -> Reply {
    let mut code = status.code;
    if code == 403 && !proved {
        code = 401;
    }
    let word = match code {
        401 => "UNAUTHORIZED",
        403 => "DENIED",
        404 => "NAME_UNKNOWN",
        429 => "TOOMANYREQUESTS",
        _ => "UNKNOWN",
    };
    let message = if code == 401 && !proved {
        "authentication required: a token of the API is the password, such as `kubectl create token NAME` prints"
    } else {
        &status.message
    };
    let body = json!({ "errors": [{ "code": word, "message": message, "detail": null }] });
    let mut reply = Reply::json(code, &body);
    reply.headers = Reply::status(status).headers;
    if code == 401 {
        reply.headers.push((WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"coracle\"")));
    }
    reply.header(
        http::HeaderName::from_static("docker-distribution-api-version"),
        HeaderValue::from_static("registry/2.0"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_a_token() {
        for (sent, wanted) in [
            ("Basic eDp0b2tlbg==", Some("token")),
            ("basic OnRva2Vu", Some("token")),
            ("Basic eDo=", None),
            ("Basic !", None),
            ("Bearer token", None),
        ] {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(sent))]);
            assert_eq!(password(&headers).as_deref(), wanted, "{sent}");
        }
        assert_eq!(verb("/v2/x/blobs/uploads/17", "delete"), "put");
        assert_eq!(verb("/v2/x/manifests/v1", "delete"), "delete");
        assert!(is_registry("/v2/x/tags/list") && is_registry("/v2") && !is_registry("/v2beta1"));
    }
}
