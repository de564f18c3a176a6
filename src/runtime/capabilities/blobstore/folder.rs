//! Objects as the files of a folder: the node's own, or a volume of the container.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use parking_lot::Mutex;

use super::spool::Whole;
use super::{Blobs, Content, Info, Names};
use crate::spec::Mount;

/// What a container of the node's own may hold.
const EMBEDDED_BYTES_MAX: u64 = 1 << 30;
/// As many names are listed at once.
const NAMES_AT_ONCE: usize = 1000;
const READ_BYTES: usize = 64 << 10;
/// Half-written objects are called so; no listing shows them.
const UNFINISHED: &str = ".coracle-unfinished-";

/// A folder of objects. Nothing leads out of it: every path is opened below its handle.
pub(super) struct Folder(Arc<Inner>);

struct Inner {
    root: Dir,
    read_only: bool,
    /// How much it may hold.
    bytes_max: Option<u64>,
    writing: Mutex<()>,
    numbers: AtomicU64,
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

impl Folder {
    pub async fn embedded(path: PathBuf) -> Result<Self, String> {
        blocking(move || {
            std::fs::create_dir_all(&path)?;
            let root = Dir::open_ambient_dir(&path, ambient_authority())?;
            Ok(Self::new(root, false, Some(EMBEDDED_BYTES_MAX)))
        })
        .await
    }

    pub fn mounted(mount: &Mount) -> Result<Self, String> {
        let root = crate::mounts::make(mount).and_then(|()| match &mount.opened {
            Some(opened) => opened.try_clone().map(Dir::from_std_file),
            None => Dir::open_ambient_dir(&mount.host_dir, ambient_authority()),
        });
        Ok(Self::new(root.map_err(|error| error.to_string())?, mount.read_only, None))
    }

    fn new(root: Dir, read_only: bool, bytes_max: Option<u64>) -> Self {
        let numbers = AtomicU64::new(0);
        Self(Arc::new(Inner { root, read_only, bytes_max, writing: Mutex::default(), numbers }))
    }

    fn may_write(&self) -> Result<(), String> {
        if self.0.read_only { Err("the volume is mounted read-only".to_owned()) } else { Ok(()) }
    }
}

/// What is at a path, or nothing.
fn found<T>(outcome: std::io::Result<T>) -> std::io::Result<Option<T>> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

impl Inner {
    fn info(&self, name: &str) -> std::io::Result<Option<Info>> {
        let Some(metadata) = found(self.root.metadata(name))?.filter(cap_std::fs::Metadata::is_file) else {
            return Ok(None);
        };
        let changed = metadata.modified().map_or(SystemTime::UNIX_EPOCH, cap_std::time::SystemTime::into_std);
        Ok(Some(Info { size: metadata.len(), changed }))
    }

    fn put(&self, name: &str, mut content: Whole) -> std::io::Result<()> {
        // One at a time: the room that one was given is not given to another.
        let _only = self.writing.lock();
        if let Some(most) = self.bytes_max {
            let held: u64 = self.sizes(Path::new("."))?;
            let before = self.info(name)?.map_or(0, |info| info.size);
            if held.saturating_sub(before).saturating_add(content.size) > most {
                return Err(std::io::Error::other(format!("the container is full: it holds at most {most} bytes")));
            }
        }
        if let Some(parent) = Path::new(name).parent().filter(|parent| !parent.as_os_str().is_empty()) {
            self.root.create_dir_all(parent)?;
        }
        let unfinished = format!("{UNFINISHED}{}", self.numbers.fetch_add(1, Ordering::Relaxed));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        let written = self.root.open_with(&unfinished, &options).and_then(|mut file| {
            std::io::copy(&mut content.file, &mut file)?;
            file.sync_all()
        });
        let placed = written.and_then(|()| self.root.rename(&unfinished, &self.root, name));
        if placed.is_err() {
            let _ = self.root.remove_file(&unfinished);
        }
        placed
    }

    fn sizes(&self, folder: &Path) -> std::io::Result<u64> {
        let mut bytes = 0;
        for entry in self.root.read_dir(folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                bytes += self.sizes(&folder.join(entry.file_name()))?;
            } else if kind.is_file() {
                bytes += entry.metadata()?.len();
            }
        }
        Ok(bytes)
    }

    /// All names below a folder, in no order.
    fn names(&self, folder: &Path, prefix: &str, names: &mut Vec<String>) -> std::io::Result<()> {
        for entry in self.root.read_dir(folder)? {
            let entry = entry?;
            let Ok(file) = entry.file_name().into_string() else { continue };
            let (kind, name) = (entry.file_type()?, format!("{prefix}{file}"));
            if kind.is_dir() {
                self.names(&folder.join(&file), &format!("{name}/"), names)?;
            } else if kind.is_file() && !file.starts_with(UNFINISHED) {
                names.push(name);
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Blobs for Folder {
    async fn info(&self, name: &str) -> Result<Option<Info>, String> {
        let (inner, name) = (Arc::clone(&self.0), name.to_owned());
        blocking(move || inner.info(&name)).await
    }

    async fn read(&self, name: &str, start: u64, end: u64) -> Result<Content, String> {
        let (inner, name) = (Arc::clone(&self.0), name.to_owned());
        let (file, size) = blocking(move || {
            let mut file = inner.root.open(&name)?;
            let length = file.metadata()?.len();
            let size = length.min(end.saturating_add(1)).saturating_sub(start);
            file.seek(SeekFrom::Start(start))?;
            Ok((file.into_std(), size))
        })
        .await?;
        let mut left = size;
        let pieces = futures::stream::unfold(Some(()), move |state| {
            let step = state.map(|()| {
                let next = file.try_clone();
                let want = usize::try_from(left).unwrap_or(usize::MAX).min(READ_BYTES);
                left -= want as u64;
                (next, want)
            });
            async move {
                let (next, want) = step?;
                if want == 0 {
                    return None;
                }
                let read = blocking(move || {
                    let mut bytes = vec![0; want];
                    next?.read_exact(&mut bytes)?;
                    Ok(Bytes::from(bytes))
                });
                match read.await {
                    Ok(bytes) => Some((Ok(bytes), Some(()))),
                    Err(error) => Some((Err(std::io::Error::other(error)), None)),
                }
            }
        });
        Ok(Content { size, bytes: Box::pin(pieces) })
    }

    async fn write(&self, name: &str, content: Whole) -> Result<(), String> {
        self.may_write()?;
        let (inner, name) = (Arc::clone(&self.0), name.to_owned());
        blocking(move || inner.put(&name, content)).await
    }

    async fn delete(&self, name: &str) -> Result<(), String> {
        self.may_write()?;
        let (inner, name) = (Arc::clone(&self.0), name.to_owned());
        blocking(move || found(inner.root.remove_file(&name)).map(drop)).await
    }

    async fn list(&self, after: Option<String>) -> Result<Names, String> {
        let inner = Arc::clone(&self.0);
        blocking(move || {
            let mut names = Vec::new();
            inner.names(Path::new("."), "", &mut names)?;
            names.sort_unstable();
            let begin = after.map_or(0, |after| names.partition_point(|name| *name <= after));
            let rest = names.split_off(begin);
            let more = rest.len() > NAMES_AT_ONCE;
            let part: Vec<String> = rest.into_iter().take(NAMES_AT_ONCE).collect();
            let next = part.last().filter(|_| more).cloned();
            Ok((part, next))
        })
        .await
    }
}
