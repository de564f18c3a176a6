//! Logs through real files.

use futures::TryStreamExt;

use super::*;
use crate::sandbox::{Output, Stream};

fn of() -> LogOf {
    LogOf { namespace: "default".into(), pod: "web".into(), uid: "u1".into(), container: "app".into() }
}

struct Fixture {
    logs: Logs,
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self::limited(LogLimits::default())
    }
    fn limited(limits: LogLimits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { logs: Logs::open_limited(dir.path().to_owned(), limits).unwrap(), dir }
    }
    async fn read(&self, options: LogOptions) -> String {
        let chunks: Vec<Bytes> = self.logs.open(&of(), options).await.unwrap().try_collect().await.unwrap();
        String::from_utf8(chunks.concat()).unwrap()
    }
}

#[tokio::test]
async fn lines_are_read_whole_by_tail_since_and_limit() {
    let fixture = Fixture::new();
    assert!(matches!(fixture.logs.open(&of(), LogOptions::default()).await, Err(LogError::Waiting { .. })));
    let run = fixture.logs.begin(&of(), 0).unwrap();
    let output = RunOutput(run.clone());
    for text in ["one", "two", "three"] {
        output.write(Stream::Stdout, text.as_bytes());
    }
    assert_eq!(fixture.read(LogOptions::default()).await, "one\ntwo\nthree\n");
    assert_eq!(fixture.read(LogOptions { tail_lines: Some(2), ..LogOptions::default() }).await, "two\nthree\n");
    assert_eq!(fixture.read(LogOptions { tail_lines: Some(0), ..LogOptions::default() }).await, "");
    assert_eq!(fixture.read(LogOptions { limit_bytes: Some(5), ..LogOptions::default() }).await, "one\nt");
    let later = Timestamp::now() + jiff::SignedDuration::from_secs(60);
    assert_eq!(fixture.read(LogOptions { since: Some(later), ..LogOptions::default() }).await, "");
    let stamped = fixture.read(LogOptions { timestamps: true, tail_lines: Some(1), ..LogOptions::default() }).await;
    let (time, text) = stamped.split_once(' ').unwrap();
    assert!(time.parse::<Timestamp>().is_ok() && time.len() == 30 && text == "three\n", "{stamped}");
    run.close(true).await;
    assert_eq!(fixture.read(LogOptions { follow: true, ..LogOptions::default() }).await, "one\ntwo\nthree\n");
}

#[tokio::test]
async fn the_run_before_is_kept_and_older_ones_go() {
    let fixture = Fixture::new();
    for attempt in 0..3 {
        let run = fixture.logs.begin(&of(), attempt).unwrap();
        RunOutput(run.clone()).write(Stream::Stdout, format!("run {attempt}").as_bytes());
        run.close(true).await;
        if attempt == 0 {
            let options = LogOptions { previous: true, ..LogOptions::default() };
            assert!(matches!(fixture.logs.open(&of(), options).await, Err(LogError::NoPrevious { .. })));
        }
    }
    assert_eq!(fixture.read(LogOptions::default()).await, "run 2\n");
    assert_eq!(fixture.read(LogOptions { previous: true, ..LogOptions::default() }).await, "run 1\n");
    fixture.logs.sweep(|uid| uid != "u1");
    assert!(matches!(fixture.logs.open(&of(), LogOptions::default()).await, Err(LogError::Waiting { .. })));
}

#[tokio::test]
async fn a_silent_run_has_an_empty_log_and_no_file_before_its_end() {
    let fixture = Fixture::new();
    let files = || std::fs::read_dir(fixture.dir.path()).into_iter().flatten().count();
    let run = fixture.logs.begin(&of(), 0).unwrap();
    for tail_lines in [None, Some(5)] {
        assert_eq!(fixture.read(LogOptions { tail_lines, ..LogOptions::default() }).await, "");
    }
    run.close(false).await;
    assert_eq!(files(), 0);
    let run = fixture.logs.begin(&of(), 1).unwrap();
    run.close(true).await;
    assert_eq!((files(), fixture.read(LogOptions::default()).await.as_str()), (1, ""));
}

