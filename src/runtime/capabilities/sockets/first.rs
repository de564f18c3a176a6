//! 0.2: networks as handles, operations in two steps, streams of `wasi:io`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::future::BoxFuture;
use network::CallError;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynPollable, Pollable, SocketError, SocketResult, subscribe};
use wasmtime_wasi::{WasiView, async_trait};
use world::io::{DynInputStream, DynOutputStream};
use world::sockets::network::{self as wasi_network, ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Network};
use world::sockets::tcp::{self, ShutdownType, TcpSocket};
use world::sockets::{instance_network, ip_name_lookup, tcp_create_socket};

use super::socket::Socket;
use crate::guest::Guest;

/// What the table holds for the interface's `tcp-socket`.
struct Tcp {
    socket: Socket,
    started: Option<Step>,
}

/// An operation that was started and not finished.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Bind,
    Connect,
    Listen,
}

/// What the table holds for the interface's `network`.
struct Everything;

type Named = ip_name_lookup::ResolveAddressStream;

/// What the table holds for the interface's `resolve-address-stream`.
struct Lookup(Answer);

enum Answer {
    Coming(BoxFuture<'static, Result<Vec<IpAddr>, CallError>>),
    Here(std::vec::IntoIter<IpAddr>),
    None(ErrorCode),
}

// The interface's bindings name wasmtime-wasi's own types; only the handles' numbers are theirs.

fn ours(socket: &Resource<TcpSocket>) -> Resource<Tcp> {
    Resource::new_borrow(socket.rep())
}

fn names(stream: &Resource<Named>) -> Resource<Lookup> {
    Resource::new_borrow(stream.rep())
}

fn look<T>(poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    poll(&mut Context::from_waker(Waker::noop()))
}

impl Guest {
    fn tcp(&mut self, socket: &Resource<TcpSocket>) -> SocketResult<&mut Tcp> {
        Ok(self.ctx().table.get_mut(&ours(socket))?)
    }

    fn set_option(
        &mut self,
        socket: &Resource<TcpSocket>,
        is_valid: bool,
        set: impl FnOnce(&mut super::socket::Options),
    ) -> SocketResult<()> {
        let found = self.tcp(socket)?;
        if !is_valid {
            return Err(ErrorCode::InvalidArgument.into());
        }
        set(&mut found.socket.options);
        Ok(())
    }

    /// Both directions, as handles that belong to the socket's.
    fn push_streams(
        &mut self,
        socket: &Resource<TcpSocket>,
    ) -> SocketResult<(Resource<DynInputStream>, Resource<DynOutputStream>)> {
        let found = self.tcp(socket)?;
        let (incoming, outgoing) = (found.socket.take_incoming()?, found.socket.take_outgoing()?);
        let table = self.ctx().table;
        let input = table.push_child(Box::new(incoming) as DynInputStream, &ours(socket))?;
        let output = table.push_child(Box::new(outgoing) as DynOutputStream, &ours(socket))?;
        Ok((input, output))
    }
}

impl Tcp {
    fn begin(&mut self) -> SocketResult<&mut Socket> {
        match self.started {
            Some(_) => Err(ErrorCode::ConcurrencyConflict.into()),
            None => Ok(&mut self.socket),
        }
    }

    fn finish(&mut self, step: Step) -> SocketResult<()> {
        if self.started != Some(step) {
            return Err(ErrorCode::NotInProgress.into());
        }
        self.started = None;
        Ok(())
    }
}

#[async_trait]
impl Pollable for Tcp {
    async fn ready(&mut self) {
        // The others are done as soon as they are started.
        if matches!(self.started, None | Some(Step::Connect)) {
            self.socket.ready().await;
        }
    }
}

impl instance_network::Host for Guest {
    fn instance_network(&mut self) -> wasmtime::Result<Resource<Network>> {
        let handle = self.ctx().table.push(Everything)?;
        Ok(Resource::new_own(handle.rep()))
    }
}

impl wasi_network::Host for Guest {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn network_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        let error = self.ctx().table.get(&error)?;
        Ok(error.downcast_ref::<io::Error>().map(ErrorCode::from))
    }
}

impl wasi_network::HostNetwork for Guest {
    fn drop(&mut self, network: Resource<Network>) -> wasmtime::Result<()> {
        self.ctx().table.delete(Resource::<Everything>::new_own(network.rep()))?;
        Ok(())
    }
}

impl tcp_create_socket::Host for Guest {
    fn create_tcp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<TcpSocket>> {
        let container = Arc::clone(&self.hooks.container);
        let socket = Socket::new(&container, family == IpAddressFamily::Ipv6)?;
        let handle = self.ctx().table.push(Tcp { socket, started: None }).map_err(no_room)?;
        Ok(Resource::new_own(handle.rep()))
    }
}

/// A full table of handles is a limit like the one on sockets, and has a code of its own here.
fn no_room(_: wasmtime::component::ResourceTableError) -> SocketError {
    ErrorCode::NewSocketLimit.into()
}

impl tcp::Host for Guest {}

