//! The reference: the same answer from native code, hyper on as many threads as there are cores.

use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use crate::closed::Target;
use crate::process::Process;

/// The argument that makes this program the server.
pub const ROLE: &str = "serve-native";

/// The server as a child process.
pub fn start(text: &str) -> anyhow::Result<(Process, Target)> {
    let address = crate::process::free_address()?;
    let own = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(own);
    command.args([ROLE, text]).env("COMPARE_LISTEN", address.to_string()).stdin(Stdio::null());
    let mut process = Process::start(&mut command)?;
    process.listens(address)?;
    Ok((process, Target::new(address, "hello.localhost")))
}

/// Serves for ever.
pub fn serve(text: &str) -> anyhow::Result<()> {
    let address: SocketAddr = std::env::var("COMPARE_LISTEN")?.parse()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let body = Bytes::copy_from_slice(text.as_bytes());
    std::io::stdout().flush()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let body = body.clone();
            let answer = service_fn(move |_request| {
                let body = body.clone();
                async move { Ok::<_, Infallible>(::http::Response::new(Full::new(body))) }
            });
            tokio::spawn(async move {
                let _ = http1::Builder::new().pipeline_flush(true).serve_connection(TokioIo::new(stream), answer).await;
            });
        }
    })
}
