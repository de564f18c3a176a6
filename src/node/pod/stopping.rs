//! The end of a container, in its order: the preStop hook, then out of every Service, then the container itself.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};
use k8s_openapi::api::core::v1::{Container as Spec, LifecycleHandler};
use network::PodNetwork;
use tokio::sync::watch;

use crate::hooks;
use crate::probing::Asked;
use crate::sandbox::Container;

/// How long a pod is waited for to leave the Services that lead to it. It does so within milliseconds; when it does not,
/// nobody updates them.
const LEAVING_MAX: Duration = Duration::from_secs(3);
/// What is left for the container itself when its hook took all of the grace period.
const LEAST: Duration = Duration::from_secs(2);

/// By when it has to be over. May be brought forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Until {
    pub at: Instant,
    /// There is no grace: no hook, no waiting.
    pub at_once: bool,
}

impl Until {
    pub fn after(grace: Duration) -> Self {
        Self { at: Instant::now() + grace, at_once: grace.is_zero() }
    }

    fn left(self) -> Duration {
        match self.at_once {
            true => Duration::ZERO,
            false => self.at.saturating_duration_since(Instant::now()).max(LEAST),
        }
    }
}

pub(super) struct Stopping {
    pub container: Arc<dyn Container>,
    pub spec: Option<Spec>,
    /// The pod, as messages have it.
    pub pod: String,
    pub network: PodNetwork,
    pub address: Option<IpAddr>,
    /// The whole pod goes, so that nobody is to be sent to it any more.
    pub leaves: bool,
    pub until: watch::Receiver<Until>,
}

impl Stopping {
    /// Ends the container. `hook_failed` is told what its hook failed of.
    pub async fn run(mut self, hook_failed: impl FnOnce(String)) {
        if let Err(why) = self.hook().await {
            hook_failed(why);
        }
        self.leave().await;
        let mut stops = FuturesUnordered::new();
        stops.push(self.container.stop(self.until.borrow_and_update().left()));
        loop {
            tokio::select! {
                ended = stops.next() => {
                    if ended.is_some() {
                        return;
                    }
                }
                changed = self.until.changed() => {
                    if changed.is_err() {
                        // Nobody can hurry it any more.
                        stops.next().await;
                        return;
                    }
                    let left = self.until.borrow_and_update().left();
                    stops.push(self.container.stop(left));
                }
            }
        }
    }

    fn handler(&self) -> Option<&LifecycleHandler> {
        self.spec.as_ref()?.lifecycle.as_ref()?.pre_stop.as_ref()
    }

    async fn hook(&mut self) -> Result<(), String> {
        let (Some(handler), Some(spec), Some(address)) = (self.handler(), &self.spec, self.address) else {
            return Ok(());
        };
        let asked =
            Asked { network: &self.network, pod: address, container: spec, running: Some(Arc::clone(&self.container)) };
        let mut until = self.until.clone();
        tokio::select! {
            biased;
            () = over(&mut until) => Ok(()),
            result = hooks::run(&asked, handler, &self.pod) => result,
            _ = self.container.exit() => Ok(()),
        }
    }

    async fn leave(&mut self) {
        let Some(address) = self.address.filter(|_| self.leaves) else { return };
        let mut until = self.until.clone();
        tokio::select! {
            () = self.network.left(address) => {}
            () = tokio::time::sleep(LEAVING_MAX) => {}
            () = over(&mut until) => {}
        }
    }
}

/// Waits until the grace period is over, as long as it is by then.
async fn over(until: &mut watch::Receiver<Until>) {
    loop {
        let Until { at, at_once } = *until.borrow_and_update();
        if at_once {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep_until(at.into()) => return,
            changed = until.changed().fuse() => {
                if changed.is_err() {
                    tokio::time::sleep_until(at.into()).await;
                    return;
                }
            }
        }
    }
}
