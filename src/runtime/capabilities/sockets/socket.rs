//! A socket, whichever version of the interface made it: what it may do next, and what it holds.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use network::{CallError, Ends, Payer, Stream, TcpListener, TcpOptions};
use world::sockets::network::ErrorCode;

use super::Sockets;
use super::streams::{Incoming, Outgoing};
use crate::container::Container;
use crate::memory::Reserved;

/// What a socket costs beside the bytes that are under way in it.
const SOCKET_BYTES: u64 = 1024;

/// A socket of the pod.
pub(super) struct Socket {
    state: State,
    is_v6: bool,
    backlog: usize,
    pub options: Options,
    container: Arc<Container>,
    network: Arc<dyn Sockets>,
    _place: Place,
}

enum State {
    New,
    Bound(SocketAddr),
    Connecting(BoxFuture<'static, Result<Stream, CallError>>),
    Connected(Connected),
    Listening(TcpListener),
    Over,
}

/// A connection whose halves the guest has, or is about to take.
struct Connected {
    local: SocketAddr,
    peer: SocketAddr,
    ends: Ends,
    incoming: Option<Incoming>,
    outgoing: Option<Outgoing>,
}

/// What a guest may set and read back; here it changes nothing.
#[derive(Clone)]
pub(super) struct Options {
    pub keep_alive: bool,
    pub idle_time: u64,
    pub interval: u64,
    pub count: u32,
    pub hop_limit: u8,
    pub receive_buffer: u64,
    pub send_buffer: u64,
}

impl Default for Options {
    fn default() -> Self {
        let buffer = network::pipe::PIPE_BYTES as u64;
        Self {
            keep_alive: false,
            idle_time: 7_200_000_000_000,
            interval: 75_000_000_000,
            count: 9,
            hop_limit: 64,
            receive_buffer: buffer,
            send_buffer: buffer,
        }
    }
}

/// One of the sockets that a container may have, and its memory.
struct Place {
    open: Arc<AtomicUsize>,
    _memory: Reserved,
}

impl Place {
    fn take(container: &Container) -> Result<Self, ErrorCode> {
        let most = container.spec.handles.sockets;
        let open = Arc::clone(&container.sockets);
        let taken =
            open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < most).then_some(count + 1));
        taken.map_err(|_| ErrorCode::NewSocketLimit)?;
        match Reserved::take(&container.memory, SOCKET_BYTES) {
            Some(memory) => Ok(Self { open, _memory: memory }),
            None => {
                open.fetch_sub(1, Ordering::Relaxed);
                Err(ErrorCode::OutOfMemory)
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Socket {
    pub fn new(container: &Arc<Container>, is_v6: bool) -> Result<Self, ErrorCode> {
        let network = container.spec.sockets.clone().ok_or(ErrorCode::AccessDenied)?;
        let place = Place::take(container)?;
        Ok(Self {
            state: State::New,
            is_v6,
            backlog: TcpOptions::default().backlog,
            options: Options::default(),
            container: Arc::clone(container),
            network,
            _place: place,
        })
    }

    pub fn is_v6(&self) -> bool {
        self.is_v6
    }

    pub fn is_listening(&self) -> bool {
        matches!(self.state, State::Listening(_))
    }

    pub fn set_backlog(&mut self, size: u64) -> Result<(), ErrorCode> {
        match self.state {
            _ if size == 0 => Err(ErrorCode::InvalidArgument),
            // The queue is made; a hint that comes late may be ignored.
            State::Listening(_) => Ok(()),
            State::New | State::Bound(_) => {
                self.backlog = usize::try_from(size).unwrap_or(usize::MAX);
                Ok(())
            }
            _ => Err(ErrorCode::InvalidState),
        }
    }

    /// The pod has one address; its loopback and the unspecified address stand for it.
    pub fn bind(&mut self, address: SocketAddr) -> Result<(), ErrorCode> {
        if !matches!(self.state, State::New) {
            return Err(ErrorCode::InvalidState);
        }
        self.check_family(address.ip())?;
        let own = self.container.spec.address;
        let ip = address.ip();
        if !(ip.is_unspecified() || ip.is_loopback() || ip == own) {
            return Err(ErrorCode::AddressNotBindable);
        }
        let port = match address.port() {
            0 => self.network.free_port().ok_or(ErrorCode::AddressInUse)?,
            port => port,
        };
        if self.network.is_bound(SocketAddr::new(own, port)) {
            return Err(ErrorCode::AddressInUse);
        }
        self.state = State::Bound(SocketAddr::new(ip, port));
        Ok(())
    }

    pub fn is_bound(&self) -> bool {
        matches!(self.state, State::Bound(_))
    }

    pub fn listen(&mut self) -> Result<(), ErrorCode> {
        let bound = match self.state {
            State::Bound(bound) => bound,
            // 0.3 lets a socket listen that was never bound.
            State::New => {
                let port = self.network.free_port().ok_or(ErrorCode::AddressInUse)?;
                SocketAddr::new(self.unspecified(), port)
            }
            _ => return Err(ErrorCode::InvalidState),
        };
        let options = TcpOptions { backlog: self.backlog, local_only: bound.ip().is_loopback() };
        let address = SocketAddr::new(self.container.spec.address, bound.port());
        let listener = self.network.listen(address, options).map_err(|_| ErrorCode::AddressInUse)?;
        self.state = State::Listening(listener);
        Ok(())
    }

    /// The next connection, if one waits. It stays in the queue when the container has no room for it.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Self, ErrorCode>> {
        let State::Listening(listener) = &mut self.state else {
            return Poll::Ready(Err(ErrorCode::InvalidState));
        };
        std::task::ready!(listener.poll_acceptable(cx));
        let mut accepted = match Self::new(&self.container, self.is_v6) {
            Ok(accepted) => accepted,
            Err(error) => return Poll::Ready(Err(error)),
        };
        let stream = std::task::ready!(listener.poll_accept(cx));
        accepted.options = self.options.clone();
        accepted.connected(stream);
        Poll::Ready(Ok(accepted))
    }

    /// Whether a connection waits.
    pub fn poll_acceptable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.state {
            State::Listening(listener) => listener.poll_acceptable(cx),
            _ => Poll::Ready(()),
        }
    }

    pub fn start_connect(&mut self, address: SocketAddr) -> Result<(), ErrorCode> {
        if !matches!(self.state, State::New | State::Bound(_)) {
            return Err(ErrorCode::InvalidState);
        }
        self.check_family(address.ip())?;
        if address.port() == 0 || address.ip().is_unspecified() || is_many(address.ip()) {
            return Err(ErrorCode::InvalidArgument);
        }
        self.state = State::Connecting(self.network.connect(address));
        Ok(())
    }

    pub fn poll_connected(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ErrorCode>> {
        let State::Connecting(connecting) = &mut self.state else {
            return Poll::Ready(match self.state {
                State::Connected(_) => Ok(()),
                _ => Err(ErrorCode::NotInProgress),
            });
        };
        match std::task::ready!(connecting.as_mut().poll(cx)) {
            Ok(stream) => {
                self.connected(stream);
                Poll::Ready(Ok(()))
            }
            Err(error) => {
                self.state = State::Over;
                Poll::Ready(Err(code_of(&error)))
            }
        }
    }

    fn connected(&mut self, stream: Stream) {
        let (local, peer, ends) = (stream.local_address(), stream.peer_address(), stream.ends());
        let (incoming, mut outgoing) = stream.into_split();
        outgoing.pay_by(Arc::clone(&self.container.memory) as Arc<dyn Payer>);
        self.state = State::Connected(Connected {
            local,
            peer,
            ends,
            incoming: Some(Incoming::new(incoming)),
            outgoing: Some(Outgoing::new(outgoing)),
        });
    }

    /// Where bytes come from, for the one who asks first.
    pub fn take_incoming(&mut self) -> Result<Incoming, ErrorCode> {
        match &mut self.state {
            State::Connected(connected) => connected.incoming.take().ok_or(ErrorCode::InvalidState),
            _ => Err(ErrorCode::InvalidState),
        }
    }

    /// Where bytes go, for the one who asks first.
    pub fn take_outgoing(&mut self) -> Result<Outgoing, ErrorCode> {
        match &mut self.state {
            State::Connected(connected) => connected.outgoing.take().ok_or(ErrorCode::InvalidState),
            _ => Err(ErrorCode::InvalidState),
        }
    }

    pub fn shut_down(&mut self, receive: bool, send: bool) -> Result<(), ErrorCode> {
        let State::Connected(connected) = &self.state else { return Err(ErrorCode::InvalidState) };
        if send {
            connected.ends.finish_writing();
        }
        if receive {
            connected.ends.stop_reading();
        }
        Ok(())
    }

    pub fn local_address(&self) -> Result<SocketAddr, ErrorCode> {
        match &self.state {
            State::Bound(address) => Ok(*address),
            State::Connected(connected) => Ok(self.seen(connected.local)),
            State::Listening(listener) => {
                let address = listener.address();
                Ok(if self.is_v6 { SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), address.port()) } else { address })
            }
            _ => Err(ErrorCode::InvalidState),
        }
    }

