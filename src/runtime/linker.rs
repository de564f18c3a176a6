//! Links every capability. Which of them a container has is asked when it starts: [`crate::capabilities::first_denied`].

use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::capabilities::TABLE;
use crate::guest::Guest;

/// A linker for one engine; with `tasks`, one that has programs with tasks of their own.
pub(crate) fn link(engine: &Engine, tasks: bool) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    for capability in TABLE {
        let of = |error: wasmtime::Error| error.context(format!("linking {}", capability.name));
        (capability.link)(&mut linker).map_err(of)?;
        if let Some(link_next) = capability.link_next.filter(|_| tasks) {
            link_next(&mut linker).map_err(of)?;
        }
    }
    Ok(linker)
}
