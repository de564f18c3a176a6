//! Directories that were opened by whoever made the volume.
//!
//! A path that runs through a volume can be led elsewhere by anybody who writes there: between the look at it and its use, a
//! directory becomes a symbolic link. A directory that is open stays the one that it is.

use std::fs::File;
use std::io;

use wasmtime_wasi::FsPerms;
use wasmtime_wasi::filesystem::{Descriptor, Dir, OpenMode};

/// A guest's handle to a directory that is open.
pub(crate) fn directory(opened: &File, read_only: bool) -> io::Result<Descriptor> {
    let (permissions, mode) = if read_only {
        (FsPerms::ReadOnly, OpenMode::READ)
    } else {
        (FsPerms::ReadWrite, OpenMode::READ | OpenMode::WRITE)
    };
    Ok(Descriptor::Dir(Dir::new(opened.try_clone()?, permissions, mode, false)))
}
