//! ServiceAccount tokens: asked for, used, and no good once what they are bound to has gone.

use std::sync::Arc;

use serde_json::{Value, json};

use super::harness::{Answer, Cluster, cluster_over, pod};
use crate::Config;
use crate::tokens::{ServiceAccountTokens, TokenIssuer};

async fn cluster() -> Cluster {
    cluster_over(|objects| {
        let issuer = Arc::new(TokenIssuer::ephemeral().unwrap());
        let accounts = ServiceAccountTokens::new(Arc::clone(&issuer), objects);
        Config { authenticators: vec![Arc::new(accounts)], issuer: Some(issuer), ..Config::default() }
    })
    .await
}

async fn ask_for(cluster: &Cluster, spec: Value) -> Answer {
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let body = json!({ "spec": spec }).to_string();
    cluster.ask("POST", path, &[("content-type", "application/json")], body).await
}

async fn token(cluster: &Cluster, spec: Value) -> String {
    let answer = ask_for(cluster, spec).await;
    assert_eq!(answer.code, 201, "{}", answer.text());
    answer.json()["status"]["token"].as_str().unwrap().to_owned()
}

async fn code(cluster: &Cluster, token: &str) -> u16 {
    let header = format!("Bearer {token}");
    cluster.knock("GET", "/api/v1/pods", &[("authorization", &header)], "").await.code
}

/// What a TokenReview says of a token.
async fn review(cluster: &Cluster, token: &str, audiences: &[&str]) -> Value {
    let body = json!({ "spec": { "token": token, "audiences": audiences } });
    cluster.post("/apis/authentication.k8s.io/v1/tokenreviews", &body).await.json()["status"].clone()
}

#[tokio::test]
async fn a_token_is_an_identity_as_long_as_its_account_is_there() {
    let cluster = cluster().await;
    let token = token(&cluster, json!({})).await;
    // Known, and without any rights.
    assert_eq!(code(&cluster, &token).await, 403);
    assert_eq!(code(&cluster, &format!("{token}x")).await, 401);
    let status = review(&cluster, &token, &[]).await;
    assert_eq!(status["user"]["username"], "system:serviceaccount:default:default");
    let groups = ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"];
    assert_eq!(status["user"]["groups"], json!(groups));
    assert_eq!(status["audiences"], json!(["https://kubernetes.default.svc.cluster.local"]));
    cluster.ask("DELETE", "/api/v1/namespaces/default/serviceaccounts/default", &[], "").await;
    assert_eq!(code(&cluster, &token).await, 401);
    let account = json!({ "metadata": { "name": "default" } });
    cluster.post("/api/v1/namespaces/default/serviceaccounts", &account).await;
    assert_eq!(code(&cluster, &token).await, 401, "another account of the same name");
}

#[tokio::test]
async fn a_token_of_a_pod_goes_with_the_pod() {
    let cluster = cluster().await;
    let made = cluster.post("/api/v1/namespaces/default/pods", &pod("p")).await.json();
    let uid = made["metadata"]["uid"].as_str().unwrap();
    let bound = json!({ "boundObjectRef": { "kind": "Pod", "apiVersion": "v1", "name": "p", "uid": uid } });
    let token = token(&cluster, bound).await;
    let status = review(&cluster, &token, &[]).await;
    assert_eq!(status["user"]["extra"]["authentication.kubernetes.io/pod-name"], json!(["p"]));
    assert_eq!(status["user"]["extra"]["authentication.kubernetes.io/pod-uid"], json!([uid]));
    cluster.ask("DELETE", "/api/v1/namespaces/default/pods/p?gracePeriodSeconds=0", &[], "").await;
    assert_eq!(code(&cluster, &token).await, 401);
}

#[tokio::test]
async fn a_token_is_for_its_audience_alone() {
    let cluster = cluster().await;
    let token = token(&cluster, json!({ "audiences": ["vault", "other"], "expirationSeconds": 600 })).await;
    assert_eq!(code(&cluster, &token).await, 401);
    assert!(review(&cluster, &token, &[]).await.get("authenticated").is_none());
    assert_eq!(review(&cluster, &token, &["vault", "x"]).await["audiences"], json!(["vault"]));
}

#[tokio::test]
async fn what_cannot_be_issued_is_refused_in_kubernetes_words() {
    let cluster = cluster().await;
    cluster.post("/api/v1/namespaces/default/pods", &pod("p")).await;
    let other = json!({ "metadata": { "name": "other" } });
    cluster.post("/api/v1/namespaces/default/serviceaccounts", &other).await;
    let bound = |kind: &str, name: &str, uid: &str| json!({ "boundObjectRef": { "kind": kind, "apiVersion": "v1", "name": name, "uid": uid } });
    for (spec, wanted) in [
        (
            json!({ "expirationSeconds": 599 }),
            "422 Invalid TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes",
        ),
        (
            json!({ "expirationSeconds": 4_294_967_297_u64 }),
            "422 Invalid TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than 2^32 seconds",
        ),
        (bound("Pod", "none", ""), "404 NotFound pods \"none\" not found"),
        (
            bound("Pod", "p", "x"),
            "409 Conflict Operation cannot be fulfilled on Pod \"p\": the UID in the bound object reference (x) does not match the UID in record. The object might have been deleted and then recreated",
        ),
        (bound("Deployment", "p", ""), "400 BadRequest cannot bind token to object of type /v1, Kind=Deployment"),
    ] {
        assert_eq!(ask_for(&cluster, spec).await.refusal(), wanted);
    }
    let path = "/api/v1/namespaces/default/serviceaccounts/other/token";
    let body = json!({ "spec": bound("Pod", "p", "") }).to_string();
    let refused = cluster.ask("POST", path, &[("content-type", "application/json")], body).await;
    assert!(refused.refusal().starts_with("400 BadRequest cannot bind token for serviceaccount \"other\" to pod"));
    assert_eq!(cluster.get(path).await.code, 405);
}

#[tokio::test]
async fn others_can_check_tokens_with_the_published_key() {
    let cluster = cluster().await;
    let keys = cluster.get("/openid/v1/jwks").await;
    assert_eq!(keys.header("content-type"), "application/jwk-set+json");
    assert_eq!(keys.json()["keys"][0]["alg"], "ES256");
    let configuration = cluster.get("/.well-known/openid-configuration").await.json();
    assert_eq!(configuration["issuer"], "https://kubernetes.default.svc.cluster.local");
}
