//! What is loaded: each artifact once, as long as anybody uses it, and a little longer.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Weak};

/// So many are kept that nobody may use any more: a workload that was put to sleep is often woken soon, and a pod that ended
/// replaced.
const LATELY: usize = 16;

/// Programs by what they were loaded from.
pub(crate) struct Loaded<K, P> {
    in_use: HashMap<K, Weak<P>>,
    /// Asked for last of all is last.
    lately: VecDeque<Arc<P>>,
}

impl<K, P> Default for Loaded<K, P> {
    fn default() -> Self {
        Self { in_use: HashMap::new(), lately: VecDeque::new() }
    }
}

impl<K: Eq + Hash, P> Loaded<K, P> {
    /// What was loaded from there, if it is still known.
    pub fn get(&mut self, key: &K) -> Option<Arc<P>> {
        let found = self.in_use.get(key).and_then(Weak::upgrade)?;
        self.keep(&found);
        Some(found)
    }

    /// Remembers what was loaded.
    pub fn add(&mut self, key: K, program: &Arc<P>) {
        self.keep(program);
        self.in_use.retain(|_, program| program.strong_count() > 0);
        self.in_use.insert(key, Arc::downgrade(program));
    }

    fn keep(&mut self, program: &Arc<P>) {
        if self.lately.back().is_some_and(|last| Arc::ptr_eq(last, program)) {
            return;
        }
        self.lately.retain(|kept| !Arc::ptr_eq(kept, program));
        if self.lately.len() == LATELY {
            self.lately.pop_front();
        }
        self.lately.push_back(Arc::clone(program));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_lately_stays_and_what_is_used_is_never_loaded_twice() {
        let mut loaded = Loaded::default();
        let used = Arc::new("used");
        loaded.add(0, &used);
        for key in 1..=LATELY {
            loaded.add(key, &Arc::new("brief"));
            loaded.get(&1);
        }
        assert!(loaded.get(&1).is_some(), "asked for again and again");
        assert!(loaded.get(&2).is_some(), "one of the latest");
        for key in 100..100 + LATELY {
            loaded.add(key, &Arc::new("newer"));
        }
        assert!(loaded.get(&1).is_none() && loaded.get(&2).is_none());
        assert!(loaded.get(&0).is_some_and(|found| Arc::ptr_eq(&found, &used)));
    }
}
