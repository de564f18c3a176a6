//! Links everything that [`world::OFFERED`] lists.

use wasmtime::Engine;
use wasmtime::component::Linker;
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use world::cli::{environment, stderr, stdout};

use crate::guest::{Guest, Own};

/// A linker for one engine. Sockets are linked with wasmtime-wasi's defaults: every address and every name is denied.
pub(crate) fn link(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    linker.allow_shadowing(true);
    environment::add_to_linker::<Guest, Own>(&mut linker, |guest| guest)?;
    stdout::add_to_linker::<Guest, Own>(&mut linker, |guest| guest)?;
    stderr::add_to_linker::<Guest, Own>(&mut linker, |guest| guest)?;
    preopens::add_to_linker::<Guest, Own>(&mut linker, |guest| guest)?;
    linker.allow_shadowing(false);
    Ok(linker)
}
