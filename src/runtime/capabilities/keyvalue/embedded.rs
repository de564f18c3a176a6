//! Stores of the node: a file for each namespace, a table in it for each store.
//!
//! Writes are on the disk before they are answered; those that come together share one commit.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use redb::{ReadableDatabase, ReadableTable, TableDefinition, TableError, WriteTransaction};
use tokio::sync::oneshot;

use super::{Change, Fault, KEYS_AT_ONCE, Keys, Outcome, Store};
use crate::container::Container;

/// What a namespace may keep: keys and values of all of its stores together.
const NAMESPACE_BYTES_MAX: u64 = 256 << 20;
/// What is kept about the rest. No store can be called so.
const ACCOUNT: TableDefinition<'_, &str, u64> = TableDefinition::new("/account");
const BYTES: &str = "bytes";

type Entries<'a> = TableDefinition<'a, &'static str, &'static [u8]>;

/// One namespace's file.
pub(crate) struct Database {
    file: redb::Database,
    waiting: Mutex<Vec<Waiting>>,
    writing: Mutex<()>,
}

struct Waiting {
    store: String,
    changes: Vec<Change>,
    answer: oneshot::Sender<Result<Vec<Outcome>, Fault>>,
}

/// A store in it.
pub(super) struct Embedded {
    database: Arc<Database>,
    name: String,
}

/// Opens a store, and the file that it is in.
pub(super) async fn open(
    container: &Arc<Container>,
    folder: PathBuf,
    scope: &str,
    name: &str,
) -> Result<Embedded, Fault> {
    let path = folder.join(format!("{scope}.redb"));
    let stores = Arc::clone(&container.stores);
    let opened = blocking(move || stores.database(&path, || Database::open(&path))).await?;
    Ok(Embedded { database: opened, name: name.to_owned() })
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Fault> + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(Fault::other(error)))
}

impl Database {
    fn open(path: &Path) -> Result<Self, Fault> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(Fault::other)?;
        }
        let file = redb::Database::create(path).map_err(Fault::other)?;
        Ok(Self { file, waiting: Mutex::default(), writing: Mutex::default() })
    }

    async fn write(self: &Arc<Self>, store: String, changes: Vec<Change>) -> Result<Vec<Outcome>, Fault> {
        let (answer, answered) = oneshot::channel();
        self.waiting.lock().push(Waiting { store, changes, answer });
        let database = Arc::clone(self);
        // Whoever comes while another writes leaves the work to that one.
        drop(tokio::task::spawn_blocking(move || database.work_off()));
        answered.await.unwrap_or_else(|_| Err(Fault::other("the store was closed")))
    }

    fn work_off(&self) {
        while !self.waiting.lock().is_empty() {
            let Some(_only) = self.writing.try_lock() else { return };
            let waiting = std::mem::take(&mut *self.waiting.lock());
            let outcomes = self.commit(&waiting);
            for (number, one) in waiting.into_iter().enumerate() {
                let outcome = match &outcomes {
                    Ok(outcomes) => outcomes.get(number).cloned().unwrap_or(Err(Fault::NoSuchStore)),
                    Err(fault) => Err(fault.clone()),
                };
                // The guest may be gone.
                let _ = one.answer.send(outcome);
            }
        }
    }

    /// Makes the changes of all who wait. One that cannot be made leaves the others as they are.
    fn commit(&self, waiting: &[Waiting]) -> Result<Vec<Result<Vec<Outcome>, Fault>>, Fault> {
        let transaction = self.file.begin_write().map_err(Fault::other)?;
        let mut account = Account::read(&transaction)?;
        let mut outcomes = Vec::with_capacity(waiting.len());
        for one in waiting {
            outcomes.push(one.apply(&transaction, &mut account));
        }
        account.write(&transaction)?;
        transaction.commit().map_err(Fault::other)?;
        Ok(outcomes)
    }
}

/// How much the namespace keeps.
struct Account(u64);

impl Account {
    fn read(transaction: &WriteTransaction) -> Result<Self, Fault> {
        let table = transaction.open_table(ACCOUNT).map_err(Fault::other)?;
        let bytes = table.get(BYTES).map_err(Fault::other)?.map_or(0, |bytes| bytes.value());
        Ok(Self(bytes))
    }

    fn write(&self, transaction: &WriteTransaction) -> Result<(), Fault> {
        let mut table = transaction.open_table(ACCOUNT).map_err(Fault::other)?;
        table.insert(BYTES, self.0).map_err(Fault::other)?;
        Ok(())
    }
}

