//! Taking lines from guests without blocking them, and writing them without losing control of how many there are.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use base::os::{Urgency, set_thread_urgency};
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{LogLimits, line, rotated};
use crate::sandbox::{Exit, Output, Stream};

/// A guest waits when so much of its output is not written yet…
const BUFFER_BYTES: usize = 256 << 10;
/// …and what it writes nevertheless is dropped beyond this.
const BUFFER_BYTES_MAX: usize = 4 << 20;
/// What a container may print in the long run, and at once: a flood costs the others disk and cores.
const BYTES_PER_SECOND: u64 = 4 << 20;
const BURST: Duration = Duration::from_secs(4);
/// How long lines gather before the next pass of the writer.
const GATHER: Duration = Duration::from_millis(5);

/// The thread that writes all logs of the node.
pub(super) struct Writer {
    queue: mpsc::Sender<Arc<RunLog>>,
    limits: LogLimits,
    dropped: Arc<AtomicU64>,
}

impl Writer {
    pub fn start(limits: LogLimits) -> io::Result<Self> {
        let (queue, runs) = mpsc::channel::<Arc<RunLog>>();
        std::thread::Builder::new().name("container logs".to_owned()).spawn(move || {
            set_thread_urgency(Urgency::Bulk);
            while let Ok(run) = runs.recv() {
                run.flush();
                for run in runs.try_iter() {
                    run.flush();
                }
                std::thread::sleep(GATHER);
            }
        })?;
        Ok(Self { queue, limits, dropped: Arc::default() })
    }

    pub fn limits(&self) -> LogLimits {
        self.limits
    }

    pub fn lines_dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The log of a run. There is no file before the first line.
    pub fn begin(&self, path: PathBuf, attempt: u32) -> Arc<RunLog> {
        Arc::new(RunLog {
            path,
            attempt,
            queue: self.queue.clone(),
            limits: self.limits,
            dropped: Arc::clone(&self.dropped),
            buffer: Mutex::default(),
            files: Mutex::default(),
            progress: watch::Sender::new(Progress::default()),
        })
    }
}

/// How far the files of a run have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// How often the file was rotated.
    pub rotations: u64,
    /// The bytes of the present file.
    pub length: u64,
    /// Whether nothing will come any more.
    pub ended: bool,
    /// Whether the last lines could not be written.
    pub failing: bool,
}

/// The log of one run of a container.
pub(crate) struct RunLog {
    path: PathBuf,
    /// How many runs there were before.
    pub(super) attempt: u32,
    queue: mpsc::Sender<Arc<RunLog>>,
    limits: LogLimits,
    /// Of the whole node.
    dropped: Arc<AtomicU64>,
    buffer: Mutex<Buffer>,
    /// Held while files are rotated, or while a reader looks at both of them.
    pub(super) files: Mutex<Progress>,
    pub(super) progress: watch::Sender<Progress>,
}

#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    queued: bool,
    closed: bool,
    /// Nobody will ask for it any more.
    forgotten: bool,
    dropped: u64,
    /// The moment at which everything written so far would have been due at the allowed rate.
    paid_until: Option<Instant>,
}

