//! `wasi:http`: requests that come in, and those that go out. Where an outgoing one may go is asked at each.

use wasmtime::component::Linker;

use super::{Capability, Grant};
use crate::guest::Guest;

pub(super) const ROW: Capability =
    Capability { name: "http", interfaces: &["wasi:http/"], grant: Grant::Always, link, link_next: Some(link_next) };

fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    super::methods::link(linker)
}

fn link_next(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wasmtime_wasi_http::p3::add_to_linker(linker)?;
    super::methods::link_next(linker)
}
