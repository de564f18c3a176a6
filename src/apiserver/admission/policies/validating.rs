//! ValidatingAdmissionPolicies: requests that expressions do not like are refused, warned about or noted.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::Status;
use api::status::Cause;
use async_trait::async_trait;
use objects::{Admission, Objects, Rank, Review};
use serde_json::json;

use super::super::expressions::Subject;
use super::super::matching::Asked;
use super::super::settling::forbidden;
use super::configured::{Binding, Configured, Policy};
use super::verdict::{self, Denial};
use super::{is_exempt, params};
use crate::authorization::Authorizer;

/// The ValidatingAdmissionPolicies of a cluster.
pub struct ValidatingPolicies {
    configured: Configured,
    authorizer: Arc<dyn Authorizer>,
}

/// A refusal in the making.
struct Refusal {
    message: String,
    reason: String,
}

impl ValidatingPolicies {
    /// Those of `objects`.
    pub fn new(objects: &Objects, authorizer: Arc<dyn Authorizer>) -> Self {
        let configured = Configured::new(objects, "validatingadmissionpolicies", "validatingadmissionpolicybindings");
        Self { configured, authorizer }
    }

    /// What one policy has against the request.
    async fn judge(&self, policy: &Policy, asked: &Asked<'_>, refusals: &mut Vec<Refusal>) -> Result<(), Status> {
        let matched = match &policy.matcher {
            Ok(matcher) => matcher.matches(asked).await,
            Err(status) => Err(status.clone()),
        };
        let matched = match matched {
            Ok(Some(matched)) => matched,
            Ok(None) => return Ok(()),
            Err(status) => {
                refusals.extend(unusable(policy, None, &status.message));
                return Ok(());
            }
        };
        if let Some(why) = params::unknown(asked, policy) {
            refusals.extend(unusable(policy, None, &why));
            return Ok(());
        }
        let subject = match Subject::new(asked, &matched, &*self.authorizer).await {
            Ok(subject) => subject.within(asked.namespace_object().await?),
            Err(status) => {
                let why = format!("failed to convert object version: {}", status.message);
                refusals.extend(unusable(policy, None, &why));
                return Ok(());
            }
        };
        let mut notes: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for binding in &policy.bindings {
            let fits = match &binding.matcher {
                Ok(matcher) => matcher.matches(asked).await,
                Err(status) => Err(status.clone()),
            };
            match fits {
                Ok(Some(_)) => {}
                Ok(None) => continue,
                Err(status) => {
                    refusals.extend(unusable(policy, Some(binding), &status.message));
                    continue;
                }
            }
            match params::collect(asked, policy, binding).await {
                Ok(all) => {
                    for param in all {
                        self.weigh(policy, binding, &subject, param, asked.review, (refusals, &mut notes)).await;
                    }
                }
                Err(why) => refusals.extend(unusable(policy, Some(binding), &why)),
            }
        }
        for (key, values) in notes {
            asked.review.annotations.add(format!("{}/{key}", policy.name), values.join(", "));
        }
        Ok(())
    }

    async fn weigh(
        &self,
        policy: &Policy,
        binding: &Binding,
        subject: &Subject<'_>,
        param: Option<serde_json::Value>,
        review: &Review<'_>,
        (refusals, notes): (&mut Vec<Refusal>, &mut BTreeMap<String, Vec<String>>),
    ) {
        let verdict = subject.evaluate(param.as_ref(), &policy.variables, |scope| verdict::of(policy, scope)).await;
        for denial in verdict.denials {
            for action in &binding.actions {
                match action.as_str() {
                    "Deny" => refusals.push(Refusal {
                        message: denied(policy, Some(binding), &denial.message),
                        reason: denial.reason.clone().unwrap_or_else(|| "Invalid".to_owned()),
                    }),
                    "Warn" => review.warnings.push(format!(
                        "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {}",
                        policy.name, binding.name, denial.message
                    )),
                    "Audit" => note_failure(policy, binding, &denial, review),
                    _ => {}
                }
            }
        }
        for (key, value) in verdict.annotations {
            let values = notes.entry(key).or_default();
            if !values.contains(&value) {
                values.push(value);
            }
        }
        for fault in verdict.annotation_faults {
            let message = denied(policy, Some(binding), &fault);
            refusals.push(Refusal { message, reason: "Invalid".to_owned() });
        }
    }
}

fn note_failure(policy: &Policy, binding: &Binding, denial: &Denial, review: &Review<'_>) {
    let failure = json!([{
        "message": denial.message, "policy": policy.name, "binding": binding.name,
        "expressionIndex": denial.index, "validationActions": binding.actions,
    }]);
    review.annotations.add("validation.policy.admission.k8s.io/validation_failure", failure.to_string());
}

/// The refusal of a policy that cannot be used, unless its failures are forgiven.
fn unusable(policy: &Policy, binding: Option<&Binding>, why: &str) -> Option<Refusal> {
    let what = if binding.is_some() { "binding" } else { "policy" };
    let message = denied(policy, binding, &format!("failed to configure {what}: {why}"));
    (!policy.fails_open).then(|| Refusal { message, reason: "Invalid".to_owned() })
}

fn denied(policy: &Policy, binding: Option<&Binding>, why: &str) -> String {
    match binding {
        Some(binding) => {
            let (policy, binding) = (&policy.name, &binding.name);
            format!("ValidatingAdmissionPolicy '{policy}' with binding '{binding}' denied request: {why}")
        }
        None => format!("ValidatingAdmissionPolicy '{}' denied request: {why}", policy.name),
    }
}

fn code_of(reason: &str) -> u16 {
    match reason {
        "Forbidden" => 403,
        "Unauthorized" => 401,
        "RequestEntityTooLarge" => 413,
        _ => 422,
    }
}

#[async_trait]
impl Admission for ValidatingPolicies {
    fn rank(&self) -> Rank {
        Rank::Policy
    }

    async fn validate(&self, review: &Review<'_>) -> Result<(), Status> {
        let policies = self.configured.now();
        if policies.is_empty() || is_exempt(review) {
            return Ok(());
        }
        let asked = Asked::new(review);
        let mut refusals = Vec::new();
        for policy in policies.iter() {
            self.judge(policy, &asked, &mut refusals).await?;
        }
        let Some(Refusal { message, reason }) = refusals.into_iter().next() else { return Ok(()) };
        let mut status = forbidden(review, &message);
        status.code = code_of(&reason);
        status.reason = reason;
        status.causes.push(Cause { message, ..Cause::default() });
        Err(status)
    }
}