impl tcp::HostTcpSocket for Guest {
    async fn start_bind(
        &mut self,
        this: Resource<TcpSocket>,
        _network: Resource<Network>,
        local_address: IpSocketAddress,
    ) -> SocketResult<()> {
        let found = self.tcp(&this)?;
        found.begin()?.bind(local_address.into())?;
        found.started = Some(Step::Bind);
        Ok(())
    }

    fn finish_bind(&mut self, this: Resource<TcpSocket>) -> SocketResult<()> {
        self.tcp(&this)?.finish(Step::Bind)
    }

    fn start_connect(
        &mut self,
        this: Resource<TcpSocket>,
        _network: Resource<Network>,
        remote_address: IpSocketAddress,
    ) -> SocketResult<()> {
        let found = self.tcp(&this)?;
        found.begin()?.start_connect(remote_address.into())?;
        found.started = Some(Step::Connect);
        Ok(())
    }

    fn finish_connect(
        &mut self,
        this: Resource<TcpSocket>,
    ) -> SocketResult<(Resource<DynInputStream>, Resource<DynOutputStream>)> {
        let found = self.tcp(&this)?;
        if found.started != Some(Step::Connect) {
            return Err(ErrorCode::NotInProgress.into());
        }
        let Poll::Ready(outcome) = look(|cx| found.socket.poll_connected(cx)) else {
            return Err(ErrorCode::WouldBlock.into());
        };
        found.started = None;
        outcome?;
        self.push_streams(&this)
    }

    async fn start_listen(&mut self, this: Resource<TcpSocket>) -> SocketResult<()> {
        let found = self.tcp(&this)?;
        let socket = found.begin()?;
        if !socket.is_bound() {
            return Err(ErrorCode::InvalidState.into());
        }
        socket.listen()?;
        found.started = Some(Step::Listen);
        Ok(())
    }

    fn finish_listen(&mut self, this: Resource<TcpSocket>) -> SocketResult<()> {
        self.tcp(&this)?.finish(Step::Listen)
    }

    fn accept(
        &mut self,
        this: Resource<TcpSocket>,
    ) -> SocketResult<(Resource<TcpSocket>, Resource<DynInputStream>, Resource<DynOutputStream>)> {
        let found = self.tcp(&this)?;
        let Poll::Ready(accepted) = look(|cx| found.socket.poll_accept(cx)) else {
            return Err(ErrorCode::WouldBlock.into());
        };
        let handle = self.ctx().table.push(Tcp { socket: accepted?, started: None }).map_err(no_room)?;
        let handle = Resource::new_own(handle.rep());
        let (input, output) = self.push_streams(&handle)?;
        Ok((handle, input, output))
    }

    fn local_address(&mut self, this: Resource<TcpSocket>) -> SocketResult<IpSocketAddress> {
        Ok(SocketAddr::into(self.tcp(&this)?.socket.local_address()?))
    }

    fn remote_address(&mut self, this: Resource<TcpSocket>) -> SocketResult<IpSocketAddress> {
        Ok(SocketAddr::into(self.tcp(&this)?.socket.remote_address()?))
    }

    fn is_listening(&mut self, this: Resource<TcpSocket>) -> wasmtime::Result<bool> {
        Ok(self.ctx().table.get(&ours(&this))?.socket.is_listening())
    }

    fn address_family(&mut self, this: Resource<TcpSocket>) -> wasmtime::Result<IpAddressFamily> {
        let is_v6 = self.ctx().table.get(&ours(&this))?.socket.is_v6();
        Ok(if is_v6 { IpAddressFamily::Ipv6 } else { IpAddressFamily::Ipv4 })
    }

    fn set_listen_backlog_size(&mut self, this: Resource<TcpSocket>, value: u64) -> SocketResult<()> {
        Ok(self.tcp(&this)?.socket.set_backlog(value)?)
    }

    fn keep_alive_enabled(&mut self, this: Resource<TcpSocket>) -> SocketResult<bool> {
        Ok(self.tcp(&this)?.socket.options.keep_alive)
    }

    fn set_keep_alive_enabled(&mut self, this: Resource<TcpSocket>, value: bool) -> SocketResult<()> {
        self.set_option(&this, true, |options| options.keep_alive = value)
    }

    fn keep_alive_idle_time(&mut self, this: Resource<TcpSocket>) -> SocketResult<u64> {
        Ok(self.tcp(&this)?.socket.options.idle_time)
    }

    fn set_keep_alive_idle_time(&mut self, this: Resource<TcpSocket>, value: u64) -> SocketResult<()> {
        self.set_option(&this, value > 0, |options| options.idle_time = value)
    }

    fn keep_alive_interval(&mut self, this: Resource<TcpSocket>) -> SocketResult<u64> {
        Ok(self.tcp(&this)?.socket.options.interval)
    }

    fn set_keep_alive_interval(&mut self, this: Resource<TcpSocket>, value: u64) -> SocketResult<()> {
        self.set_option(&this, value > 0, |options| options.interval = value)
    }

    fn keep_alive_count(&mut self, this: Resource<TcpSocket>) -> SocketResult<u32> {
        Ok(self.tcp(&this)?.socket.options.count)
    }

