//! `victim`: what bad neighbours do to a pod that behaves.
//!
//! The victim gets a quarter of its own capacity in an open loop, alone and beside a neighbour in turns; then as much as it
//! can answer. Its fair share beside one neighbour of the same weight is half of what it answers alone.

use std::time::Duration;

use crate::closed::{self, Target};
use crate::coracle::Coracle;
use crate::mischief::{self, Mischief};
use crate::objects::App;
use crate::samples::{median, millis, percentile};
use crate::{open, progress, table};

const SATURATED_PAIRS: usize = 3;
const TIME: Duration = Duration::from_millis(1500);
const SETTLE: Duration = Duration::from_millis(300);
const LOAD: f64 = 0.25;
const CONNECTIONS: usize = 32;
const FAIR_SHARE: f64 = 0.5;

struct Pair {
    alone_ms: f64,
    beside_ms: f64,
}

/// The house that both live in.
struct House {
    coracle: Coracle,
    victim: Target,
    chaos: Target,
    /// Answers a second of the victim alone.
    capacity: f64,
}

/// Prints the section.
pub fn run() -> anyhow::Result<()> {
    let coracle = Coracle::start()?;
    let victim = coracle.serve(&App::new("victim", "hello"))?;
    let env = vec![("NEIGHBOUR", "http://victim/")];
    let chaos = coracle.serve(&App { env, ..App::new("chaos", "chaos") })?;
    closed::load(&victim, CONNECTIONS, TIME)?;
    let capacity = closed::load(&victim, CONNECTIONS, TIME)?.rate();
    let house = House { coracle, victim, chaos, capacity };
    let mut rows = Vec::new();
    for (what, mischief) in mischief::KNOWN.into_iter().filter(|(what, _)| crate::is_asked_for(what)) {
        progress(&format!("victim: beside a pod that {what}"));
        let row = house.beside(mischief, what)?;
        progress(&format!("victim: {}", row.join(" | ")));
        rows.push(row);
    }
    let columns = [
        "the neighbour",
        "p99 alone ms",
        "p99 beside ms",
        "ratio (median)",
        "difference ms",
        "saturated, of its fair share",
        "neighbour's answers/s",
        "lost",
    ];
    let title = format!("a victim at {:.0} requests/s, 25 % of its capacity", capacity * LOAD);
    table::print(&title, &columns, &rows);
    Ok(())
}

impl House {
    fn beside(&self, mischief: Mischief, what: &str) -> anyhow::Result<Vec<String>> {
        let (mut pairs, mut lost, mut answers) = (Vec::new(), 0, 0);
        let mut p99 = || {
            let mut outcome = open::load(&self.victim, self.capacity * LOAD, TIME)?;
            lost += outcome.failures;
            anyhow::Ok(millis(percentile(&mut outcome.latencies, 0.99)))
        };
        for _ in 0..mischief.pairs() {
            let images = mischief.prepare(&self.coracle)?;
            std::thread::sleep(SETTLE);
            let alone_ms = p99()?;
            let running = mischief.start(&self.coracle, &self.chaos, &images)?;
            std::thread::sleep(SETTLE);
            let beside_ms = p99()?;
            answers += running.answers();
            running.stop()?;
            pairs.push(Pair { alone_ms, beside_ms });
        }
        let shares = self.saturated(mischief)?;
        let of = |field: fn(&Pair) -> f64| median(&pairs.iter().map(field).collect::<Vec<_>>());
        let seconds = (TIME + SETTLE).as_secs_f64() * pairs.len() as f64;
        Ok(vec![
            what.to_owned(),
            format!("{:.2}", of(|pair| pair.alone_ms)),
            format!("{:.2}", of(|pair| pair.beside_ms)),
            format!("{:.2}", of(|pair| pair.beside_ms / pair.alone_ms)),
            format!("{:+.2}", of(|pair| pair.beside_ms - pair.alone_ms)),
            format!("{shares:.2}"),
            format!("{:.0}", answers as f64 / seconds),
            lost.to_string(),
        ])
    }

    fn saturated(&self, mischief: Mischief) -> anyhow::Result<f64> {
        let mut shares = Vec::new();
        for _ in 0..SATURATED_PAIRS.min(mischief.pairs()) {
            let images = mischief.prepare(&self.coracle)?;
            std::thread::sleep(SETTLE);
            let alone = closed::load(&self.victim, CONNECTIONS, TIME)?.rate();
            let running = mischief.start(&self.coracle, &self.chaos, &images)?;
            std::thread::sleep(SETTLE);
            let beside = closed::load(&self.victim, CONNECTIONS, TIME)?.rate();
            running.stop()?;
            shares.push(beside / (alone * FAIR_SHARE));
        }
        Ok(median(&shares))
    }
}
