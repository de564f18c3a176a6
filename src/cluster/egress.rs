//! Leaving the cluster: who may, and what happens to those who may not.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use network::{CallError, PodNetwork, Stream, Target};

/// The line that grants it.
const GRANT: &str = "to allow it, add the annotation  coracle.dev/egress: \"true\"  to the pod";
/// As long as a native connection is tried before its client gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a name or an address leads.
pub enum Reach {
    /// To a pod or a Service.
    Inside,
    /// Out of the cluster, to what has this name or address.
    Outside(String),
    /// Nowhere: the name can only be meant as one of the cluster's, and the cluster has none like it.
    Nowhere,
}

/// Where `host` leads for a caller in `namespace`.
pub fn reach(network: &PodNetwork, host: &str, namespace: &str) -> Reach {
    match network.resolve(host, namespace) {
        Target::Outside(name) if is_the_clusters(&name) => Reach::Nowhere,
        Target::Outside(name) => Reach::Outside(name),
        Target::Address(address) if !network.is_inside(address) => Reach::Outside(address.to_string()),
        Target::Address(_) | Target::Service(_) | Target::Own => Reach::Inside,
    }
}

/// A bare word, and whatever lies in the cluster's own domain.
fn is_the_clusters(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    let inside = [".svc", ".cluster.local"].iter().any(|domain| host.ends_with(domain));
    inside || (!host.contains('.') && !host.contains(':'))
}

/// One container's leave to go out.
#[derive(Clone)]
pub struct Egress {
    /// Whether it has it.
    pub granted: bool,
    /// Told about each time that it would have needed it.
    pub on_denied: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Egress {
    /// Whether the container may reach `what`, which lies outside. Somebody is told when it may not.
    ///
    /// # Errors
    /// The refusal, with the line that would lift it.
    pub fn check(&self, what: &str) -> Result<(), CallError> {
        if self.granted {
            return Ok(());
        }
        (self.on_denied)(&format!("{what} is outside of the cluster; {GRANT}"));
        Err(CallError::Denied(format!("this pod may not call {what}, which is outside; {GRANT}")))
    }
}

/// A connection to a machine outside, as one of the pod network.
///
/// # Errors
/// When it was not made.
pub async fn leave(address: SocketAddr, source: IpAddr) -> Result<Stream, CallError> {
    let made = tokio::time::timeout(PATIENCE, tokio::net::TcpStream::connect(address)).await;
    let mut outside = match made {
        Err(_) => return Err(CallError::Deadline),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            return Err(CallError::Refused { address });
        }
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::TimedOut => return Err(CallError::Deadline),
        Ok(Err(_)) => return Err(CallError::NoSuchHost { host: address.to_string() }),
        Ok(Ok(outside)) => outside,
    };
    let _ = outside.set_nodelay(true);
    let port = outside.local_addr().map_or(0, |local| local.port());
    let (ours, mut theirs) = Stream::pair(SocketAddr::new(source, port), address);
    carry(async move {
        let ended = tokio::io::copy_bidirectional(&mut theirs, &mut outside).await;
        if let Err(error) = ended {
            tracing::debug!(%address, %error, "a connection to the outside ended");
            theirs.reset();
        }
    });
    Ok(ours)
}

/// The task's owner is the stream: it ends when either side closes it.
#[allow(clippy::disallowed_methods)]
fn carry(bytes: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(bytes);
}