impl RunLog {
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn line(self: &Arc<Self>, stream: Stream, text: &[u8]) {
        let mut buffer = self.buffer.lock();
        if buffer.closed {
            return;
        }
        if buffer.bytes.len() > BUFFER_BYTES_MAX {
            buffer.dropped += 1;
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let before = buffer.bytes.len();
        line::append(&mut buffer.bytes, Timestamp::now(), stream, text);
        let written = (buffer.bytes.len() - before) as u64;
        let now = Instant::now();
        let cost = Duration::from_nanos(written.saturating_mul(1_000_000_000) / BYTES_PER_SECOND);
        buffer.paid_until = Some(buffer.paid_until.map_or(now, |until| until.max(now)) + cost);
        self.enqueue(&mut buffer);
    }

    /// Adds what the host has to say, a trap's back-trace above all.
    pub fn tell(self: &Arc<Self>, text: &str) {
        text.lines().for_each(|line| self.line(Stream::Stderr, line.as_bytes()));
    }

    /// Adds what the container ended of, where it is more than its code.
    pub fn tell_of(self: &Arc<Self>, exit: &Exit) {
        if exit.code != 0 && !matches!(exit.message.as_str(), "" | "stopped") {
            self.tell(&exit.message);
        }
    }

    fn enqueue(self: &Arc<Self>, buffer: &mut Buffer) {
        if !buffer.queued {
            buffer.queued = true;
            // The thread lives as long as any log; without it lines have nowhere to go.
            let _ = self.queue.send(self.clone());
        }
    }

    /// The run did not begin after all: there is no log of it.
    pub fn discard(&self) {
        self.buffer.lock().closed = true;
        let _ = fs::remove_file(&self.path);
    }

    /// Nothing comes any more. Returns when everything is in the file. One that nobody will ask for, because its pod goes, has
    /// none if it is empty.
    pub async fn close(self: &Arc<Self>, is_wanted: bool) {
        {
            let mut buffer = self.buffer.lock();
            (buffer.closed, buffer.forgotten) = (true, !is_wanted);
            self.enqueue(&mut buffer);
        }
        let _ = self.progress.subscribe().wait_for(|progress| progress.ended).await;
    }

    /// Waits until what was printed before is in the file, or will be once [`RunLog::files`] can be locked.
    pub async fn settled(&self) {
        let mut progress = self.progress.subscribe();
        while self.buffer.lock().queued {
            if progress.changed().await.is_err() {
                return;
            }
        }
    }

    /// Whether so much is on its way to the disk that more would be dropped.
    #[cfg(test)]
    pub fn settle_pressure(&self) -> bool {
        self.buffer.lock().bytes.len() >= BUFFER_BYTES
    }

    fn flush(&self) {
        // Taken before the buffer is emptied: a reader that finds the buffer empty then waits for the bytes.
        let mut progress = self.files.lock();
        let (bytes, closed, is_last) = {
            let mut buffer = self.buffer.lock();
            buffer.queued = false;
            let mut bytes = std::mem::take(&mut buffer.bytes);
            if buffer.dropped > 0 {
                let note = format!("{} lines were dropped: the container prints too much", buffer.dropped);
                line::append(&mut bytes, Timestamp::now(), Stream::Stderr, note.as_bytes());
                buffer.dropped = 0;
            }
            (bytes, buffer.closed, buffer.closed && !buffer.forgotten)
        };
        match self.append(&mut progress, &bytes, is_last) {
            Ok(()) => progress.failing = false,
            Err(error) => {
                // Said once: a full disk stays full for a while.
                if !progress.failing {
                    tracing::warn!(path = %self.path.display(), %error, "cannot write a container's log");
                }
                progress.failing = true;
                progress.length = fs::metadata(&self.path).map_or(0, |file| file.len());
            }
        }
        progress.ended = closed;
        self.progress.send_replace(*progress);
    }

    /// Every file becomes one older; the oldest goes.
    fn rotate(&self) -> io::Result<()> {
        let kept = self.limits.files.max(2) - 1;
        let _ = fs::remove_file(rotated(&self.path, kept));
        for age in (1..kept).rev() {
            match fs::rename(rotated(&self.path, age), rotated(&self.path, age + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, rotated(&self.path, 1))
    }

    /// Whoever asks for the log of a run that is over finds one, if it is empty.
    fn append(&self, progress: &mut Progress, bytes: &[u8], is_last: bool) -> io::Result<()> {
        let has_file = progress.length > 0 || progress.rotations > 0;
        if bytes.is_empty() && (has_file || !is_last) {
            return Ok(());
        }
        if let Some(folder) = self.path.parent().filter(|_| !has_file) {
            fs::create_dir_all(folder)?;
        }
        if progress.length >= self.limits.file_bytes {
            self.rotate()?;
            *progress = Progress { rotations: progress.rotations + 1, length: 0, ..*progress };
        }
        // Opened each time: thousands of containers must not hold a file each.
        File::options().create(true).append(true).open(&self.path)?.write_all(bytes)?;
        progress.length += bytes.len() as u64;
        Ok(())
    }
}

/// A run's log as its container sees it.
pub(crate) struct RunOutput(pub Arc<RunLog>);

impl Output for RunOutput {
    fn write(&self, stream: Stream, line: &[u8]) {
        self.0.line(stream, line);
    }

    fn room(&self) -> Option<BoxFuture<'static, ()>> {
        let buffer = self.0.buffer.lock();
        let ahead = buffer.paid_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
        let wait = ahead.saturating_sub(BURST);
        let full = buffer.bytes.len() >= BUFFER_BYTES && !buffer.closed;
        if wait.is_zero() && !full {
            return None;
        }
        let run = self.0.clone();
        let waiting = async move {
            tokio::time::sleep(wait).await;
            let mut progress = run.progress.subscribe();
            while run.buffer.lock().bytes.len() >= BUFFER_BYTES {
                if progress.changed().await.is_err() {
                    return;
                }
            }
        };
        Some(waiting.boxed())
    }
}
