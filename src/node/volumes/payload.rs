//! Puts the files of a volume in place, all of them at once.
//!
//! ```text
//! VOLUME/KEY        → ..data/KEY       a link that stays
//! VOLUME/..data     → ..3f2a           a link that is replaced in one step
//! VOLUME/..3f2a/KEY                    the files, never changed
//! ```
//!
//! The links are relative and lie in the volume, so a guest follows them in its sandbox; one that holds the volume open sees the
//! change with the next name that it opens. Where making links needs rights that a user does not have (Windows), each file is
//! replaced by itself.

use std::io;
use std::path::Path;

use super::content::Files;

/// What files have unless somebody says otherwise.
const DEFAULT_MODE: u32 = 0o644;

#[cfg(unix)]
pub(super) use unix::write;

#[cfg(not(unix))]
pub(super) use elsewhere::write;

/// Writes files below `dir`, which is new.
pub(super) fn plain(dir: &Path, files: &Files) -> io::Result<()> {
    for (path, file) in files {
        let target = super::inside(dir, path).ok_or(io::ErrorKind::InvalidInput)?;
        if let Some(folder) = target.parent().filter(|folder| *folder != dir) {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&target, &file.bytes)?;
        if file.mode != DEFAULT_MODE {
            set_mode(&target, file.mode)?;
        }
    }
    Ok(())
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    // Guests run as the user of this process, who has to be able to read.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode | 0o400))
}

#[cfg(not(unix))]
fn set_mode(_path: &Path, _mode: u32) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
mod unix {
    use std::collections::BTreeSet;
    use std::ffi::OsString;
    use std::io;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::Files;

    const DATA: &str = "..data";
    const NEXT: &str = "..data_tmp";
    static COUNT: AtomicU64 = AtomicU64::new(0);

    /// A name that no earlier content of the volume has.
    fn fresh() -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        format!("..{now:x}_{:x}", COUNT.fetch_add(1, Ordering::Relaxed))
    }

    /// Makes `files` the content of the volume at `dir`.
    pub(in super::super) fn write(dir: &Path, files: &Files) -> io::Result<()> {
        std::fs::create_dir_all(dir)?;
        let name = fresh();
        let folder = dir.join(&name);
        std::fs::create_dir(&folder)?;
        super::plain(&folder, files)?;
        let old = std::fs::read_link(dir.join(DATA)).ok();
        if old.is_some() {
            let next = dir.join(NEXT);
            let _ = std::fs::remove_file(&next);
            symlink(&name, &next)?;
            std::fs::rename(&next, dir.join(DATA))?;
        } else {
            symlink(&name, dir.join(DATA))?;
        }
        link(dir, files)?;
        if let Some(old) = old.filter(|old| old.components().count() == 1) {
            let _ = std::fs::remove_dir_all(dir.join(old));
        }
        Ok(())
    }

    /// Makes the links of what is there, and removes those of what is not.
    fn link(dir: &Path, files: &Files) -> io::Result<()> {
        let first = |path: &String| Path::new(path).components().next().map(|part| part.as_os_str().to_owned());
        let wanted: BTreeSet<OsString> = files.keys().filter_map(first).collect();
        let mut there = BTreeSet::new();
        for entry in std::fs::read_dir(dir)? {
            let name = entry?.file_name();
            if !name.to_string_lossy().starts_with("..") {
                there.insert(name);
            }
        }
        for name in wanted.difference(&there) {
            symlink(Path::new(DATA).join(name), dir.join(name))?;
        }
        for name in there.difference(&wanted) {
            std::fs::remove_file(dir.join(name))?;
        }
        Ok(())
    }
}

#[cfg(any(not(unix), test))]
#[cfg_attr(unix, allow(dead_code, reason = "on Unix only tests use it"))]
pub(super) mod elsewhere {
    use std::io;
    use std::path::Path;

    use base::files::write_volatile;

    use super::Files;
    use crate::volumes::inside;

    /// Makes `files` the content of the volume at `dir`, one after the other.
    pub(in super::super) fn write(dir: &Path, files: &Files) -> io::Result<()> {
        std::fs::create_dir_all(dir)?;
        for (path, file) in files {
            let target = inside(dir, path).ok_or(io::ErrorKind::InvalidInput)?;
            write_volatile(&target, &file.bytes)?;
        }
        forget(dir, dir, files)
    }

    fn forget(root: &Path, dir: &Path, files: &Files) -> io::Result<()> {
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            if path.is_dir() {
                forget(root, &path, files)?;
                let below = format!("{name}/");
                if !files.keys().any(|key| key.starts_with(&below)) {
                    std::fs::remove_dir(&path)?;
                }
            } else if !files.contains_key(&name) {
                std::fs::remove_file(&path)?;
            }
        }
        Ok(())
    }
}
