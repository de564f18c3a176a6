//! 0.3: operations in one step, streams and futures of the component model.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use network::{ReadHalf, WriteHalf};
use tokio::sync::oneshot;
use wasmtime::component::{
    Access, Accessor, Destination, FutureReader, Resource, Source, StreamConsumer, StreamProducer, StreamReader,
    StreamResult,
};
use wasmtime::{AsContextMut, StoreContextMut};
use wasmtime_wasi::WasiView;
use wasmtime_wasi::p3::sockets::{SocketError, SocketResult};
use world::next::sockets::ip_name_lookup;
use world::next::sockets::types::{self, Duration, ErrorCode, IpAddressFamily, IpSocketAddress, TcpSocket};
use world::sockets::network::ErrorCode as FirstCode;

use super::PodSockets;
use super::socket::Socket;
use crate::guest::Guest;

const BUFFER_BYTES: usize = 16 * 1024;

/// The codes of 0.2 that have another name, or none.
pub(super) fn code(code: FirstCode) -> ErrorCode {
    match code {
        FirstCode::AccessDenied => ErrorCode::AccessDenied,
        FirstCode::NotSupported => ErrorCode::NotSupported,
        FirstCode::InvalidArgument => ErrorCode::InvalidArgument,
        FirstCode::OutOfMemory => ErrorCode::OutOfMemory,
        FirstCode::Timeout => ErrorCode::Timeout,
        FirstCode::InvalidState | FirstCode::NotInProgress | FirstCode::ConcurrencyConflict => ErrorCode::InvalidState,
        FirstCode::AddressNotBindable => ErrorCode::AddressNotBindable,
        FirstCode::AddressInUse => ErrorCode::AddressInUse,
        FirstCode::RemoteUnreachable => ErrorCode::RemoteUnreachable,
        FirstCode::ConnectionRefused => ErrorCode::ConnectionRefused,
        FirstCode::ConnectionReset => ErrorCode::ConnectionReset,
        FirstCode::ConnectionAborted => ErrorCode::ConnectionAborted,
        FirstCode::DatagramTooLarge => ErrorCode::DatagramTooLarge,
        FirstCode::NewSocketLimit => ErrorCode::Other(Some("new-socket-limit".to_owned())),
        other => ErrorCode::Other(Some(other.name().to_owned())),
    }
}

fn failed(error: FirstCode) -> SocketError {
    code(error).into()
}

fn ours(socket: &Resource<TcpSocket>) -> Resource<Socket> {
    Resource::new_borrow(socket.rep())
}

impl Guest {
    fn socket(&mut self, socket: &Resource<TcpSocket>) -> SocketResult<&mut Socket> {
        self.ctx().table.get_mut(&ours(socket)).map_err(SocketError::trap)
    }

    fn push_socket(&mut self, socket: Socket) -> SocketResult<Resource<TcpSocket>> {
        let handle = self.ctx().table.push(socket).map_err(|_| failed(FirstCode::NewSocketLimit))?;
        Ok(Resource::new_own(handle.rep()))
    }

    fn change(
        &mut self,
        socket: &Resource<TcpSocket>,
        is_valid: bool,
        set: impl FnOnce(&mut super::socket::Options),
    ) -> SocketResult<()> {
        let found = self.socket(socket)?;
        if !is_valid {
            return Err(failed(FirstCode::InvalidArgument));
        }
        set(&mut found.options);
        Ok(())
    }
}

/// How one direction ended, for the future that goes with its stream.
struct Ended<H>(Option<(H, oneshot::Sender<Result<(), ErrorCode>>)>);

impl<H> Ended<H> {
    fn close(&mut self, outcome: Result<(), ErrorCode>) {
        if let Some((half, told)) = self.0.take() {
            drop(half);
            let _ = told.send(outcome);
        }
    }
}

impl<H> Drop for Ended<H> {
    fn drop(&mut self) {
        self.close(Ok(()));
    }
}

fn broken(broken: network::Broken) -> ErrorCode {
    match broken {
        network::Broken::Reset => ErrorCode::ConnectionReset,
        network::Broken::Finished => ErrorCode::ConnectionBroken,
        network::Broken::NoMemory => ErrorCode::OutOfMemory,
    }
}

