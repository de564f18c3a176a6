//! `http`: hello through Coracle's ingress beside native code, nginx in front of it, and `wasmtime serve`.
//!
//! Contestants take turns in short rounds, each round in another order; a row holds the medians.

use std::time::Duration;

use tempfile::TempDir;

use crate::closed::{self, Target};
use crate::coracle::Coracle;
use crate::objects::App;
use crate::process::{Process, Usage};
use crate::samples::{median, micros, percentile};
use crate::{native, progress, rivals, table};

const CONNECTIONS: [usize; 3] = [1, 32, 128];
const ROUNDS: usize = 5;
const WARM: Duration = Duration::from_millis(300);
const TIME: Duration = Duration::from_millis(1500);
/// What hello answers, so that all send the same.
const TEXT: &str = "Hello from WebAssembly!\npod: bench\nrequests in this instance: 1\n";

/// The servers; those who answer for a contestant are charged for it.
struct Field {
    coracle: Coracle,
    native: Process,
    nginx: Option<(Process, TempDir)>,
    wasmtime: Option<Process>,
}

#[derive(Clone, Copy, PartialEq)]
enum Who {
    Native,
    Nginx,
    Wasmtime,
    Coracle,
}

struct Contestant {
    name: &'static str,
    who: Who,
    target: Target,
    rounds: Vec<Round>,
}

struct Round {
    rate: f64,
    p50_us: f64,
    p99_us: f64,
    cpu_us: f64,
    failures: u64,
}

/// Prints the section.
pub fn run() -> anyhow::Result<()> {
    let (field, mut contestants) = line_up()?;
    let mut rows = Vec::new();
    for connections in CONNECTIONS {
        for round in 0..ROUNDS {
            progress(&format!("http: {connections} connections, round {} of {ROUNDS}", round + 1));
            let count = contestants.len();
            for turn in 0..count {
                let contestant = &mut contestants[(turn + round) % count];
                let measured = measure(&field, contestant, connections)?;
                contestant.rounds.push(measured);
            }
        }
        rows.extend(rows_of(&mut contestants, connections));
    }
    let columns = [
        "connections",
        "server",
        "requests/s",
        "p50 µs",
        "p99 µs",
        "CPU µs/request",
        "of native",
        "of wasmtime serve",
        "not 200",
    ];
    table::print("hello over HTTP/1.1, keep-alive, closed loop", &columns, &rows);
    Ok(())
}

fn line_up() -> anyhow::Result<(Field, Vec<Contestant>)> {
    let contestant = |name, who, target| Contestant { name, who, target, rounds: Vec::new() };
    let (native, native_target) = native::start(TEXT)?;
    let mut contestants = vec![contestant("native (hyper)", Who::Native, native_target.clone())];
    let nginx = rivals::nginx(native_target.address)?.map(|(process, target, folder)| {
        contestants.push(contestant("nginx → native", Who::Nginx, target));
        (process, folder)
    });
    let wasmtime = rivals::wasmtime()?.map(|(process, target)| {
        contestants.push(contestant("wasmtime serve", Who::Wasmtime, target));
        process
    });
    let coracle = Coracle::start()?;
    let fresh = App { replicas: 2, ..App::new("fresh", "hello") };
    let reuse = App { replicas: 2, reuse: true, ..App::new("reuse", "hello") };
    contestants.push(contestant("Coracle, an instance a request", Who::Coracle, coracle.serve(&fresh)?));
    contestants.push(contestant("Coracle, reuse", Who::Coracle, coracle.serve(&reuse)?));
    for app in [&fresh, &reuse] {
        coracle.all_ready(app, Duration::from_millis(20), Duration::from_secs(30))?;
    }
    Ok((Field { coracle, native, nginx, wasmtime }, contestants))
}

impl Field {
    fn usage(&self, who: Who) -> Usage {
        let native = || self.native.usage();
        match who {
            Who::Native => native(),
            Who::Nginx => {
                let nginx = self.nginx.as_ref().map(|(process, _)| process.usage()).unwrap_or_default();
                Usage { cpu: nginx.cpu + native().cpu, ..nginx }
            }
            Who::Wasmtime => self.wasmtime.as_ref().map(Process::usage).unwrap_or_default(),
            Who::Coracle => self.coracle.usage(),
        }
    }
}

fn measure(field: &Field, contestant: &Contestant, connections: usize) -> anyhow::Result<Round> {
    closed::load(&contestant.target, connections, WARM)?;
    let before = field.usage(contestant.who);
    let mut outcome = closed::load(&contestant.target, connections, TIME)?;
    let after = field.usage(contestant.who);
    let requests = outcome.latencies.len().max(1) as f64;
    Ok(Round {
        rate: outcome.rate(),
        p50_us: micros(percentile(&mut outcome.latencies, 0.5)),
        p99_us: micros(percentile(&mut outcome.latencies, 0.99)),
        cpu_us: micros(after.cpu.saturating_sub(before.cpu)) / requests,
        failures: outcome.failures,
    })
}

/// Empties the contestants' rounds into rows. Ratios are medians of each round's own.
fn rows_of(contestants: &mut [Contestant], connections: usize) -> Vec<Vec<String>> {
    let rates = |who| {
        let found = contestants.iter().find(|contestant| contestant.who == who);
        found.map(|contestant| contestant.rounds.iter().map(|round| round.rate).collect::<Vec<f64>>())
    };
    let (native, wasmtime) = (rates(Who::Native), rates(Who::Wasmtime));
    let mut rows = Vec::new();
    for contestant in contestants {
        let rounds = std::mem::take(&mut contestant.rounds);
        let of = |field: fn(&Round) -> f64| median(&rounds.iter().map(field).collect::<Vec<_>>());
        let share = |reference: &Option<Vec<f64>>| match reference {
            Some(reference) => {
                let ratios: Vec<f64> = rounds.iter().zip(reference).map(|(round, base)| round.rate / base).collect();
                format!("{:.2}", median(&ratios))
            }
            None => "—".to_owned(),
        };
        rows.push(vec![
            connections.to_string(),
            contestant.name.to_owned(),
            format!("{:.0}", of(|round| round.rate)),
            format!("{:.0}", of(|round| round.p50_us)),
            format!("{:.0}", of(|round| round.p99_us)),
            format!("{:.1}", of(|round| round.cpu_us)),
            share(&native),
            share(&wasmtime),
            rounds.iter().map(|round| round.failures).sum::<u64>().to_string(),
        ]);
    }
    rows
}
