//! Commands from start to exit.

use std::sync::Arc;
use std::time::Duration;

use super::{FUEL, Kept, MIB, PATIENCE, PLAIN, load, program, runtime};
use crate::{Common, Exit, Form, Mount, Reason, RunSpec, Runtime, Stream};

fn spec(args: &[&str]) -> RunSpec {
    let args = ["batch"].iter().chain(args).map(ToString::to_string).collect();
    RunSpec { common: Common { args, ..Common::default() }, deadline: None }
}

async fn exit(runtime: &Runtime, spec: RunSpec) -> Exit {
    let form = Form { fuel: spec.common.fuel.is_some() };
    let running = runtime.run(&program(runtime, "batch", form), spec).unwrap_or_else(|error| panic!("{error}"));
    tokio::time::timeout(PATIENCE, running.exit()).await.unwrap_or_else(|_| panic!("it does not end"))
}

#[tokio::test]
async fn a_command_runs_and_its_lines_and_exit_code_arrive() {
    let runtime = runtime();
    let kept = Kept::new();
    let mut primes = spec(&["primes", "100"]);
    primes.common.output = kept.clone();
    let ended = exit(&runtime, primes).await;
    assert_eq!((ended.code, ended.reason), (0, Reason::Completed), "{ended:?}");
    assert_eq!(kept.lines(Stream::Stdout), ["25 primes below 100"]);

    let kept = Kept::new();
    let mut failing = spec(&["fail"]);
    failing.common.output = kept.clone();
    let ended = exit(&runtime, failing).await;
    assert_eq!((ended.code, ended.reason), (1, Reason::Error));
    assert_eq!(kept.lines(Stream::Stderr), ["batch: asked to fail"]);
}

#[tokio::test]
async fn mounts_are_all_that_a_command_sees_of_the_host() {
    let runtime = runtime();
    let Ok(folder) = tempfile::tempdir() else { panic!("no temporary folder") };
    assert!(std::fs::write(folder.path().join("poem"), "two words\nand three more\n").is_ok());
    let kept = Kept::new();
    let mut count = spec(&["count", "/data/poem"]);
    count.common.output = kept.clone();
    count.common.mounts = vec![Mount {
        host_dir: folder.path().to_owned(),
        opened: None,
        made_by: None,
        guest_path: "/data".to_owned(),
        read_only: true,
    }];
    assert_eq!(exit(&runtime, count).await.code, 0);
    assert_eq!(kept.lines(Stream::Stdout), ["/data/poem: 2 lines, 5 words, 25 bytes"]);
    assert_eq!(exit(&runtime, spec(&["count", "/etc/passwd"])).await.code, 1);
    let mut missing = spec(&["count", "/data/poem"]);
    missing.common.mounts = vec![Mount {
        host_dir: folder.path().join("none"),
        opened: None,
        made_by: None,
        guest_path: "/data".to_owned(),
        read_only: true,
    }];
    let refused = runtime.run(&program(&runtime, "batch", PLAIN), missing);
    assert!(matches!(refused.err(), Some(crate::StartError::NoVolume { .. })));
}

#[tokio::test]
async fn relative_paths_begin_in_the_working_directory() {
    let runtime = runtime();
    let Ok(folder) = tempfile::tempdir() else { panic!("no temporary folder") };
    let mount = |read_only| Mount {
        host_dir: folder.path().to_owned(),
        opened: None,
        made_by: None,
        guest_path: "/data".to_owned(),
        read_only,
    };
    let at = |path: &str, read_only: bool, kept: &Arc<Kept>| {
        let mut count = spec(&["count", "poem"]);
        let working_dir = Some(path.to_owned());
        count.common = Common { output: kept.clone(), mounts: vec![mount(read_only)], working_dir, ..count.common };
        count
    };
    let (kept, program) = (Kept::new(), program(&runtime, "batch", PLAIN));
    // What is not there can be made, or the container does not start.
    let refused = runtime.run(&program, at("/data/deep/er", true, &kept)).err().map(|error| error.to_string());
    assert!(refused.is_some_and(|why| why.starts_with("cannot use /data/deep/er as the working directory: ")));
    assert_eq!(exit(&runtime, at("/data/deep/er", false, &kept)).await.code, 1);
    assert!(std::fs::write(folder.path().join("deep/er/poem"), "two words\n").is_ok());
    assert_eq!(exit(&runtime, at("/data/deep/er", true, &kept)).await.code, 0);
    assert_eq!(kept.lines(Stream::Stdout), ["poem: 1 lines, 2 words, 10 bytes"]);
    // Nobody leaves a volume by way of it.
    #[cfg(unix)]
    {
        assert!(std::os::unix::fs::symlink("/etc", folder.path().join("out")).is_ok());
        assert!(runtime.run(&program, at("/data/out", false, &kept)).is_err());
    }
    // One in no volume is a name and no more.
    assert_eq!(exit(&runtime, at("/elsewhere", false, &kept)).await.code, 1);
}