/// Nothing is here: the guest may have asked to be let go.
fn nothing(finish: bool) -> Poll<wasmtime::Result<StreamResult>> {
    if finish { Poll::Ready(Ok(StreamResult::Cancelled)) } else { Poll::Pending }
}

type Receiving = Ended<ReadHalf>;
type Sending = Ended<WriteHalf>;

impl StreamProducer<Guest> for Receiving {
    type Item = u8;
    type Buffer = BytesMut;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, Guest>,
        into: Destination<'a, u8, BytesMut>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let Some((half, _)) = self.0.as_mut() else { return Poll::Ready(Ok(StreamResult::Dropped)) };
        // Nothing is asked for but whether there is something.
        if into.remaining(store.as_context_mut()) == Some(0) {
            return match half.poll_readable(cx) {
                Poll::Ready(()) => Poll::Ready(Ok(StreamResult::Completed)),
                Poll::Pending => nothing(finish),
            };
        }
        let mut into = into.as_direct(store, BUFFER_BYTES);
        let most = into.remaining().len();
        match half.poll_bytes(cx, most) {
            Poll::Ready(Ok(bytes)) if bytes.is_empty() => {
                self.close(Ok(()));
                Poll::Ready(Ok(StreamResult::Dropped))
            }
            Poll::Ready(Ok(bytes)) => {
                if let Some(room) = into.remaining().get_mut(..bytes.len()) {
                    room.copy_from_slice(&bytes);
                }
                into.mark_written(bytes.len());
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Poll::Ready(Err(error)) => {
                self.close(Err(broken(error)));
                Poll::Ready(Ok(StreamResult::Dropped))
            }
            Poll::Pending => nothing(finish),
        }
    }
}

impl StreamConsumer<Guest> for Sending {
    type Item = u8;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'_, Guest>,
        from: Source<'_, u8>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let Some((half, _)) = self.0.as_mut() else { return Poll::Ready(Ok(StreamResult::Dropped)) };
        let mut from = from.as_direct(store);
        let written = match half.poll_room(cx) {
            Poll::Pending => return nothing(finish),
            Poll::Ready(Ok(room)) => {
                let data = from.remaining();
                let part = data.get(..room).unwrap_or(data);
                let count = part.len();
                half.write_bytes(Bytes::copy_from_slice(part)).map(|()| count)
            }
            Poll::Ready(Err(error)) => Err(error),
        };
        match written {
            Ok(count) => {
                from.mark_read(count);
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Err(error) => {
                self.close(Err(broken(error)));
                Poll::Ready(Ok(StreamResult::Dropped))
            }
        }
    }
}

/// The connections of a socket that listens. The socket itself stays in the table: it is who listens.
struct Accepting(Resource<TcpSocket>);

impl StreamProducer<Guest> for Accepting {
    type Item = Resource<TcpSocket>;
    type Buffer = Option<Resource<TcpSocket>>;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, Guest>,
        mut into: Destination<'a, Self::Item, Self::Buffer>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let wanted = into.remaining(store.as_context_mut()) != Some(0);
        let guest = store.data_mut();
        let Ok(listening) = guest.ctx().table.get_mut(&ours(&self.0)) else {
            // The guest has dropped the socket.
            return Poll::Ready(Ok(StreamResult::Dropped));
        };
        if !wanted {
            return match listening.poll_acceptable(cx) {
                Poll::Ready(()) => Poll::Ready(Ok(StreamResult::Completed)),
                Poll::Pending => nothing(finish),
            };
        }
        match listening.poll_accept(cx) {
            Poll::Pending => nothing(finish),
            Poll::Ready(Ok(accepted)) => {
                let Ok(handle) = guest.push_socket(accepted) else { return nothing(finish) };
                into.set_buffer(Some(handle));
                Poll::Ready(Ok(StreamResult::Completed))
            }
            // No room for another one: it waits in the queue, and is looked for again before long.
            Poll::Ready(Err(FirstCode::NewSocketLimit | FirstCode::OutOfMemory)) => {
                if !finish {
                    cx.waker().wake_by_ref();
                }
                nothing(finish)
            }
            Poll::Ready(Err(_)) => Poll::Ready(Ok(StreamResult::Dropped)),
        }
    }
}

