//! What is and what is not a program.

use super::{PLAIN, load, program, runtime, sample};
use crate::{CompileError, Kind, LoadError};

#[tokio::test]
async fn exports_decide_what_a_program_is() {
    let runtime = runtime();
    assert_eq!(program(&runtime, "hello", PLAIN).kind(), Kind::Http);
    assert_eq!(program(&runtime, "batch", PLAIN).kind(), Kind::Command);
}

#[tokio::test]
async fn what_is_no_component_is_not_compiled() {
    let runtime = runtime();
    let core = wat::parse_str("(module)").unwrap_or_default();
    let mut broken = sample("hello");
    broken.truncate(5000);
    assert!(matches!(runtime.compile(b"#!/bin/sh", PLAIN), Err(CompileError::NotWasm)));
    assert!(matches!(runtime.compile(b"", PLAIN), Err(CompileError::NotWasm)));
    assert!(matches!(runtime.compile(&core, PLAIN), Err(CompileError::CoreModule)));
    assert!(matches!(runtime.compile(&broken, PLAIN), Err(CompileError::Invalid(_))));
}

#[tokio::test]
async fn a_component_without_a_known_export_says_what_it_exports() {
    let runtime = runtime();
    let component = wat::parse_str(
        r#"(component
            (core module $m (func (export "f")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "f")))
            (export "do-it" (func $f)))"#,
    );
    let error = load(&runtime, &component.unwrap_or_default(), PLAIN).err().map(|error| error.to_string());
    assert_eq!(
        error.as_deref(),
        Some(
            "component exports none of wasi:http/incoming-handler@0.2, wasi:http/handler@0.3, wasi:cli/run@0.2 and wasi:cli/run@0.3, so it cannot be run; it exports \"do-it\""
        )
    );
}

#[tokio::test]
async fn an_import_that_no_world_offers_is_named() {
    let runtime = runtime();
    let component = wat::parse_str(
        r#"(component
            (import "foo:bar/baz@1.0.0" (instance (export "f" (func))))
            (import "wasi:keyvalue/store@0.2.0" (instance (export "g" (func))))
            (core module $m (func (export "run") (result i32) i32.const 0))
            (core instance $i (instantiate $m))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $cli (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $cli)))"#,
    );
    let error = load(&runtime, &component.unwrap_or_default(), PLAIN);
    let Err(LoadError::UnknownImports { imports }) = &error else { panic!("{error:?}") };
    assert_eq!(*imports, ["foo:bar/baz@1.0.0", "wasi:keyvalue/store@0.2.0"]);
    let text = error.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(
        text.starts_with("component imports \"foo:bar/baz@1.0.0\", \"wasi:keyvalue/store@0.2.0\", which"),
        "{text}"
    );
}

#[tokio::test]
async fn a_file_that_is_no_artifact_is_an_error() {
    let runtime = runtime();
    let Ok(file) = tempfile::NamedTempFile::new() else { panic!("no temporary file") };
    assert!(std::fs::write(file.path(), b"nonsense").is_ok());
    assert!(matches!(runtime.load(file.path(), PLAIN), Err(LoadError::Artifact(_))));
}
