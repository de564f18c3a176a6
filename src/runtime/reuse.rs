//! Instances, and those that are kept between requests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use wasmtime::Store;
use wasmtime::component::Resource;
use wasmtime_wasi_http::p2::bindings::Proxy;
use wasmtime_wasi_http::p2::types::{HostIncomingRequest, HostResponseOutparam};
use world::ProxyPre;
use world::next::ServicePre;

use crate::container::Container;
use crate::guest::Guest;
use crate::meter::Meter;
use crate::next::{self, Incoming};
use crate::server::Inner;

/// An instance that leaks does not do so for ever.
const REQUESTS_MAX: u32 = 100_000;
/// How long an instance is kept without a request.
const IDLE: Duration = Duration::from_secs(30);
/// How many are kept at most.
const KEPT_MAX: usize = 64;

/// A store, and the component's instance in it once there is one.
pub(crate) struct Instance {
    pub store: Store<Guest>,
    pub meter: Arc<Meter>,
    proxy: Option<Proxy>,
    made: bool,
    served: u32,
    since: Instant,
    container: Arc<Container>,
}

impl Instance {
    pub fn new((store, meter): (Store<Guest>, Arc<Meter>), container: &Arc<Container>) -> Self {
        container.families.instances.inc();
        Self {
            store,
            meter,
            proxy: None,
            made: false,
            served: 0,
            since: Instant::now(),
            container: Arc::clone(container),
        }
    }

    /// Whether the component was instantiated.
    pub fn is_made(&self) -> bool {
        self.made
    }

    /// This request was its last.
    pub fn retire(&mut self) {
        self.served = REQUESTS_MAX;
    }

    /// Has the component answer one request.
    pub async fn handle(
        &mut self,
        pre: &ProxyPre<Guest>,
        request: Resource<HostIncomingRequest>,
        out: Resource<HostResponseOutparam>,
    ) -> wasmtime::Result<()> {
        if self.proxy.is_none() {
            self.proxy = Some(pre.instantiate_async(&mut self.store).await?);
            self.made = true;
        }
        self.served += 1;
        match &self.proxy {
            Some(proxy) => proxy.wasi_http_incoming_handler().call_handle(&mut self.store, request, out).await,
            None => Ok(()),
        }
    }
}

impl Instance {
    /// Has a component of 0.3 answer one request, its first and last.
    pub async fn handle_next(&mut self, pre: &ServicePre<Guest>, incoming: Incoming) -> wasmtime::Result<()> {
        let service = pre.instantiate_async(&mut self.store).await?;
        self.made = true;
        let outcome = self.store.run_concurrent(async |accessor| {
            next::answer(accessor, &service, incoming).await?;
            // The body, and whatever the guest does after its response.
            std::future::poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
            wasmtime::error::Ok(())
        });
        outcome.await?
    }

    /// There is an instance in this store now.
    pub fn set_made(&mut self) {
        self.made = true;
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.container.families.instances.dec();
    }
}

/// Instances between requests. The one that was used last is used next, so that the others can go.
#[derive(Default)]
pub(crate) struct Idle {
    kept: Mutex<Vec<Instance>>,
}

impl Idle {
    pub fn take(&self) -> Option<Instance> {
        self.kept.lock().pop()
    }

    pub fn put(&self, mut instance: Instance) {
        instance.since = Instant::now();
        let mut kept = self.kept.lock();
        if instance.served < REQUESTS_MAX && kept.len() < KEPT_MAX {
            kept.push(instance);
        } else {
            drop(kept);
            drop(instance);
        }
    }

    fn drop_older_than(&self, age: Duration) {
        let old: Vec<Instance> = {
            let mut kept = self.kept.lock();
            // Used last stands last, so the old ones are in front.
            let count = kept.iter().take_while(|instance| instance.since.elapsed() >= age).count();
            kept.drain(..count).collect()
        };
        drop(old);
    }
}

/// Drops kept instances that nobody needs, and all of them when the container ends.
pub(crate) fn sweep(server: &Arc<Inner>) {
    let cancelled = server.container.cancel.clone().cancelled_owned();
    let group = Arc::clone(&server.container.group);
    let server = Arc::downgrade(server);
    let sweeper = group.spawn(async move {
        let mut cancelled = std::pin::pin!(cancelled);
        loop {
            let ended = tokio::time::timeout(IDLE / 2, &mut cancelled).await.is_ok();
            let Some(server) = server.upgrade() else { return };
            let age = if ended { Duration::ZERO } else { IDLE };
            if let Some(idle) = server.idle() {
                idle.drop_older_than(age);
            }
            if let Some(shared) = server.shared() {
                shared.drop_older_than(age);
            }
            if ended {
                return;
            }
        }
    });
    sweeper.detach();
}
