//! `wasi:filesystem`: the pod's volumes, at their mount paths.

use wasmtime::component::Linker;
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use world::filesystem::{preopens, types};

use super::{Capability, Grant};
use crate::guest::{Guest, Own};

pub(super) const ROW: Capability = Capability {
    name: "filesystem",
    interfaces: &["wasi:filesystem/"],
    grant: Grant::Always,
    link,
    link_next: Some(link_next),
};

fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    types::add_to_linker::<Guest, WasiFilesystem>(linker, Guest::filesystem)?;
    super::open_files::link(linker)?;
    super::listings::link(linker)?;
    preopens::add_to_linker::<Guest, Own>(linker, |guest| guest)
}

fn link_next(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let next = wasmtime_wasi::p3::bindings::filesystem::types::add_to_linker::<Guest, WasiFilesystem>;
    next(linker, Guest::filesystem)?;
    super::open_files::link_next(linker)?;
    wasmtime_wasi::p3::bindings::filesystem::preopens::add_to_linker::<Guest, Own>(linker, |guest| guest)
}
