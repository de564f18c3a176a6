//! The contract, and what only a file can suffer.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use redb::{DatabaseError, StorageBackend};

use super::*;
use crate::contract::Check;
use crate::contract::tests::{Opened, suite};

const SMALL: Bounds = Bounds { transactions_max: 50, bytes_max: 1 << 20 };

#[tokio::test]
async fn keeps_the_contract() {
    suite(|| {
        let folder = tempfile::tempdir().unwrap();
        let medium = Arc::new(FileMedium::prepare(folder.path()).unwrap());
        let store = Arc::new(Embedded::open_on(medium, SMALL).unwrap());
        Opened { store, keeps: 50, folder: Some(folder) }
    })
    .await;
}

fn put(key: &str, value: impl Into<Bytes>) -> Txn {
    Txn { puts: vec![(key.to_owned(), value.into())], ..Txn::default() }
}

async fn values(store: &Embedded) -> HashMap<String, Bytes> {
    let page = store.list("", None, None, 0).await.unwrap();
    page.entries.into_iter().map(|entry| (entry.key, entry.value)).collect()
}

#[tokio::test]
async fn everything_is_there_after_a_restart_and_the_revision_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = Embedded::open(folder.path()).unwrap();
    let first = store.commit(put("/a", "1")).await.unwrap();
    store.close().await;
    drop(store);
    let store = Embedded::open(folder.path()).unwrap();
    assert_eq!(store.revision().await.unwrap(), first);
    assert_eq!(values(&store).await["/a"], "1");
    let second = store.commit(Txn { checks: vec![Check::At("/a".into(), first)], ..put("/a", "2") }).await.unwrap();
    assert_eq!(second.0, first.0 + 1);
    // Not closed in order.
    drop(store);
    assert_eq!(values(&Embedded::open(folder.path()).unwrap()).await["/a"], "2");
}

#[tokio::test]
async fn a_damaged_file_is_refused_untouched_and_a_copy_brings_it_back() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..5 {
        let store = Embedded::open(folder.path()).unwrap();
        for n in 0..50 {
            store.commit(put(&format!("/{n}"), vec![round; 3000])).await.unwrap();
        }
        store.close().await;
    }
    assert_eq!(std::fs::read_dir(folder.path().join("copies")).unwrap().count(), 3, "the newest three are kept");
    let file = folder.path().join("store.redb");
    let whole = std::fs::read(&file).unwrap();
    let values_at = whole.windows(64).rposition(|window| window == [4; 64]).unwrap();
    let mut flipped = whole.clone();
    flipped[values_at + 32] ^= 1;
    let cut = whole[..whole.len() / 2].to_vec();
    for damaged in [flipped, cut, Vec::new(), b"not a database at all".repeat(500)] {
        std::fs::write(&file, &damaged).unwrap();
        let refused = Embedded::open(folder.path()).err().expect("a damaged file is refused");
        assert!(matches!(&refused, OpenError::Corrupt { copies, .. } if copies.ends_with("copies")), "{refused:?}");
        assert_eq!(std::fs::read(&file).unwrap(), damaged, "nothing was changed");
    }
    let restored = restore(folder.path()).unwrap();
    assert!(restored.set_aside.is_some_and(|path| path.exists()));
    let store = Embedded::open(folder.path()).unwrap();
    assert_eq!(values(&store).await["/7"], vec![4; 3000]);
    assert!(store.revision().await.unwrap() > restored.revision);
    assert!(restore(tempfile::tempdir().unwrap().path()).is_err());
}

#[tokio::test]
async fn a_file_from_the_future_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(Embedded::open(folder.path()).unwrap());
    let database = redb::Database::open(folder.path().join("store.redb")).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(table::STORE).unwrap().insert("format", table::FORMAT + 1).unwrap();
    write.commit().unwrap();
    drop(database);
    let refused = Embedded::open(folder.path()).err().expect("refused");
    assert!(matches!(refused, OpenError::Newer { found: 2, known: 1, .. }), "{refused:?}");
}

/// One thing that was not synced yet.
#[derive(Clone, Debug)]
enum Pending {
    Write(u64, Vec<u8>),
    Length(u64),
}

#[derive(Debug, Default)]
struct DiskState {
    /// What a reader sees.
    seen: Vec<u8>,
    /// What is there after a power cut at the least.
    durable: Vec<u8>,
    pending: Vec<Pending>,
    /// Operations until the power goes.
    until_cut: Option<u32>,
    /// Bytes that the disk can hold.
    capacity: Option<usize>,
}

/// A disk that loses what was not synced, in whole or in parts.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<DiskState>>);

fn perform(image: &mut Vec<u8>, pending: &Pending) {
    match pending {
        Pending::Write(offset, data) => {
            let (start, end) = (*offset as usize, *offset as usize + data.len());
            if image.len() < end {
                image.resize(end, 0);
            }
            image[start..end].copy_from_slice(data);
        }
        Pending::Length(length) => image.resize(*length as usize, 0),
    }
}

