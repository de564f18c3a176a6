//! `wasi:cli`: arguments, environment, the standard streams and the exit.

use wasmtime::component::Linker;
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use world::cli::{
    environment, exit, stderr, stdin, stdout, terminal_input, terminal_output, terminal_stderr, terminal_stdin,
    terminal_stdout,
};

use super::{Capability, Grant};
use crate::guest::{Guest, Own};

mod next;

pub(super) const ROW: Capability =
    Capability { name: "cli", interfaces: &["wasi:cli/"], grant: Grant::Always, link, link_next: Some(next::link) };

fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
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
