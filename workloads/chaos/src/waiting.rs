//! Waiting for a great many things.

use wstd::http::{Body, Client, Request};
use wstd::runtime::spawn;
use wstd::task::sleep;
use wstd::time::Duration;

/// Waits for a timer that nobody lives to see.
pub async fn stall() -> String {
    sleep(Duration::from_secs(u64::from(u32::MAX))).await;
    "awake\n".to_owned()
}

/// Ten thousand timers, each set again when it has rung.
pub async fn timers() -> String {
    let running: Vec<_> = (0..10_000u64)
        .map(|number| {
            spawn(async move {
                loop {
                    sleep(Duration::from_millis(1 + number % 50)).await;
                }
            })
        })
        .collect();
    for timer in running {
        timer.await;
    }
    "rung\n".to_owned()
}

/// Requests to a neighbour whose bodies come a byte a second and never end.
pub async fn drip(target: &str) -> String {
    let running: Vec<_> = (0..500).map(|_| spawn(send_slowly(target.to_owned()))).collect();
    let mut refused = 0;
    for request in running {
        refused += u32::from(request.await.is_err());
    }
    format!("{refused} requests failed\n")
}

async fn send_slowly(target: String) -> Result<(), String> {
    let bytes = futures_lite::stream::unfold((), |()| async {
        sleep(Duration::from_secs(1)).await;
        Some((vec![b'.'], ()))
    });
    let request = Request::post(target).body(Body::from_stream(bytes)).map_err(|error| error.to_string())?;
    Client::new().send(request).await.map(drop).map_err(|error| error.to_string())
}
