//! An admission webhook: `POST /validate` refuses objects that are labelled `forbidden`, `POST /mutate` labels what has not
//! been seen yet.
//!
//! Shows: a component can guard the very cluster that runs it. Its Service carries the annotation `coracle.dev/tls-secret`,
//! so that the API server reaches it over TLS, as webhooks must be; the component itself speaks plain HTTP.

use serde_json::{Value, json};
use wstd::http::{Body, Error, Request, Response};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let path = request.uri().path().to_owned();
    let mut body = request.into_body();
    let review: Value = serde_json::from_slice(body.contents().await?).unwrap_or_default();
    let answer = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": if path.starts_with("/mutate") { mutate(&review) } else { validate(&review) },
    });
    let mut response = Response::new(answer.to_string().into());
    response.headers_mut().insert("content-type", "application/json".parse().expect("a valid header"));
    Ok(response)
}

fn label<'a>(review: &'a Value, name: &str) -> Option<&'a Value> {
    review.pointer("/request/object/metadata/labels")?.get(name)
}

fn validate(review: &Value) -> Value {
    let (uid, user) = (&review["request"]["uid"], &review["request"]["userInfo"]["username"]);
    match label(review, "forbidden") {
        None => json!({ "uid": uid, "allowed": true }),
        Some(_) => json!({
            "uid": uid, "allowed": false,
            "status": { "code": 403, "reason": "Forbidden", "message": format!("the gatekeeper lets {user} bring no such thing") },
        }),
    }
}

fn mutate(review: &Value) -> Value {
    let uid = &review["request"]["uid"];
    if label(review, "seen-by").is_some() {
        return json!({ "uid": uid, "allowed": true });
    }
    let path = "/metadata/labels";
    let mut operations = Vec::new();
    if review.pointer("/request/object/metadata/labels").is_none() {
        operations.push(json!({ "op": "add", "path": path, "value": {} }));
    }
    operations.push(json!({ "op": "add", "path": format!("{path}/seen-by"), "value": "gatekeeper" }));
    json!({ "uid": uid, "allowed": true, "patchType": "JSONPatch", "patch": base64(&json!(operations).to_string()) })
}

/// Patches travel in base64.
fn base64(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= chunk.len() { letter as char } else { '=' });
        }
    }
    out
}
