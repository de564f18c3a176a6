//! Load in a closed loop: each connection sends its next request when the one before is answered.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{machine, wire};

/// Where requests go.
#[derive(Clone, Debug)]
pub struct Target {
    /// The server.
    pub address: SocketAddr,
    /// The `Host` header.
    pub host: String,
    /// The path.
    pub path: String,
}

impl Target {
    /// The root of a host.
    pub fn new(address: SocketAddr, host: &str) -> Self {
        Self { address, host: host.to_owned(), path: "/".to_owned() }
    }
}

/// What came of it.
#[derive(Default)]
pub struct Outcome {
    /// The time from sending to the end of the answer, of each request.
    pub latencies: Vec<Duration>,
    /// Answers other than 200, and connections that broke.
    pub failures: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
}

impl Outcome {
    /// Good answers a second.
    pub fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }
}

/// Keeps `connections` busy for `time`, from as many threads as there are cores.
pub fn load(target: &Target, connections: usize, time: Duration) -> anyhow::Result<Outcome> {
    let threads = connections.min(machine::cores());
    let began = Instant::now();
    let mut total = Outcome::default();
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                let share = connections / threads + usize::from(thread < connections % threads);
                scope.spawn(move || one_thread(target, share, began + time))
            })
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

fn one_thread(target: &Target, connections: usize, until: Instant) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let running: Vec<_> =
            (0..connections).map(|_| tokio::task::spawn_local(connection(target.clone(), until))).collect();
        let mut total = Outcome::default();
        for connection in running {
            let part = connection.await??;
            total.latencies.extend(part.latencies);
            total.failures += part.failures;
        }
        Ok(total)
    })
}

async fn connection(target: Target, until: Instant) -> anyhow::Result<Outcome> {
    let request = wire::request(&target.host, &target.path);
    let mut outcome = Outcome::default();
    while Instant::now() < until {
        let mut stream =
            TcpStream::connect(target.address).await.with_context(|| format!("nobody at {}", target.address))?;
        stream.set_nodelay(true)?;
        if one_stream(&mut stream, &request, until, &mut outcome).await.is_err() {
            outcome.failures += 1;
        }
    }
    Ok(outcome)
}

/// Goes on until the time is over or the server ends the connection.
async fn one_stream(
    stream: &mut TcpStream,
    request: &[u8],
    until: Instant,
    outcome: &mut Outcome,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let sent = Instant::now();
        if sent >= until {
            return Ok(());
        }
        stream.write_all(request).await?;
        let mut held = 0;
        let answer = loop {
            let count = stream.read(&mut buffer[held..]).await?;
            if count == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            held += count;
            if let Some(answer) = wire::answer(&buffer[..held]) {
                break answer;
            }
        };
        match answer.status {
            200 => outcome.latencies.push(sent.elapsed()),
            _ => outcome.failures += 1,
        }
    }
}
