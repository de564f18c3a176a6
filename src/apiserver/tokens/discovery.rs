//! What others need to check tokens without asking: OpenID discovery and the key set.

use http::HeaderValue;
use http::header::CACHE_CONTROL;
use serde_json::json;

use super::{ISSUER, TokenIssuer};
use crate::reply::Reply;

/// An hour: keys change with the data folder.
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// `/.well-known/openid-configuration`
pub(crate) fn configuration() -> Reply {
    let document = json!({
        "issuer": ISSUER,
        "jwks_uri": format!("{ISSUER}/openid/v1/jwks"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    });
    kept(Reply::bytes(200, "application/json", document.to_string()))
}

/// `/openid/v1/jwks`
pub(crate) fn key_set(issuer: &TokenIssuer) -> Reply {
    let document = json!({ "keys": [issuer.key.public()] });
    kept(Reply::bytes(200, "application/jwk-set+json", document.to_string()))
}

fn kept(mut reply: Reply) -> Reply {
    reply.headers.push((CACHE_CONTROL, KEPT));
    reply
}
