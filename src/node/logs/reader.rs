//! Reading a run's files: since, tail, limit, follow.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use tokio::sync::watch;

use super::writer::Progress;
use super::{FLUSH_WAIT, LogOptions, LogStream, RunLog, line, rotated};

const CHUNK_BYTES: usize = 64 << 10;

pub(super) fn path(folder: &Path, attempt: u32) -> PathBuf {
    folder.join(format!("{attempt}.log"))
}

/// The runs that have a log, oldest first.
pub(super) fn attempts(folder: &Path) -> io::Result<Vec<u32>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut attempts: Vec<u32> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".log")?.parse().ok()).collect();
    attempts.sort_unstable();
    Ok(attempts)
}

pub(super) fn remove(folder: &Path, attempt: u32) {
    let path = path(folder, attempt);
    let _ = fs::remove_file(rotated(&path));
    let _ = fs::remove_file(path);
}

/// How much was read of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    rotations: u64,
    offset: u64,
}

pub(super) async fn stream(path: PathBuf, live: Option<Arc<RunLog>>, options: LogOptions) -> io::Result<LogStream> {
    if let Some(run) = &live {
        // Whoever asks wants to see what was printed before.
        let _ = tokio::time::timeout(FLUSH_WAIT, run.settled()).await;
    }
    let (reader, wanted) = (live.clone(), options.clone());
    let (mut shown, position) = blocking(move || read_all(&path, reader.as_deref(), &wanted)).await?;
    let limit = options.limit_bytes.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    shown.truncate(limit);
    let left = limit - shown.len();
    let shown = Bytes::from(shown);
    let chunks: Vec<io::Result<Bytes>> = (0..shown.len())
        .step_by(CHUNK_BYTES)
        .map(|at| Ok(shown.slice(at..(at + CHUNK_BYTES).min(shown.len()))))
        .collect();
    let here = stream::iter(chunks);
    match live {
        Some(run) if options.follow && left > 0 => Ok(here.chain(follow(run, position, options, left)).boxed()),
        _ => Ok(here.boxed()),
    }
}

/// Everything that is there, both files, as it is to be shown.
fn read_all(path: &Path, live: Option<&RunLog>, options: &LogOptions) -> io::Result<(Vec<u8>, Position)> {
    let (older, newer, position) = {
        let guard = live.map(|run| run.files.lock());
        let newer = File::open(path)?;
        let offset = newer.metadata()?.len();
        let rotations = guard.map_or(0, |progress| progress.rotations);
        (File::open(rotated(path)).ok(), newer.take(offset), Position { rotations, offset })
    };
    let mut bytes = Vec::new();
    if let Some(mut older) = older {
        older.read_to_end(&mut bytes)?;
    }
    let mut newer = newer;
    newer.read_to_end(&mut bytes)?;
    let mut shown = Vec::new();
    match options.tail_lines {
        None => line::lines(&bytes).for_each(|line| line::show(&mut shown, line, options)),
        Some(count) => {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            let mut last: Vec<&[u8]> = line::lines(&bytes).rev().take(count).collect();
            last.reverse();
            last.into_iter().for_each(|line| line::show(&mut shown, line, options));
        }
    }
    Ok((shown, position))
}

struct Follow {
    run: Arc<RunLog>,
    progress: watch::Receiver<Progress>,
    position: Position,
    options: LogOptions,
    left: usize,
}

fn follow(run: Arc<RunLog>, position: Position, options: LogOptions, left: usize) -> LogStream {
    let progress = run.progress.subscribe();
    let follow = Follow { run, progress, position, options, left };
    stream::try_unfold(follow, |mut follow| async move {
        while follow.left > 0 {
            let position = follow.position;
            let news = |progress: &Progress| {
                progress.ended || progress.rotations != position.rotations || progress.length > position.offset
            };
            let Ok(progress) = follow.progress.wait_for(news).await.map(|progress| *progress) else { return Ok(None) };
            let (run, from) = (follow.run.clone(), follow.position);
            let (bytes, position) = blocking(move || read_on(&run, from)).await?;
            follow.position = position;
            let mut shown = Vec::new();
            line::lines(&bytes).for_each(|line| line::show(&mut shown, line, &follow.options));
            shown.truncate(follow.left);
            follow.left -= shown.len();
            if !shown.is_empty() {
                return Ok(Some((Bytes::from(shown), follow)));
            }
            if progress.ended && bytes.is_empty() {
                return Ok(None);
            }
        }
        Ok(None)
    })
    .boxed()
}

/// What came after `from`. Lines are appended whole, so that a cut never falls into one.
fn read_on(run: &RunLog, from: Position) -> io::Result<(Vec<u8>, Position)> {
    let progress = run.files.lock();
    let mut bytes = Vec::new();
    let mut offset = from.offset;
    if progress.rotations != from.rotations {
        let mut older = File::open(rotated(run.path()))?;
        // After more than one rotation in between, what lay before the older file is lost.
        let start = if progress.rotations == from.rotations + 1 { offset } else { 0 };
        older.seek(SeekFrom::Start(start))?;
        older.read_to_end(&mut bytes)?;
        offset = 0;
    }
    let mut newer = File::open(run.path())?;
    newer.seek(SeekFrom::Start(offset))?;
    newer.take(progress.length.saturating_sub(offset)).read_to_end(&mut bytes)?;
    Ok((bytes, Position { rotations: progress.rotations, offset: progress.length }))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