    pub fn remote_address(&self) -> Result<SocketAddr, ErrorCode> {
        match &self.state {
            State::Connected(connected) => Ok(self.seen(connected.peer)),
            _ => Err(ErrorCode::InvalidState),
        }
    }

    /// Waits until the operation that is under way could be finished.
    pub async fn ready(&mut self) {
        match &mut self.state {
            State::Connecting(_) => {
                // The outcome stays in the state, for whoever finishes.
                std::future::poll_fn(|cx| {
                    let State::Connecting(connecting) = &mut self.state else { return Poll::Ready(()) };
                    let outcome = std::task::ready!(connecting.as_mut().poll(cx));
                    self.state = State::Connecting(Box::pin(std::future::ready(outcome)));
                    Poll::Ready(())
                })
                .await;
            }
            State::Listening(listener) => std::future::poll_fn(|cx| listener.poll_acceptable(cx)).await,
            _ => {}
        }
    }

    /// A pod has no address of the sixth version; a socket of that version shows the mapped one.
    fn seen(&self, address: SocketAddr) -> SocketAddr {
        match (self.is_v6, address) {
            (true, SocketAddr::V4(v4)) => SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0).into(),
            _ => address,
        }
    }

    fn unspecified(&self) -> IpAddr {
        if self.is_v6 { Ipv6Addr::UNSPECIFIED.into() } else { std::net::Ipv4Addr::UNSPECIFIED.into() }
    }

    fn check_family(&self, address: IpAddr) -> Result<(), ErrorCode> {
        let mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
        if address.is_ipv6() != self.is_v6 || mapped || is_many(address) {
            return Err(ErrorCode::InvalidArgument);
        }
        Ok(())
    }
}

/// Whether an address stands for more than one machine.
fn is_many(address: IpAddr) -> bool {
    address.is_multicast() || matches!(address, IpAddr::V4(v4) if v4.is_broadcast())
}

/// What a guest is told about a connection that was not made.
pub(super) fn code_of(error: &CallError) -> ErrorCode {
    match error {
        CallError::Refused { .. } | CallError::NoEndpoints { .. } | CallError::Denied(_) | CallError::Overloaded => {
            ErrorCode::ConnectionRefused
        }
        CallError::Deadline => ErrorCode::Timeout,
        CallError::NoSuchHost { .. } => ErrorCode::RemoteUnreachable,
        CallError::Broken(_) => ErrorCode::ConnectionReset,
        CallError::LoopDetected | CallError::Guest(_) => ErrorCode::Unknown,
    }
}
