//! Who may do what: the seam that every request goes through before anything else looks at it.

mod escalation;
mod index;
mod modes;
mod node;
mod node_restriction;
mod rbac;
mod rules;
mod union;

use api::status::AccessRequestWords;
use api::{AccessRequest, Status, UserInfo};
use async_trait::async_trait;

pub use escalation::Escalation;
pub use modes::{ModeError, Modes};
pub use node::NodeAuthorizer;
pub use node_restriction::NodeRestriction;
pub use rbac::Rbac;
pub use rules::PolicyRule;
pub use union::Union;

/// What an authorizer says, with its reason for people (empty when there is nothing to add).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go on.
    Allow(String),
    /// Nothing speaks for it: refused, unless another authorizer allows it.
    NoOpinion(String),
    /// Refused whatever others say.
    Deny(String),
}

impl Decision {
    /// Whether the request may go on.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow(_))
    }
    /// The reason, which may be empty.
    pub fn reason(&self) -> &str {
        let (Self::Allow(reason) | Self::NoOpinion(reason) | Self::Deny(reason)) = self;
        reason
    }
}

/// A rule that speaks for a user, as SelfSubjectRulesReview lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Rule {
    pub verbs: Vec<String>,
    pub groups: Vec<String>,
    pub resources: Vec<String>,
    pub names: Vec<String>,
    /// For rules about paths that are no resources; the other lists are empty then.
    pub paths: Vec<String>,
}

/// Decides about access.
#[async_trait]
pub trait Authorizer: Send + Sync + 'static {
    /// May this happen?
    async fn authorize(&self, request: &AccessRequest) -> Decision;

    /// The rules that speak for `user` in `namespace`, and whether the list is known to be whole.
    async fn rules(&self, _user: &UserInfo, _namespace: &str) -> (Vec<Rule>, bool) {
        (Vec::new(), false)
    }
}

/// Lets `system:masters` do everything and nobody else anything: for a server without roles.
#[derive(Clone, Copy, Debug, Default)]
pub struct MastersOnly;

#[async_trait]
impl Authorizer for MastersOnly {
    async fn authorize(&self, request: &AccessRequest) -> Decision {
        if request.user.is_in(UserInfo::MASTERS) {
            Decision::Allow(String::new())
        } else {
            Decision::NoOpinion(String::new())
        }
    }

    async fn rules(&self, user: &UserInfo, _namespace: &str) -> (Vec<Rule>, bool) {
        if !user.is_in(UserInfo::MASTERS) {
            return (Vec::new(), true);
        }
        let all = || vec!["*".to_owned()];
        let everything = Rule { verbs: all(), groups: all(), resources: all(), ..Rule::default() };
        (vec![everything, Rule { verbs: all(), paths: all(), ..Rule::default() }], true)
    }
}

/// The 403 for a request that was not allowed, in Kubernetes' words.
pub(crate) fn refusal(request: &AccessRequest, decision: &Decision) -> Status {
    let mut status = Status::forbidden(&AccessRequestWords {
        user: &request.user.name,
        verb: &request.verb,
        group: &request.group,
        resource: &request.resource,
        subresource: &request.subresource,
        namespace: &request.namespace,
        name: &request.name,
        path: &request.path,
    });
    // The words come from the request: they are kept from being markup.
    status.message = status.message.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    if !decision.reason().is_empty() {
        status.message = format!("{}: {}", status.message, decision.reason());
    }
    status
}
