//! Several authorizers, one after the other.

use std::sync::Arc;

use api::{AccessRequest, UserInfo};
use async_trait::async_trait;

use super::{Authorizer, Decision, Rule};

/// Asks one after the other, until one allows or denies. Members of `system:masters` are allowed everything before
/// anybody is asked.
#[derive(Clone)]
pub struct Union {
    members: Vec<Arc<dyn Authorizer>>,
}

impl std::fmt::Debug for Union {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Union({})", self.members.len())
    }
}

impl Union {
    /// Of these.
    pub fn new(members: Vec<Arc<dyn Authorizer>>) -> Self {
        Self { members }
    }
}

#[async_trait]
impl Authorizer for Union {
    async fn authorize(&self, request: &AccessRequest) -> Decision {
        if request.user.is_in(UserInfo::MASTERS) {
            return Decision::Allow(String::new());
        }
        let mut reasons: Vec<String> = Vec::new();
        for member in &self.members {
            match member.authorize(request).await {
                Decision::NoOpinion(reason) if reason.is_empty() => {}
                Decision::NoOpinion(reason) => reasons.push(reason),
                decided => return decided,
            }
        }
        Decision::NoOpinion(reasons.join("\n"))
    }

    async fn rules(&self, user: &UserInfo, namespace: &str) -> (Vec<Rule>, bool) {
        let (mut all, mut whole) = (Vec::new(), true);
        for member in &self.members {
            let (rules, known) = member.rules(user, namespace).await;
            all.extend(rules);
            whole &= known;
        }
        (all, whole)
    }
}
