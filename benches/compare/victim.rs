//! `victim`: what bad neighbours do to a pod that behaves.
//!
//! The victim gets a quarter of its own capacity in an open loop, alone and beside a neighbour in turns; then as much as it
//! can answer. Its fair share beside one neighbour of the same weight is half of what it answers alone.

use std::time::Duration;

use crate::closed::{self, Target};
use crate::coracle::Coracle;
use crate::neighbour::Neighbour;
use crate::objects::App;
use crate::samples::{median, millis, percentile};
use crate::{open, progress, table};

const PAIRS: usize = 7;
const SATURATED_PAIRS: usize = 3;
const TIME: Duration = Duration::from_millis(1500);
const SETTLE: Duration = Duration::from_millis(300);
const LOAD: f64 = 0.25;
const CONNECTIONS: usize = 32;
const FAIR_SHARE: f64 = 0.5;

/// What the neighbour does, and how it is asked to.
const NEIGHBOURS: [(&str, &str); 3] =
    [("loops for ever", "/loop"), ("allocates until denied", "/grow"), ("floods its log", "/flood")];

struct Pair {
    alone_ms: f64,
    beside_ms: f64,
}

/// Prints the section.
pub fn run() -> anyhow::Result<()> {
    let coracle = Coracle::start()?;
    let victim = coracle.serve(&App::new("victim", "hello"))?;
    let chaos = coracle.serve(&App::new("chaos", "chaos"))?;
    closed::load(&victim, CONNECTIONS, TIME)?;
    let capacity = closed::load(&victim, CONNECTIONS, TIME)?.rate();
    let mut rows = Vec::new();
    for (what, path) in NEIGHBOURS {
        let bad = Target { path: path.to_owned(), ..chaos.clone() };
        progress(&format!("victim: beside a pod that {what}"));
        rows.push(beside(&victim, &bad, what, capacity)?);
    }
    let columns = [
        "the neighbour",
        "p99 alone ms",
        "p99 beside ms",
        "ratio (median of 7)",
        "difference ms",
        "saturated, of its fair share",
        "neighbour's answers/s",
        "lost",
    ];
    let title = format!("a victim at {:.0} requests/s, 25 % of its capacity", capacity * LOAD);
    table::print(&title, &columns, &rows);
    Ok(())
}

fn beside(victim: &Target, bad: &Target, what: &str, capacity: f64) -> anyhow::Result<Vec<String>> {
    let (mut pairs, mut lost, mut answers) = (Vec::new(), 0, 0);
    let mut p99 = || {
        let mut outcome = open::load(victim, capacity * LOAD, TIME)?;
        lost += outcome.failures;
        anyhow::Ok(millis(percentile(&mut outcome.latencies, 0.99)))
    };
    for _ in 0..PAIRS {
        let alone_ms = p99()?;
        let neighbour = Neighbour::start(bad);
        std::thread::sleep(SETTLE);
        let beside_ms = p99()?;
        answers += neighbour.answers();
        drop(neighbour);
        std::thread::sleep(SETTLE);
        pairs.push(Pair { alone_ms, beside_ms });
    }
    let shares = saturated(victim, bad)?;
    let of = |field: fn(&Pair) -> f64| median(&pairs.iter().map(field).collect::<Vec<_>>());
    let seconds = (TIME + SETTLE).as_secs_f64() * PAIRS as f64;
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

fn saturated(victim: &Target, bad: &Target) -> anyhow::Result<f64> {
    let mut shares = Vec::new();
    for _ in 0..SATURATED_PAIRS {
        let alone = closed::load(victim, CONNECTIONS, TIME)?.rate();
        let neighbour = Neighbour::start(bad);
        std::thread::sleep(SETTLE);
        let beside = closed::load(victim, CONNECTIONS, TIME)?.rate();
        drop(neighbour);
        std::thread::sleep(SETTLE);
        shares.push(beside / (alone * FAIR_SHARE));
    }
    Ok(median(&shares))
}
