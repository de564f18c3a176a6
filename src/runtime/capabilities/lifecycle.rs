//! `coracle:lifecycle`: a program learns that it should come to its end.

use tokio_util::sync::CancellationToken;
use wasmtime::component::{Accessor, HasData, Linker, Resource};
use wasmtime_wasi::WasiView;
use world::io::{DynPollable, Pollable, subscribe};

use super::{Capability, Grant};
use crate::guest::{Guest, Own};

mod bindings {
    #![allow(missing_docs, reason = "generated")]
    wasmtime::component::bindgen!({
        path: ["../../wit/deps/io.wit", "../../wit/lifecycle.wit"],
        inline: "
            package coracle:host;
            world host {
                import coracle:lifecycle/stop@0.1.0;
                import coracle:lifecycle/stop-async@0.1.0;
            }
        ",
        imports: {
            "coracle:lifecycle/stop-async.wait": async | store | trappable,
            default: trappable,
        },
        with: { "wasi:io": world::io::bindings },
    });
}

use bindings::coracle::lifecycle::{stop, stop_async};

pub(super) const ROW: Capability = Capability {
    name: "lifecycle",
    interfaces: &["coracle:lifecycle/"],
    grant: Grant::Always,
    link,
    link_next: Some(link_next),
};

fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    stop::add_to_linker::<Guest, Own>(linker, |guest| guest)
}

fn link_next(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    stop_async::add_to_linker::<Guest, Asked>(linker, |guest| guest.hooks.container.stopping.clone())
}

/// Ready once the program was asked to stop.
struct Signal(CancellationToken);

#[async_trait::async_trait]
impl Pollable for Signal {
    async fn ready(&mut self) {
        self.0.cancelled().await;
    }
}

impl stop::Host for Guest {
    fn requested(&mut self) -> wasmtime::Result<bool> {
        Ok(self.hooks.container.stopping.is_cancelled())
    }

    fn subscribe(&mut self) -> wasmtime::Result<Resource<DynPollable>> {
        let signal = Signal(self.hooks.container.stopping.clone());
        let table = self.ctx().table;
        let signal = table.push(signal)?;
        subscribe(table, signal)
    }
}

/// What a guest that waits for its end is given.
struct Asked;

impl HasData for Asked {
    type Data<'a> = CancellationToken;
}

impl stop_async::Host for CancellationToken {}

impl<T: Send> stop_async::HostWithStore<T> for Asked {
    async fn wait(accessor: &Accessor<T, Self>) -> wasmtime::Result<()> {
        let asked = accessor.with(|mut access| access.get());
        asked.cancelled().await;
        Ok(())
    }
}
