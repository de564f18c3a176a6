//! Who may do what: the seam that every request goes through before anything else looks at it.

use api::status::AccessRequestWords;
use api::{AccessRequest, Status, UserInfo};
use async_trait::async_trait;

/// The group of the identities that [`crate::ApiServer::in_process`] serves: controllers, scheduler, node, proxy.
pub const COMPONENTS: &str = "system:coracle:components";

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

const OWN_QUESTIONS: [&str; 3] = ["selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"];

/// Paths that tell what the API offers and nothing of what is in it. Kubernetes opens them to every user, and no client
/// gets as far as a useful refusal without them.
fn describes_the_api(path: &str) -> bool {
    let first = path.split('/').find(|part| !part.is_empty()).unwrap_or_default();
    matches!(first, "api" | "apis" | "openapi" | "version" | "healthz" | "livez" | "readyz")
}

/// Lets `system:masters` and this process' own components do everything, and nobody else anything but look at itself and at what
/// the API offers.
#[derive(Clone, Copy, Debug, Default)]
pub struct MastersOnly;

impl MastersOnly {
    fn trusted(user: &UserInfo) -> bool {
        user.is_in(UserInfo::MASTERS) || user.is_in(COMPONENTS)
    }
}

#[async_trait]
impl Authorizer for MastersOnly {
    async fn authorize(&self, request: &AccessRequest) -> Decision {
        let known = request.user.is_in(UserInfo::AUTHENTICATED);
        // Whoever authenticated may ask who it is and what it may do: kubectl needs it to say something useful.
        let own = request.verb == "create" && OWN_QUESTIONS.contains(&request.resource.as_str());
        let look = matches!(request.verb.as_str(), "get" | "head") && describes_the_api(&request.path);
        let own = known && (own || look);
        if own || Self::trusted(&request.user) {
            Decision::Allow(String::new())
        } else {
            Decision::NoOpinion(String::new())
        }
    }

    async fn rules(&self, user: &UserInfo, _namespace: &str) -> (Vec<Rule>, bool) {
        if !Self::trusted(user) {
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
    if !decision.reason().is_empty() {
        status.message = format!("{}: {}", status.message, decision.reason());
    }
    status
}
