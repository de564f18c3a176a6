//! The modules of WASI's own test suite (WebAssembly/wasi-testsuite, branch prod/testsuite-base), out of the folder that the
//! environment variable `WASI_TESTSUITE` names. The suite is not part of this project.
//!
//! A test is FILE.wasm and, beside it, FILE.json: arguments, environment, folders, and the exit code and output that are right.

// Who runs the suite has to see what was left out.
#![allow(clippy::print_stderr)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

use super::{PATIENCE, PLAIN, load, runtime};
use crate::{Common, Mount, Output, RunSpec, Runtime, Stdin, Stream};

/// Tests that fail, with the reason why they may.
const MAY_FAIL: &[(&str, &str)] = &[
    ("remove_directory_trailing_slashes", "wasmtime answers EINVAL for a trailing slash"),
    ("sockets-udp-send", "there is no UDP on the pod network"),
    ("http-service-uri", "the request has no authority unless the caller sent one"),
];

#[tokio::test]
async fn the_wasi_test_suite_passes() {
    let Some(folder) = std::env::var_os("WASI_TESTSUITE") else {
        eprintln!("SKIPPED: WASI_TESTSUITE names no folder with the suite's modules");
        return;
    };
    let failed = run_all(&runtime(), Path::new(&folder)).await;
    let unexpected: Vec<_> =
        failed.iter().filter(|(name, _)| !MAY_FAIL.iter().any(|(known, _)| known == name)).collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
}

