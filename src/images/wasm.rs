//! What a file is, and how a core module becomes a component.

mod exit;
mod go;

use thiserror::Error;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasmparser::{Parser, Payload, Validator, WasmFeatures};

/// Why a file cannot run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WasmError {
    /// Not WebAssembly.
    #[error("not a WebAssembly file: it looks like {found}; build it with `cargo build --target wasm32-wasip2`")]
    NotWasm {
        /// What it is.
        found: &'static str,
    },
    /// It starts as WebAssembly and then breaks.
    #[error("the WebAssembly file is damaged: {0}")]
    Damaged(String),
    /// A core module that needs more than WASI.
    #[error(
        "the core module imports {}, which no host offers to core modules; only {WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME} \
         can be turned into a component, build for wasm32-wasip2 instead",
        names.join(", ")
    )]
    ForeignImports {
        /// `module.name` of each import.
        names: Vec<String>,
    },
    /// The adapter does not fit.
    #[error("the core module cannot be turned into a component: {0}")]
    Unadaptable(String),
}

/// Whether a Wasm file is a component already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// A component.
    Component,
    /// A core module.
    Module,
}

/// Looks at the first bytes.
///
/// # Errors
/// [`WasmError::NotWasm`] with what the file looks like.
pub fn encoding(bytes: &[u8]) -> Result<Encoding, WasmError> {
    if Parser::is_component(bytes) {
        Ok(Encoding::Component)
    } else if Parser::is_core_wasm(bytes) {
        Ok(Encoding::Module)
    } else {
        Err(WasmError::NotWasm { found: looks_like(bytes) })
    }
}

fn looks_like(bytes: &[u8]) -> &'static str {
    let starts: [(&[u8], &'static str); 9] = [
        (b"\x7fELF", "a native program for Linux (ELF)"),
        (b"MZ", "a native program for Windows"),
        (b"\xcf\xfa\xed\xfe", "a native program for macOS"),
        (b"\x1f\x8b", "a gzip archive"),
        (b"PK", "a zip archive"),
        (b"#!", "a script"),
        (b"(module", "WebAssembly text; turn it into a binary first"),
        (b"(component", "WebAssembly text; turn it into a binary first"),
        (b"\0asm", "WebAssembly of an unknown version"),
    ];
    if bytes.is_empty() {
        return "an empty file";
    }
    if let Some((_, what)) = starts.iter().find(|(start, _)| bytes.starts_with(start)) {
        return what;
    }
    if std::str::from_utf8(bytes.get(..bytes.len().min(512)).unwrap_or_default()).is_ok() {
        "text"
    } else {
        "something else"
    }
}

/// Checks that `bytes` are valid and can become a component, without making one.
///
/// # Errors
/// As [`to_component`], but for what only the adapter finds.
pub fn check(bytes: &[u8]) -> Result<Encoding, WasmError> {
    let encoding = encoding(bytes)?;
    let mut foreign = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|error| WasmError::Damaged(error.to_string()))?;
        if let (Encoding::Module, Payload::ImportSection(section)) = (encoding, payload) {
            for import in section.into_imports() {
                let import = import.map_err(|error| WasmError::Damaged(error.to_string()))?;
                if !is_wasi(import.module) {
                    foreign.push(format!("{}.{}", import.module, import.name));
                }
            }
        }
    }
    foreign.dedup();
    if !foreign.is_empty() {
        return Err(WasmError::ForeignImports { names: foreign });
    }
    let valid = Validator::new_with_features(WasmFeatures::all()).validate_all(bytes);
    valid.map(|_| encoding).map_err(|error| WasmError::Damaged(error.to_string()))
}

fn is_wasi(module: &str) -> bool {
    module == WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME || module == "wasi_unstable" || module.contains(':')
}

/// The file as a component: as it is when it is one, wrapped when it is a core module for WASI 0.1. Takes up to seconds
/// for large modules.
///
/// # Errors
/// [`WasmError`].
pub fn to_component(bytes: &[u8]) -> Result<Option<Vec<u8>>, WasmError> {
    if check(bytes)? == Encoding::Component {
        return Ok(None);
    }
    let adapter = if exports_start(bytes) {
        WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER
    } else {
        WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER
    };
    let unadaptable = |error: &dyn std::fmt::Display| WasmError::Unadaptable(format!("{error:#}"));
    let placed = go::with_place_for_adapter(bytes).map_err(WasmError::Unadaptable)?;
    let bytes = placed.as_deref().unwrap_or(bytes);
    let exiting = exit::with_codes(bytes).map_err(WasmError::Unadaptable)?;
    let encoder = wit_component::ComponentEncoder::default()
        .module(exiting.as_deref().unwrap_or(bytes))
        .and_then(|encoder| encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter));
    let component = encoder.and_then(|encoder| encoder.validate(true).encode());
    component.map(Some).map_err(|error| unadaptable(&error))
}

fn exports_start(bytes: &[u8]) -> bool {
    Parser::new(0).parse_all(bytes).flatten().any(|payload| match payload {
        Payload::ExportSection(section) => section.into_iter().flatten().any(|export| export.name == "_start"),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_wasm_are_named() {
        for (bytes, what) in [
            (&b"\x7fELF...."[..], "Linux"),
            (b"", "empty"),
            (b"hello", "text"),
            (b"PK\x03\x04", "zip"),
            (b"(module)", "text"),
        ] {
            let error = check(bytes).map_err(|error| error.to_string());
            assert!(error.is_err_and(|text| text.contains(what)), "{what}");
        }
        let damaged = check(b"\0asm\x01\0\0\0\xff\xff\xff");
        assert!(matches!(damaged, Err(WasmError::Damaged(_))), "{damaged:?}");
    }

    #[test]
    fn a_command_for_wasi_0_1_becomes_a_component() {
        let text = r#"(module
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (func (export "_start") (call $exit (i32.const 0))))"#;
        let module = wat::parse_str(text).unwrap();
        let component = to_component(&module).unwrap().unwrap();
        assert_eq!(encoding(&component), Ok(Encoding::Component));
        assert_eq!(to_component(&component), Ok(None));
    }

    #[test]
    fn imports_that_nobody_offers_are_named() {
        let module = wat::parse_str(r#"(module (import "env" "emscripten" (func)))"#).unwrap();
        let error = to_component(&module).map_err(|error| error.to_string());
        assert!(error.is_err_and(|text| text.contains("env.emscripten")));
    }
}
