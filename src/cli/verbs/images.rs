//! `coracle images`, `coracle images rm`, `coracle images prune`

use std::time::{SystemTime, UNIX_EPOCH};

use http::Method;
use serde_json::Value;

use crate::args::{ConnectionArgs, ImagesAction, ImagesArgs};
use crate::connection::{Call, Connection};
use crate::terminal;

/// Digits of a digest that tell one image from another.
const SHORT: usize = "sha256:".len() + 12;
/// Pods that are named; a count of the others follows.
const USERS_SHOWN: usize = 2;

/// Lists images, or deletes some.
pub async fn run(args: ImagesArgs) -> anyhow::Result<()> {
    match args.action {
        None => list(&args.connection).await,
        Some(ImagesAction::Rm { names, connection }) => remove(&names, &connection).await,
        Some(ImagesAction::Prune { connection }) => prune(&connection).await,
    }
}

async fn list(connection: &ConnectionArgs) -> anyhow::Result<()> {
    let connection = Connection::open(connection).await?;
    let answer = connection.json(Call::get("/v2/_coracle/images")).await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut rows = vec![["IMAGE", "DIGEST", "SIZE", "COMPILED", "USED BY", "AGE"].map(str::to_owned).to_vec()];
    for image in array(&answer, "images") {
        rows.extend(rows_of(image, now));
    }
    terminal::raw(terminal::columns(&rows).as_bytes());
    Ok(())
}

/// A row for each of an image's names.
fn rows_of(image: &Value, now: u64) -> Vec<Vec<String>> {
    let number = |value: &Value, field: &str| value.get(field).and_then(Value::as_u64);
    let digest: String = image.get("digest").and_then(Value::as_str).unwrap_or_default().chars().take(SHORT).collect();
    let compiled: Vec<String> = array(image, "compiled")
        .iter()
        .map(|form| {
            let name = form.get("form").and_then(Value::as_str).unwrap_or_default();
            format!("{name} {}", bytes(number(form, "size").unwrap_or(0)))
        })
        .collect();
    let compiled = if compiled.is_empty() { "-".to_owned() } else { compiled.join(", ") };
    let age = number(image, "since").map_or_else(|| "-".to_owned(), |since| age(now.saturating_sub(since)));
    let rest = [digest, bytes(number(image, "size").unwrap_or(0)), compiled, users(array(image, "pods")), age];
    let names = array(image, "names").iter().filter_map(Value::as_str);
    names.map(|name| std::iter::once(name.to_owned()).chain(rest.iter().cloned()).collect()).collect()
}

async fn remove(names: &[String], connection: &ConnectionArgs) -> anyhow::Result<()> {
    let connection = Connection::open(connection).await?;
    for name in names {
        let path = format!("/v2/_coracle/images?reference={}", name.replace('@', "%40").replace(' ', "%20"));
        connection.send(Call::new(Method::DELETE, path)).await?;
        terminal::line(&format!("{name} removed"));
    }
    Ok(())
}

async fn prune(connection: &ConnectionArgs) -> anyhow::Result<()> {
    let connection = Connection::open(connection).await?;
    let answer = connection.send(Call::new(Method::DELETE, "/v2/_coracle/unused")).await?;
    let answer: Value = serde_json::from_slice(&answer.body)?;
    for name in array(&answer, "images").iter().filter_map(Value::as_str) {
        terminal::line(&format!("{name} removed"));
    }
    terminal::line(&format!("{} freed", bytes(answer.get("bytes").and_then(Value::as_u64).unwrap_or(0))));
    Ok(())
}

fn array<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).and_then(Value::as_array).map_or(&[][..], Vec::as_slice)
}

/// The first of the pods, and how many more there are.
fn users(pods: &[Value]) -> String {
    let mut names: Vec<String> = pods.iter().take(USERS_SHOWN).filter_map(Value::as_str).map(str::to_owned).collect();
    match pods.len() {
        0 => return "-".to_owned(),
        all if all > USERS_SHOWN => names.push(format!("{} more", all - USERS_SHOWN)),
        _ => {}
    }
    names.join(", ")
}

/// Bytes for people.
fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{} KiB", count.div_ceil(1024)),
        _ => format!("{}.{} MiB", count >> 20, ((count & 0xf_ffff) * 10) >> 20),
    }
}

/// Seconds as kubectl shows ages.
fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_a_row_for_each_of_its_names() {
        let image = serde_json::json!({
            "names": ["coracle.local/a:v1", "coracle.local/a:v2"],
            "digest": format!("sha256:{}", "0123456789abcdef".repeat(4)),
            "size": 3_300_000, "since": 100, "pods": ["default/x"],
            "compiled": [{ "form": "plain", "size": 2048 }],
        });
        let rows = rows_of(&image, 400);
        assert_eq!(rows[1], ["coracle.local/a:v2", "sha256:0123456789ab", "3.1 MiB", "plain 2 KiB", "default/x", "5m"]);
        let pods = ["a/b", "a/c", "a/d", "a/e"].map(Value::from);
        assert_eq!((users(&pods).as_str(), users(&[]).as_str()), ("a/b, a/c, 2 more", "-"));
        assert_eq!((rows.len(), bytes(1000).as_str(), age(200_000).as_str()), (2, "1000 B", "2d"));
    }
}
