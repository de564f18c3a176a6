//! ConfigMaps that clients and API extensions look for.

use api::yaml;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Facts;

/// Whoever may speak for others to an aggregated API has this name in its certificate.
pub const FRONT_PROXY: &str = "front-proxy-client";

/// `kube-system/extension-apiserver-authentication`: whom an aggregated API believes. `kube-public/cluster-info`: where the
/// cluster is, for whoever wants to join it.
///
/// Both say what is so now: the port may be another after a restart.
pub(super) fn current(facts: &Facts) -> Vec<Value> {
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "", "cluster": {
            "server": facts.server_url,
            "certificate-authority-data": STANDARD.encode(&facts.ca_certificate),
        } }],
        "contexts": [],
        "users": [],
        "current-context": "",
        "preferences": {},
    });
    let list = |name: &str| json!([name]).to_string();
    vec![
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": { "name": "extension-apiserver-authentication", "namespace": "kube-system" },
            "data": {
                "client-ca-file": facts.ca_certificate,
                "requestheader-allowed-names": list(FRONT_PROXY),
                "requestheader-client-ca-file": facts.front_proxy_ca,
                "requestheader-extra-headers-prefix": list("X-Remote-Extra-"),
                "requestheader-group-headers": list("X-Remote-Group"),
                "requestheader-uid-headers": list("X-Remote-Uid"),
                "requestheader-username-headers": list("X-Remote-User"),
            },
        }),
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": { "name": "cluster-info", "namespace": "kube-public" },
            "data": { "kubeconfig": yaml::to_string(&kubeconfig) },
        }),
    ]
}

/// `kube-system/kube-apiserver-legacy-service-account-token-tracking`: since when the use of tokens in Secrets is known.
pub(super) fn objects(_facts: &Facts) -> Vec<Value> {
    let since = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    vec![json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "kube-apiserver-legacy-service-account-token-tracking",
            "namespace": "kube-system",
        },
        "data": { "since": since },
    })]
}