impl DiskState {
    fn operate(&mut self) -> io::Result<()> {
        match &mut self.until_cut {
            Some(0) => Err(io::Error::other("the power is gone")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
    fn fits(&self, length: usize) -> io::Result<()> {
        match self.capacity {
            Some(capacity) if length > capacity => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }
    fn pend(&mut self, pending: Pending) {
        perform(&mut self.seen, &pending);
        self.pending.push(pending);
    }
    /// The power comes back: of what was not synced, any part may be there.
    fn come_back(&mut self, random: &mut Random) {
        for pending in std::mem::take(&mut self.pending) {
            match (random.below(3), pending) {
                (0, _) => {}
                (1, Pending::Write(offset, data)) => {
                    for (at, sector) in data.chunks(512).enumerate().filter(|_| random.below(2) == 0) {
                        perform(&mut self.durable, &Pending::Write(offset + at as u64 * 512, sector.to_vec()));
                    }
                }
                (_, pending) => perform(&mut self.durable, &pending),
            }
        }
        self.seen = self.durable.clone();
        self.until_cut = None;
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().seen.len() as u64)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.0.lock();
        let start = offset as usize;
        let found = disk.seen.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }
    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut disk = self.0.lock();
        disk.operate()?;
        disk.fits(length as usize)?;
        disk.pend(Pending::Length(length));
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.0.lock();
        disk.operate()?;
        let DiskState { durable, pending, .. } = &mut *disk;
        for pending in pending.drain(..) {
            perform(durable, &pending);
        }
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut disk = self.0.lock();
        disk.operate()?;
        disk.fits(offset as usize + data.len())?;
        disk.pend(Pending::Write(offset, data.to_vec()));
        Ok(())
    }
}

impl Medium for Disk {
    fn open(&self) -> Result<redb::Database, DatabaseError> {
        medium::builder().create_with_backend(self.clone())
    }
    fn rehearse(&self) -> Result<redb::Database, DatabaseError> {
        let disk = self.0.lock();
        let image = DiskState { seen: disk.seen.clone(), ..DiskState::default() };
        medium::builder().create_with_backend(Self(Arc::new(Mutex::new(image))))
    }
    fn file(&self) -> PathBuf {
        "disk".into()
    }
    fn copies(&self) -> Option<PathBuf> {
        None
    }
}

impl Disk {
    fn new() -> Self {
        let disk = Self::default();
        table::initialise(&disk.open().unwrap()).unwrap();
        disk
    }
}

/// xorshift: the same seed gives the same cuts.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

const CUTS: u64 = 1000;
const WRITERS: usize = 4;

#[tokio::test]
async fn every_acknowledged_write_survives_a_thousand_power_cuts() {
    let disk = Disk::new();
    let mut random = Random(0x00C0_7AC1E);
    // For each key: the last number that was acknowledged, and the last that was tried.
    let mut model: HashMap<String, (u64, u64)> = HashMap::new();
    let mut acknowledged = Revision(0);
    let (mut number, mut cut_short) = (0, 0);
    for cut in 0..CUTS {
        let store =
            Embedded::open_on(Arc::new(disk.clone()), SMALL).unwrap_or_else(|error| panic!("cut {cut}: {error}"));
        assert!(store.revision().await.unwrap() >= acknowledged, "cut {cut}: the revision went back");
        let found = values(&store).await;
        for (key, (kept, tried)) in &mut model {
            let there = found.get(key).map_or(0, |value| u64::from_le_bytes(value[..8].try_into().unwrap()));
            assert!((*kept..=*tried).contains(&there), "cut {cut}: {key} is {there}, not in {kept}..={tried}");
            (*kept, *tried) = (there, there);
        }
        disk.0.lock().until_cut = Some(u32::try_from(random.below(60)).unwrap());
        'on: for _ in 0..12 {
            let keys: Vec<String> = (0..WRITERS).map(|writer| format!("/{writer}/{}", random.below(8))).collect();
            let txns = keys.iter().map(|key| {
                number += 1;
                model.entry(key.clone()).or_default().1 = number;
                let mut value = number.to_le_bytes().to_vec();
                value.resize(8 + usize::try_from(number % 3000).unwrap(), 7);
                (number, store.commit(put(key, value)))
            });
            let (numbers, commits): (Vec<u64>, Vec<_>) = txns.unzip();
            let outcomes = futures::future::join_all(commits).await;
            for ((key, number), outcome) in keys.iter().zip(numbers).zip(outcomes) {
                match outcome {
                    Ok(revision) => {
                        acknowledged = acknowledged.max(revision);
                        model.get_mut(key).unwrap().0 = number;
                    }
                    Err(_) => {
                        cut_short += 1;
                        break 'on;
                    }
                }
            }
        }
        // Whatever closing writes is lost as well.
        disk.0.lock().until_cut = Some(0);
        drop(store);
        disk.0.lock().come_back(&mut random);
    }
    assert!(cut_short > CUTS / 2, "only {cut_short} cuts hit a commit");
}

#[tokio::test]
async fn a_full_disk_refuses_writes_until_there_is_room() {
    let disk = Disk::new();
    let store = Embedded::open_on(Arc::new(disk.clone()), SMALL).unwrap();
    store.commit(put("/kept", "before")).await.unwrap();
    let length = disk.0.lock().seen.len();
    disk.0.lock().capacity = Some(length);
    let mut refused = None;
    for n in 0..200 {
        if let Err(error) = store.commit(put(&format!("/{n}"), vec![1; 100_000])).await {
            refused = Some(error);
            break;
        }
    }
    assert!(matches!(refused, Some(CommitError::Full)), "{refused:?}");
    assert_eq!(values(&store).await["/kept"], "before", "reads go on");
    disk.0.lock().capacity = None;
    let started = std::time::Instant::now();
    while let Err(error) = store.commit(put("/after", "room")).await {
        assert!(started.elapsed().as_secs() < 20, "{error}");
        tokio::task::yield_now().await;
    }
    assert_eq!(values(&store).await["/after"], "room");
}

#[test]
fn agrees_with_the_model() {
    crate::contract::model::agrees(|| Arc::new(Embedded::open_on(Arc::new(Disk::new()), SMALL).unwrap()), 48);
}