impl types::Host for Guest {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }
}

impl types::HostTcpSocketWithStore<Guest> for PodSockets {
    async fn connect(
        store: &Accessor<Guest, Self>,
        socket: Resource<TcpSocket>,
        remote_address: IpSocketAddress,
    ) -> SocketResult<()> {
        store.with(|mut store| store.get().socket(&socket)?.start_connect(remote_address.into()).map_err(failed))?;
        std::future::poll_fn(|cx| {
            store.with(|mut store| match store.get().socket(&socket) {
                Ok(socket) => socket.poll_connected(cx).map_err(failed),
                Err(error) => Poll::Ready(Err(error)),
            })
        })
        .await
    }

    async fn listen(
        mut store: Access<'_, Guest, Self>,
        socket: Resource<TcpSocket>,
    ) -> SocketResult<StreamReader<Resource<TcpSocket>>> {
        store.get().socket(&socket)?.listen().map_err(failed)?;
        StreamReader::new(&mut store, Accepting(Resource::new_borrow(socket.rep()))).map_err(SocketError::trap)
    }

    fn send(
        mut store: Access<'_, Guest, Self>,
        socket: Resource<TcpSocket>,
        mut data: StreamReader<u8>,
    ) -> wasmtime::Result<FutureReader<Result<(), ErrorCode>>> {
        let taken = store.get().ctx().table.get_mut(&ours(&socket))?.take_outgoing();
        let (told, outcome) = oneshot::channel();
        match taken {
            Ok(outgoing) => data.pipe(&mut store, Ended(Some((outgoing.into_half(), told))))?,
            Err(error) => {
                data.close(&mut store)?;
                let _ = told.send(Err(code(error)));
            }
        }
        FutureReader::new(&mut store, outcome)
    }

    fn receive(
        mut store: Access<'_, Guest, Self>,
        socket: Resource<TcpSocket>,
    ) -> wasmtime::Result<(StreamReader<u8>, FutureReader<Result<(), ErrorCode>>)> {
        let taken = store.get().ctx().table.get_mut(&ours(&socket))?.take_incoming();
        let (told, outcome) = oneshot::channel();
        let stream = match taken {
            Ok(incoming) => StreamReader::new(&mut store, Ended(Some((incoming.into_half(), told))))?,
            Err(error) => {
                let _ = told.send(Err(code(error)));
                StreamReader::new(&mut store, std::iter::empty())?
            }
        };
        Ok((stream, FutureReader::new(&mut store, outcome)?))
    }
}

impl types::HostTcpSocket for Guest {
    fn create(&mut self, family: IpAddressFamily) -> SocketResult<Resource<TcpSocket>> {
        let container = Arc::clone(&self.hooks.container);
        let socket = Socket::new(&container, family == IpAddressFamily::Ipv6).map_err(failed)?;
        self.push_socket(socket)
    }

    async fn bind(&mut self, this: Resource<TcpSocket>, address: IpSocketAddress) -> SocketResult<()> {
        self.socket(&this)?.bind(address.into()).map_err(failed)
    }

    fn get_local_address(&mut self, this: Resource<TcpSocket>) -> SocketResult<IpSocketAddress> {
        self.socket(&this)?.local_address().map(SocketAddr::into).map_err(failed)
    }

    fn get_remote_address(&mut self, this: Resource<TcpSocket>) -> SocketResult<IpSocketAddress> {
        self.socket(&this)?.remote_address().map(SocketAddr::into).map_err(failed)
    }

    fn get_is_listening(&mut self, this: Resource<TcpSocket>) -> wasmtime::Result<bool> {
        Ok(self.ctx().table.get(&ours(&this))?.is_listening())
    }

    fn get_address_family(&mut self, this: Resource<TcpSocket>) -> wasmtime::Result<IpAddressFamily> {
        let is_v6 = self.ctx().table.get(&ours(&this))?.is_v6();
        Ok(if is_v6 { IpAddressFamily::Ipv6 } else { IpAddressFamily::Ipv4 })
    }

