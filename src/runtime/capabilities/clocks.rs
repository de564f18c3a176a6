//! `wasi:clocks`: the time, and waiting for it.

use wasmtime::component::Linker;
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
use world::clocks::{monotonic_clock, wall_clock};

use super::{Capability, Grant};
use crate::guest::Guest;

pub(super) const ROW: Capability = Capability {
    name: "clocks",
    interfaces: &["wasi:clocks/"],
    grant: Grant::Always,
    link,
    link_next: Some(link_next),
};

fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    monotonic_clock::add_to_linker::<Guest, WasiClocks>(linker, Guest::clocks)?;
    wall_clock::add_to_linker::<Guest, WasiClocks>(linker, Guest::clocks)
}

fn link_next(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wasmtime_wasi::p3::clocks::add_to_linker(linker)
}
