//! HTTPS: connections, TLS handshakes, HTTP/1.1 and HTTP/2 on one port, and an orderly end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use base::Tasks;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::authentication::PeerCertificate;
use crate::lingering::{Lingering, read_on};
use crate::server::{ApiServer, Door, Identity};

/// How long an error of `accept` (no file descriptors left, mostly) keeps the listener from trying again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long connections may take to finish what they are at.
const LAST_REQUESTS: Duration = Duration::from_secs(10);
const MOST_HEAD_BYTES: usize = 64 * 1024;
const MOST_STREAMS: u32 = 1000;

impl ApiServer {
    /// Serves HTTPS on `listener` until `tasks` are told to stop; watches end then, and requests in flight are answered.
    ///
    /// # Errors
    /// When the listener cannot be used. Nothing that a client does ends it.
    pub async fn serve(
        &self,
        listener: std::net::TcpListener,
        tls: rustls::ServerConfig,
        tasks: &Tasks,
    ) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let ending = tasks.shutdown();
        let connections = Connections {
            door: self.door(Identity::Credentials, ending.clone()),
            acceptor: TlsAcceptor::from(Arc::new(tls)),
            http: Arc::new(protocol(self.inner.limits.head)),
            head: self.inner.limits.head,
        };
        let places = Arc::new(Semaphore::new(self.inner.limits.connections));
        let graceful = GracefulShutdown::new();
        // Connections outlive the signal to stop by what their last requests take, so they are no jobs of `tasks`.
        let mut open = tokio::task::JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = ending.cancelled() => break,
                accepted = next(&listener, &places) => accepted,
            };
            while open.try_join_next().is_some() {}
            match accepted {
                Ok((stream, place)) => {
                    open.spawn(connections.clone().serve(stream, place, graceful.watcher()));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        if tokio::time::timeout(LAST_REQUESTS, graceful.shutdown()).await.is_err() {
            tracing::warn!("some connections did not end in time");
        }
        open.shutdown().await;
        Ok(())
    }
}

/// The next connection, once there is a place for it.
async fn next(listener: &TcpListener, places: &Arc<Semaphore>) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}

fn protocol(head: Duration) -> Builder<TokioExecutor> {
    let mut http = Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(head).max_buf_size(MOST_HEAD_BYTES).max_headers(200);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(MOST_HEAD_BYTES as u32)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(30));
    http
}

#[derive(Clone)]
struct Connections {
    door: Door,
    acceptor: TlsAcceptor,
    http: Arc<Builder<TokioExecutor>>,
    head: Duration,
}

impl Connections {
    async fn serve(self, stream: TcpStream, _place: OwnedSemaphorePermit, watcher: Watcher) {
        // Events of a watch are small and wait for nobody.
        let _ = stream.set_nodelay(true);
        let stream = match tokio::time::timeout(self.head, self.acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => return tracing::debug!("a TLS handshake took too long"),
        };
        let peer = peer(&stream);
        let door = self.door;
        let (rest, rests) = tokio::sync::mpsc::unbounded_channel();
        let service = service_fn(move |request: Request<Incoming>| {
            let (door, peer, rest) = (door.clone(), peer.clone(), rest.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = Body::new(Lingering::new(body, &parts.headers, &rest));
                let mut request = Request::from_parts(parts, body);
                if let Some(peer) = peer {
                    request.extensions_mut().insert(peer);
                }
                Ok::<_, std::convert::Infallible>(door.answer(request).await)
            }
        });
        let connection = self.http.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
        let ended = tokio::select! {
            biased;
            ended = watcher.watch(connection) => ended,
            () = read_on(rests) => Ok(()),
        };
        if let Err(error) = ended {
            tracing::debug!(error = %error, "a connection ended");
        }
    }
}

/// The certificate that the handshake verified.
fn peer(stream: &TlsStream<TcpStream>) -> Option<Arc<PeerCertificate>> {
    let (_, session) = stream.get_ref();
    let leaf = session.peer_certificates()?.first()?;
    PeerCertificate::from_der(leaf).map(Arc::new)
}