#[tokio::test]
async fn a_command_that_does_not_end_is_killed_after_its_grace() {
    let runtime = runtime();
    let program = program(&runtime, "batch", PLAIN);
    let running = runtime.run(&program, spec(&["sleep", "3600"])).unwrap_or_else(|error| panic!("{error}"));
    running.stop(Duration::from_millis(5)).await;
    let ended = running.exit().await;
    assert_eq!((ended.code, ended.reason), (137, Reason::Error));
    let memory = || running.stats().memory_bytes;
    super::eventually("its memory is free", || memory() == 0).await;
}

#[tokio::test]
async fn a_command_past_its_deadline_ends_so() {
    let runtime = runtime();
    let mut sleeping = spec(&["sleep", "3600"]);
    sleeping.deadline = Some(Duration::from_millis(20));
    assert_eq!(exit(&runtime, sleeping).await.reason, Reason::DeadlineExceeded);
    let mut computing = spec(&["primes", "200000000"]);
    computing.deadline = Some(Duration::from_millis(20));
    assert_eq!(exit(&runtime, computing).await.reason, Reason::DeadlineExceeded);
}

#[tokio::test]
async fn a_command_that_wants_more_memory_than_its_limit_is_oom_killed() {
    let runtime = runtime();
    let mut hungry = spec(&["primes", "20000000"]);
    hungry.common.memory_bytes = Some(8 * MIB);
    let ended = exit(&runtime, hungry).await;
    assert_eq!((ended.code, ended.reason), (137, Reason::OomKilled), "{ended:?}");
    assert!(ended.message.starts_with("the memory limit of 8388608 bytes was reached; "), "{}", ended.message);
}

#[tokio::test]
async fn fuel_is_spent_the_same_way_each_time() {
    let runtime = runtime();
    let enough = async |fuel: u64| {
        let mut primes = spec(&["primes", "50"]);
        primes.common.fuel = Some(fuel);
        let ended = exit(&runtime, primes).await;
        assert!(matches!(ended.reason, Reason::Completed | Reason::FuelExhausted), "{ended:?}");
        ended.reason == Reason::Completed
    };
    let (mut low, mut high) = (0, 100_000_000);
    assert!(enough(high).await);
    while low + 1 < high {
        let middle = (low + high) / 2;
        if enough(middle).await { high = middle } else { low = middle }
    }
    for _ in 0..3 {
        assert!(enough(high).await && !enough(low).await);
    }
}

#[tokio::test]
async fn a_trap_comes_with_its_back_trace() {
    let runtime = runtime();
    let component = wat::parse_str(
        r#"(component
            (core module $trapper
                (func $deep unreachable)
                (func $run (export "run") (result i32) call $deep i32.const 0))
            (core instance $i (instantiate $trapper))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $cli (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $cli)))"#,
    );
    let program = load(&runtime, &component.unwrap_or_default(), PLAIN).unwrap_or_else(|error| panic!("{error}"));
    let running = runtime.run(&program, RunSpec::default()).unwrap_or_else(|error| panic!("{error}"));
    let ended = running.exit().await;
    assert_eq!((ended.code, ended.reason), (134, Reason::Error));
    assert_eq!(
        ended.message,
        "wasm trap: wasm `unreachable` instruction executed\n  at trapper!deep\n  at trapper!run"
    );
    assert_eq!(running.stats().traps, 1);
}

#[tokio::test]
async fn a_fuel_budget_needs_a_program_that_counts() {
    let runtime = runtime();
    let mut counted = spec(&[]);
    counted.common.fuel = Some(1);
    assert!(matches!(runtime.run(&program(&runtime, "batch", PLAIN), counted.clone()), Err(crate::StartError::NoFuel)));
    assert!(runtime.run(&program(&runtime, "batch", FUEL), counted).is_ok());
}

#[tokio::test]
async fn a_log_that_is_full_holds_its_writer_back() {
    struct Slow {
        written: std::sync::atomic::AtomicUsize,
        open: tokio::sync::watch::Sender<bool>,
    }
    impl crate::Output for Slow {
        fn write(&self, _stream: Stream, _line: &[u8]) {
            self.written.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        fn room(&self) -> Option<futures::future::BoxFuture<'static, ()>> {
            let mut open = self.open.subscribe();
            if *open.borrow() {
                return None;
            }
            Some(Box::pin(async move {
                let _ = open.wait_for(|open| *open).await;
            }))
        }
    }
    let runtime = runtime();
    let slow = Arc::new(Slow { written: 0.into(), open: tokio::sync::watch::Sender::new(false) });
    let mut primes = spec(&["primes", "100"]);
    primes.common.output = slow.clone();
    let program = program(&runtime, "batch", PLAIN);
    let running = runtime.run(&program, primes).unwrap_or_else(|error| panic!("{error}"));
    super::eventually("it waits for the log", || slow.open.receiver_count() > 0).await;
    assert_eq!(slow.written.load(std::sync::atomic::Ordering::Relaxed), 0);
    slow.open.send_replace(true);
    assert_eq!(running.exit().await.code, 0);
    assert_eq!(slow.written.load(std::sync::atomic::Ordering::Relaxed), 1);
}
