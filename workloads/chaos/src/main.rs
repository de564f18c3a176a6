//! A bad neighbour, on request.
//!
//! Shows what each limit does: `/trap` fails, `/loop` never returns, `/allocate?mib=N` takes memory and keeps it until
//! the answer is written, `/grow` takes memory until it is refused and goes on, `/stall` waits for ever, `/flood` fills
//! the log, `/spin?ms=N` computes for a while, `/panic` panics. Anything else
//! answers `well behaved`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use wstd::http::{Body, Error, Request, Response};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let path = request.uri().path().to_owned();
    let number = request.uri().query().and_then(|query| query.split('=').nth(1)).and_then(|text| text.parse().ok());
    let text = match path.as_str() {
        "/trap" => core::arch::wasm32::unreachable(),
        "/loop" => spin_for_ever(),
        "/allocate" => format!("held {} MiB\n", allocate(number.unwrap_or(16))),
        "/grow" => format!("refused after {} MiB\n", grow()),
        "/stall" => stall().await,
        "/flood" => flood(),
        "/spin" => spin(Duration::from_millis(number.unwrap_or(10))),
        "/panic" => panic!("asked to panic"),
        _ => "well behaved\n".to_owned(),
    };
    Ok(Response::new(text.into()))
}

fn spin_for_ever() -> ! {
    let mut turns = 0u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// A failing allocation aborts the component, as in most languages.
fn allocate(mib: u64) -> u64 {
    let held: Vec<Vec<u8>> = (0..mib).map(|_| vec![1u8; 1 << 20]).collect();
    black_box(&held).len() as u64
}

/// Asks for memory directly and survives the refusal.
fn grow() -> u64 {
    const PAGES_PER_MIB: usize = 16;
    let mut mib = 0;
    while core::arch::wasm32::memory_grow(0, PAGES_PER_MIB) != usize::MAX {
        mib += 1;
    }
    mib
}

/// Waits for a timer that nobody lives to see.
async fn stall() -> String {
    wstd::task::sleep(wstd::time::Duration::from_secs(u64::from(u32::MAX))).await;
    "awake\n".to_owned()
}

fn flood() -> ! {
    loop {
        println!("all work and no play makes this log a dull log");
    }
}

fn spin(time: Duration) -> String {
    let start = Instant::now();
    let mut turns = 0u64;
    while start.elapsed() < time {
        for _ in 0..1000 {
            turns = black_box(turns.wrapping_add(1));
        }
    }
    format!("{turns} turns\n")
}
