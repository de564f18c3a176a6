//! How many files a guest may have open: `open-at` of `wasi:filesystem`, looked at before it is carried out.

use wasmtime::StoreContextMut;
use wasmtime::component::{Accessor, Linker, Resource, ResourceTable};
use wasmtime_wasi::WasiView;
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystem, WasiFilesystemView};
use world::filesystem::types::{self as first, HostDescriptor};
use world::next::filesystem::types::{self as next, HostDescriptorWithStore};

use crate::guest::Guest;

const FIRST: &str = "wasi:filesystem/types@0.2.12";
const NEXT: &str = "wasi:filesystem/types@0.3.0";
const OPEN_AT: &str = "[method]descriptor.open-at";

type FirstOpen = (Resource<Descriptor>, first::PathFlags, String, first::OpenFlags, first::DescriptorFlags);
type NextOpen = (Resource<Descriptor>, next::PathFlags, String, next::OpenFlags, next::DescriptorFlags);

/// Whether the guest has all the files that it may have. Counting walks the table of handles, which has a limit too.
fn is_full(guest: &mut Guest) -> bool {
    let most = guest.hooks.container.spec.handles.files;
    open(guest.ctx().table) >= most
}

fn open(table: &mut ResourceTable) -> usize {
    table.iter_mut().filter(|entry| entry.is::<Descriptor>()).count()
}

/// Puts the limit in front of what is linked already.
pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance(FIRST)?.func_wrap_async(OPEN_AT, |store, params: FirstOpen| {
        Box::new(async move { Ok((open_first(store, params).await?,)) })
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

/// The same for 0.3.
pub(super) fn link_next(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance(NEXT)?.func_wrap_concurrent(OPEN_AT, |store, params: NextOpen| {
        Box::pin(async move { Ok((open_next(store, params).await?,)) })
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

async fn open_first(
    mut store: StoreContextMut<'_, Guest>,
    (directory, path_flags, path, open_flags, flags): FirstOpen,
) -> wasmtime::Result<Result<Resource<Descriptor>, first::ErrorCode>> {
    let guest = store.data_mut();
    if is_full(guest) {
        return Ok(Err(first::ErrorCode::InsufficientMemory));
    }
    let mut files = guest.filesystem();
    match files.open_at(directory, path_flags, path, open_flags, flags).await {
        Ok(opened) => Ok(Ok(opened)),
        Err(error) => Ok(Err(error.downcast()?)),
    }
}

async fn open_next(
    store: &Accessor<Guest>,
    (directory, path_flags, path, open_flags, flags): NextOpen,
) -> wasmtime::Result<Result<Resource<Descriptor>, next::ErrorCode>> {
    if store.with(|mut store| is_full(store.data_mut())) {
        return Ok(Err(next::ErrorCode::InsufficientMemory));
    }
    let files = store.with_getter::<WasiFilesystem>(Guest::filesystem);
    match WasiFilesystem::open_at(&files, directory, path_flags, path, open_flags, flags).await {
        Ok(opened) => Ok(Ok(opened)),
        Err(error) => Ok(Err(error.downcast()?)),
    }
}
