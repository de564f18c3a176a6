//! Who is let in, who may do what, and how much at once.

use std::sync::Arc;

use api::{AccessRequest, UserInfo};
use async_trait::async_trait;
use tower::ServiceExt;

use super::harness::{cluster, cluster_with, read, request};
use crate::authentication::{ClientCertificate, PeerCertificate, StaticTokens};
use crate::{Authorizer, Config, Decision, HealthCheck, Limits};

fn with_tokens() -> Config {
    let tokens = "root,admin,1,system:masters\nuser,jane,2,\"dev,ops\"\n";
    let tokens = StaticTokens::parse(tokens, "tokens").unwrap();
    Config { authenticators: vec![Arc::new(ClientCertificate), Arc::new(tokens)], ..Config::default() }
}

#[tokio::test]
async fn credentials_decide_what_is_answered() {
    let cluster = cluster_with(with_tokens()).await;
    let root = ("authorization", "Bearer root");
    let jane = ("authorization", "Bearer user");
    let wrong = ("authorization", "Bearer nonsense");
    let none: &[(&str, &str)] = &[];
    for (path, headers, wanted) in [
        ("/healthz", none, "200"),
        ("/livez/ping", none, "200"),
        ("/readyz?verbose", none, "200"),
        ("/api", none, "403 Forbidden forbidden: User \"system:anonymous\" cannot get path \"/api\""),
        (
            "/api/v1/pods",
            none,
            "403 Forbidden pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API group \"\" at the cluster scope",
        ),
        ("/nothing", none, "403"),
        ("/healthz", &[wrong], "401"),
        ("/api/v1/pods", &[wrong], "401"),
        ("/api/v1/pods", &[root], "200"),
        ("/nothing", &[root], "404"),
        ("/apis", &[jane], "403"),
        ("/nothing", &[jane], "403"),
        (
            "/api/v1/pods",
            &[jane],
            "403 Forbidden pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" at the cluster scope",
        ),
        (
            "/apis/apps/v1/namespaces/a/deployments/b/scale",
            &[jane],
            "403 Forbidden deployments.apps \"b\" is forbidden: User \"jane\" cannot get resource \"deployments/scale\" in API group \"apps\" in the namespace \"a\"",
        ),
        ("/metrics", &[jane], "403 Forbidden forbidden: User \"jane\" cannot get path \"/metrics\""),
    ] {
        let answer = cluster.knock("GET", path, headers, "").await;
        let found = if answer.code == 200 { "200".to_owned() } else { answer.refusal() };
        assert!(found.starts_with(wanted), "{path} {headers:?}: {found}");
    }
    assert_eq!(cluster.knock("POST", "/healthz", &[], "").await.code, 403);
}

#[tokio::test]
async fn a_verified_certificate_is_an_identity() {
    let cluster = cluster().await;
    for (groups, wanted) in [(vec![UserInfo::MASTERS.to_owned()], 200), (vec![], 403)] {
        let mut asked = request("GET", "/api/v1/nodes", &[], "");
        asked.extensions_mut().insert(Arc::new(PeerCertificate { user: "someone".into(), groups }));
        assert_eq!(read(cluster.server.router().oneshot(asked).await.unwrap()).await.code, wanted);
    }
    let mut asked = request("GET", "/api/v1/nodes", &[], "");
    asked.extensions_mut().insert(UserInfo::new("admin", [UserInfo::MASTERS]));
    assert_eq!(read(cluster.server.router().oneshot(asked).await.unwrap()).await.code, 403);
}

/// Panics when asked about secrets, waits for ever when asked about nodes.
struct Odd;

#[async_trait]
impl Authorizer for Odd {
    async fn authorize(&self, request: &AccessRequest) -> Decision {
        match request.resource.as_str() {
            "secrets" => panic!("as the test wants it"),
            "nodes" => std::future::pending().await,
            _ => Decision::Allow(String::new()),
        }
    }
}

#[tokio::test]
async fn a_panic_ends_one_request_only() {
    let cluster = cluster_with(Config { authorizer: Arc::new(Odd), ..with_tokens() }).await;
    let refused = cluster.get("/api/v1/secrets").await.refusal();
    assert!(refused.starts_with("500 InternalError Internal error occurred:"), "{refused}");
    assert_eq!(cluster.get("/api/v1/pods").await.code, 200);
}

#[tokio::test]
async fn too_many_at_once_are_sent_away() {
    let limits = Limits { in_flight: 1, ..Limits::default() };
    let cluster = cluster_with(Config { authorizer: Arc::new(Odd), limits, ..with_tokens() }).await;
    let jane = [("authorization", "Bearer user")];
    let stuck = cluster.server.router().oneshot(request("GET", "/api/v1/nodes", &jane, ""));
    let mut stuck = Box::pin(stuck);
    assert!(futures::poll!(&mut stuck).is_pending());
    let refused = cluster.knock("GET", "/api/v1/pods", &jane, "").await;
    assert!(refused.refusal().starts_with("429 TooManyRequests"), "{}", refused.text());
    assert_eq!(refused.header("retry-after"), "1");
    // The administrator gets in always.
    assert_eq!(cluster.get("/api/v1/pods").await.code, 200);
    drop(stuck);
    assert_eq!(cluster.knock("GET", "/api/v1/pods", &jane, "").await.code, 200);
}

#[tokio::test]
async fn checks_may_be_added_later() {
    let cluster = cluster().await;
    cluster.server.add_check(HealthCheck::ready("roles", || Err("not up".to_owned())));
    let ready = cluster.knock("GET", "/readyz", &[], "").await;
    assert_eq!(ready.code, 500);
    assert!(ready.text().contains("[-]roles failed: reason withheld"), "{}", ready.text());
    assert_eq!(cluster.knock("GET", "/livez", &[], "").await.text(), "ok");
}

#[tokio::test]
async fn the_registry_stands_behind_the_same_door() {
    let who = |user: axum::Extension<UserInfo>| async move { user.0.name };
    let images = axum::Router::new().route("/v2/", axum::routing::get(who));
    let cluster = cluster_with(Config { images: Some(images), ..with_tokens() }).await;
    for (token, wanted) in [("Bearer root", 200), ("Bearer user", 403), ("Bearer x", 401)] {
        let answer = cluster.knock("GET", "/v2/", &[("authorization", token)], "").await;
        assert_eq!(answer.code, wanted, "{token}");
        assert!(wanted != 200 || answer.text() == "admin");
    }
    // Clients of registries wait for a challenge, and answer it with a token as the password.
    let asked = cluster.knock("GET", "/v2/", &[], "").await;
    assert_eq!((asked.code, asked.header("www-authenticate")), (401, "Basic realm=\"coracle\""));
    assert_eq!(asked.json()["errors"][0]["code"], "UNAUTHORIZED");
    for (password, wanted) in [("root", 200), ("user", 403), ("x", 401)] {
        let basic = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, format!("anybody:{password}"));
        let answer = cluster.knock("GET", "/v2/", &[("authorization", &format!("Basic {basic}"))], "").await;
        assert_eq!(answer.code, wanted, "{password}: {}", answer.text());
        assert!(wanted != 403 || answer.json()["errors"][0]["code"] == "DENIED", "{}", answer.text());
        // Elsewhere it is no credential at all.
        let other = cluster.knock("GET", "/api/v1/pods", &[("authorization", &format!("Basic {basic}"))], "").await;
        assert_eq!(other.code, 403, "{}", other.text());
    }
}