impl Waiting {
    fn apply(&self, transaction: &WriteTransaction, account: &mut Account) -> Result<Vec<Outcome>, Fault> {
        let mut table = transaction.open_table(Entries::new(&self.store)).map_err(Fault::other)?;
        // What a call changes is worked out before anything is written: it is all or nothing.
        let mut writes: Vec<(&str, Option<Vec<u8>>)> = Vec::new();
        let mut outcomes = Vec::with_capacity(self.changes.len());
        let mut bytes = account.0;
        for change in &self.changes {
            let key = change.key();
            let pending = writes.iter().rev().find(|(written, _)| *written == key).map(|(_, value)| value.clone());
            let before = match pending {
                Some(value) => value,
                None => table.get(key).map_err(Fault::other)?.map(|value| value.value().to_vec()),
            };
            let (after, outcome) = step(change, before.as_deref())?;
            if let Some(after) = after {
                let cost = |value: Option<&[u8]>| value.map_or(0, |value| (key.len() + value.len()) as u64);
                bytes = bytes.saturating_sub(cost(before.as_deref())) + cost(after.as_deref());
                writes.push((key, after));
            }
            outcomes.push(outcome);
        }
        if bytes > NAMESPACE_BYTES_MAX && bytes > account.0 {
            return Err(Fault::Other(format!(
                "the stores of this namespace are full: {NAMESPACE_BYTES_MAX} bytes; delete keys to make room"
            )));
        }
        for (key, value) in writes {
            match value {
                Some(value) => drop(table.insert(key, value.as_slice()).map_err(Fault::other)?),
                None => drop(table.remove(key).map_err(Fault::other)?),
            }
        }
        account.0 = bytes;
        Ok(outcomes)
    }
}

/// What a change does to a value: nothing, or another one or none in its place.
#[allow(clippy::type_complexity, reason = "nothing to write, a removal, or a value")]
fn step(change: &Change, before: Option<&[u8]>) -> Result<(Option<Option<Vec<u8>>>, Outcome), Fault> {
    Ok(match change {
        Change::Set(_, value) => (Some(Some(value.clone())), Outcome::Done),
        Change::Delete(_) => (Some(None), Outcome::Done),
        Change::Swap { old, .. } if old.as_deref() != before => (None, Outcome::Stale),
        Change::Swap { new, .. } => (Some(Some(new.clone())), Outcome::Done),
        Change::Increment(key, delta) => {
            // As Redis has it: a counter is its decimal digits.
            let text = before.map_or(Ok("0"), std::str::from_utf8);
            let number = text.ok().and_then(|text| text.parse::<i64>().ok());
            let number = number.ok_or_else(|| Fault::Other(format!("the value of {key:?} is no number")))?;
            let sum = number.checked_add(*delta).ok_or_else(|| Fault::other("the counter would overflow"))?;
            (Some(Some(sum.to_string().into_bytes())), Outcome::Number(sum))
        }
    })
}

#[async_trait]
impl Store for Embedded {
    async fn get(&self, keys: Vec<String>) -> Result<Vec<Option<Vec<u8>>>, Fault> {
        let (database, name) = (Arc::clone(&self.database), self.name.clone());
        blocking(move || {
            let transaction = database.file.begin_read().map_err(Fault::other)?;
            let table = match transaction.open_table(Entries::new(&name)) {
                Ok(table) => table,
                Err(TableError::TableDoesNotExist(_)) => return Ok(vec![None; keys.len()]),
                Err(error) => return Err(Fault::other(error)),
            };
            let value =
                |key: &String| Ok(table.get(key.as_str()).map_err(Fault::other)?.map(|value| value.value().to_vec()));
            keys.iter().map(value).collect()
        })
        .await
    }

    async fn change(&self, changes: Vec<Change>) -> Result<Vec<Outcome>, Fault> {
        self.database.write(self.name.clone(), changes).await
    }

    async fn keys(&self, from: u64) -> Result<Keys, Fault> {
        let (database, name) = (Arc::clone(&self.database), self.name.clone());
        blocking(move || {
            let transaction = database.file.begin_read().map_err(Fault::other)?;
            let table = match transaction.open_table(Entries::new(&name)) {
                Ok(table) => table,
                Err(TableError::TableDoesNotExist(_)) => return Ok((Vec::new(), None)),
                Err(error) => return Err(Fault::other(error)),
            };
            let skipped = usize::try_from(from).unwrap_or(usize::MAX);
            let mut keys = Vec::new();
            for entry in table.iter().map_err(Fault::other)?.skip(skipped) {
                if keys.len() == KEYS_AT_ONCE {
                    return Ok((keys, Some(from + KEYS_AT_ONCE as u64)));
                }
                keys.push(entry.map_err(Fault::other)?.0.value().to_owned());
            }
            Ok((keys, None))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_says_what_becomes_of_a_value() {
        let key = || "k".to_owned();
        let swap = |old: Option<&str>| Change::Swap { key: key(), old: old.map(Into::into), new: b"n".to_vec() };
        #[allow(clippy::type_complexity, reason = "a table")]
        let rows: [(Change, Option<&str>, Option<Option<&str>>, Outcome); 6] = [
            (Change::Set(key(), b"v".to_vec()), None, Some(Some("v")), Outcome::Done),
            (Change::Delete(key()), Some("v"), Some(None), Outcome::Done),
            (Change::Increment(key(), 5), None, Some(Some("5")), Outcome::Number(5)),
            (Change::Increment(key(), -7), Some("5"), Some(Some("-2")), Outcome::Number(-2)),
            (swap(Some("o")), Some("o"), Some(Some("n")), Outcome::Done),
            (swap(None), Some("o"), None, Outcome::Stale),
        ];
        for (change, before, after, outcome) in rows {
            let wanted = after.map(|value| value.map(|text| text.as_bytes().to_vec()));
            assert_eq!(step(&change, before.map(str::as_bytes)), Ok((wanted, outcome)), "{change:?}");
        }
        assert!(step(&Change::Increment(key(), 1), Some(b"x")).is_err());
        assert!(step(&Change::Increment(key(), 1), Some(i64::MAX.to_string().as_bytes())).is_err());
    }
}
