//! A command: works through its input and exits.
//!
//! Shows: a plain Rust program is a pod; its arguments come from the manifest, its lines go to `kubectl logs`, its exit
//! code decides whether the pod has Succeeded or Failed. `batch count FILE…` counts lines, words and bytes of files,
//! `batch primes N` finds the primes below N, `batch fail CODE` exits with 1 (a wasip2 program has only success and
//! failure), `batch sleep SECONDS` waits.

use std::time::Duration;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.first().map(String::as_str) {
        Some("count") => count(&arguments[1..]),
        Some("primes") | None => primes(arguments.get(1).map_or("10000", String::as_str)),
        Some("fail") => Err("asked to fail".to_owned()),
        Some("sleep") => sleep(arguments.get(1).map_or("1", String::as_str)),
        Some(other) => Err(format!("no such job: {other}; try count, primes, fail or sleep")),
    };
    if let Err(why) = outcome {
        eprintln!("batch: {why}");
        std::process::exit(1);
    }
}

fn count(paths: &[String]) -> Result<(), String> {
    for path in paths {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
        println!("{path}: {} lines, {} words, {} bytes", text.lines().count(), text.split_whitespace().count(), text.len());
    }
    Ok(())
}

fn primes(limit: &str) -> Result<(), String> {
    let limit: usize = limit.parse().map_err(|_| format!("{limit:?} is no number"))?;
    let mut composite = vec![false; limit.max(2)];
    let mut found = 0u64;
    for number in 2..limit {
        if composite[number] {
            continue;
        }
        found += 1;
        // A pointer has 32 bits here: the square of a large prime does not fit.
        let Some(square) = number.checked_mul(number) else { continue };
        for multiple in (square..limit).step_by(number) {
            composite[multiple] = true;
        }
    }
    println!("{found} primes below {limit}");
    Ok(())
}

fn sleep(seconds: &str) -> Result<(), String> {
    let seconds: u64 = seconds.parse().map_err(|_| format!("{seconds:?} is no number"))?;
    println!("sleeping for {seconds} s");
    std::thread::sleep(Duration::from_secs(seconds));
    println!("awake");
    Ok(())
}
