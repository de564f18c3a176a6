//! APIs that others serve: an APIService that names a Service is asked for its group and version in this server's name.
//!
//! ```text
//! APIServices, Services, EndpointSlices ─ keeper ─▶ Registry ◀─ requests, discovery
//!                                            └▶ their condition Available
//! ```

pub(crate) mod discovery;
mod keeper;
mod local;
mod probe;
mod remote;

use std::cmp::Reverse;
use std::sync::Arc;

use api::{Status, UserInfo};
use base::Tasks;
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue};
use hyper::upgrade::OnUpgrade;
use parking_lot::RwLock;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::forwarding::{is_upgrade, outgoing, strip, upgraded};
use crate::reply::Reply;
use crate::server::{ApiServer, Call};

pub(crate) use remote::Remote;

/// The APIs that others serve, as far as is known at this moment.
#[derive(Default)]
pub(crate) struct Registry {
    remotes: RwLock<Arc<Vec<Arc<Remote>>>>,
    /// What this server proves itself with to the others: certificate chain and key (PEM).
    identity: RwLock<Option<(bytes::Bytes, bytes::Bytes)>>,
}

impl Registry {
    pub fn all(&self) -> Arc<Vec<Arc<Remote>>> {
        Arc::clone(&self.remotes.read())
    }

    /// Whoever serves this group and version.
    pub fn find(&self, group: &str, version: &str) -> Option<Arc<Remote>> {
        self.remotes.read().iter().find(|remote| remote.group == group && remote.version == version).cloned()
    }

    fn set(&self, mut remotes: Vec<Arc<Remote>>) {
        let order = |remote: &Arc<Remote>| {
            (
                Reverse(remote.group_priority),
                remote.group.clone(),
                Reverse(remote.version_priority),
                remote.version.clone(),
            )
        };
        remotes.sort_by_key(order);
        *self.remotes.write() = Arc::new(remotes);
    }

    /// Puts one in the place of its former state; one that is no longer there stays away.
    fn put(&self, remote: Remote) {
        let mut remotes: Vec<Arc<Remote>> = self.remotes.read().iter().cloned().collect();
        if let Some(place) = remotes.iter_mut().find(|known| known.name == remote.name) {
            *place = Arc::new(remote);
        }
        self.set(remotes);
    }
}

impl ApiServer {
    /// The certificate chain and key (PEM) that this server shows to the APIs that others serve.
    pub fn set_proxy_identity(&self, chain: impl Into<bytes::Bytes>, key: impl Into<bytes::Bytes>) {
        *self.inner.aggregation.identity.write() = Some((chain.into(), key.into()));
    }

    /// Keeps APIServices: one for each group and version that is served here, and the condition of those that others
    /// serve. Ends with `tasks`.
    pub fn keep_api_services(&self, tasks: &Tasks) {
        let (inner, shutdown) = (Arc::clone(&self.inner), tasks.shutdown());
        tasks.service("api services", async move {
            tokio::select! {
                () = keeper::run(inner) => {}
                () = shutdown.cancelled() => {}
            }
        });
    }
}

/// Carries the request on to whoever serves it.
pub(crate) async fn forward(mut call: Call, remote: &Remote) -> Result<Reply, Status> {
    if !remote.available {
        return Ok(Reply::text(503, "service unavailable\n"));
    }
    let path = call.uri.path().to_owned();
    let mut request = outgoing(&mut call, &path)?;
    let headers = request.headers_mut();
    let named: Vec<HeaderName> = headers.keys().filter(|name| says_who(name)).cloned().collect();
    for name in named {
        headers.remove(name);
    }
    add_user(headers, &call.user);
    if let Ok(host) = HeaderValue::from_str(&remote.host()) {
        headers.insert(HOST, host);
    }
    let upgrade = is_upgrade(&call.headers);
    let client = call.extensions.remove::<OnUpgrade>();
    let transport = call.server.transport.read().clone();
    let mut target = remote.target.clone();
    if let crate::gateway::Scheme::Https(options) = &mut target.scheme {
        options.identity.clone_from(&call.server.aggregation.identity.read());
    }
    match transport.call(&target, request).await {
        // The other side's clients look for a code here, not for a Status.
        Err(status) => Ok(Reply::text(503, format!("{}\n", status.message))),
        Ok(response) if upgrade => upgraded(response, client, call.ending.clone()),
        Ok(mut response) => {
            strip(response.headers_mut());
            Ok(Reply::ready(response))
        }
    }
}

/// Nobody but this server says who asks.
fn says_who(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-remote-") || name.as_str().starts_with("impersonate-")
}

fn add_user(headers: &mut HeaderMap, user: &UserInfo) {
    let mut add = |name: String, value: &str| {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            headers.append(name, value);
        }
    };
    add("x-remote-user".to_owned(), &user.name);
    if !user.uid.is_empty() {
        add("x-remote-uid".to_owned(), &user.uid);
    }
    for group in &user.groups {
        add("x-remote-group".to_owned(), group);
    }
    for (key, values) in &user.extra {
        let key = utf8_percent_encode(key, NON_ALPHANUMERIC).to_string().replace("%2D", "-").replace("%2E", ".");
        for value in values {
            add(format!("x-remote-extra-{}", key.to_lowercase()), value);
        }
    }
}
