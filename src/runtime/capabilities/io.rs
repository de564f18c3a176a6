//! `wasi:io`: streams and pollables, which the 0.2 interfaces are built on.

use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::WasiView;
use world::io::bindings::{error, poll, streams};

use super::{Capability, Grant};
use crate::guest::Guest;

pub(super) const ROW: Capability =
    Capability { name: "io", interfaces: &["wasi:io/"], grant: Grant::Always, link, link_next: None };

struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    error::add_to_linker::<Guest, Table>(linker, |guest| guest.ctx().table)?;
    poll::add_to_linker::<Guest, Table>(linker, |guest| guest.ctx().table)?;
    streams::add_to_linker::<Guest, Table>(linker, |guest| guest.ctx().table)
}
