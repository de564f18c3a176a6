//! Load in an open loop: requests are due at times of their own, whether or not the ones before are answered.
//!
//! A latency counts from the moment at which its request was due, so that a server that stalls is charged with everything
//! that it held up. Each connection is a blocking thread: its timer is the kernel's, finer than tokio's millisecond.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::closed::{Outcome, Target};
use crate::wire;

/// How many connections share the rate.
const CONNECTIONS: u32 = 16;
/// A request that takes longer is lost.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// Sends `rate` requests a second for `time`, at random moments that are the same in each run.
pub fn load(target: &Target, rate: f64, time: Duration) -> anyhow::Result<Outcome> {
    let began = Instant::now() + Duration::from_millis(20);
    let spacing = f64::from(CONNECTIONS) / rate;
    let mut total = Outcome::default();
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..CONNECTIONS)
            .map(|seed| scope.spawn(move || connection(target, began, began + time, spacing, u64::from(seed))))
            .collect();
        for thread in running {
            let Ok(part) = thread.join() else { bail!("a thread of the load generator panicked") };
            let part = part?;
            total.latencies.extend(part.latencies);
            total.failures += part.failures;
        }
        Ok(())
    })?;
    total.elapsed = began.elapsed();
    Ok(total)
}

fn connection(target: &Target, began: Instant, until: Instant, spacing: f64, seed: u64) -> anyhow::Result<Outcome> {
    let mut random = SmallRng::seed_from_u64(seed);
    let request = wire::request(&target.host, &target.path);
    let mut stream = connect(target)?;
    let (mut outcome, mut due) = (Outcome::default(), began);
    let mut buffer = vec![0; 64 << 10];
    loop {
        // Exponential gaps: what many independent clients look like.
        due += Duration::from_secs_f64(-spacing * (1.0 - random.random::<f64>()).ln());
        if due >= until {
            return Ok(outcome);
        }
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        match exchange(&mut stream, &request, &mut buffer) {
            Ok(200) => outcome.latencies.push(due.elapsed()),
            Ok(_) => outcome.failures += 1,
            Err(_) => {
                outcome.failures += 1;
                stream = connect(target)?;
            }
        }
    }
}

/// A connection for blocking use.
pub fn connect(target: &Target) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(target.address).with_context(|| format!("nobody at {}", target.address))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_WAIT))?;
    Ok(stream)
}

/// One request and its answer's status.
pub fn exchange(stream: &mut TcpStream, request: &[u8], buffer: &mut [u8]) -> std::io::Result<u16> {
    stream.write_all(request)?;
    let mut held = 0;
    loop {
        let count = stream.read(&mut buffer[held..])?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        held += count;
        if let Some(answer) = wire::answer(&buffer[..held]) {
            return Ok(answer.status);
        }
    }
}
