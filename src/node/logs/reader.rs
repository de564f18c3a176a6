//! Reading a run's files: since, tail, limit, follow. A piece at a time, so that a log of any size takes no memory.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use tokio::sync::watch;

use super::writer::Progress;
use super::{FLUSH_WAIT, LogOptions, LogStream, RunLog, line, rotated};

/// Longer than any line: pieces end with a line.
const CHUNK_BYTES: u64 = 64 << 10;
/// Older files are looked for up to here where nobody says how many there are.
const OLDER_MAX: u64 = 1000;

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
    for older in 1..=older(&path) {
        let _ = fs::remove_file(rotated(&path, older));
    }
    let _ = fs::remove_file(path);
}

/// How many older files there are.
fn older(path: &Path) -> u64 {
    (1..OLDER_MAX).take_while(|number| rotated(path, *number).exists()).last().unwrap_or(0)
}

/// A place in a run: how many files were full before this one, and how far into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    file: u64,
    offset: u64,
}

/// The files of a run at one moment.
struct Files {
    path: PathBuf,
    /// The number of the one that is written.
    newest: u64,
    /// The number of the oldest that is kept.
    oldest: u64,
    /// How much of the newest is there.
    length: u64,
}

impl Files {
    fn open(&self, file: u64) -> io::Result<File> {
        match self.newest - file {
            0 => File::open(&self.path),
            age => File::open(rotated(&self.path, age)),
        }
    }

    fn end(&self) -> Position {
        Position { file: self.newest, offset: self.length }
    }

    /// How far a file goes.
    fn length_of(&self, file: u64) -> io::Result<u64> {
        if file == self.newest { Ok(self.length) } else { Ok(self.open(file)?.metadata()?.len()) }
    }
}

struct Reader {
    path: PathBuf,
    live: Option<Arc<RunLog>>,
}

impl Reader {
    /// Looks at the files while nobody rotates them.
    fn with<T>(&self, look: impl FnOnce(&Files) -> io::Result<T>) -> io::Result<T> {
        let older = older(&self.path);
        match &self.live {
            Some(run) => {
                let progress = run.files.lock();
                let newest = progress.rotations;
                let oldest = newest.saturating_sub(self::older(&self.path));
                look(&Files { path: self.path.clone(), newest, oldest, length: progress.length })
            }
            None => {
                let length = fs::metadata(&self.path)?.len();
                look(&Files { path: self.path.clone(), newest: older, oldest: 0, length })
            }
        }
    }

    fn end(&self) -> io::Result<Position> {
        self.with(|files| Ok(files.end()))
    }

    /// Where the last `count` lines before `end` begin; where everything does if they are not asked for.
    fn begin(&self, count: Option<u64>) -> io::Result<Position> {
        self.with(|files| {
            let Some(count) = count else { return Ok(Position { file: files.oldest, offset: 0 }) };
            let mut left = count;
            for file in (files.oldest..=files.newest).rev() {
                let mut end = files.length_of(file)?;
                if left == 0 {
                    return Ok(Position { file, offset: end });
                }
                if end == 0 {
                    // Perhaps there is no file yet.
                    continue;
                }
                let mut handle = files.open(file)?;
                let mut first = true;
                while end > 0 {
                    let start = end.saturating_sub(CHUNK_BYTES);
                    handle.seek(SeekFrom::Start(start))?;
                    let mut bytes = Vec::new();
                    (&mut handle).take(end - start).read_to_end(&mut bytes)?;
                    // The break at the very end belongs to the last line.
                    let searched = if first { bytes.len().saturating_sub(1) } else { bytes.len() };
                    first = false;
                    for at in (0..searched).rev().filter(|at| bytes[*at] == b'\n') {
                        left -= 1;
                        if left == 0 {
                            return Ok(Position { file, offset: start + at as u64 + 1 });
                        }
                    }
                    end = start;
                }
                left = left.saturating_sub(u64::from(!first));
                if left == 0 && !first {
                    return Ok(Position { file, offset: 0 });
                }
            }
            Ok(Position { file: files.oldest, offset: 0 })
        })
    }

    /// The next lines after `from`, no further than `until`; nothing when there are none.
    fn next(&self, from: Position, until: Option<Position>) -> io::Result<(Vec<u8>, Position)> {
        self.with(|files| {
            let until = until.unwrap_or_else(|| files.end());
            // What was rotated away in the meantime is lost.
            let mut at = if from.file < files.oldest { Position { file: files.oldest, offset: 0 } } else { from };
            while at < until {
                let end = if at.file == until.file { until.offset } else { files.length_of(at.file)? };
                let mut handle = files.open(at.file)?;
                handle.seek(SeekFrom::Start(at.offset))?;
                let mut bytes = Vec::new();
                handle.take(end.saturating_sub(at.offset).min(CHUNK_BYTES)).read_to_end(&mut bytes)?;
                let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
                bytes.truncate(whole);
                if !bytes.is_empty() {
                    let offset = at.offset + bytes.len() as u64;
                    return Ok((bytes, Position { offset, ..at }));
                }
                if at.file >= until.file {
                    break;
                }
                at = Position { file: at.file + 1, offset: 0 };
            }
            Ok((Vec::new(), at))
        })
    }
}

struct Reading {
    reader: Arc<Reader>,
    at: Position,
    /// As far as there was something when it began; then it follows, if it does.
    until: Option<Position>,
    progress: Option<watch::Receiver<Progress>>,
    options: LogOptions,
    left: u64,
}

pub(super) async fn stream(path: PathBuf, live: Option<Arc<RunLog>>, options: LogOptions) -> io::Result<LogStream> {
    if let Some(run) = &live {
        // Whoever asks wants to see what was printed before.
        let _ = tokio::time::timeout(FLUSH_WAIT, run.settled()).await;
    }
    let progress = live.as_ref().filter(|_| options.follow).map(|run| run.progress.subscribe());
    let reader = Arc::new(Reader { path, live });
    let (looking, tail) = (Arc::clone(&reader), options.tail_lines);
    let (at, until) = blocking(move || Ok((looking.begin(tail)?, looking.end()?))).await?;
    let left = options.limit_bytes.unwrap_or(u64::MAX);
    let reading = Reading { reader, at, until: Some(until), progress, options, left };
    Ok(stream::try_unfold(
        reading,
        |mut reading| async move { Ok(reading.next().await?.map(|bytes| (bytes, reading))) },
    )
    .boxed())
}

impl Reading {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        while self.left > 0 {
            let ended = self.progress.as_ref().is_some_and(|progress| progress.borrow().ended);
            let (reader, from, until) = (Arc::clone(&self.reader), self.at, self.until);
            let (bytes, at) = blocking(move || reader.next(from, until)).await?;
            self.at = at;
            if bytes.is_empty() {
                if self.until.take().is_some() && self.progress.is_some() {
                    continue;
                }
                if ended || !self.grows().await {
                    return Ok(None);
                }
                continue;
            }
            let mut shown = Vec::new();
            line::lines(&bytes).for_each(|line| line::show(&mut shown, line, &self.options));
            shown.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.left -= shown.len() as u64;
            if !shown.is_empty() {
                return Ok(Some(shown.into()));
            }
        }
        Ok(None)
    }

    /// Waits until there is more, or there will be none.
    async fn grows(&mut self) -> bool {
        let Some(progress) = &mut self.progress else { return false };
        let at = self.at;
        let news = |progress: &Progress| progress.ended || progress.rotations != at.file || progress.length > at.offset;
        progress.wait_for(news).await.is_ok()
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
