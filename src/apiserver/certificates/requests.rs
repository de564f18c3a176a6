//! Who may ask for a certificate, who may approve, who may sign.

use std::sync::Arc;

use api::kinds::certificate_signing_request as request;
use api::{AccessRequest, Status};
use async_trait::async_trait;
use jiff::Timestamp;
use objects::{Admission, Operation, Review, Sub};
use serde_json::Value;

use super::signing::Wanted;
use crate::authorization::Authorizer;

const GROUP: &str = "certificates.k8s.io";
const CLIENT: &str = "kubernetes.io/kube-apiserver-client";

/// Writes into each CertificateSigningRequest who asks, and holds approvers and signers to the signers that they may act
/// for: the verbs `approve` and `sign` on `signers`.
pub struct CertificateRequests {
    authorizer: Arc<dyn Authorizer>,
}

impl std::fmt::Debug for CertificateRequests {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("CertificateRequests")
    }
}

impl CertificateRequests {
    /// `authorizer` knows who may approve and sign.
    pub fn new(authorizer: Arc<dyn Authorizer>) -> Self {
        Self { authorizer }
    }

    /// Whether the user may act for a signer, or for all signers of its domain.
    async fn may(&self, review: &Review<'_>, verb: &str, signer: &str) -> bool {
        let domain = signer.split_once('/').map(|(domain, _)| format!("{domain}/*"));
        for name in std::iter::once(signer.to_owned()).chain(domain) {
            let request = AccessRequest {
                user: review.user.clone(),
                verb: verb.to_owned(),
                group: GROUP.to_owned(),
                version: "*".to_owned(),
                resource: "signers".to_owned(),
                name,
                ..AccessRequest::default()
            };
            if self.authorizer.authorize(&request).await.is_allowed() {
                return true;
            }
        }
        false
    }

    async fn check(&self, review: &Review<'_>, verb: &str) -> Result<(), Status> {
        let signer = review.old.map_or("", |old| text(old, "/spec/signerName"));
        if self.may(review, verb, signer).await {
            return Ok(());
        }
        Err(forbidden(review, &format!("user not permitted to {verb} requests with signerName {signer:?}")))
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn forbidden(review: &Review<'_>, why: &str) -> Status {
    let resource = format!("certificatesigningrequests.{GROUP}");
    let mut status = Status::new(403, "Forbidden", format!("{resource} {:?} is forbidden: {why}", review.name));
    GROUP.clone_into(&mut status.group);
    "certificatesigningrequests".clone_into(&mut status.kind);
    review.name.clone_into(&mut status.name);
    status
}

/// Nobody becomes an administrator by a certificate.
fn check_subject(review: &Review<'_>) -> Result<(), Status> {
    if text(&review.object, "/spec/signerName") != CLIENT {
        return Ok(());
    }
    let wanted = Wanted::of_base64(text(&review.object, "/spec/request"));
    let masters = wanted.is_ok_and(|wanted| wanted.organizations.iter().any(|group| group == api::UserInfo::MASTERS));
    if masters {
        return Err(forbidden(
            review,
            &format!("use of {CLIENT} signer with {} group is not allowed", api::UserInfo::MASTERS),
        ));
    }
    Ok(())
}

#[async_trait]
impl Admission for CertificateRequests {
    async fn mutate(&self, review: &mut Review<'_>) -> Result<(), Status> {
        if !review.is(GROUP, "certificatesigningrequests") {
            return Ok(());
        }
        match (review.operation, review.sub, review.old) {
            (Operation::Create, Sub::None, _) => request::requested_by(&mut review.object, review.user),
            (Operation::Update, Sub::Status, Some(old)) => {
                request::issuance(&mut review.object, old, Timestamp::now());
            }
            (Operation::Update, Sub::Named("approval"), Some(old)) => {
                request::approval(&mut review.object, old, Timestamp::now());
            }
            _ => {}
        }
        Ok(())
    }

    async fn validate(&self, review: &Review<'_>) -> Result<(), Status> {
        if !review.is(GROUP, "certificatesigningrequests") {
            return Ok(());
        }
        let certificate = |object: &Value| text(object, "/status/certificate").to_owned();
        match (review.operation, review.sub, review.old) {
            (Operation::Create, Sub::None, _) => check_subject(review),
            (Operation::Update, Sub::Named("approval"), Some(old)) => {
                self.check(review, "approve").await?;
                let errors = review.kind.behaviour.validate_status(&review.object, old);
                match errors.as_slice() {
                    [] => Ok(()),
                    errors => Err(Status::invalid(GROUP, "CertificateSigningRequest", review.name, errors)),
                }
            }
            (Operation::Update, Sub::Status, Some(old)) if certificate(old) != certificate(&review.object) => {
                self.check(review, "sign").await
            }
            _ => Ok(()),
        }
    }
}
