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
    /// The group of everyone who did not.
    pub const UNAUTHENTICATED: &str = "system:unauthenticated";
    /// The user that nobody in particular is.
    pub const ANONYMOUS: &str = "system:anonymous";

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
        Self { name: Self::ANONYMOUS.into(), groups: vec![Self::UNAUTHENTICATED.into()], ..Self::default() }
    }

    /// A ServiceAccount, with the groups that it has.
    pub fn service_account(namespace: &str, name: &str) -> Self {
        let groups = ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
        Self::new(format!("system:serviceaccount:{namespace}:{name}"), groups)
    }

    /// Namespace and name, when the user is a ServiceAccount.
    pub fn as_service_account(&self) -> Option<(&str, &str)> {
        let (namespace, name) = self.name.strip_prefix("system:serviceaccount:")?.split_once(':')?;
        let plain = !namespace.is_empty() && !name.is_empty() && !name.contains(':');
        plain.then_some((namespace, name))
    }

    /// The node's name, when the user is a node.
    pub fn as_node(&self) -> Option<&str> {
        self.name.strip_prefix("system:node:").filter(|name| !name.is_empty() && self.is_in("system:nodes"))
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
    /// The field selector of a list, as it was sent; empty when there is none.
    pub field_selector: String,
    /// The label selector of a list, as it was sent; empty when there is none.
    pub label_selector: String,
}

impl AccessRequest {
    /// The value that the field selector demands of `field`.
    pub fn demanded(&self, field: &str) -> Option<String> {
        let selector: crate::FieldSelector = self.field_selector.parse().ok()?;
        selector.exact(field).map(str::to_owned)
    }
}