#[tokio::test]
async fn following_sees_every_line_across_rotations_until_the_run_ends() {
    let limits = LogLimits { file_bytes: 1 << 20, files: 3 };
    let fixture = Fixture::limited(limits);
    let run = fixture.logs.begin(&of(), 0).unwrap();
    let output = RunOutput(run.clone());
    output.write(Stream::Stdout, b"first");
    let stream = fixture.logs.open(&of(), LogOptions { follow: true, ..LogOptions::default() }).await.unwrap();
    let text = vec![b'x'; 10_000];
    let lines = usize::try_from(limits.file_bytes).unwrap() / text.len() + 200;
    let writing = async {
        for _ in 0..lines {
            // The burst is not the point here; a full buffer is.
            while run.settle_pressure() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            output.write(Stream::Stdout, &text);
        }
        run.close(true).await;
    };
    let (chunks, ()) = futures::join!(stream.try_collect::<Vec<Bytes>>(), writing);
    let read = chunks.unwrap().concat();
    assert_eq!(read.iter().filter(|byte| **byte == b'\n').count(), lines + 1);
}

#[tokio::test]
async fn one_who_prints_too_much_waits() {
    let fixture = Fixture::new();
    let run = fixture.logs.begin(&of(), 0).unwrap();
    let output = RunOutput(run);
    assert!(output.room().is_none());
    for _ in 0..30 {
        output.write(Stream::Stdout, &vec![b'x'; 1 << 20]);
    }
    assert!(output.room().is_some());
}

#[tokio::test]
async fn one_who_prints_without_waiting_loses_lines_that_are_counted() {
    let fixture = Fixture::new();
    let run = fixture.logs.begin(&of(), 0).unwrap();
    let output = RunOutput(run.clone());
    {
        // While the disk is busy.
        let _held = run.files.lock();
        for _ in 0..600 {
            output.write(Stream::Stdout, &vec![b'x'; 16 << 10]);
        }
    }
    let dropped = fixture.logs.lines_dropped();
    assert!((1..600).contains(&dropped), "{dropped}");
    run.close(true).await;
    let log = fixture.read(LogOptions::default()).await;
    assert!(log.ends_with(&format!("{dropped} lines were dropped: the container prints too much\n")));
    assert_eq!(log.lines().count() as u64, 601 - dropped);
}

#[tokio::test]
async fn a_log_is_as_many_files_as_the_node_keeps_and_read_through_all_of_them() {
    let fixture = Fixture::limited(LogLimits { file_bytes: 1, files: 3 });
    let run = fixture.logs.begin(&of(), 0).unwrap();
    for number in 0..6 {
        for part in ["a", "b"] {
            RunOutput(run.clone()).write(Stream::Stdout, format!("{number}{part}").as_bytes());
        }
        // Each pass of the writer begins a file.
        run.settled().await;
        drop(run.files.lock());
    }
    let text = fixture.read(LogOptions::default()).await;
    assert!(text.ends_with("5a\n5b\n") && !text.contains("0a"), "{text}");
    let all: Vec<&str> = text.lines().collect();
    for count in [1usize, 2, 3, 4, 5, 100] {
        let options = LogOptions { tail_lines: Some(count as u64), ..LogOptions::default() };
        let found = fixture.read(options).await;
        assert_eq!(found.lines().collect::<Vec<_>>(), all[all.len().saturating_sub(count)..], "{count}");
    }
    // Nobody remembers the run any more, and its files are still all there.
    let again = Logs::open_folder(fixture.dir.path().to_owned()).unwrap();
    let chunks: Vec<Bytes> = again.open(&of(), LogOptions::default()).await.unwrap().try_collect().await.unwrap();
    assert_eq!(chunks.concat(), text.as_bytes());
    run.close(true).await;
}
