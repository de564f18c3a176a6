//! Checked copies of the store, for the day when its file is damaged.
//!
//! A copy is a store file of its own, written key by key and read back before it counts. Its name is its revision.

use std::io;
use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata};
use thiserror::Error;

use super::medium::{self, FileMedium, Medium};
use super::table;
use crate::contract::Revision;

/// How many copies are kept.
const KEPT: usize = 3;
/// Restored stores go on from a revision that no client can have seen, so that nobody takes the past for the future.
const RESTORED_LEAP: u64 = 1 << 20;

/// Why no copy was made.
#[derive(Debug, Error)]
pub(super) enum CopyError {
    #[error("cannot write the copy")]
    Io(#[from] io::Error),
    #[error("cannot read the store or write the copy")]
    Database(#[from] redb::Error),
    #[error("the copy does not read back as it was written")]
    Unfaithful,
}

fn name(revision: Revision) -> String {
    format!("store-{:020}.redb", revision.0)
}

/// All copies, the newest first.
fn all(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        let is_copy = path.file_name().and_then(|name| name.to_str());
        if is_copy.is_some_and(|name| name.starts_with("store-") && name.ends_with(".redb")) {
            found.push(path);
        }
    }
    found.sort_unstable_by(|left, right| right.cmp(left));
    Ok(found)
}

/// Copies `database` into `folder`, unless its revision is there or nothing was ever written.
pub(super) fn keep(database: &Database, folder: &Path) -> Result<(), CopyError> {
    let revision = table::revision(database)?;
    let path = folder.join(name(revision));
    if revision.0 <= 1 || path.try_exists()? {
        return Ok(());
    }
    std::fs::create_dir_all(folder)?;
    let unfinished = folder.join("unfinished.redb");
    let made = write(database, &unfinished).and_then(|count| check(&unfinished, count));
    if let Err(error) = made {
        // What is left of it is overwritten next time; on a full disk it is in the way.
        let _ = std::fs::remove_file(&unfinished);
        return Err(error);
    }
    std::fs::rename(&unfinished, &path)?;
    base::files::sync_folder(folder)?;
    for old in all(folder)?.into_iter().skip(KEPT) {
        std::fs::remove_file(old)?;
    }
    Ok(())
}

fn write(from: &Database, to: &Path) -> Result<u64, CopyError> {
    match std::fs::remove_file(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let copy = medium::builder().create(to).map_err(redb::Error::from)?;
    let read = from.begin_read().map_err(redb::Error::from)?;
    let write = copy.begin_write().map_err(redb::Error::from)?;
    let count = copy_tables(&read, &write)?;
    write.commit().map_err(redb::Error::from)?;
    Ok(count)
}

fn copy_tables(read: &redb::ReadTransaction, write: &redb::WriteTransaction) -> Result<u64, redb::Error> {
    let (from, mut to) = (read.open_table(table::ENTRIES)?, write.open_table(table::ENTRIES)?);
    for row in from.iter()? {
        let (key, value) = row?;
        to.insert(key.value(), value.value())?;
    }
    let (facts, mut facts_to) = (read.open_table(table::STORE)?, write.open_table(table::STORE)?);
    for row in facts.iter()? {
        let (key, value) = row?;
        facts_to.insert(key.value(), value.value())?;
    }
    from.len().map_err(Into::into)
}

fn check(file: &Path, count: u64) -> Result<(), CopyError> {
    let mut copy = medium::rehearse(file).map_err(redb::Error::from)?;
    let whole = copy.check_integrity().map_err(redb::Error::from)?;
    let read = copy.begin_read().map_err(redb::Error::from)?;
    let found = read.open_table(table::ENTRIES).map_err(redb::Error::from)?.len().map_err(redb::Error::from)?;
    if whole && found == count { Ok(()) } else { Err(CopyError::Unfaithful) }
}

/// What [`restore`] did.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The copy that is the store now.
    pub copy: PathBuf,
    /// The revision of the copy.
    pub revision: Revision,
    /// Where the file that was there lies now, if there was one.
    pub set_aside: Option<PathBuf>,
}

/// Why a copy could not be brought back.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// There is none.
    #[error("there is no usable copy of the store in {}; copies are made when a store is closed in order", folder.display())]
    NoCopy {
        /// Where copies would be.
        folder: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot bring {} back", copy.display())]
    Io {
        /// The copy.
        copy: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Puts the newest copy that is whole in the place of the store in `folder`. The file that is there is kept under
/// another name. No process may have the store open.
///
/// # Errors
/// When there is no usable copy; then nothing was changed.
pub fn restore(folder: &Path) -> Result<Restored, RestoreError> {
    let medium = FileMedium::at(folder);
    let copies = folder.join("copies");
    let found = all(&copies).map_err(|source| RestoreError::Io { copy: copies.clone(), source })?;
    for copy in found {
        let io = |source| RestoreError::Io { copy: copy.clone(), source };
        let new = folder.join("store.redb.new");
        std::fs::copy(&copy, &new).map_err(io)?;
        let revision = match revive(&new) {
            Ok(revision) => revision,
            Err(error) => {
                tracing::warn!(copy = %copy.display(), error = base::report(&error), "this copy cannot be used");
                continue;
            }
        };
        let file = medium.file();
        let mut set_aside = None;
        if file.try_exists().map_err(io)? {
            let aside = (1..).map(|n| folder.join(format!("store.redb.damaged-{n}"))).find(|path| !path.exists());
            if let Some(aside) = aside {
                std::fs::rename(&file, &aside).map_err(io)?;
                set_aside = Some(aside);
            }
        }
        std::fs::rename(&new, &file).map_err(io)?;
        base::files::sync_folder(folder).map_err(io)?;
        return Ok(Restored { copy, revision, set_aside });
    }
    Err(RestoreError::NoCopy { folder: copies })
}

/// Checks a copy and lets its revision leap. Answers the revision that it had.
fn revive(file: &Path) -> Result<Revision, CopyError> {
    let mut database = medium::builder().open(file).map_err(redb::Error::from)?;
    if !database.check_integrity().map_err(redb::Error::from)? {
        return Err(CopyError::Unfaithful);
    }
    let revision = table::revision(&database)?;
    let write = database.begin_write().map_err(redb::Error::from)?;
    let mut facts = write.open_table(table::STORE).map_err(redb::Error::from)?;
    facts.insert("revision", revision.0 + RESTORED_LEAP).map_err(redb::Error::from)?;
    drop(facts);
    write.commit().map_err(redb::Error::from)?;
    Ok(revision)
}
