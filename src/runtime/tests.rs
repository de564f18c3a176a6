//! Tests through the room's door, with the sample components that lie built in `workloads/prebuilt`.

// A test's tasks end with its runtime.
#![allow(clippy::disallowed_methods)]

mod commands;
mod drafts;
mod limits;
mod next;
mod programs;
mod requests;
mod sockets;
mod stores;
mod wasi_testsuite;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base::metrics::Metrics;
use bytes::Bytes;
use http_body_util::BodyExt;
use network::{CallError, Connection, HttpEndpoint, HttpRequest, HttpResponse};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::{Common, Config, Form, Output, Program, Runtime, ServeSpec, Server, Stream};

pub(crate) const PLAIN: Form = Form { fuel: false };
pub(crate) const FUEL: Form = Form { fuel: true };
pub(crate) const MIB: u64 = 1 << 20;

/// Everything that a test waits for comes within this, or never.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn runtime() -> Runtime {
    let config = Config { pool_slots_max: 64, ..Config::new(tokio::runtime::Handle::current(), Metrics::default()) };
    Runtime::new(config)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub(crate) fn sample(name: &str) -> Vec<u8> {
    let path = root().join("workloads/prebuilt").join(format!("{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A sample as a program; artifacts are kept between tests, each of which is a process of its own.
pub(crate) fn program(runtime: &Runtime, name: &str, form: Form) -> Program {
    load(runtime, &sample(name), form).unwrap_or_else(|error| panic!("{name}: {error}"))
}

pub(crate) fn load(runtime: &Runtime, component: &[u8], form: Form) -> Result<Program, crate::LoadError> {
    let folder = root().join("target/runtime-tests");
    let key = runtime.engine_key(form).unwrap_or_else(|error| panic!("{error}"));
    let path = folder.join(format!("{}-{key}.cwasm", hex::encode(Sha256::digest(component))));
    if !path.exists() {
        let artifact = runtime.compile(component, form).unwrap_or_else(|error| panic!("{error}"));
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(&folder)?;
            let file = tempfile::NamedTempFile::new_in(&folder)?;
            std::fs::write(file.path(), &artifact)?;
            file.persist(&path).map_err(|error| error.error)?;
            Ok(())
        };
        write().unwrap_or_else(|error| panic!("{error}"));
    }
    runtime.load(&path, form)
}

pub(crate) fn serve(runtime: &Runtime, name: &str, spec: ServeSpec) -> Server {
    let form = Form { fuel: spec.common.fuel.is_some() };
    runtime.serve(&program(runtime, name, form), spec).unwrap_or_else(|error| panic!("{name}: {error}"))
}

pub(crate) fn limited(memory_mib: u64) -> ServeSpec {
    ServeSpec { common: Common { memory_bytes: Some(memory_mib * MIB), ..Common::default() }, ..ServeSpec::default() }
}

pub(crate) fn request(path: &str) -> HttpRequest {
    let request = http::Request::builder().uri(path).header("host", "test.local");
    request.body(network::body::empty()).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) async fn get(server: &Server, path: &str) -> Result<HttpResponse, CallError> {
    let call = server.call(request(path), Connection::default());
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(outcome) => outcome,
        Err(_) => panic!("no answer to {path}"),
    }
}

pub(crate) async fn get_text(server: &Server, path: &str) -> String {
    text(get(server, path).await.unwrap_or_else(|error| panic!("{path}: {error}"))).await
}

pub(crate) async fn text(response: HttpResponse) -> String {
    let body = response.into_body().collect().await.unwrap_or_else(|error| panic!("{error}")).to_bytes();
    String::from_utf8_lossy(&body).into_owned()
}

pub(crate) fn chunk(text: &str) -> Result<http_body::Frame<Bytes>, network::BodyError> {
    Ok(http_body::Frame::data(Bytes::copy_from_slice(text.as_bytes())))
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "never: {what}");
}

/// An [`Output`] that keeps what it is given.
#[derive(Default)]
pub(crate) struct Kept {
    lines: Mutex<Vec<(Stream, String)>>,
}

impl Kept {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }
    pub fn lines(&self, of: Stream) -> Vec<String> {
        self.lines.lock().iter().filter(|(stream, _)| *stream == of).map(|(_, line)| line.clone()).collect()
    }
}

impl Output for Kept {
    fn write(&self, stream: Stream, line: &[u8]) {
        let mut lines = self.lines.lock();
        if lines.len() < 1000 {
            lines.push((stream, String::from_utf8_lossy(line).into_owned()));
        }
    }
}
