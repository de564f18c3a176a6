//! What lies in the file. Only ever extend this; what is written here is read by later versions.
//!
//! | table | key | value |
//! |---|---|---|
//! | `entries` | the key | 8 bytes little-endian: the revision of the last write; then the value |
//! | `store` | `format` | [`FORMAT`] of the version that wrote the file |
//! | `store` | `revision` | the newest revision |

use std::ops::Bound;

use bytes::Bytes;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use crate::contract::{Check, Entry, Event, ListError, Page, Revision, Txn};
use crate::history::{self, Change, Record};

pub(super) const FORMAT: u64 = 1;
pub(super) const ENTRIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("entries");
pub(super) const STORE: TableDefinition<'_, &str, u64> = TableDefinition::new("store");

const REVISION_BYTES: usize = 8;

/// Writes the tables of an empty store.
pub(super) fn initialise(database: &Database) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    {
        write.open_table(ENTRIES)?;
        let mut store = write.open_table(STORE)?;
        store.insert("format", FORMAT)?;
        // A list must never answer resourceVersion 0, which means "any" to clients.
        store.insert("revision", 1)?;
    }
    write.commit()?;
    Ok(())
}

pub(super) fn format(database: &Database) -> Result<Option<u64>, redb::Error> {
    let read = database.begin_read()?;
    let store = match read.open_table(STORE) {
        Ok(store) => store,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(store.get("format")?.map(|value| value.value()))
}

pub(super) fn revision(database: &Database) -> Result<Revision, redb::Error> {
    let read = database.begin_read()?;
    let store = read.open_table(STORE)?;
    Ok(Revision(store.get("revision")?.map_or(1, |value| value.value())))
}

fn entry(key: &str, stored: &[u8]) -> Entry {
    let (revision, value) = stored.split_at_checked(REVISION_BYTES).unwrap_or((&[], &[]));
    let revision = Revision(u64::from_le_bytes(revision.try_into().unwrap_or_default()));
    Entry { key: key.to_owned(), revision, value: Bytes::copy_from_slice(value) }
}

/// What stands under `prefix` now.
pub(super) fn page(database: &Database, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, ListError> {
    read_page(database, prefix, after, limit).map_err(|error| ListError::Unavailable { detail: error.to_string() })
}

fn read_page(database: &Database, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, redb::Error> {
    let read = database.begin_read()?;
    let revision = Revision(read.open_table(STORE)?.get("revision")?.map_or(1, |value| value.value()));
    let start = match after {
        Some(after) if after >= prefix => Bound::Excluded(after),
        _ => Bound::Included(prefix),
    };
    let entries = read.open_table(ENTRIES)?;
    let mut failed = None;
    let found = entries.range::<&str>((start, Bound::Unbounded))?.map_while(|row| match row {
        Ok((key, value)) if key.value().starts_with(prefix) => Some(entry(key.value(), value.value())),
        Ok(_) => None,
        Err(error) => {
            failed = Some(error);
            None
        }
    });
    let page = history::page(found, limit, revision);
    failed.map_or(Ok(page), |error| Err(error.into()))
}

/// Carries out transactions in order, each at a revision after `newest`. The inner error is the key that a check failed at.
pub(super) fn apply(
    write: &WriteTransaction,
    txns: &[&Txn],
    newest: Revision,
) -> Result<Vec<Result<Record, String>>, redb::Error> {
    let mut entries = write.open_table(ENTRIES)?;
    let mut store = write.open_table(STORE)?;
    let (mut revision, mut outcomes) = (newest, Vec::with_capacity(txns.len()));
    for txn in txns {
        if let Some(key) = broken(&entries, &txn.checks)? {
            outcomes.push(Err(key));
            continue;
        }
        revision.0 += 1;
        let mut changes = Vec::with_capacity(txn.puts.len() + txn.deletes.len());
        for (key, value) in &txn.puts {
            let mut stored = Vec::with_capacity(REVISION_BYTES + value.len());
            stored.extend_from_slice(&revision.0.to_le_bytes());
            stored.extend_from_slice(value);
            let before = entries.insert(key.as_str(), stored.as_slice())?.map(|was| entry(key, was.value()));
            let written = Entry { key: key.clone(), revision, value: value.clone() };
            changes.push(Change { event: Event::Put { entry: written, existed: before.is_some() }, before });
        }
        for key in &txn.deletes {
            let Some(before) = entries.remove(key.as_str())?.map(|was| entry(key, was.value())) else { continue };
            let event = Event::Delete { key: key.clone(), revision, last: before.value.clone() };
            changes.push(Change { event, before: Some(before) });
        }
        outcomes.push(Ok(Record { revision, changes: changes.into() }));
    }
    store.insert("revision", revision.0)?;
    Ok(outcomes)
}

/// The key of the first check that does not hold.
fn broken(
    entries: &impl ReadableTable<&'static str, &'static [u8]>,
    checks: &[Check],
) -> Result<Option<String>, redb::Error> {
    for check in checks {
        let (Check::Absent(key) | Check::Present(key) | Check::At(key, _) | Check::Holds(key, _)) = check;
        let found = entries.get(key.as_str())?;
        let holds = match check {
            Check::Absent(_) => found.is_none(),
            Check::Present(_) => found.is_some(),
            Check::At(_, at) => found.is_some_and(|found| found.value().starts_with(&at.0.to_le_bytes())),
            Check::Holds(_, value) => found.is_some_and(|found| found.value().get(REVISION_BYTES..) == Some(value)),
        };
        if !holds {
            return Ok(Some(key.clone()));
        }
    }
    Ok(None)
}
