//! Lists of folders: `read-directory` of `wasi:filesystem` 0.2, which reads all of a folder at once and keeps it until the guest
//! has taken it. What that is in bytes is looked at before, and put on the container's account.

use std::fs::File;
use std::io;
use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::WasiView;
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemView};
use wasmtime_wasi::p2::ReaddirIterator;
use world::filesystem::types::{ErrorCode, HostDescriptor};

use crate::guest::Guest;

const TYPES: &str = "wasi:filesystem/types@0.2.12";
const READ_DIRECTORY: &str = "[method]descriptor.read-directory";
/// What an entry costs beside the letters of its name.
const ENTRY_BYTES: u64 = 64;

/// Puts the look in front of what is linked already.
pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance(TYPES)?.func_wrap_async(READ_DIRECTORY, |store, (folder,): (Resource<Descriptor>,)| {
        Box::new(async move { Ok((read(store, folder).await?,)) })
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

async fn read(
    mut store: StoreContextMut<'_, Guest>,
    folder: Resource<Descriptor>,
) -> wasmtime::Result<Result<Resource<ReaddirIterator>, ErrorCode>> {
    let guest = store.data_mut();
    let opened = match guest.ctx().table.get(&folder)? {
        Descriptor::Dir(folder) => Some(Arc::clone(&folder.dir)),
        Descriptor::File(_) => None,
    };
    if let Some(opened) = opened {
        // What cannot be read is left to the call itself, which says why.
        let bytes = tokio::task::spawn_blocking(move || size(&opened).unwrap_or(0)).await?;
        if !guest.hold_listing(bytes) {
            return Ok(Err(ErrorCode::InsufficientMemory));
        }
    }
    match guest.filesystem().read_directory(folder).await {
        Ok(listing) => Ok(Ok(listing)),
        Err(error) => Ok(Err(error.downcast()?)),
    }
}

fn size(folder: &File) -> io::Result<u64> {
    let folder = cap_std::fs::Dir::from_std_file(folder.try_clone()?);
    let mut bytes = 0;
    for entry in folder.entries()? {
        bytes += entry?.file_name().len() as u64 + ENTRY_BYTES;
    }
    Ok(bytes)
}
