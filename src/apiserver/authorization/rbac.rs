//! RBAC: what the roles allow that are bound to a user.

use std::sync::Arc;

use api::{AccessRequest, Status, UserInfo};
use async_trait::async_trait;
use objects::Objects;

use super::index::{Index, RoleRef};
use super::rules::PolicyRule;
use super::{Authorizer, Decision, Rule};

/// Decides by the Roles, ClusterRoles and bindings that are stored. Cheap to clone.
///
/// *Guarantee*: a role or binding counts for the request that follows the answer to its write.
#[derive(Clone)]
pub struct Rbac {
    index: Arc<Index>,
}

impl std::fmt::Debug for Rbac {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Rbac")
    }
}

impl Rbac {
    /// Over the roles and bindings of `objects`.
    pub fn new(objects: &Objects) -> Self {
        Self { index: Arc::new(Index::new(objects)) }
    }

    /// The rules that speak for `user` in `namespace`, everywhere when it is empty; and what is wrong with bindings.
    pub(crate) fn held(&self, user: &UserInfo, namespace: &str) -> (Vec<PolicyRule>, Vec<String>) {
        let (mut held, mut errors) = (Vec::new(), Vec::new());
        self.index.visit(user, namespace, |binding, rules| {
            match rules {
                Some(rules) => held.extend(rules.iter().cloned()),
                None => errors.push(not_found(&binding.role).message),
            }
            true
        });
        (held, errors)
    }

    /// What a binding in `namespace` to `role` gives.
    pub(crate) fn of_role(&self, role: &RoleRef, namespace: &str) -> Result<Vec<PolicyRule>, Status> {
        self.index.rules(role, namespace).map(|rules| rules.to_vec()).ok_or_else(|| not_found(role))
    }

    fn decide(&self, request: &AccessRequest) -> Decision {
        let AccessRequest { user, verb, group, resource, subresource, namespace, name, path, .. } = request;
        let allows = |rule: &PolicyRule| match resource.is_empty() {
            true => rule.allows_path(verb, path),
            false => rule.allows(verb, group, resource, subresource, name),
        };
        let (mut found, mut errors) = (None, Vec::new());
        self.index.visit(user, namespace, |binding, rules| {
            match rules {
                Some(rules) if rules.iter().any(allows) => found = Some(binding.described(user)),
                Some(_) => {}
                None => errors.push(not_found(&binding.role).message),
            }
            found.is_none()
        });
        match (found, errors.as_slice()) {
            (Some(found), _) => Decision::Allow(format!("RBAC: allowed by {found}")),
            (None, []) => Decision::NoOpinion(String::new()),
            (None, [one]) => Decision::NoOpinion(format!("RBAC: {one}")),
            (None, _) => {
                errors.dedup();
                Decision::NoOpinion(format!("RBAC: [{}]", errors.join(", ")))
            }
        }
    }
}

fn not_found(role: &RoleRef) -> Status {
    let resource = if role.kind == "Role" { "role" } else { "clusterrole" };
    Status::not_found("rbac.authorization.k8s.io", resource, &role.name)
}

#[async_trait]
impl Authorizer for Rbac {
    async fn authorize(&self, request: &AccessRequest) -> Decision {
        self.decide(request)
    }

    async fn rules(&self, user: &UserInfo, namespace: &str) -> (Vec<Rule>, bool) {
        let (held, errors) = self.held(user, namespace);
        let mut shown = Vec::new();
        for rule in held {
            let PolicyRule { verbs, api_groups, resources, resource_names, non_resource_urls } = rule;
            if !resources.is_empty() {
                let verbs = verbs.clone();
                shown.push(Rule { verbs, groups: api_groups, resources, names: resource_names, paths: Vec::new() });
            }
            if !non_resource_urls.is_empty() {
                shown.push(Rule { verbs, paths: non_resource_urls, ..Rule::default() });
            }
        }
        (shown, errors.is_empty())
    }
}
