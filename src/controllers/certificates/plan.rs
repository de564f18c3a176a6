//! What is to become of a request. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;

use crate::keys::{CertificateWish, Keys};

pub(super) const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
const LEGACY: &str = "kubernetes.io/legacy-unknown";

/// What is signed when nobody asks for less.
const YEAR: i64 = 365 * 24 * 3600;
const SHORTEST: i64 = 600;
const PENDING: SignedDuration = SignedDuration::from_hours(24);
const DECIDED: SignedDuration = SignedDuration::from_hours(1);

/// What the signer does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    Sign { usages: Vec<String>, seconds: i64 },
    Refuse(String),
}

fn has(request: &CertificateSigningRequest, kind: &str) -> bool {
    let conditions = request.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == kind)
}

/// Whether somebody has said yes or no.
pub(super) fn is_decided(request: &CertificateSigningRequest) -> bool {
    has(request, "Approved") || has(request, "Denied")
}

fn is_issued(request: &CertificateSigningRequest) -> bool {
    let certificate = request.status.as_ref().and_then(|status| status.certificate.as_ref());
    certificate.is_some_and(|certificate| !certificate.0.is_empty())
}

pub(super) fn pem(request: &CertificateSigningRequest) -> String {
    String::from_utf8_lossy(&request.spec.request.0).into_owned()
}

/// What to do about a request, if anything.
pub(super) fn plan(request: &CertificateSigningRequest, keys: &dyn Keys) -> Option<Plan> {
    let signer = request.spec.signer_name.as_str();
    let ours = [CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY].contains(&signer);
    let waits = has(request, "Approved") && !has(request, "Denied") && !has(request, "Failed") && !is_issued(request);
    if !ours || !waits {
        return None;
    }
    let usages = request.spec.usages.clone().unwrap_or_default();
    Some(match keys.read(&pem(request)) {
        Err(why) => Plan::Refuse(format!("unable to parse csr: {why}")),
        Ok(wish) => match refusal(signer, &wish, &usages) {
            Some(why) => Plan::Refuse(why),
            None => {
                let wanted = request.spec.expiration_seconds.map_or(YEAR, i64::from);
                Plan::Sign { usages, seconds: wanted.clamp(SHORTEST, YEAR) }
            }
        },
    })
}

/// Why a signer does not sign this.
pub(super) fn refusal(signer: &str, wish: &CertificateWish, usages: &[String]) -> Option<String> {
    let is = |allowed: &[&str], needed: &[&str]| {
        usages.iter().all(|usage| allowed.contains(&usage.as_str()))
            && needed.iter().all(|usage| usages.iter().any(|one| one == usage))
    };
    let node = || {
        if wish.organizations != ["system:nodes"] {
            Some("organization needs to be system:nodes")
        } else if !wish.common_name.starts_with("system:node:") || wish.common_name == "system:node:" {
            Some("subject common name does not begin with system:node:")
        } else {
            None
        }
    };
    let why = match signer {
        CLIENT if !is(&["digital signature", "key encipherment", "client auth"], &["client auth"]) => {
            Some("usages must be a subset of digital signature, key encipherment and client auth, with client auth")
        }
        KUBELET_CLIENT => node().or_else(|| {
            if !wish.dns_names.is_empty() || !wish.addresses.is_empty() || wish.other_names > 0 {
                return Some("DNS, IP, email and URI subjectAltNames are not allowed");
            }
            let allowed = ["digital signature", "key encipherment", "client auth"];
            let fits = is(&allowed, &["digital signature", "client auth"]);
            (!fits).then_some("usages did not match key encipherment, digital signature and client auth")
        }),
        KUBELET_SERVING => node().or_else(|| {
            if wish.dns_names.is_empty() && wish.addresses.is_empty() {
                return Some("DNS or IP subjectAltName is required");
            }
            if wish.other_names > 0 {
                return Some("email and URI subjectAltNames are not allowed");
            }
            let allowed = ["digital signature", "key encipherment", "server auth"];
            let fits = is(&allowed, &["digital signature", "server auth"]);
            (!fits).then_some("usages did not match key encipherment, digital signature and server auth")
        }),
        _ => None,
    };
    why.map(str::to_owned)
}

/// When a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Over,
    In(Duration),
}

pub(super) fn end(request: &CertificateSigningRequest, now: Timestamp) -> End {
    let conditions = request.status.as_ref().and_then(|status| status.conditions.as_ref());
    let written = conditions.into_iter().flatten().filter_map(|condition| condition.last_update_time.as_ref());
    let (since, kept) = match (written.map(|time| time.0).max(), is_decided(request)) {
        (Some(since), true) => (since, DECIDED),
        _ => (request.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0), PENDING),
    };
    let left = since.checked_add(kept).unwrap_or(now).duration_since(now);
    match Duration::try_from(left) {
        Ok(left) if !left.is_zero() => End::In(left),
        _ => End::Over,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn wish(name: &str, organizations: &[&str], dns: &[&str]) -> CertificateWish {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        CertificateWish {
            common_name: name.to_owned(),
            organizations: texts(organizations),
            dns_names: texts(dns),
            ..CertificateWish::default()
        }
    }

    #[test]
    fn signers_sign_what_their_rules_allow() {
        let node = wish("system:node:a", &["system:nodes"], &[]);
        let serving = wish("system:node:a", &["system:nodes"], &["a.example"]);
        for (signer, wish, usages, wanted) in [
            (CLIENT, wish("jane", &["dev"], &[]), "client auth", None),
            (CLIENT, wish("jane", &["dev"], &[]), "server auth", Some("usages must")),
            (KUBELET_CLIENT, node.clone(), "client auth,digital signature", None),
            (KUBELET_CLIENT, node.clone(), "client auth", Some("usages did not match")),
            (KUBELET_CLIENT, wish("system:node:a", &["other"], &[]), "client auth", Some("organization")),
            (KUBELET_CLIENT, wish("jane", &["system:nodes"], &[]), "client auth", Some("subject common name")),
            (KUBELET_CLIENT, serving.clone(), "client auth,digital signature", Some("DNS, IP")),
            (KUBELET_SERVING, serving, "server auth,digital signature", None),
            (KUBELET_SERVING, node, "server auth,digital signature", Some("DNS or IP")),
        ] {
            let usages: Vec<String> = usages.split(',').map(str::to_owned).collect();
            let found = refusal(signer, &wish, &usages);
            match wanted {
                None => assert_eq!(found, None, "{signer}"),
                Some(start) => assert!(found.as_deref().is_some_and(|why| why.starts_with(start)), "{found:?}"),
            }
        }
    }

    #[test]
    fn requests_go_after_a_while() {
        let request = |conditions: Value| -> CertificateSigningRequest {
            serde_json::from_value(json!({
                "metadata": { "name": "a", "creationTimestamp": "2026-01-01T00:00:00Z" },
                "spec": { "request": "", "signerName": "x/y" },
                "status": { "conditions": conditions },
            }))
            .unwrap()
        };
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let approved = json!([{ "type": "Approved", "status": "True", "lastUpdateTime": "2026-01-01T01:00:00Z" }]);
        assert_eq!(end(&request(json!([])), at("2026-01-01T23:00:00Z")), End::In(Duration::from_secs(3600)));
        assert_eq!(end(&request(json!([])), at("2026-01-02T00:00:00Z")), End::Over);
        assert_eq!(end(&request(approved.clone()), at("2026-01-01T01:30:00Z")), End::In(Duration::from_secs(1800)));
        assert_eq!(end(&request(approved), at("2026-01-01T02:00:01Z")), End::Over);
    }
}