    fn set_keep_alive_count(&mut self, this: Resource<TcpSocket>, value: u32) -> SocketResult<()> {
        self.set_option(&this, value > 0, |options| options.count = value)
    }

    fn hop_limit(&mut self, this: Resource<TcpSocket>) -> SocketResult<u8> {
        Ok(self.tcp(&this)?.socket.options.hop_limit)
    }

    fn set_hop_limit(&mut self, this: Resource<TcpSocket>, value: u8) -> SocketResult<()> {
        self.set_option(&this, value > 0, |options| options.hop_limit = value)
    }

    fn receive_buffer_size(&mut self, this: Resource<TcpSocket>) -> SocketResult<u64> {
        Ok(self.tcp(&this)?.socket.options.receive_buffer)
    }

    fn set_receive_buffer_size(&mut self, this: Resource<TcpSocket>, value: u64) -> SocketResult<()> {
        self.set_option(&this, value > 0, |options| options.receive_buffer = value)
    }

    fn send_buffer_size(&mut self, this: Resource<TcpSocket>) -> SocketResult<u64> {
        Ok(self.tcp(&this)?.socket.options.send_buffer)
    }

    fn set_send_buffer_size(&mut self, this: Resource<TcpSocket>, value: u64) -> SocketResult<()> {
        self.set_option(&this, value > 0, |options| options.send_buffer = value)
    }

    fn subscribe(&mut self, this: Resource<TcpSocket>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.ctx().table, ours(&this))
    }

    fn shutdown(&mut self, this: Resource<TcpSocket>, which: ShutdownType) -> SocketResult<()> {
        let (receive, send) = match which {
            ShutdownType::Receive => (true, false),
            ShutdownType::Send => (false, true),
            ShutdownType::Both => (true, true),
        };
        Ok(self.tcp(&this)?.socket.shut_down(receive, send)?)
    }

    fn drop(&mut self, this: Resource<TcpSocket>) -> wasmtime::Result<()> {
        self.ctx().table.delete(Resource::<Tcp>::new_own(this.rep()))?;
        Ok(())
    }
}

impl ip_name_lookup::Host for Guest {
    fn resolve_addresses(&mut self, _network: Resource<Network>, name: String) -> SocketResult<Resource<Named>> {
        let lookup = Lookup(Answer::Coming(self.looked_up(name).map_err(SocketError::from)?));
        let handle = self.ctx().table.push(lookup).map_err(|_| SocketError::from(ErrorCode::OutOfMemory))?;
        Ok(Resource::new_own(handle.rep()))
    }
}

impl Guest {
    /// Starts to look a name up; one that is an address already is its own answer.
    pub(super) fn looked_up(
        &self,
        name: String,
    ) -> Result<BoxFuture<'static, Result<Vec<IpAddr>, CallError>>, ErrorCode> {
        let sockets = self.hooks.container.spec.sockets.as_ref().ok_or(ErrorCode::AccessDenied)?;
        let literal = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        if let Ok(address) = literal {
            return Ok(Box::pin(std::future::ready(Ok(vec![address]))));
        }
        if name.is_empty() || name.len() > 253 || name.chars().any(|letter| letter.is_control() || letter == ' ') {
            return Err(ErrorCode::InvalidArgument);
        }
        Ok(sockets.lookup(name))
    }
}

impl Lookup {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Answer::Coming(coming) = &mut self.0 {
            self.0 = match std::task::ready!(coming.as_mut().poll(cx)) {
                Ok(addresses) if addresses.is_empty() => Answer::None(ErrorCode::NameUnresolvable),
                Ok(addresses) => Answer::Here(addresses.into_iter()),
                Err(CallError::Deadline) => Answer::None(ErrorCode::TemporaryResolverFailure),
                Err(_) => Answer::None(ErrorCode::NameUnresolvable),
            };
        }
        Poll::Ready(())
    }
}

#[async_trait]
impl Pollable for Lookup {
    async fn ready(&mut self) {
        std::future::poll_fn(|cx| self.poll(cx)).await;
    }
}

impl ip_name_lookup::HostResolveAddressStream for Guest {
    fn resolve_next_address(&mut self, this: Resource<Named>) -> SocketResult<Option<IpAddress>> {
        let lookup = self.ctx().table.get_mut(&names(&this))?;
        if look(|cx| lookup.poll(cx)).is_pending() {
            return Err(ErrorCode::WouldBlock.into());
        }
        match &mut lookup.0 {
            Answer::Here(addresses) => Ok(addresses.next().map(IpAddress::from)),
            Answer::None(code) => Err((*code).into()),
            Answer::Coming(_) => Err(ErrorCode::WouldBlock.into()),
        }
    }

    fn subscribe(&mut self, this: Resource<Named>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.ctx().table, names(&this))
    }

    fn drop(&mut self, this: Resource<Named>) -> wasmtime::Result<()> {
        self.ctx().table.delete(Resource::<Lookup>::new_own(this.rep()))?;
        Ok(())
    }
}
