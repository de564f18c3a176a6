//! A real cluster in this process, for tests: the same rooms as `coracle up`, on free ports, in a folder that goes.
//!
//! *Owns*: starting and stopping it, requests through its ingress, waiting for conditions, and time that passes at once.
//!
//! *Does not know*: any room but through its door; nothing here is a stand-in for one.
//!
//! *Entry point*: [`TestCluster::start`].

#![forbid(unsafe_code)]
// What fails here fails a test, and should do so where it happens.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod condition;
mod http_client;
mod own_time;
mod work;

use std::net::SocketAddr;
use std::path::PathBuf;

use client::Client;
use cluster::{Cluster, Config};

pub use condition::eventually;
pub use http_client::{Answer, Http2, exchange, get};
pub use own_time::let_pass;
pub use work::Work;

/// A cluster that runs.
pub struct TestCluster {
    cluster: Cluster,
}

impl TestCluster {
    /// Everything in one process, nothing kept.
    pub async fn start() -> Self {
        Self::with(Config::default()).await
    }

    /// The same, told otherwise where a test needs it.
    pub async fn with(config: Config) -> Self {
        // Whichever test comes first sets it for the process.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = Config { artifacts: config.artifacts.or_else(|| Some(artifacts())), ..config };
        let cluster = Cluster::start(config).await.unwrap_or_else(|error| panic!("{}", base::report(&error)));
        Self { cluster }
    }

    /// The cluster itself.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// A client with the administrator's rights.
    pub fn client(&self) -> Client {
        self.cluster.admin_client()
    }

    /// Where the ingress listens.
    pub fn ingress(&self) -> SocketAddr {
        self.cluster.ingress_address().expect("this cluster has no ingress")
    }

    /// `GET http://HOST/PATH` through the ingress.
    pub async fn get(&self, host: &str, path: &str) -> Answer {
        get(self.ingress(), host, path).await
    }

    /// Stops it as Ctrl-C does.
    pub async fn stop(self) {
        self.cluster.stop().await;
    }
}

/// Compiled components are shared by all tests of a build.
fn artifacts() -> PathBuf {
    let program = std::env::current_exe().expect("this program has a path");
    program.parent().expect("it lies in a folder").join("test-artifacts")
}
