//! `wasi:cli@0.3`: as 0.2, with streams that are handed over instead of asked for.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use tokio::sync::oneshot;
use wasmtime::StoreContextMut;
use wasmtime::component::{Access, FutureReader, Linker, Source, StreamConsumer, StreamReader, StreamResult};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use world::next::cli::types::ErrorCode;
use world::next::cli::{
    environment, exit, stderr, stdin, stdout, terminal_input, terminal_output, terminal_stderr, terminal_stdin,
    terminal_stdout,
};

use crate::guest::{Guest, Own};
use crate::output::{Lines, WRITE_BYTES_MAX};
use crate::spec::Stream;

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    environment::add_to_linker::<Guest, Own>(linker, |guest| guest)?;
    exit::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    stdin::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    stdout::add_to_linker::<Guest, Own>(linker, |guest| guest)?;
    stderr::add_to_linker::<Guest, Own>(linker, |guest| guest)?;
    terminal_input::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    terminal_output::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    terminal_stdin::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    terminal_stdout::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    terminal_stderr::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)
}

impl environment::Host for Guest {
    fn get_environment(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        world::cli::environment::Host::get_environment(self)
    }
    fn get_arguments(&mut self) -> wasmtime::Result<Vec<String>> {
        world::cli::environment::Host::get_arguments(self)
    }
    fn get_initial_cwd(&mut self) -> wasmtime::Result<Option<String>> {
        world::cli::environment::Host::initial_cwd(self)
    }
}

type Written = FutureReader<Result<(), ErrorCode>>;

impl stdout::Host for Guest {}

impl<U: 'static> stdout::HostWithStore<U> for Own {
    fn write_via_stream(mut store: Access<'_, U, Self>, data: StreamReader<u8>) -> wasmtime::Result<Written> {
        let lines = store.get().lines(Stream::Stdout);
        write(store, lines, data)
    }
}

impl stderr::Host for Guest {}

impl<U: 'static> stderr::HostWithStore<U> for Own {
    fn write_via_stream(mut store: Access<'_, U, Self>, data: StreamReader<u8>) -> wasmtime::Result<Written> {
        let lines = store.get().lines(Stream::Stderr);
        write(store, lines, data)
    }
}

fn write<U: 'static>(
    mut store: Access<'_, U, Own>,
    lines: Arc<Lines>,
    data: StreamReader<u8>,
) -> wasmtime::Result<Written> {
    let (done, ended) = oneshot::channel::<()>();
    data.pipe(&mut store, LineConsumer { lines, waiting: None, _done: done })?;
    FutureReader::new(&mut store, async move {
        // The consumer goes when the guest has dropped its end: a log takes everything.
        let _ = ended.await;
        wasmtime::error::Ok(Ok(()))
    })
}

/// Takes what a guest writes as fast as the log does.
struct LineConsumer {
    lines: Arc<Lines>,
    waiting: Option<BoxFuture<'static, ()>>,
    _done: oneshot::Sender<()>,
}

impl<D> StreamConsumer<D> for LineConsumer {
    type Item = u8;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'_, D>,
        source: Source<'_, u8>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let mut source = source.as_direct(store);
        if source.remaining().is_empty() {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        if self.waiting.is_none() {
            self.waiting = self.lines.room();
        }
        if let Some(waiting) = &mut self.waiting {
            match waiting.as_mut().poll(cx) {
                Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) => self.waiting = None,
            }
        }
        let length = source.remaining().len().min(WRITE_BYTES_MAX);
        self.lines.write(&source.remaining()[..length]);
        source.mark_read(length);
        Poll::Ready(Ok(StreamResult::Completed))
    }
}
