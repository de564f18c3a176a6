//! Controllers and the scheduler: each runs in the one process that holds its Lease.
//!
//! The Leases are Kubernetes' own, `kube-system/kube-controller-manager` and `kube-system/kube-scheduler`, so that of ours and
//! Kubernetes' own programs against the same API one acts and the others stand by. (To run Kubernetes' controller-manager
//! beside ours for some controllers only, switch those off here with `--controllers=-NAME` and give it another
//! `--leader-elect-resource-name`.)
//!
//! A process that holds the store is a candidate by the same name at each start: there is only one of it, and it need not sit
//! out the lease of the one that it was before.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base::Tasks;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use client::events::Recorder;
use client::informers::Informers;
use client::leases::{Election, Timing, campaign};
use controllers::{NodeSettings, Selection};
use kube::config::Kubeconfig;

use crate::control::Control;
use crate::identity;
use crate::running::StartError;
use crate::workers::Parts;

const NAMESPACE: &str = "kube-system";
const CONTROLLERS: &str = "kube-controller-manager";
const SCHEDULER: &str = "kube-scheduler";
/// Who holds the store is seldom in doubt, and a write each two seconds wakes a disk.
const RETRY_HERE: Duration = Duration::from_secs(5);

/// How controllers and the scheduler behave.
#[derive(Clone, Debug)]
pub struct ControlPlane {
    /// The times of the elections; none lets this process act without asking.
    pub leader_election: Option<Timing>,
    /// The scheduler's profiles.
    pub scheduler: scheduler::Config,
    /// How nodes are watched over.
    pub nodes: NodeSettings,
    /// How many pods that have ended are kept, where that is not the usual number.
    pub terminated_pods: Option<usize>,
}

impl Default for ControlPlane {
    fn default() -> Self {
        Self {
            leader_election: Some(Timing::default()),
            scheduler: scheduler::Config::default(),
            nodes: NodeSettings::default(),
            terminated_pods: None,
        }
    }
}

/// Starts the controllers that are switched on, once this process may.
pub(crate) fn start_controllers(
    parts: &Parts<'_>,
    informers: &Informers,
    control: Option<&Control>,
    tasks: &Tasks,
) -> Result<(), StartError> {
    let selection = Selection::parse(&parts.config.controllers.join(","))?;
    let settings = &parts.config.control_plane;
    let config = controllers::Config {
        ca_certificate: match control {
            Some(control) => Some(control.ca_certificate.clone()),
            None => parts.config.server_kubeconfig.as_deref().and_then(joined_ca),
        },
        keys: control.map(|control| Arc::clone(&control.keys) as Arc<dyn controllers::Keys>),
        nodes: settings.nodes,
        terminated_pods: settings.terminated_pods,
    };
    let metrics = controllers::metrics(&parts.metrics);
    let (upstream, informers) = (parts.upstream.clone(), informers.clone());
    let start = move |tasks: &Tasks| {
        let client_for = |name: &str| upstream.client(identity::controller(name));
        controllers::start(client_for, &informers, &selection, config.clone(), tasks, &metrics);
    };
    let client = parts.upstream.client(identity::informers());
    lead(parts, control.is_some(), CONTROLLERS, client, tasks, start);
    Ok(())
}

/// Starts the scheduler, once this process may.
pub(crate) fn start_scheduler(parts: &Parts<'_>, informers: &Informers, control: Option<&Control>, tasks: &Tasks) {
    let config = parts.config.control_plane.scheduler.clone();
    let metrics = scheduler::SchedulerMetrics::new(&parts.metrics);
    let (upstream, informers) = (parts.upstream.clone(), informers.clone());
    let start = move |tasks: &Tasks| {
        let client = upstream.client(identity::scheduler());
        scheduler::start(client, &informers, config.clone(), tasks, metrics.clone());
    };
    let client = parts.upstream.client(identity::scheduler());
    lead(parts, control.is_some(), SCHEDULER, client, tasks, start);
}

/// The CA of the server that was joined, in PEM, as its kubeconfig has it.
fn joined_ca(kubeconfig: &Path) -> Option<String> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).ok()?;
    let current = kubeconfig.current_context?;
    let context = kubeconfig.contexts.into_iter().find(|context| context.name == current)?.context?;
    let cluster = kubeconfig.clusters.into_iter().find(|cluster| cluster.name == context.cluster)?.cluster?;
    let pem = match (cluster.certificate_authority_data, cluster.certificate_authority) {
        (Some(data), _) => BASE64.decode(data).ok()?,
        (None, Some(file)) => std::fs::read(file).ok()?,
        (None, None) => return None,
    };
    String::from_utf8(pem).ok()
}

fn lead(
    parts: &Parts<'_>,
    holds_store: bool,
    name: &'static str,
    client: client::Client,
    tasks: &Tasks,
    start: impl Fn(&Tasks) + Send + Sync + 'static,
) {
    let Some(mut timing) = parts.config.control_plane.leader_election else { return start(tasks) };
    if holds_store && timing == Timing::default() {
        timing.retry = RETRY_HERE;
    }
    let host = base::os::host().name;
    let end = if holds_store { "api".to_owned() } else { format!("{:032x}", rand::random::<u128>()) };
    let election = Election {
        namespace: NAMESPACE.to_owned(),
        name: name.to_owned(),
        identity: format!("{host}_{end}"),
        timing,
        release: !holds_store,
    };
    let events = Recorder::new(client.clone(), tasks, name, None);
    campaign(client, election, Some(events), tasks, start);
}
