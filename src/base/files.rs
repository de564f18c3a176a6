//! Files that are either there whole or not at all, and one owner per folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Who may read a file that we write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Only the user that runs this process (0600 where modes exist).
    Private,
    /// As the platform's default says.
    Shared,
}

/// Writes `bytes` to `path` so that a reader sees the old content or the new, never a part, also after a power cut.
pub fn write_atomically(path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    // A NamedTempFile is made with 0600; that is what Private wants.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    if access == Access::Shared {
        crate::os::make_shared(file.as_file())?;
    }
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_folder(folder)
}

/// Writes a file that only this user may read, whole or not at all, and that need not outlive a crash of the machine: it
/// costs no wait for the disk.
pub fn write_volatile(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path).map_err(|error| error.error).map(drop)
}

/// Makes a rename in `folder` durable, where the platform needs it said.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// Makes a folder that only this user may look into (0700 where modes exist), and its parents.
pub fn private_folder(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)?;
    crate::os::make_private(path)
}

/// Why a folder could not be taken.
#[derive(Debug, Error)]
pub enum ClaimError {
    /// Another process holds it.
    #[error("{} is in use by process {pid}; stop that process or choose another folder with --data-dir", folder.display())]
    Held {
        /// The folder.
        folder: PathBuf,
        /// The holder's process id, as it wrote it.
        pid: String,
    },
    /// The lock file could not be made or read.
    #[error("cannot use {} as the data folder; choose another one with --data-dir", folder.display())]
    Io {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A folder that this process alone uses, until the claim is dropped or the process ends however it ends.
#[derive(Debug)]
pub struct Claim {
    _lock: File,
}

/// Takes `folder` (made when missing).
///
/// # Errors
/// [`ClaimError::Held`] with the pid of the process that has it.
pub fn claim(folder: &Path) -> Result<Claim, ClaimError> {
    let failed = |source| ClaimError::Io { folder: folder.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(failed)?;
    // The lock and the pid are two files: where locks are mandatory, a locked file cannot be read by others.
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join("lock")).map_err(failed)?;
    let mut pid = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(folder.join("pid"))
        .map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            pid.read_to_string(&mut text).map_err(failed)?;
            return Err(ClaimError::Held { folder: folder.to_owned(), pid: text.trim().to_owned() });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    pid.set_len(0).map_err(failed)?;
    pid.rewind().map_err(failed)?;
    write!(pid, "{}", std::process::id()).map_err(failed)?;
    Ok(Claim { _lock: lock })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_claim_names_the_first_process() {
        let folder = tempfile::tempdir().unwrap();
        let first = claim(folder.path()).unwrap();
        let refused = claim(folder.path()).unwrap_err().to_string();
        assert!(refused.contains(&std::process::id().to_string()), "{refused}");
        drop(first);
        claim(folder.path()).unwrap();
    }

    #[test]
    fn a_written_file_replaces_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/file");
        write_atomically(&path, b"one", Access::Private).unwrap();
        write_atomically(&path, b"two", Access::Private).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
    }
}
