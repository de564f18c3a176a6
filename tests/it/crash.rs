//! `kill -9` at any moment: every write that was acknowledged is there afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cli::Connection;
use cli::connection::Call;
use http::Method;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::process::Up;

const ROUNDS: u64 = 50;
/// Several, so that writes share a sync.
const WRITERS: u64 = 4;
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// The longest time that a process lives after it is ready.
const LIFE_MAX_MS: u64 = 150;

/// What a writer was told: names with the value that was acknowledged last, or `None` when a deletion was.
type Acknowledged = BTreeMap<String, Option<String>>;

/// Writes until the server is gone. A write that got no answer may or may not be there: it is taken off the list.
async fn write(connection: Connection, round: u64, writer: u64, over: Arc<AtomicBool>) -> Acknowledged {
    let mut acknowledged = Acknowledged::new();
    for count in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("r{round}-w{writer}-{}", count / 3);
        let path = format!("{MAPS}/{name}");
        let value = format!("{count}");
        let object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "value": value } });
        // Each name is created and updated; every second one is deleted then.
        let (call, wanted) = match (count % 3, count / 3 % 2) {
            (0, _) => (Call::new(Method::POST, MAPS).json(&object), Some(value)),
            (2, 1) => (Call::new(Method::DELETE, path), None),
            _ => (Call::new(Method::PUT, path).json(&object), Some(value)),
        };
        match connection.send(call).await {
            Ok(_) => acknowledged.insert(name, wanted),
            Err(_) => {
                acknowledged.remove(&name);
                break;
            }
        };
    }
    acknowledged
}

async fn list(connection: &Connection) -> (u64, BTreeMap<String, String>) {
    let list = connection.json(Call::get(MAPS)).await.unwrap();
    let revision = list["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let items = list["items"].as_array().unwrap();
    (revision, items.iter().map(|item| (text(&item["metadata"]["name"]), text(&item["data"]["value"]))).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_writes_survive_kill_9() {
    let data = tempfile::tempdir().unwrap();
    let seed: u64 = rand::rng().random();
    let mut random = StdRng::seed_from_u64(seed);
    let (mut last_revision, mut total) = (0, 0);
    let mut acknowledged = Acknowledged::new();
    for round in 0..=ROUNDS {
        let up = Up::start(data.path(), &["--roles", "api"]).await;
        let connection = up.connection().await;
        let (revision, found) = list(&connection).await;
        assert!(revision >= last_revision, "seed {seed}, round {round}: the revision went back");
        for (name, wanted) in &acknowledged {
            let what = format!("seed {seed}, round {round}: {name}");
            assert_eq!(found.get(name), wanted.as_ref(), "{what}");
        }
        total += acknowledged.len();
        if round == ROUNDS {
            up.end().await;
            break;
        }
        last_revision = revision;
        // What older rounds wrote was looked at; a short list keeps the rounds quick.
        connection.send(Call::new(Method::DELETE, MAPS)).await.unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            writers.spawn(write(connection.clone(), round, writer, over.clone()));
        }
        let life = Duration::from_millis(random.random_range(0..LIFE_MAX_MS));
        tokio::time::sleep(life).await;
        up.kill().await;
        over.store(true, Ordering::Relaxed);
        acknowledged = writers.join_all().await.into_iter().flatten().collect();
    }
    assert!(total > 0, "seed {seed}: nothing was written in {ROUNDS} rounds");
}
