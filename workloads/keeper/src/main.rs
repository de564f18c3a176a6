//! A command that keeps things: each argument is a step on a store.
//!
//! `config:KEY`, `configs`, `log:LEVEL:TEXT`; `set:STORE:KEY:VALUE`, `get:STORE:KEY`, `count:STORE:KEY:DELTA`, `swap:STORE:KEY:VALUE`,
//! `many:STORE:COUNT`, `keys:STORE`, `flood:STORE:BYTES` (writes until it is refused); `put:CONTAINER:NAME:TEXT`,
//! `read:CONTAINER:NAME`, `copy:CONTAINER:NAME:NAME`, `list:CONTAINER`, `remove:CONTAINER:NAME`; `until-stopped`.

wit_bindgen::generate!({
    path: [
        "../../wit/deps/io.wit",
        "../../wit/deps/config.wit",
        "../../wit/deps/keyvalue-draft2.wit",
        "../../wit/deps/blobstore.wit",
        "../../wit/deps/logging.wit",
        "../../wit/lifecycle.wit",
        "wit",
    ],
    world: "coracle:keeper/keeper",
    generate_all,
});

use coracle::lifecycle::stop;
use wasi::blobstore::blobstore::{copy_object, get_container};
use wasi::blobstore::types::{IncomingValue, ObjectId, OutgoingValue};
use wasi::keyvalue::{atomics, batch, store};
use wasi::logging::logging::{Level, log};

fn main() {
    for step in std::env::args().skip(1) {
        let parts: Vec<&str> = step.split(':').collect();
        if let Err(why) = take(&parts) {
            println!("{step}: {why}");
            std::process::exit(3);
        }
    }
}

type Outcome = Result<(), String>;

fn other(error: store::Error) -> String {
    match error {
        store::Error::NoSuchStore => "no such store".to_owned(),
        store::Error::AccessDenied => "access denied".to_owned(),
        store::Error::Other(text) => text,
    }
}

fn take(parts: &[&str]) -> Outcome {
    match *parts {
        ["config", key] => println!("{:?}", wasi::config::store::get(key).map_err(|error| format!("{error:?}"))?),
        ["configs"] => println!("{:?}", wasi::config::store::get_all().map_err(|error| format!("{error:?}"))?),
        ["log", level, text] => {
            let level = if level == "debug" { Level::Debug } else { Level::Error };
            log(level, "keeper", text);
        }
        ["until-stopped"] => {
            println!("waiting");
            stop::subscribe().block();
            println!("asked: {}", stop::requested());
        }
        _ => return keyvalue(parts).unwrap_or_else(|| blobs(parts)),
    }
    Ok(())
}

fn keyvalue(parts: &[&str]) -> Option<Outcome> {
    let outcome = match *parts {
        ["set", name, key, value] => open(name).and_then(|open| open.set(key, value.as_bytes()).map_err(other)),
        ["get", name, key] => open(name).and_then(|open| {
            let value = open.get(key).map_err(other)?;
            println!("{:?}", value.map(|value| String::from_utf8_lossy(&value).into_owned()));
            Ok(())
        }),
        ["count", name, key, delta] => open(name).and_then(|open| {
            let sum = atomics::increment(&open, key, delta.parse().unwrap_or_default()).map_err(other)?;
            println!("{sum}");
            Ok(())
        }),
        ["swap", name, key, value] => open(name).and_then(|open| swap(&open, key, value)),
        ["many", name, count] => open(name).and_then(|open| {
            let pairs: Vec<(String, Vec<u8>)> =
                (0..count.parse().unwrap_or(0)).map(|number: u32| (format!("many-{number:05}"), vec![1])).collect();
            batch::set_many(&open, &pairs).map_err(other)?;
            let keys: Vec<String> = pairs.into_iter().map(|(key, _)| key).collect();
            let found = batch::get_many(&open, &keys).map_err(other)?;
            println!("{} of {}", found.iter().filter(|(_, value)| value.is_some()).count(), keys.len());
            batch::delete_many(&open, &keys[..keys.len() / 2]).map_err(other)
        }),
        ["keys", name] => open(name).and_then(|open| {
            let (mut keys, mut cursor) = (Vec::new(), None);
            loop {
                let part = open.list_keys(cursor.as_deref()).map_err(other)?;
                keys.extend(part.keys);
                cursor = part.cursor;
                if cursor.is_none() {
                    break;
                }
            }
            println!("{} keys, first {:?}", keys.len(), keys.first());
            Ok(())
        }),
        ["flood", name, bytes] => open(name).and_then(|open| {
            let value = vec![7; bytes.parse().unwrap_or(1 << 20)];
            for number in 0.. {
                if let Err(error) = open.set(&format!("flood-{number}"), &value) {
                    println!("refused after {number}: {}", other(error));
                    break;
                }
            }
            Ok(())
        }),
        _ => return None,
    };
    Some(outcome)
}

fn open(name: &str) -> Result<store::Bucket, String> {
    store::open(name).map_err(other)
}

/// Swaps while nobody else writes; then once more, with a handle that is out of date.
fn swap(open: &store::Bucket, key: &str, value: &str) -> Outcome {
    let late = atomics::Cas::new(open, key).map_err(other)?;
    let cas = atomics::Cas::new(open, key).map_err(other)?;
    println!("was {:?}", cas.current().map_err(other)?.map(|value| String::from_utf8_lossy(&value).into_owned()));
    atomics::swap(cas, value.as_bytes()).map_err(|_| "refused".to_owned())?;
    match atomics::swap(late, b"too late") {
        Err(atomics::CasError::CasFailed(_)) => println!("late one refused"),
        _ => return Err("a late swap was made".to_owned()),
    }
    Ok(())
}

fn blobs(parts: &[&str]) -> Outcome {
    match *parts {
        ["put", name, object, text] => {
            let container = get_container(name)?;
            let value = OutgoingValue::new_outgoing_value();
            let body = value.outgoing_value_write_body().map_err(|()| "no body")?;
            container.write_data(object, &value)?;
            body.blocking_write_and_flush(text.as_bytes()).map_err(|error| format!("{error:?}"))?;
            drop(body);
            OutgoingValue::finish(value)?;
        }
        ["read", name, object] => {
            let container = get_container(name)?;
            let whole = container.get_data(object, 0, u64::MAX)?;
            let size = whole.size();
            let bytes = IncomingValue::incoming_value_consume_sync(whole)?;
            println!("{size} bytes: {}", String::from_utf8_lossy(&bytes));
            let part = container.get_data(object, 1, 3)?;
            let stream = IncomingValue::incoming_value_consume_async(part)?;
            println!("part: {}", String::from_utf8_lossy(&stream.blocking_read(100).map_err(|error| format!("{error:?}"))?));
            println!("info: {}", container.object_info(object)?.size);
        }
        ["copy", name, from, to] => copy_object(&id(name, from), &id(name, to))?,
        ["list", name] => {
            let listing = get_container(name)?.list_objects()?;
            let (mut names, ended) = listing.read_stream_object_names(100)?;
            names.sort();
            println!("{names:?}, ended: {ended}");
        }
        ["remove", name, object] => get_container(name)?.delete_object(object)?,
        _ => return Err("no such step".to_owned()),
    }
    Ok(())
}

fn id(container: &str, object: &str) -> ObjectId {
    ObjectId { container: container.to_owned(), object: object.to_owned() }
}
