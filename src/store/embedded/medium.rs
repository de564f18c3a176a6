//! What the file lies on, and the check that it is whole before it is opened for writing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use redb::{Builder, Database, DatabaseError, StorageBackend, StorageError};

use super::table;
use crate::contract::OpenError;

/// Idle memory matters more than reads: those are answered from the cache above.
const CACHE_BYTES: usize = 4 << 20;
const FILE: &str = "store.redb";

/// Where a database lies. Opened again after a failure.
pub(crate) trait Medium: Send + Sync + 'static {
    /// For reading and writing.
    fn open(&self) -> Result<Database, DatabaseError>;
    /// The same content, but whatever is written goes nowhere.
    fn rehearse(&self) -> Result<Database, DatabaseError>;
    /// For messages.
    fn file(&self) -> PathBuf;
    /// Where copies are kept, if they are.
    fn copies(&self) -> Option<PathBuf>;
}

pub(super) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// A file in a folder.
pub(super) struct FileMedium {
    folder: PathBuf,
}

impl FileMedium {
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Makes the file where there is none: whole or not at all.
    pub fn prepare(folder: &Path) -> Result<Self, OpenError> {
        let medium = Self::at(folder);
        let file = medium.file();
        let io = |source| OpenError::Io { file: medium.file(), source };
        std::fs::create_dir_all(folder).map_err(io)?;
        if !file.try_exists().map_err(io)? {
            let new = folder.join("store.redb.new");
            match std::fs::remove_file(&new) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
                _ => {}
            }
            let database = builder().create(&new).map_err(|error| io(io::Error::other(error)))?;
            table::initialise(&database).map_err(|error| io(io::Error::other(error)))?;
            drop(database);
            std::fs::rename(&new, &file).map_err(io)?;
            base::files::sync_folder(folder).map_err(io)?;
        }
        Ok(medium)
    }
}

impl Medium for FileMedium {
    fn open(&self) -> Result<Database, DatabaseError> {
        builder().open(self.file())
    }
    fn rehearse(&self) -> Result<Database, DatabaseError> {
        rehearse(&self.file())
    }
    fn file(&self) -> PathBuf {
        self.folder.join(FILE)
    }
    fn copies(&self) -> Option<PathBuf> {
        Some(self.folder.join("copies"))
    }
}

/// The thread that reads what may be damaged. A panic there is an answer; a panic hook need not print it.
pub const CHECK_THREAD: &str = "store-check";

/// Opens a file so that nothing is ever written to it.
pub(super) fn rehearse(file: &Path) -> Result<Database, DatabaseError> {
    let overlay = Overlay::over(File::open(file)?)?;
    if overlay.length()? == 0 {
        // redb would make a new database of it.
        return Err(DatabaseError::Storage(StorageError::Corrupted("the file is empty".to_owned())));
    }
    builder().create_with_backend(overlay)
}

/// Reads the whole database and compares every checksum, without changing it.
pub(super) fn check(medium: &dyn Medium) -> Result<(), OpenError> {
    // A damaged file can make redb panic; that must not be the user's message.
    let checked = std::thread::scope(|scope| {
        let examiner = std::thread::Builder::new().name(CHECK_THREAD.to_owned());
        let examiner = examiner.spawn_scoped(scope, || examine(medium));
        examiner.map(|examiner| examiner.join())
    });
    match checked {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(corrupt(medium, "its structure is broken")),
        Err(source) => Err(OpenError::Io { file: medium.file(), source }),
    }
}

fn examine(medium: &dyn Medium) -> Result<(), OpenError> {
    let mut database = medium.rehearse().map_err(|error| classify(medium, error))?;
    let unreadable = |error: redb::Error| corrupt(medium, &error.to_string());
    match table::format(&database).map_err(unreadable)? {
        None => return Err(corrupt(medium, "it is no store of Coracle's")),
        Some(found) if found > table::FORMAT => {
            let (found, known) = (u32::try_from(found).unwrap_or(u32::MAX), table::FORMAT as u32);
            return Err(OpenError::Newer { file: medium.file(), found, known });
        }
        Some(_) => {}
    }
    match database.check_integrity() {
        Ok(true) => Ok(()),
        Ok(false) => Err(corrupt(medium, "a checksum does not match")),
        Err(error) => Err(classify(medium, error)),
    }
}

