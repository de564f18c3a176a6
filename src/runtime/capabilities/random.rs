//! `wasi:random`: bytes from a generator that each instance has of its own, seeded from the host's.

use wasmtime::component::Linker;
use wasmtime_wasi::WasiView;
use wasmtime_wasi::random::WasiRandom;
use world::random::{insecure, insecure_seed, random};

use super::{Capability, Grant};
use crate::guest::Guest;

pub(super) const ROW: Capability = Capability {
    name: "random",
    interfaces: &["wasi:random/"],
    grant: Grant::Always,
    link,
    link_next: Some(link_next),
};

fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    random::add_to_linker::<Guest, WasiRandom>(linker, |guest| guest.ctx().ctx.random())?;
    insecure::add_to_linker::<Guest, WasiRandom>(linker, |guest| guest.ctx().ctx.random())?;
    insecure_seed::add_to_linker::<Guest, WasiRandom>(linker, |guest| guest.ctx().ctx.random())
}

fn link_next(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wasmtime_wasi::p3::random::add_to_linker(linker)
}
