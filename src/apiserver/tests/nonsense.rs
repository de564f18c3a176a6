//! Whatever is sent, nothing panics.

use bytes::BytesMut;
use proptest::prelude::*;

use crate::authentication::StaticTokens;
use crate::query::{Query, check_list_options};
use crate::{accept, path, subresources};

proptest! {
    #[test]
    fn texts_are_read_or_refused(text in "\\PC{0,80}", watch in any::<bool>()) {
        for method in [http::Method::GET, http::Method::DELETE] {
            let _ = path::parse(&method, &text, watch);
            let _ = path::parse(&method, &format!("/api/v1/{text}"), watch);
        }
        let _ = accept::objects(Some(&text));
        let _ = accept::discovery(Some(&text));
        let _ = StaticTokens::parse(&text, "tokens");
        let query = Query::parse(Some(&text));
        let _ = check_list_options(&query, watch);
    }

    #[test]
    fn durations_are_read_or_refused(text in "[0-9.µnmsh]{0,12}") {
        let query = Query::parse(Some(&format!("timeout={text}")));
        let most = std::time::Duration::from_secs(60);
        prop_assert!(query.timeout(most).is_ok_and(|found| found <= most) || query.timeout(most).is_err());
    }

    #[test]
    fn frames_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        subresources::read_frames(&mut BytesMut::from(bytes.as_slice()));
    }

    #[test]
    fn control_frames_are_read_or_refused(kind in 0u8..12, bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let mut frame = vec![0x80, 3, 0, kind, 0, 0, 0, bytes.len() as u8];
        frame.extend_from_slice(&bytes);
        subresources::read_frames(&mut BytesMut::from(frame.as_slice()));
    }
}

#[tokio::test]
async fn odd_requests_get_answers() {
    let cluster = super::harness::cluster().await;
    for (method, path) in [
        ("GET", "/api/v1/namespaces/%00/pods"),
        ("GET", "/api/v1/namespaces/default/pods/%2e%2e"),
        ("GET", "/api/v1/namespaces//pods"),
        ("GET", "/apis"),
        ("GET", "/apis//v1"),
        ("GET", "/api/v1/watch"),
        ("GET", "/api/v1/namespaces/default/"),
        ("OPTIONS", "/api/v1/pods"),
        ("PUT", "/"),
        ("DELETE", "/version"),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
        ("GET", "/api/v1/pods?limit=-1"),
        ("GET", "/api/v1/pods?continue=nonsense"),
        ("GET", "/api/v1/pods?watch=true&resourceVersion=nonsense"),
        ("GET", "/api/v1/pods?resourceVersion=99999999&timeout=1ms"),
        ("GET", "/api/v1/pods?labelSelector=%ff%fe"),
    ] {
        let answer = cluster.ask(method, path, &[], "").await;
        assert!(answer.code != 500, "{method} {path}: {}", answer.text());
    }
}
