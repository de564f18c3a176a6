//! Random transactions against the simplest store that can be thought of: a map, and a copy of it per revision.

use std::collections::BTreeMap;

use futures::StreamExt;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

type State = BTreeMap<String, (u64, u8)>;

#[derive(Clone, Debug)]
enum Wish {
    Absent,
    Present,
    /// At the revision that the key has, minus this.
    At(u64),
    /// With the value that the key has, plus this.
    Holds(u8),
}

/// Checks, puts and deletes, each of a key out of few.
type Step = (Vec<(u8, Wish)>, BTreeMap<u8, Option<u8>>);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let wish = prop_oneof![2 => Just(Wish::Absent), 2 => Just(Wish::Present), 3 => (0_u64..2).prop_map(Wish::At), 2 => (0_u8..2).prop_map(Wish::Holds)];
    let checks = prop::collection::vec((0_u8..5, wish), 0..2);
    let writes = prop::collection::btree_map(0_u8..5, prop::option::weighted(0.7, any::<u8>()), 0..4);
    prop::collection::vec((checks, writes), 1..30)
}

fn key(number: u8) -> String {
    format!("/{}/{number}", number % 2)
}

fn txn(state: &State, (checks, writes): &Step) -> (Txn, bool) {
    let mut holds = true;
    let check = |(number, wish): &(u8, Wish)| {
        let (key, found) = (key(*number), state.get(&key(*number)));
        match wish {
            Wish::Absent => (Check::Absent(key), found.is_none()),
            Wish::Present => (Check::Present(key), found.is_some()),
            Wish::At(minus) => {
                let at = found.map_or(1, |(revision, _)| revision - minus.min(revision));
                (Check::At(key, Revision(at)), found.is_some_and(|(revision, _)| *revision == at))
            }
            Wish::Holds(plus) => {
                let value = found.map_or(0, |(_, value)| value.wrapping_add(*plus));
                (Check::Holds(key, vec![value].into()), found.is_some_and(|(_, held)| *held == value))
            }
        }
    };
    let checks = checks.iter().map(check).map(|(check, held)| {
        holds &= held;
        check
    });
    let mut txn = Txn { checks: checks.collect(), ..Txn::default() };
    for (number, value) in writes {
        match value {
            Some(value) => txn.puts.push((key(*number), vec![*value].into())),
            None => txn.deletes.push(key(*number)),
        }
    }
    (txn, holds)
}

/// Runs `cases` random histories, each on a fresh store, and compares every answer, every past and the watch.
pub(crate) fn agrees(open: impl Fn() -> SharedStore, cases: u32) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let run = |steps: Vec<Step>| {
        runtime.block_on(history(open(), &steps));
        Ok(())
    };
    runner.run(&steps(), run).unwrap();
}

async fn history(store: SharedStore, steps: &[Step]) {
    let start = store.revision().await.unwrap();
    let mut past: BTreeMap<u64, State> = BTreeMap::from([(start.0, State::new())]);
    for step in steps {
        let (newest, state) = past.last_key_value().map(|(revision, state)| (*revision, state.clone())).unwrap();
        let (txn, holds) = txn(&state, step);
        let outcome = store.commit(txn.clone()).await;
        assert_eq!(outcome.is_ok(), holds, "{txn:?} on {state:?}");
        let Ok(revision) = outcome else { continue };
        assert_eq!(revision.0, newest + 1);
        let mut state = state;
        for (key, value) in txn.puts {
            state.insert(key, (revision.0, value[0]));
        }
        for key in txn.deletes {
            state.remove(&key);
        }
        past.insert(revision.0, state);
    }
    let newest = Revision(*past.last_key_value().unwrap().0);
    for (revision, state) in &past {
        let page = store.list("", Some(Revision(*revision)), None, 0).await.unwrap();
        let found: State =
            page.entries.into_iter().map(|entry| (entry.key, (entry.revision.0, entry.value[0]))).collect();
        assert_eq!(&found, state, "as of {revision}");
    }
    // A watch from the beginning, applied to nothing, gives what is there.
    let mut watched = State::new();
    let mut watch = store.watch("/0/", start);
    let mut told = start;
    while told < newest {
        match watch.next().await.unwrap() {
            Event::Put { entry, existed } => {
                let before = watched.insert(entry.key, (entry.revision.0, entry.value[0]));
                assert_eq!(before.is_some(), existed);
            }
            Event::Delete { key, last, .. } => {
                assert_eq!(watched.remove(&key).map(|(_, value)| value), Some(last[0]));
            }
            Event::Progress(revision) => told = revision,
            Event::Compacted(oldest) => panic!("compacted at {oldest}"),
        }
    }
    let mut wanted = past.last_key_value().unwrap().1.clone();
    wanted.retain(|key, _| key.starts_with("/0/"));
    assert_eq!(watched, wanted);
}
