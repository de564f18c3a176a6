//! What a cluster has done, as its metrics count it.

use std::collections::BTreeMap;
use std::ops::Sub;

use client::Client;

const REQUESTS: &str = "coracle_apiserver_request_total";
const RUNS: &str = "coracle_controller_runs_total";
const WRITES: [&str; 6] = ["create", "update", "patch", "apply", "delete", "deletecollection"];

/// Requests at the API and runs of controllers. The difference of two is what was done in between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// How many requests, by `VERB RESOURCE[/SUBRESOURCE]`.
    pub requests: BTreeMap<String, u64>,
    /// How many runs, by `CONTROLLER OUTCOME`.
    pub runs: BTreeMap<String, u64>,
}

impl Work {
    /// All since the start.
    pub async fn of(client: &Client) -> Self {
        let request = http::Request::get("/metrics").body(Vec::new()).expect("a path is a request");
        let text = client.request_text(request).await.expect("the API has metrics");
        Self::read(&text)
    }

    fn read(text: &str) -> Self {
        let mut work = Self::default();
        for line in text.lines() {
            let Some((name, rest)) = line.split_once('{') else { continue };
            let Some((labels, count)) = rest.rsplit_once("} ") else { continue };
            let label = |name: &str| {
                let start = format!("{name}=\"");
                labels.split(',').find_map(|label| label.strip_prefix(&start)?.strip_suffix('"')).unwrap_or_default()
            };
            let (book, key) = match name {
                REQUESTS => {
                    let parts = [label("resource"), label("subresource")];
                    let what = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
                    (&mut work.requests, format!("{} {what}", label("verb")))
                }
                RUNS => (&mut work.runs, format!("{} {}", label("controller"), label("outcome"))),
                _ => continue,
            };
            *book.entry(key).or_default() += count.trim().parse::<u64>().unwrap_or(0);
        }
        work
    }

    /// The requests that write.
    pub fn writes(&self) -> BTreeMap<String, u64> {
        let is_write = |key: &str| key.split_once(' ').is_some_and(|(verb, _)| WRITES.contains(&verb));
        self.requests.iter().filter(|(key, _)| is_write(key)).map(|(key, count)| (key.clone(), *count)).collect()
    }
}

impl Sub for &Work {
    type Output = Work;

    fn sub(self, earlier: &Work) -> Work {
        let less = |now: &BTreeMap<String, u64>, then: &BTreeMap<String, u64>| {
            let change = now.iter().map(|(key, count)| (key.clone(), count - then.get(key).copied().unwrap_or(0)));
            change.filter(|(_, count)| *count > 0).collect()
        };
        Work { requests: less(&self.requests, &earlier.requests), runs: less(&self.runs, &earlier.runs) }
    }
}
