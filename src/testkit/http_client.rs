//! One HTTP request over a real socket.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A whole response.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as text.
    pub text: String,
}

/// Sends `request` on a connection of its own; its URI is a path and `Host` is set.
///
/// # Errors
/// Whatever the connection failed with.
pub async fn exchange(
    address: SocketAddr,
    request: Request<Full<Bytes>>,
) -> Result<Answer, Box<dyn std::error::Error>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
        Ok(Answer { status: head.status, headers: head.headers, text })
    };
    // The connection may end before its last response was read; that alone is no failure.
    let drive = async {
        let _ = connection.await;
        std::future::pending::<std::convert::Infallible>().await
    };
    tokio::select! {
        answer = exchange => answer,
        never = drive => match never {},
    }
}

/// `GET http://HOST/PATH`
pub async fn get(address: SocketAddr, host: &str, path: &str) -> Answer {
    let request = Request::get(path).header("host", host).body(Full::default()).expect("the path and host are valid");
    match exchange(address, request).await {
        Ok(answer) => answer,
        Err(error) => Answer { status: StatusCode::IM_A_TEAPOT, headers: HeaderMap::new(), text: error.to_string() },
    }
}

/// A connection that speaks HTTP/2 from its first byte, as a client that knows the server does.
pub struct Http2 {
    sender: hyper::client::conn::http2::SendRequest<Full<Bytes>>,
    _connection: tokio::task::JoinSet<()>,
}

impl Http2 {
    /// Opens it.
    pub async fn over(stream: TcpStream) -> Self {
        let executor = hyper_util::rt::TokioExecutor::new();
        let opened = hyper::client::conn::http2::handshake(executor, TokioIo::new(stream)).await;
        let (sender, connection) = opened.expect("the server speaks HTTP/2");
        let mut task = tokio::task::JoinSet::new();
        task.spawn(async move {
            let _ = connection.await;
        });
        Self { sender, _connection: task }
    }

    /// Sends a request beside those that are under way.
    pub fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> impl Future<Output = hyper::Result<http::Response<hyper::body::Incoming>>> + use<> {
        self.sender.send_request(request)
    }
}