    fn set_listen_backlog_size(&mut self, this: Resource<TcpSocket>, value: u64) -> SocketResult<()> {
        self.socket(&this)?.set_backlog(value).map_err(failed)
    }

    fn get_keep_alive_enabled(&mut self, this: Resource<TcpSocket>) -> SocketResult<bool> {
        Ok(self.socket(&this)?.options.keep_alive)
    }

    fn set_keep_alive_enabled(&mut self, this: Resource<TcpSocket>, value: bool) -> SocketResult<()> {
        self.change(&this, true, |options| options.keep_alive = value)
    }

    fn get_keep_alive_idle_time(&mut self, this: Resource<TcpSocket>) -> SocketResult<Duration> {
        Ok(self.socket(&this)?.options.idle_time)
    }

    fn set_keep_alive_idle_time(&mut self, this: Resource<TcpSocket>, value: Duration) -> SocketResult<()> {
        self.change(&this, value > 0, |options| options.idle_time = value)
    }

    fn get_keep_alive_interval(&mut self, this: Resource<TcpSocket>) -> SocketResult<Duration> {
        Ok(self.socket(&this)?.options.interval)
    }

    fn set_keep_alive_interval(&mut self, this: Resource<TcpSocket>, value: Duration) -> SocketResult<()> {
        self.change(&this, value > 0, |options| options.interval = value)
    }

    fn get_keep_alive_count(&mut self, this: Resource<TcpSocket>) -> SocketResult<u32> {
        Ok(self.socket(&this)?.options.count)
    }

    fn set_keep_alive_count(&mut self, this: Resource<TcpSocket>, value: u32) -> SocketResult<()> {
        self.change(&this, value > 0, |options| options.count = value)
    }

    fn get_hop_limit(&mut self, this: Resource<TcpSocket>) -> SocketResult<u8> {
        Ok(self.socket(&this)?.options.hop_limit)
    }

    fn set_hop_limit(&mut self, this: Resource<TcpSocket>, value: u8) -> SocketResult<()> {
        self.change(&this, value > 0, |options| options.hop_limit = value)
    }

    fn get_receive_buffer_size(&mut self, this: Resource<TcpSocket>) -> SocketResult<u64> {
        Ok(self.socket(&this)?.options.receive_buffer)
    }

    fn set_receive_buffer_size(&mut self, this: Resource<TcpSocket>, value: u64) -> SocketResult<()> {
        self.change(&this, value > 0, |options| options.receive_buffer = value)
    }

    fn get_send_buffer_size(&mut self, this: Resource<TcpSocket>) -> SocketResult<u64> {
        Ok(self.socket(&this)?.options.send_buffer)
    }

    fn set_send_buffer_size(&mut self, this: Resource<TcpSocket>, value: u64) -> SocketResult<()> {
        self.change(&this, value > 0, |options| options.send_buffer = value)
    }

    fn drop(&mut self, this: Resource<TcpSocket>) -> wasmtime::Result<()> {
        self.ctx().table.delete(Resource::<Socket>::new_own(this.rep()))?;
        Ok(())
    }
}

impl ip_name_lookup::Host for Guest {}

impl ip_name_lookup::HostWithStore<Guest> for PodSockets {
    async fn resolve_addresses(
        store: &Accessor<Guest, Self>,
        name: String,
    ) -> wasmtime::Result<Result<Vec<types::IpAddress>, ip_name_lookup::ErrorCode>> {
        use ip_name_lookup::ErrorCode as Code;
        let coming = match store.with(|mut store| store.get().looked_up(name)) {
            Ok(coming) => coming,
            Err(FirstCode::AccessDenied) => return Ok(Err(Code::AccessDenied)),
            Err(_) => return Ok(Err(Code::InvalidArgument)),
        };
        Ok(match coming.await {
            Ok(addresses) if !addresses.is_empty() => Ok(addresses.into_iter().map(types::IpAddress::from).collect()),
            Err(network::CallError::Deadline) => Err(Code::TemporaryResolverFailure),
            Ok(_) | Err(_) => Err(Code::NameUnresolvable),
        })
    }
}
