//! An object while it is being written: a file without a name.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use world::io::{OutputStream, Pollable, StreamError, StreamResult};

use super::OBJECT_BYTES_MAX;

const WRITE_BYTES_MAX: usize = 64 << 10;

/// What was written so far. The file goes with the last who holds it.
pub(crate) struct Spool {
    file: Mutex<File>,
    written: AtomicU64,
    pending: AtomicUsize,
    settled: Notify,
    failed: Mutex<Option<String>>,
}

/// An object that is whole.
pub(crate) struct Whole {
    pub file: File,
    pub size: u64,
}

impl Spool {
    pub fn new() -> std::io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            file: Mutex::new(tempfile::tempfile()?),
            written: AtomicU64::new(0),
            pending: AtomicUsize::new(0),
            settled: Notify::new(),
            failed: Mutex::default(),
        }))
    }

    /// Writes on a thread that may wait for the disk; one piece at a time.
    pub fn write(self: &Arc<Self>, bytes: Bytes) {
        let after = self.written.fetch_add(bytes.len() as u64, Ordering::Relaxed) + bytes.len() as u64;
        if after > OBJECT_BYTES_MAX {
            *self.failed.lock() = Some(format!("an object has at most {OBJECT_BYTES_MAX} bytes"));
            return;
        }
        self.pending.fetch_add(1, Ordering::SeqCst);
        let spool = Arc::clone(self);
        drop(tokio::task::spawn_blocking(move || {
            if let Err(error) = spool.file.lock().write_all(&bytes) {
                *spool.failed.lock() = Some(error.to_string());
            }
            spool.pending.fetch_sub(1, Ordering::SeqCst);
            spool.settled.notify_waiters();
        }));
    }

    fn failure(&self) -> Option<String> {
        self.failed.lock().clone()
    }

    /// Returns when all that was written is in the file.
    pub async fn settle(&self) {
        loop {
            let settled = self.settled.notified();
            if self.pending.load(Ordering::SeqCst) == 0 {
                return;
            }
            settled.await;
        }
    }

    /// The object as it was written, from its beginning.
    pub async fn whole(&self) -> Result<Whole, String> {
        self.settle().await;
        if let Some(failure) = self.failure() {
            return Err(failure);
        }
        let mut file = self.file.lock().try_clone().map_err(|error| error.to_string())?;
        file.seek(SeekFrom::Start(0)).map_err(|error| error.to_string())?;
        Ok(Whole { file, size: self.written.load(Ordering::Relaxed) })
    }
}

/// The guest's end of it.
pub(crate) struct SpoolStream(pub Arc<Spool>);

#[async_trait::async_trait]
impl Pollable for SpoolStream {
    async fn ready(&mut self) {
        self.0.settle().await;
    }
}

#[async_trait::async_trait]
impl OutputStream for SpoolStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.write(bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        if let Some(failure) = self.0.failure() {
            return Err(StreamError::LastOperationFailed(wasmtime::Error::msg(failure)));
        }
        Ok(if self.0.pending.load(Ordering::SeqCst) == 0 { WRITE_BYTES_MAX } else { 0 })
    }
}
