//! Directories that were opened by whoever made the volume, and the one in which relative paths begin.
//!
//! A path that runs through a volume can be led elsewhere by anybody who writes there: between the look at it and its use, a
//! directory becomes a symbolic link. A directory that is open stays the one that it is.
//!
//! WASI has no current directory: libraries resolve a relative path against the preopened directory `.`, or, where they know
//! of `initial-cwd` or `PWD`, against that. A container with a working directory in one of its volumes has all three.

use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};

use cap_std::ambient_authority;
use wasmtime_wasi::FsPerms;
use wasmtime_wasi::filesystem::{Descriptor, Dir, OpenMode};

use crate::spec::{Common, Mount};

/// What libraries take for the place of relative paths.
pub(crate) const HERE: &str = ".";

/// Makes what is mounted, unless it is made.
pub(crate) fn make(mount: &Mount) -> io::Result<()> {
    let failed = |error: io::Error| {
        io::Error::new(error.kind(), format!("the volume at {} cannot be made: {error}", mount.guest_path))
    };
    mount.made_by.as_ref().map_or(Ok(()), |making| making.make().map_err(failed))
}

/// A guest's handle to a directory that is open.
pub(crate) fn directory(opened: &File, read_only: bool) -> io::Result<Descriptor> {
    Ok(descriptor(opened.try_clone()?, read_only))
}

fn descriptor(opened: File, read_only: bool) -> Descriptor {
    let (permissions, mode) = if read_only {
        (FsPerms::ReadOnly, OpenMode::READ)
    } else {
        (FsPerms::ReadWrite, OpenMode::READ | OpenMode::WRITE)
    };
    Descriptor::Dir(Dir::new(opened, permissions, mode, false))
}

/// What stands for the working directory among the guest's directories. With a volume at `/` nothing does: to libraries that
/// and `.` are the same.
pub(crate) fn here(spec: &Common) -> io::Result<Option<Descriptor>> {
    if spec.mounts.iter().any(|mount| mount.guest_path.trim_matches('/').is_empty()) {
        // It is there all the same, unless nobody may write where it would be.
        drop(working(spec));
        return Ok(None);
    }
    working(spec)
}

/// The working directory, where it lies in a volume; made if it is not there, as other runtimes do.
pub(crate) fn working(spec: &Common) -> io::Result<Option<Descriptor>> {
    let Some(path) = &spec.working_dir else { return Ok(None) };
    let below = |mount: &Mount| {
        let rest = Path::new(path).strip_prefix(mount.guest_path.trim_end_matches('/')).ok()?;
        let plain = rest.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        plain.then(|| rest.components().filter(|part| matches!(part, Component::Normal(_))).collect::<PathBuf>())
    };
    let found = spec.mounts.iter().filter_map(|mount| Some((mount, below(mount)?)));
    let Some((mount, rest)) = found.max_by_key(|(mount, _)| mount.guest_path.trim_end_matches('/').len()) else {
        return Ok(None);
    };
    make(mount)?;
    let root = match &mount.opened {
        Some(opened) => cap_std::fs::Dir::from_std_file(opened.try_clone()?),
        None => cap_std::fs::Dir::open_ambient_dir(&mount.host_dir, ambient_authority())?,
    };
    if rest.as_os_str().is_empty() {
        return Ok(Some(descriptor(root.into_std_file(), mount.read_only)));
    }
    let opened = match root.open_dir(&rest) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !mount.read_only => {
            root.create_dir_all(&rest)?;
            root.open_dir(&rest)?
        }
        opened => opened?,
    };
    Ok(Some(descriptor(opened.into_std_file(), mount.read_only)))
}
