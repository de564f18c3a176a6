//! Links every capability. Which of them a container has is asked when it starts: [`crate::capabilities::first_denied`].

use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::capabilities::TABLE;
use crate::guest::Guest;

/// A linker for one engine.
pub(crate) fn link(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    for capability in TABLE {
        (capability.link)(&mut linker).map_err(|error| error.context(format!("linking {}", capability.name)))?;
    }
    Ok(linker)
}
