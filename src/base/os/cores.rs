//! A core for those who serve.
//!
//! A thread that wakes because a request has come waits until the slice of whoever has the core is over, which takes
//! milliseconds, whatever their weights. While requests come, threads of other kinds therefore keep off some of the cores.

#[cfg(any(target_os = "linux", target_os = "android"))]
mod here {
    use std::cell::RefCell;

    use parking_lot::Mutex;
    use rustix::thread::{CpuSet, Pid, gettid, sched_getaffinity, sched_setaffinity};

    /// One core in so many is kept, and one at least.
    const ONE_IN: usize = 4;

    /// The threads that keep off, and where they may be now; nothing as long as that is everywhere.
    static THREADS: Mutex<Threads> = Mutex::new(Threads { all: Vec::new(), room: None });

    struct Threads {
        all: Vec<Pid>,
        room: Option<Room>,
    }

    struct Room {
        /// All cores that the process may use.
        whole: CpuSet,
        /// Those that are not kept.
        rest: CpuSet,
    }

    thread_local! {
        static PLACE: RefCell<Option<Place>> = const { RefCell::new(None) };
    }

    /// A thread among those that keep off, until it ends.
    struct Place(Pid);

    impl Drop for Place {
        fn drop(&mut self) {
            THREADS.lock().all.retain(|thread| *thread != self.0);
        }
    }

    pub(crate) fn join() {
        PLACE.with_borrow_mut(|place| {
            let own = place.get_or_insert_with(|| Place(gettid())).0;
            let mut threads = THREADS.lock();
            if !threads.all.contains(&own) {
                threads.all.push(own);
            }
            if let Some(room) = &threads.room {
                confine(own, &room.rest);
            }
        });
    }

    pub(super) fn keep_free(on: bool) {
        let mut threads = THREADS.lock();
        if on == threads.room.is_some() {
            return;
        }
        if on {
            let Some(room) = room() else { return };
            threads.all.iter().for_each(|thread| confine(*thread, &room.rest));
            threads.room = Some(room);
        } else if let Some(room) = threads.room.take() {
            threads.all.iter().for_each(|thread| confine(*thread, &room.whole));
        }
    }

    /// Nothing where there is one core.
    fn room() -> Option<Room> {
        // The process' first thread is nobody's to confine.
        let process = rustix::process::getpid();
        let whole = sched_getaffinity(Some(process)).ok()?;
        let count = whole.count() as usize;
        let kept = (count / ONE_IN).max(1);
        let mut rest = whole;
        for core in (0..CpuSet::MAX_CPU).filter(|core| whole.is_set(*core)).take(kept) {
            rest.unset(core);
        }
        (count > kept).then_some(Room { whole, rest })
    }

    fn confine(thread: Pid, cores: &CpuSet) {
        if let Err(error) = sched_setaffinity(Some(thread), cores) {
            tracing::debug!(%error, "a thread stays on the cores that it is on");
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn whoever_gives_way_keeps_off_a_core_while_it_is_kept_and_nobody_else_does() {
            let cores = |thread: Option<Pid>| sched_getaffinity(thread).unwrap().count() as usize;
            let whole = cores(None);
            let kept = if whole > 1 { (whole / ONE_IN).max(1) } else { 0 };
            let (told, tell) = std::sync::mpsc::channel::<()>();
            let (at, seen) = std::sync::mpsc::channel();
            let other = std::thread::spawn(move || {
                join();
                at.send(gettid()).unwrap();
                let _ = tell.recv();
            });
            let other_id = seen.recv().unwrap();
            keep_free(true);
            assert_eq!(cores(Some(other_id)), whole - kept);
            assert_eq!(cores(None), whole);
            // One that comes later.
            let late = std::thread::spawn(move || {
                join();
                cores(None)
            });
            assert_eq!(late.join().unwrap(), whole - kept);
            keep_free(false);
            assert_eq!(cores(Some(other_id)), whole);
            drop(told);
            other.join().unwrap();
            assert!(!THREADS.lock().all.contains(&other_id));
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod here {
    pub(crate) fn join() {}
    pub(super) fn keep_free(_on: bool) {}
}

pub(super) use here::join;

/// Lets the threads of [`super::Urgency::Control`], `Background` and `Bulk` keep off some of the cores, or go everywhere again.
/// Nothing changes where there is one core, or where the operating system does not let a process say so.
pub fn keep_free(on: bool) {
    here::keep_free(on);
}
