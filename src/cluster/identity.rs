//! Who each part of this process is to the API, and how it gets there.

use api::UserInfo;
use apiserver::ApiServer;
use client::Client;

/// Where a part's API lies.
#[derive(Clone)]
pub enum Upstream {
    /// In this process: no socket, an identity for each part.
    Here(ApiServer),
    /// On another machine: what the kubeconfig says, for all parts.
    There(Client),
}

impl Upstream {
    /// A client with an identity of its own: one for each subsystem, since every client has one queue.
    pub fn client(&self, user: UserInfo) -> Client {
        match self {
            Self::Here(server) => client::in_process(server.in_process(user), "default"),
            Self::There(client) => client.clone(),
        }
    }
}

/// A controller's user, as kube-controller-manager names them: a ServiceAccount of `kube-system`.
pub fn controller(account: &str) -> UserInfo {
    UserInfo::service_account("kube-system", account)
}

/// The scheduler's user.
pub fn scheduler() -> UserInfo {
    UserInfo::new("system:kube-scheduler", Vec::<String>::new())
}

/// A node's user, as the node authorizer expects it.
pub fn node(name: &str) -> UserInfo {
    UserInfo::new(format!("system:node:{name}"), ["system:nodes"])
}

/// The user that reads what the parts of this process share.
pub fn informers() -> UserInfo {
    UserInfo::new("system:kube-controller-manager", Vec::<String>::new())
}

/// The user of what moves traffic.
pub fn proxy() -> UserInfo {
    UserInfo::new("system:kube-proxy", Vec::<String>::new())
}

/// The user that makes what every cluster has.
pub fn bootstrap() -> UserInfo {
    UserInfo::new("system:apiserver", [UserInfo::MASTERS])
}
