//! What every pod of the node shares.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use base::Tasks;
use client::Client;
use client::events::Recorder;
use client::informers::{Informer, Metadata};
use images::ImageStore;
use k8s_openapi::api::core::v1::Service;
use network::PodNetwork;

use crate::agent::OnReady;
use crate::figures::Figures;
use crate::logs::Logs;
use crate::present::Presence;
use crate::sandbox::Sandbox;
use crate::volumes::Volumes;

pub(crate) struct Context {
    pub client: Client,
    pub sandbox: Arc<dyn Sandbox>,
    pub images: ImageStore,
    pub network: PodNetwork,
    pub logs: Logs,
    pub presence: Presence,
    pub events: Recorder,
    pub on_ready: Option<OnReady>,
    pub services: Informer<Service>,
    pub namespaces: Informer<Metadata>,
    pub volumes: Volumes,
    pub host_ip: IpAddr,
    pub allocatable: BTreeMap<String, String>,
    pub figures: Figures,
    pub tasks: Tasks,
}
