//! Who asks, and for what: the words that authentication and authorization share.

use std::collections::BTreeMap;

/// An authenticated identity, as `authentication.k8s.io/v1` UserInfo has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserInfo {
    /// The name, `system:anonymous` when nobody authenticated.
    pub name: String,
    /// A stable id, empty when the authenticator has none.
    pub uid: String,
    /// The groups, `system:authenticated` among them for anyone who authenticated.
    pub groups: Vec<String>,
    /// What else the authenticator knows.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl UserInfo {
    /// The group whose members may do everything, before any authorizer is asked.
    pub const MASTERS: &str = "system:masters";
    /// The group of everyone who authenticated.
    pub const AUTHENTICATED: &str = "system:authenticated";

    /// An authenticated user; `system:authenticated` is added.
    pub fn new(name: impl Into<String>, groups: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut groups: Vec<String> = groups.into_iter().map(Into::into).collect();
        if !groups.iter().any(|group| group == Self::AUTHENTICATED) {
            groups.push(Self::AUTHENTICATED.to_owned());
        }
        Self { name: name.into(), uid: String::new(), groups, extra: BTreeMap::new() }
    }

    /// Nobody in particular.
    pub fn anonymous() -> Self {
        Self { name: "system:anonymous".into(), groups: vec!["system:unauthenticated".into()], ..Self::default() }
    }

    /// Whether the user is a member of `group`.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|member| member == group)
    }
}

/// What an authorizer is asked: one verb on one resource or path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessRequest {
    /// Who asks.
    pub user: UserInfo,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or an HTTP verb for paths.
    pub verb: String,
    /// The API group, empty for core.
    pub group: String,
    /// The API version.
    pub version: String,
    /// The plural resource, empty when `path` is asked for.
    pub resource: String,
    /// The subresource, empty when none.
    pub subresource: String,
    /// The namespace, empty for cluster scope.
    pub namespace: String,
    /// The object's name, empty for collections.
    pub name: String,
    /// A path that is no resource (`/metrics`), empty otherwise.
    pub path: String,
}
