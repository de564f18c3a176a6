//! A bad neighbour, on request.
//!
//! Shows what each limit does: `/trap` fails, `/panic` panics, `/loop` never returns, `/recurse` overruns its stack,
//! `/spin?ms=N` computes for a while, `/allocate?mib=N` takes memory and keeps it until the answer is written, `/grow`
//! takes memory until it is refused and goes on, `/scatter` makes a million small allocations, `/stall` waits for ever,
//! `/timers` keeps ten thousand timers, `/drip` sends endless requests to the URL in the variable NEIGHBOUR, `/flood`
//! fills the log, `/huge` answers with a gigabyte, `/sockets`, `/files` and `/pollables` open them
//! by the ten thousand and the million, `/unread` fills connections that nobody reads, `/random?mib=N` and
//! `/hand-over?mib=N` ask and hand over much in one call,
//! `/hoard/…` keeps few handles that hold much (`hoard.rs`),
//! `/volume/…` leaves and fills volumes (`volumes.rs`). Anything else answers `well behaved`.

mod computing;
mod handles;
mod hoard;
mod memory;
mod output;
mod volumes;
mod waiting;

use std::time::Duration;

use wstd::http::{Body, Error, Request, Response};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let path = request.uri().path().to_owned();
    let number = request.uri().query().and_then(|query| query.split('=').nth(1)).and_then(|text| text.parse().ok());
    let text = match path.as_str() {
        "/trap" => core::arch::wasm32::unreachable(),
        "/panic" => panic!("asked to panic"),
        "/loop" => computing::spin_for_ever(),
        "/recurse" => format!("returned from {}\n", computing::recurse(0)),
        "/spin" => computing::spin(Duration::from_millis(number.unwrap_or(10))),
        "/allocate" => format!("held {} MiB\n", memory::allocate(number.unwrap_or(16))),
        "/grow" => format!("refused after {} MiB\n", memory::grow()),
        "/scatter" => format!("held {} boxes\n", memory::scatter()),
        "/stall" => waiting::stall().await,
        "/timers" => waiting::timers().await,
        "/drip" => waiting::drip(&std::env::var("NEIGHBOUR").unwrap_or_default()).await,
        "/flood" => output::flood(),
        "/huge" => return Ok(Response::new(output::huge())),
        "/sockets" => handles::sockets(),
        "/unread" => handles::unread(),
        "/pollables" => handles::pollables(),
        "/random" => handles::random(number.unwrap_or(1024)),
        "/files" => handles::files(),
        "/hand-over" => handles::hand_over(number.unwrap_or(64) as usize),
        other if other.starts_with("/hoard/") => {
            let dir = request.uri().query().and_then(|query| query.strip_prefix("dir=")).unwrap_or_default();
            hoard::answer(&other["/hoard/".len()..], dir)
        }
        other if other.starts_with("/volume/") => {
            volumes::answer(&other["/volume/".len()..], request.uri().query().unwrap_or_default())
        }
        _ => "well behaved\n".to_owned(),
    };
    Ok(Response::new(text.into()))
}
