//! Somebody who listens for connections rather than for requests.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::listener::InFlight;
use crate::{CallError, Listener, Stream};

/// How long a connection waits in front of a listener whose queue is full.
const PATIENCE: Duration = Duration::from_secs(10);

/// How to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    /// Connections that wait to be accepted; more have to wait outside.
    pub backlog: usize,
    /// Whether only the pod itself gets through.
    pub local_only: bool,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self { backlog: 128, local_only: false }
    }
}

/// A bound address whose connections are accepted one by one. Dropping it closes it, and breaks the connections that were
/// not accepted; those that were live on.
#[derive(Debug)]
pub struct TcpListener {
    listener: Listener,
    queue: mpsc::Receiver<Waiting>,
    next: Option<Waiting>,
}

impl TcpListener {
    pub(crate) fn new(listener: Listener, queue: mpsc::Receiver<Waiting>) -> Self {
        Self { listener, queue, next: None }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Connections that have not ended.
    pub fn connections(&self) -> usize {
        self.listener.in_flight()
    }

    /// The next connection.
    pub async fn accept(&mut self) -> Stream {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// The next connection.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Stream> {
        std::task::ready!(self.poll_acceptable(cx));
        match self.next.take().and_then(Waiting::accept) {
            Some(stream) => Poll::Ready(stream),
            None => Poll::Pending,
        }
    }

    /// Whether a connection waits.
    pub fn poll_acceptable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.next.is_none() {
            // The sender lives in the table as long as the listener does.
            self.next = std::task::ready!(self.queue.poll_recv(cx));
        }
        if self.next.is_some() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Refuses connections from now on and waits until those there are have ended, at most `grace`. Says whether they have.
    pub async fn close(self, grace: Duration) -> bool {
        let Self { listener, queue, next } = self;
        drop((queue, next));
        listener.close(grace).await
    }
}

/// A connection that nobody has accepted yet. It breaks when nobody ever does.
#[derive(Debug)]
pub(crate) struct Waiting(Option<Stream>);

impl Waiting {
    fn accept(mut self) -> Option<Stream> {
        self.0.take()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(stream) = self.0.take() {
            stream.reset();
        }
    }
}

/// The way into a listener's queue.
#[derive(Clone)]
pub(crate) struct Acceptor {
    address: SocketAddr,
    local_only: bool,
    queue: mpsc::Sender<Waiting>,
}

impl Acceptor {
    pub(crate) fn new(address: SocketAddr, options: TcpOptions) -> (Self, mpsc::Receiver<Waiting>) {
        let (queue, waiting) = mpsc::channel(options.backlog.clamp(1, 4096));
        (Self { address, local_only: options.local_only, queue }, waiting)
    }

    /// Whether only the pod itself gets through.
    pub(crate) fn is_local(&self) -> bool {
        self.local_only
    }

    /// Whether a caller at `source` gets through.
    fn admits(&self, source: IpAddr) -> bool {
        !self.local_only || source == self.address.ip()
    }

    /// A connection from `source`, as soon as there is room in the queue.
    pub(crate) async fn dial(&self, source: SocketAddr, call: Option<InFlight>) -> Result<Stream, CallError> {
        let refused = || CallError::Refused { address: self.address };
        if !self.admits(source.ip()) {
            return Err(refused());
        }
        let place = match tokio::time::timeout(PATIENCE, self.queue.reserve()).await {
            Ok(place) => place.map_err(|_| refused())?,
            Err(_) => return Err(CallError::Deadline),
        };
        let (ours, theirs) = Stream::counted_pair(source, self.address, call);
        place.send(Waiting(Some(theirs)));
        Ok(ours)
    }
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Ports for those who do not choose one, as Linux gives them out.
pub(crate) fn ephemeral(turn: u32) -> u16 {
    const FIRST: u32 = 32_768;
    const COUNT: u32 = 60_999 - FIRST + 1;
    u16::try_from(FIRST + turn % COUNT).unwrap_or(u16::MAX)
}

pub(crate) type SharedAcceptor = Arc<Acceptor>;