fn corrupt(medium: &dyn Medium, detail: &str) -> OpenError {
    let copies = medium.copies().unwrap_or_default();
    OpenError::Corrupt { file: medium.file(), detail: detail.to_owned(), copies }
}

/// Whether the file is damaged or could not be read.
pub(super) fn classify(medium: &dyn Medium, error: DatabaseError) -> OpenError {
    match error {
        DatabaseError::Storage(StorageError::Io(source)) if source.kind() != io::ErrorKind::UnexpectedEof => {
            // Not redb's format at all is told as invalid data.
            if source.kind() == io::ErrorKind::InvalidData {
                return corrupt(medium, &source.to_string());
            }
            OpenError::Io { file: medium.file(), source }
        }
        error @ (DatabaseError::DatabaseAlreadyOpen | DatabaseError::TransactionInProgress) => {
            OpenError::Io { file: medium.file(), source: io::Error::other(error) }
        }
        other => corrupt(medium, &other.to_string()),
    }
}

const BLOCK: u64 = 4096;

/// A file that is only read, under changes that are kept in memory.
#[derive(Debug)]
struct Overlay {
    state: Mutex<OverlayState>,
}

#[derive(Debug)]
struct OverlayState {
    file: File,
    file_length: u64,
    length: u64,
    blocks: BTreeMap<u64, Vec<u8>>,
}

impl Overlay {
    fn over(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let state = OverlayState { file, file_length: length, length, blocks: BTreeMap::new() };
        Ok(Self { state: Mutex::new(state) })
    }
    fn length(&self) -> io::Result<u64> {
        Ok(self.state.lock().length)
    }
}

impl OverlayState {
    fn below(&mut self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        out.fill(0);
        let there = self.file_length.saturating_sub(offset).min(out.len() as u64) as usize;
        if let Some(part) = out.get_mut(..there).filter(|part| !part.is_empty()) {
            self.file.seek(SeekFrom::Start(offset))?;
            self.file.read_exact(part)?;
        }
        Ok(())
    }

    /// Calls `each` for every block of the range: its number, and where the range lies in it and in the buffer.
    fn pieces(
        offset: u64,
        length: usize,
    ) -> impl Iterator<Item = (u64, std::ops::Range<usize>, std::ops::Range<usize>)> {
        let end = offset + length as u64;
        (offset / BLOCK..end.div_ceil(BLOCK)).map(move |block| {
            let start = offset.max(block * BLOCK);
            let stop = end.min((block + 1) * BLOCK);
            let in_block = (start - block * BLOCK) as usize..(stop - block * BLOCK) as usize;
            (block, in_block, (start - offset) as usize..(stop - offset) as usize)
        })
    }
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        self.length()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        if offset + out.len() as u64 > state.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        state.below(offset, out)?;
        for (block, in_block, in_out) in OverlayState::pieces(offset, out.len()) {
            if let Some(data) = state.blocks.get(&block) {
                out[in_out].copy_from_slice(&data[in_block]);
            }
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        // What is cut off must read as zeros when the length grows again.
        state.file_length = state.file_length.min(length);
        let kept = length.div_ceil(BLOCK);
        state.blocks.retain(|block, _| *block < kept);
        if !length.is_multiple_of(BLOCK)
            && let Some(last) = state.blocks.get_mut(&(length / BLOCK))
        {
            last[(length % BLOCK) as usize..].fill(0);
        }
        state.length = length;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        for (block, in_block, in_data) in OverlayState::pieces(offset, data.len()) {
            if !state.blocks.contains_key(&block) {
                let mut fresh = vec![0; BLOCK as usize];
                state.below(block * BLOCK, &mut fresh)?;
                state.blocks.insert(block, fresh);
            }
            if let Some(target) = state.blocks.get_mut(&block) {
                target[in_block].copy_from_slice(&data[in_data]);
            }
        }
        state.length = state.length.max(offset + data.len() as u64);
        Ok(())
    }
}
