//! A pod that misbehaves: requests to it are kept in flight until the neighbour is dropped.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::closed::Target;
use crate::{open, wire};

/// How soon a thread sees that it should stop.
const GLANCE: Duration = Duration::from_millis(50);

/// Running requests.
pub struct Neighbour {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Neighbour {
    /// Begins, with this many requests at any time.
    pub fn start(target: &Target, in_flight: usize) -> Self {
        let (stop, answers) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let threads = (0..in_flight)
            .map(|_| {
                let (target, stop, answers) = (target.clone(), Arc::clone(&stop), Arc::clone(&answers));
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        if one_stream(&target, &stop, &answers).is_err() {
                            std::thread::sleep(GLANCE);
                        }
                    }
                })
            })
            .collect();
        Self { stop, answers, threads }
    }

    /// How often it did what it was asked and lived.
    pub fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn one_stream(target: &Target, stop: &AtomicBool, answers: &AtomicU64) -> anyhow::Result<()> {
    let request = wire::request(&target.host, &target.path);
    let mut stream = open::connect(target)?;
    stream.set_read_timeout(Some(GLANCE))?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        stream.write_all(&request)?;
        let (mut held, mut endless) = (0, false);
        loop {
            match stream.read(&mut buffer[held..]) {
                Ok(0) => return Err(std::io::Error::from(ErrorKind::UnexpectedEof).into()),
                Ok(count) => held += count,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if endless {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error.into()),
            }
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            if endless || held == buffer.len() {
                // More than anybody keeps: from now on it is read and forgotten, and asked for again when it is over.
                (held, endless) = (0, true);
                continue;
            }
            if let Some(answer) = wire::answer(&buffer[..held]) {
                if answer.status == 200 {
                    answers.fetch_add(1, Ordering::Relaxed);
                } else {
                    // It was ended for what it did and comes back; a flood of refusals is no part of the measurement.
                    std::thread::sleep(GLANCE);
                }
                break;
            }
        }
    }
}
