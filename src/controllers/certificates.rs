//! CertificateSigningRequests: a node's own are approved, what was approved is signed, what is over is removed.
//!
//! *Guarantees*: nothing is signed that its signer's rules do not allow; such a request gets the condition `Failed` and is
//! not looked at again.

mod plan;

use std::sync::Arc;

use async_trait::async_trait;
use client::Client;
use client::controller::{Controller, Next, Reconcile, RunError};
use client::informers::{Informer, Key};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use kube::api::{Api, DeleteParams, PostParams};

use crate::Rig;
use crate::keys::Keys;
use plan::Plan;

/// Starts the approver.
pub(crate) fn start_approver(rig: Rig) {
    start(rig, "csr_approver", Role::Approver);
}

/// Starts the signer.
pub(crate) fn start_signer(rig: Rig) {
    start(rig, "csr_signer", Role::Signer);
}

/// Starts the cleaner.
pub(crate) fn start_cleaner(rig: Rig) {
    start(rig, "csr_cleaner", Role::Cleaner);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Approver,
    Signer,
    Cleaner,
}

fn start(rig: Rig, name: &'static str, role: Role) {
    let Some(keys) = rig.config.keys.clone() else { return };
    let requests = rig.informers.of::<CertificateSigningRequest>();
    let controller = Controller::new(name, &rig.metrics).workers(2).each(&requests);
    controller.start(&rig.tasks, Certificates { client: rig.client, requests, keys, role });
}

struct Certificates {
    client: Client,
    requests: Informer<CertificateSigningRequest>,
    keys: Arc<dyn Keys>,
    role: Role,
}

#[async_trait]
impl Reconcile for Certificates {
    async fn reconcile(&self, key: &Key) -> Result<Next, RunError> {
        let Some(request) = self.requests.at(key) else { return Ok(Next::Done) };
        let api = Api::<CertificateSigningRequest>::all(self.client.clone());
        match self.role {
            Role::Cleaner => match plan::end(&request, Timestamp::now()) {
                plan::End::Over => {
                    let gone = api.delete(&key.name, &DeleteParams::default()).await;
                    match gone {
                        Err(error) if client::is_not_found(&error) => Ok(Next::Done),
                        other => Ok(other.map(|_| Next::Done)?),
                    }
                }
                plan::End::In(wait) => Ok(Next::After(wait)),
            },
            Role::Approver => self.approve(&api, &request).await,
            Role::Signer => self.sign(&api, &request).await,
        }
    }
}

impl Certificates {
    async fn approve(
        &self,
        api: &Api<CertificateSigningRequest>,
        request: &CertificateSigningRequest,
    ) -> Result<Next, RunError> {
        if plan::is_decided(request) || request.spec.signer_name != plan::KUBELET_CLIENT {
            return Ok(Next::Done);
        }
        let Ok(wish) = self.keys.read(&plan::pem(request)) else { return Ok(Next::Done) };
        if plan::refusal(&request.spec.signer_name, &wish, &request.spec.usages.clone().unwrap_or_default()).is_some() {
            return Ok(Next::Done);
        }
        let own = request.spec.username.as_deref() == Some(wish.common_name.as_str());
        let kinds: &[(&str, &str)] = if own {
            &[("selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview.")]
        } else {
            &[]
        };
        let any = ("nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview.");
        for (subresource, message) in kinds.iter().chain(std::iter::once(&any)) {
            if !self.may(request, subresource).await? {
                continue;
            }
            let mut approved = request.clone();
            let status = approved.status.get_or_insert_default();
            status.conditions.get_or_insert_default().push(condition("Approved", "AutoApproved", message));
            api.replace_subresource("approval", &request_name(request), &PostParams::default(), &approved).await?;
            return Ok(Next::Done);
        }
        Ok(Next::Done)
    }

    /// Whether whoever asks may have such a certificate.
    async fn may(&self, request: &CertificateSigningRequest, subresource: &str) -> Result<bool, RunError> {
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: request.spec.username.clone(),
                uid: request.spec.uid.clone(),
                groups: request.spec.groups.clone(),
                extra: request.spec.extra.clone(),
                resource_attributes: Some(ResourceAttributes {
                    group: Some("certificates.k8s.io".to_owned()),
                    resource: Some("certificatesigningrequests".to_owned()),
                    verb: Some("create".to_owned()),
                    subresource: Some(subresource.to_owned()),
                    version: Some("*".to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let api = Api::<SubjectAccessReview>::all(self.client.clone());
        let answer = api.create(&PostParams::default(), &review).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    async fn sign(
        &self,
        api: &Api<CertificateSigningRequest>,
        request: &CertificateSigningRequest,
    ) -> Result<Next, RunError> {
        let Some(plan) = plan::plan(request, &*self.keys) else { return Ok(Next::Done) };
        let mut wanted = request.clone();
        let status = wanted.status.get_or_insert_default();
        let refuse = |why: &str| condition("Failed", "SignerValidationFailure", why);
        match plan {
            Plan::Refuse(why) => status.conditions.get_or_insert_default().push(refuse(&why)),
            Plan::Sign { usages, seconds } => match self.keys.sign(&plan::pem(request), &usages, seconds) {
                Ok(certificate) => status.certificate = Some(ByteString(certificate.into_bytes())),
                Err(why) => status.conditions.get_or_insert_default().push(refuse(&why)),
            },
        }
        api.replace_status(&request_name(request), &PostParams::default(), &wanted).await?;
        Ok(Next::Done)
    }
}

fn request_name(request: &CertificateSigningRequest) -> String {
    request.metadata.name.clone().unwrap_or_default()
}

fn condition(kind: &str, reason: &str, message: &str) -> CertificateSigningRequestCondition {
    CertificateSigningRequestCondition {
        type_: kind.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        ..CertificateSigningRequestCondition::default()
    }
}