#[tokio::test]
async fn a_test_of_the_suite_is_judged_by_exit_code_and_output() {
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let module = |code: u32| {
        let text = format!(
            r#"(module
                (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
                (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                (memory (export "memory") 1)
                (data (i32.const 0) "\10\00\00\00\03\00\00\00")
                (data (i32.const 16) "hi\n")
                (func (export "_start")
                    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
                    (call $exit (i32.const {code}))))"#
        );
        wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
    };
    for (name, code, description) in [
        ("good", 0, r#"{ "stdout": "hi\n" }"#),
        ("code", 7, r#"{ "exit_code": 7 }"#),
        (
            "steps",
            7,
            r#"{ "operations": [{ "type": "run" }, { "type": "read", "payload": "hi\n" }, { "type": "wait", "exit_code": 7 }] }"#,
        ),
        ("wrong-code", 1, "{}"),
        ("wrong-output", 0, r#"{ "stdout": "ho\n" }"#),
    ] {
        let path = folder.path().join(name);
        let written = std::fs::write(path.with_extension("wasm"), module(code));
        assert!(written.and_then(|()| std::fs::write(path.with_extension("json"), description)).is_ok());
    }
    let failed = run_all(&runtime(), folder.path()).await;
    assert_eq!(failed.keys().collect::<Vec<_>>(), ["wrong-code", "wrong-output"], "{failed:?}");
}

/// Runs every module below a folder. Answers those that failed, and how.
async fn run_all(runtime: &Runtime, folder: &Path) -> BTreeMap<String, String> {
    let mut failed = BTreeMap::new();
    for path in modules(folder) {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let description = std::fs::read(path.with_extension("json")).unwrap_or_else(|_| b"{}".to_vec());
        let case = Case::read(&serde_json::from_slice(&description).unwrap_or_default());
        if let Err(why) = run(runtime, &path, &case).await {
            failed.insert(name, why);
        }
    }
    failed
}

fn modules(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(modules(&path));
        } else if path.extension().is_some_and(|extension| extension == "wasm") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// What a test wants.
#[derive(Default)]
struct Case {
    args: Vec<String>,
    env: Vec<(String, String)>,
    dirs: Vec<String>,
    stdin: Option<String>,
    exit_code: i64,
    stdout: Option<String>,
    stderr: Option<String>,
    /// A step that only a runner with a network of its own can take.
    beyond: Option<String>,
}

impl Case {
    /// Reads the flat form, and the one with a list of operations.
    fn read(description: &Value) -> Self {
        let mut case = Self::default();
        case.run(description);
        for operation in description["operations"].as_array().into_iter().flatten() {
            let payload = || operation["payload"].as_str().map(str::to_owned);
            match operation["type"].as_str().unwrap_or_default() {
                "run" => case.run(operation),
                "wait" => case.exit_code = operation["exit_code"].as_i64().unwrap_or_default(),
                "read" if operation["id"] == "stderr" => case.stderr = payload(),
                "read" => case.stdout = payload(),
                "write" => case.stdin = payload(),
                other => case.beyond = Some(other.to_owned()),
            }
        }
        case
    }

    fn run(&mut self, step: &Value) {
        let words = |field: &str| {
            let list = step[field].as_array().into_iter().flatten();
            list.filter_map(|word| word.as_str().map(str::to_owned)).collect()
        };
        self.args = words("args");
        self.dirs = words("dirs");
        let env = step["env"].as_object().into_iter().flatten();
        self.env = env.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect();
        self.exit_code = step["exit_code"].as_i64().unwrap_or_default();
        self.stdout = step["stdout"].as_str().map(str::to_owned);
        self.stderr = step["stderr"].as_str().map(str::to_owned);
    }
}

async fn run(runtime: &Runtime, path: &Path, case: &Case) -> Result<(), String> {
    if let Some(step) = &case.beyond {
        eprintln!("SKIPPED: {}: no way to {step:?}", path.display());
        return Ok(());
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let component = images::to_component(&bytes).map_err(|error| base::report(&error))?.unwrap_or(bytes);
    let program = load(runtime, &component, PLAIN).map_err(|error| base::report(&error))?;
    let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut mounts = Vec::new();
    for dir in &case.dirs {
        let host_dir = scratch.path().join(dir);
        let from = path.parent().unwrap_or(Path::new(".")).join(dir);
        copy(&from, &host_dir).map_err(|error| format!("{}: {error}", from.display()))?;
        mounts.push(Mount { host_dir, opened: None, made_by: None, guest_path: dir.clone(), read_only: false });
    }
    let printed = Arc::new(Printed::default());
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let common = Common {
        args: [name].into_iter().chain(case.args.iter().cloned()).collect(),
        env: case.env.clone(),
        mounts,
        output: Arc::<Printed>::clone(&printed),
        stdin: case.stdin.clone().map(|text| Stdin::new(std::io::Cursor::new(text.into_bytes()))),
        ..Common::default()
    };
    let running =
        runtime.run(&program, RunSpec { common, deadline: Some(PATIENCE) }).map_err(|error| base::report(&error))?;
    let exit = running.exit().await;
    if i64::from(exit.code) != case.exit_code {
        return Err(format!("ended with {} ({}), stderr {:?}", exit.code, exit.message, printed.of(Stream::Stderr)));
    }
    for (stream, wanted) in [(Stream::Stdout, &case.stdout), (Stream::Stderr, &case.stderr)] {
        let seen = printed.of(stream);
        if wanted.as_ref().is_some_and(|wanted| *wanted != seen) {
            return Err(format!("{stream:?} was {seen:?} and not {wanted:?}"));
        }
    }
    Ok(())
}

/// Copies a folder, but for what an earlier run of the suite may have left.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let path = entry?.path();
        let Some(name) = path.file_name() else { continue };
        if path.is_dir() {
            copy(&path, &to.join(name))?;
        } else if path.extension().is_none_or(|extension| extension != "cleanup") {
            std::fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}

/// Output as it was written.
#[derive(Default)]
struct Printed(Mutex<[Vec<u8>; 2]>);

impl Printed {
    fn of(&self, stream: Stream) -> String {
        String::from_utf8_lossy(&self.0.lock()[usize::from(stream == Stream::Stderr)]).into_owned()
    }
}

impl Output for Printed {
    fn write(&self, _stream: Stream, _line: &[u8]) {}

    fn bytes(&self, stream: Stream, bytes: &[u8]) -> bool {
        self.0.lock()[usize::from(stream == Stream::Stderr)].extend_from_slice(bytes);
        true
    }
}
