//! Who listens where, how many calls each has in flight, and how a listener closes without dropping any.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use parking_lot::RwLock;
use pin_project_lite::pin_project;
use thiserror::Error;
use tokio::sync::Notify;

use crate::body::{Body, BodyError};
use crate::tcp::SharedAcceptor;
use crate::{CallError, Figures, HttpEndpoint, Traffic};

/// Somebody listens there already.
#[derive(Clone, Debug, Error)]
#[error("port {} of {} is taken by another container of the pod", address.port(), address.ip())]
pub struct AddressInUse {
    /// Where.
    pub address: SocketAddr,
}

/// A bound address. Dropping it closes it at once; [`Listener::close`] closes it and waits for the calls in flight.
pub struct Listener {
    address: SocketAddr,
    binding: Arc<Binding>,
    table: Arc<Listeners>,
}

impl Listener {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many calls have not ended; a call ends with its response's body.
    pub fn in_flight(&self) -> usize {
        self.binding.in_flight()
    }

    /// Refuses new calls from now on and waits until those in flight have ended, at most `grace`. Says whether they have.
    pub async fn close(self, grace: Duration) -> bool {
        self.table.remove(self.address, &self.binding);
        let binding = Arc::clone(&self.binding);
        tokio::time::timeout(grace, binding.drained()).await.is_ok()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.table.remove(self.address, &self.binding);
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("address", &self.address).field("in_flight", &self.in_flight()).finish()
    }
}

/// All bound addresses.
#[derive(Default)]
pub(crate) struct Listeners {
    bound: RwLock<HashMap<SocketAddr, Arc<Binding>>>,
}

impl Listeners {
    pub(crate) fn bind(
        self: &Arc<Self>,
        address: SocketAddr,
        endpoint: Arc<dyn HttpEndpoint>,
        acceptor: Option<SharedAcceptor>,
    ) -> Result<Listener, AddressInUse> {
        let binding = Arc::new(Binding {
            address,
            endpoint,
            acceptor,
            state: AtomicUsize::new(0),
            idle: Notify::new(),
            closing: Notify::new(),
            traffic: Traffic::default(),
        });
        let mut bound = self.bound.write();
        if bound.contains_key(&address) {
            return Err(AddressInUse { address });
        }
        bound.insert(address, Arc::clone(&binding));
        Ok(Listener { address, binding, table: Arc::clone(self) })
    }

    pub(crate) fn get(&self, address: SocketAddr) -> Option<Arc<Binding>> {
        self.bound.read().get(&address).cloned()
    }

    /// Whether somebody listens there for others than its own pod.
    pub(crate) fn contains(&self, address: SocketAddr) -> bool {
        self.bound.read().get(&address).is_some_and(|binding| !binding.is_local())
    }

    /// Whether the address is taken.
    pub(crate) fn is_bound(&self, address: SocketAddr) -> bool {
        self.bound.read().contains_key(&address)
    }

    /// The calls in flight at an address, if anybody listens there.
    pub(crate) fn in_flight(&self, address: SocketAddr) -> Option<usize> {
        self.bound.read().get(&address).map(|binding| binding.in_flight())
    }

    /// What passed at each address, over all of its ports.
    pub(crate) fn traffic(&self) -> HashMap<IpAddr, Figures> {
        let mut all: HashMap<IpAddr, Figures> = HashMap::new();
        for (at, binding) in self.bound.read().iter() {
            let own = binding.traffic.figures(binding.in_flight() as u64);
            all.entry(at.ip()).and_modify(|sum| *sum = sum.and(&own)).or_insert(own);
        }
        all
    }

    /// Starts a call: counted from here until the returned guard is dropped.
    pub(crate) fn enter(&self, address: SocketAddr) -> Result<InFlight, CallError> {
        self.get(address).and_then(Binding::enter).ok_or(CallError::Refused { address })
    }

    fn remove(&self, address: SocketAddr, binding: &Arc<Binding>) {
        binding.close();
        let mut bound = self.bound.write();
        if bound.get(&address).is_some_and(|current| Arc::ptr_eq(current, binding)) {
            bound.remove(&address);
        }
    }
}

/// One endpoint at one address. The lowest bit of `state` says closed, the others count the calls in flight.
pub(crate) struct Binding {
    address: SocketAddr,
    endpoint: Arc<dyn HttpEndpoint>,
    /// Where connections go; without it, what they carry is read as HTTP for the endpoint.
    acceptor: Option<SharedAcceptor>,
    state: AtomicUsize,
    idle: Notify,
    closing: Notify,
    traffic: Traffic,
}

const CLOSED: usize = 1;
const ONE_CALL: usize = 2;

impl Binding {
    fn in_flight(&self) -> usize {
        self.state.load(Ordering::Relaxed) / ONE_CALL
    }

    /// Whether only its own pod gets through.
    fn is_local(&self) -> bool {
        self.acceptor.as_ref().is_some_and(|acceptor| acceptor.is_local())
    }

    pub(crate) fn enter(self: Arc<Self>) -> Option<InFlight> {
        // Counting before looking means that `close` either sees this call or this call sees `close`.
        let before = self.state.fetch_add(ONE_CALL, Ordering::AcqRel);
        let call = InFlight { binding: self };
        (before & CLOSED == 0).then_some(call)
    }

    fn close(&self) {
        self.state.fetch_or(CLOSED, Ordering::AcqRel);
        self.closing.notify_waiters();
    }

    /// Waits until the listener takes no more.
    pub(crate) async fn closed(&self) {
        loop {
            let closing = self.closing.notified();
            tokio::pin!(closing);
            closing.as_mut().enable();
            if self.state.load(Ordering::Acquire) & CLOSED != 0 {
                return;
            }
            closing.await;
        }
    }

    async fn drained(&self) {
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            idle.as_mut().enable();
            if self.in_flight() == 0 {
                return;
            }
            idle.await;
        }
    }
}

/// A call that has not ended.
pub(crate) struct InFlight {
    binding: Arc<Binding>,
}

impl InFlight {
    pub(crate) fn endpoint(&self) -> &Arc<dyn HttpEndpoint> {
        &self.binding.endpoint
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.binding.address
    }

    pub(crate) fn acceptor(&self) -> Option<SharedAcceptor> {
        self.binding.acceptor.clone()
    }

    /// Ends the call, and keeps whom it went to.
    pub(crate) fn into_binding(self) -> Arc<Binding> {
        Arc::clone(&self.binding)
    }

    pub(crate) fn traffic(&self) -> &Traffic {
        &self.binding.traffic
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let before = self.binding.state.fetch_sub(ONE_CALL, Ordering::AcqRel);
        if before == ONE_CALL | CLOSED {
            self.binding.idle.notify_waiters();
        }
    }
}

pin_project! {
    /// A response body that keeps its call counted until it ends.
    struct Counted {
        #[pin]
        body: Body,
        call: Option<InFlight>,
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.project();
        let frame = std::task::ready!(this.body.poll_frame(cx));
        if frame.is_none() {
            *this.call = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Ties the call to its response's body.
pub(crate) fn counted(body: Body, call: InFlight) -> Body {
    if http_body::Body::is_end_stream(&body) {
        return body;
    }
    Body::new(Counted { body, call: Some(call) })
}
