//! Asks other services and joins their answers.
//!
//! Shows: an outgoing request to `http://NAME` reaches the Service of that name without leaving the process; all
//! requests are under way at the same time; `UPSTREAMS` (a comma-separated list of URLs) comes from the manifest.

use futures_lite::future;
use wstd::http::{Body, Client, Error, Request, Response};

#[wstd::http_server]
async fn main(_request: Request<Body>) -> Result<Response<Body>, Error> {
    let upstreams = std::env::var("UPSTREAMS").unwrap_or_default();
    let mut answers: Vec<_> = upstreams
        .split(',')
        .map(str::trim)
        .filter(|url| !url.is_empty())
        .map(|url| Box::pin(section(url)))
        .collect();
    let mut page = String::new();
    let mut sections: Vec<Option<String>> = vec![None; answers.len()];
    future::poll_fn(|context| {
        for (slot, answer) in sections.iter_mut().zip(&mut answers) {
            if slot.is_none()
                && let std::task::Poll::Ready(text) = answer.as_mut().poll(context)
            {
                *slot = Some(text);
            }
        }
        if sections.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    sections.into_iter().flatten().for_each(|text| page.push_str(&text));
    Ok(Response::new(page.into()))
}

async fn section(url: &str) -> String {
    match fetch(url).await {
        Ok(text) => format!("== {url}\n{text}\n"),
        Err(error) => format!("== {url}\nfailed: {error}\n"),
    }
}

async fn fetch(url: &str) -> Result<String, Error> {
    let response = Client::new().send(Request::get(url).body(Body::empty())?).await?;
    let status = response.status();
    let mut body = response.into_body();
    let text = String::from_utf8_lossy(body.contents().await?).trim_end().to_owned();
    Ok(if status.is_success() { text } else { format!("{status}: {text}") })
}
