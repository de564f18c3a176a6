//! MutatingAdmissionPolicies: expressions change what is written.

use std::sync::Arc;

use api::Status;
use api::status::Cause;
use async_trait::async_trait;
use objects::{Admission, Objects, Rank, Review};
use serde_json::Value;

use super::super::expressions::Subject;
use super::super::matching::{Asked, Matched};
use super::super::rounds::Memory;
use super::super::settling::forbidden;
use super::configured::{Binding, Configured, Policy};
use super::{is_exempt, mutation, params};
use crate::authorization::Authorizer;

/// The MutatingAdmissionPolicies of a cluster.
pub struct MutatingPolicies {
    configured: Configured,
    authorizer: Arc<dyn Authorizer>,
}

/// A policy, a binding and a parameter that are in force for the request.
struct Invocation<'p> {
    policy: &'p Policy,
    binding: &'p Binding,
    param: Option<Value>,
    matched: Matched,
}

impl Invocation<'_> {
    fn key(&self) -> String {
        let param = self
            .param
            .as_ref()
            .map_or(String::new(), |param| format!("{}/{}", api::meta::namespace(param), api::meta::name(param)));
        format!("{}/{}/{param}", self.policy.name, self.binding.name)
    }
}

/// Why policies refuse the request, in the order in which they did.
#[derive(Default)]
struct Faults(Vec<(String, Option<&'static str>)>);

impl Faults {
    fn policy(&mut self, policy: &Policy, why: &str) {
        if !policy.fails_open {
            let name = &policy.name;
            self.0.push((format!("policy {name:?} denied request: failed to configure policy: {why}"), None));
        }
    }

    fn binding(&mut self, policy: &Policy, binding: &Binding, why: &str, reason: Option<&'static str>) {
        if !policy.fails_open {
            let (policy, binding) = (&policy.name, &binding.name);
            self.0.push((format!("policy '{policy}' with binding '{binding}' denied request: {why}"), reason));
        }
    }

    fn refusal(self, review: &Review<'_>) -> Result<(), Status> {
        let Some((message, reason)) = self.0.first().cloned() else { return Ok(()) };
        let mut status = forbidden(review, "admission request denied by policy");
        status.message = message;
        if let Some(reason) = reason {
            reason.clone_into(&mut status.reason);
        }
        status.causes = self.0.into_iter().map(|(message, _)| Cause { message, ..Cause::default() }).collect();
        Err(status)
    }
}

impl MutatingPolicies {
    /// Those of `objects`.
    pub fn new(objects: &Objects, authorizer: Arc<dyn Authorizer>) -> Self {
        let configured = Configured::new(objects, "mutatingadmissionpolicies", "mutatingadmissionpolicybindings");
        Self { configured, authorizer }
    }

    /// The object after one invocation; `None` where its conditions do not hold.
    async fn invoke(
        &self,
        invocation: &Invocation<'_>,
        review: &mut Review<'_>,
        faults: &mut Faults,
        is_due: bool,
    ) -> Result<bool, Status> {
        let (policy, binding) = (invocation.policy, invocation.binding);
        let param = invocation.param.as_ref();
        for (index, change) in policy.mutations.iter().enumerate() {
            let asked = Asked::new(review);
            let subject = Subject::new(&asked, &invocation.matched, &*self.authorizer).await?;
            let subject = subject.within(asked.namespace_object().await?);
            if index == 0 {
                let holds = subject.evaluate(param, &policy.variables, |scope| policy.conditions.hold_in(scope)).await;
                match holds {
                    Ok(true) => {}
                    Ok(false) => return Ok(false),
                    Err(why) => {
                        faults.binding(policy, binding, &why, Some("Invalid"));
                        return Ok(false);
                    }
                }
                if !is_due {
                    return Ok(false);
                }
            }
            if !review.object.is_object() {
                continue;
            }
            let kind = invocation.matched.kind(review);
            match mutation::carry_out(change, policy, &subject, param, (review, kind)).await {
                Ok(object) => {
                    drop(subject);
                    review.object = object;
                }
                Err(why) => faults.binding(policy, binding, &why, Some("Invalid")),
            }
        }
        Ok(true)
    }

    /// Everything that is in force for the request.
    async fn invocations<'p>(
        &self,
        policies: &'p [Policy],
        review: &Review<'_>,
        faults: &mut Faults,
    ) -> Vec<Invocation<'p>> {
        let asked = Asked::new(review);
        let mut found = Vec::new();
        for policy in policies {
            let matched = match &policy.matcher {
                Ok(matcher) => matcher.matches(&asked).await,
                Err(status) => Err(status.clone()),
            };
            let matched = match matched {
                Ok(Some(matched)) => matched,
                Ok(None) => continue,
                Err(status) => {
                    faults.policy(policy, &status.message);
                    continue;
                }
            };
            if let Some(why) = params::unknown(&asked, policy) {
                faults.policy(policy, &why);
                continue;
            }
            for binding in &policy.bindings {
                match in_force(&asked, policy, binding).await {
                    Ok(params) => found.extend(params.into_iter().map(|param| Invocation {
                        policy,
                        binding,
                        param,
                        matched: matched.clone(),
                    })),
                    Err(why) => {
                        faults.binding(policy, binding, &format!("failed to configure binding: {why}"), None);
                    }
                }
            }
        }
        found
    }
}

/// The parameters that a binding is in force with; none where it is not meant.
async fn in_force(asked: &Asked<'_>, policy: &Policy, binding: &Binding) -> Result<Vec<Option<Value>>, String> {
    let matcher = binding.matcher.as_ref().map_err(|status| status.message.clone())?;
    match matcher.matches(asked).await {
        Ok(Some(_)) => params::collect(asked, policy, binding).await,
        Ok(None) => Ok(Vec::new()),
        Err(status) => Err(status.message),
    }
}

#[async_trait]
impl Admission for MutatingPolicies {
    fn rank(&self) -> Rank {
        Rank::Policy
    }

    async fn mutate(&self, review: &mut Review<'_>) -> Result<(), Status> {
        let policies = self.configured.now();
        if policies.is_empty() || is_exempt(review) {
            return Ok(());
        }
        let mut memory = Memory::of(review, "MutatingAdmissionPolicy");
        let mut faults = Faults::default();
        for invocation in self.invocations(&policies, review, &mut faults).await {
            let before = review.object.clone();
            let is_due = memory.is_due(review, &invocation.key());
            let was_in_force = self.invoke(&invocation, review, &mut faults, is_due).await?;
            if review.object != before {
                memory.changed();
                review.rounds.wanted = true;
            }
            if was_in_force && invocation.policy.reinvoked {
                memory.had_its_say(invocation.key());
            }
        }
        memory.keep(review);
        faults.refusal(review)
    }
}
