//! The cache's folder: `<component>-<form>-<engine>.cwasm`, each with its checksum in a file beside it.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::hash::Hasher;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use base::files::{Access, write_atomically};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use twox_hash::XxHash3_64;

use super::Order;
use crate::Digest;

const CODE: &str = "cwasm";
const SUM: &str = "sum";
const CHUNK_BYTES: usize = 1 << 20;

/// One compiled form of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// What people call it.
    pub form: String,
    /// Its bytes on disk.
    pub size: u64,
}

pub(super) struct Files {
    folder: PathBuf,
    bytes_max: u64,
    /// Compared with their checksums since this process began.
    good: Mutex<HashSet<PathBuf>>,
    scratches: AtomicU64,
}

impl Files {
    pub fn open(folder: &Path, bytes_max: u64) -> io::Result<Self> {
        base::files::private_folder(folder)?;
        Ok(Self { folder: folder.to_owned(), bytes_max, good: Mutex::default(), scratches: AtomicU64::new(0) })
    }

    /// The engine's key may hold anything, so its hash stands in the name.
    pub fn path(&self, order: &Order<'_>) -> PathBuf {
        let engine = hex::encode(Sha256::digest(order.engine_key).get(..8).unwrap_or_default());
        self.folder.join(format!("{}-{}-{engine}.{CODE}", order.component.hex(), order.form))
    }

    /// A name for half of something.
    pub fn scratch(&self) -> PathBuf {
        let number = self.scratches.fetch_add(1, Ordering::Relaxed);
        self.folder.join(format!("half-{}-{number}", std::process::id()))
    }

    /// Whether the file is there and whole; its use is noted for [`Files::shrink`]. A damaged one is deleted.
    pub fn is_good(&self, path: &Path) -> bool {
        let Ok(mut file) = File::options().read(true).append(true).open(path) else { return false };
        if !self.good.lock().contains(path) {
            let said = fs::read_to_string(path.with_extension(SUM)).unwrap_or_default();
            if checksum(&mut file).map_or(true, |found| found != said.trim()) {
                tracing::warn!(file = %path.display(), "a compiled component is damaged and will be made again");
                drop(file);
                self.delete(path);
                return false;
            }
            self.good.lock().insert(path.to_owned());
        }
        // A file system that keeps no times only makes the choice of what goes less good.
        let _ = file.set_modified(SystemTime::now());
        true
    }

    /// Writes a file, its checksum first: one without a checksum is never used.
    pub fn write(&self, path: &Path, compiled: &[u8]) -> io::Result<()> {
        let sum = sum_of(compiled);
        write_atomically(&path.with_extension(SUM), sum.as_bytes(), Access::Private)?;
        write_atomically(path, compiled, Access::Private)?;
        self.good.lock().insert(path.to_owned());
        self.shrink();
        Ok(())
    }

    /// Deletes a file. Where it is mapped it lives on until it is unmapped.
    pub fn delete(&self, path: &Path) {
        self.good.lock().remove(path);
        let _ = fs::remove_file(path);
        let _ = fs::remove_file(path.with_extension(SUM));
    }

    pub fn list(&self) -> HashMap<Digest, Vec<Compiled>> {
        let mut found: HashMap<Digest, Vec<Compiled>> = HashMap::new();
        for (_, size, path) in self.entries() {
            let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
            let mut parts = stem.split('-');
            let digest = parts.next().and_then(|hex| format!("sha256:{hex}").parse::<Digest>().ok());
            if let (Some(digest), Some(form), Some(_)) = (digest, parts.next(), parts.next()) {
                found.entry(digest).or_default().push(Compiled { form: form.to_owned(), size });
            }
        }
        for forms in found.values_mut() {
            forms.sort_by(|a, b| a.form.cmp(&b.form));
        }
        found
    }

    fn entries(&self) -> Vec<(SystemTime, u64, PathBuf)> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        entries
            .flatten()
            .filter(|entry| entry.path().extension().is_some_and(|end| end == CODE))
            .filter_map(|entry| {
                let data = entry.metadata().ok()?;
                Some((data.modified().ok()?, data.len(), entry.path()))
            })
            .collect()
    }

    /// Deletes the files that were used longest ago until the rest fits.
    pub fn shrink(&self) {
        let mut files = self.entries();
        files.sort();
        let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in files {
            if total <= self.bytes_max {
                return;
            }
            self.delete(&path);
            total = total.saturating_sub(bytes);
        }
    }
}

fn sum_of(bytes: &[u8]) -> String {
    let mut hash = XxHash3_64::with_seed(0);
    hash.write(bytes);
    format!("{:016x} {}", hash.finish(), bytes.len())
}

fn checksum(file: &mut File) -> io::Result<String> {
    let mut hash = XxHash3_64::with_seed(0);
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut size = 0u64;
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok(format!("{:016x} {size}", hash.finish()));
        }
        hash.write(&chunk[..read]);
        size += read as u64;
    }
}
