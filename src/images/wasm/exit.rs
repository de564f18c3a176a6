//! Exit codes of core modules.
//!
//! The adapter that gives WASI 0.1 to a core module calls `wasi:cli/exit.exit`, which knows success and failure alone: every
//! failure would end as 1. So the module's `proc_exit` is bound to `exit-with-code` (WASI 0.2.12) instead, past the adapter.

use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME;
use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{ImportSection, Module, RawSection};
use wasmparser::{Parser, Payload};
use wit_component::StringEncoding;
use wit_parser::Resolve;

const FROM: &str = "proc_exit";
const INTERFACE: &str = "wasi:cli/exit@0.2.12";
const FUNCTION: &str = "exit-with-code";

/// What the module is said to import besides WASI 0.1.
const WORLD: &str = "
    package coracle:exit-codes;
    world module { import wasi:cli/exit@0.2.12; }
    package wasi:cli@0.2.12 {
        interface exit {
            exit: func(status: result);
            exit-with-code: func(status-code: u8);
        }
    }
";

/// The module with its exit bound anew; `None` when it never exits by itself.
pub fn with_codes(module: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let (mut rewritten, mut found) = (Module::new(), false);
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.map_err(|error| error.to_string())?;
        if let Payload::ImportSection(section) = &payload {
            let mut imports = ImportSection::new();
            for import in section.clone().into_imports() {
                let import = import.map_err(|error| error.to_string())?;
                let kind = RoundtripReencoder.entity_type(import.ty).map_err(|error| error.to_string())?;
                if (import.module, import.name) == (WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, FROM) {
                    found = true;
                    imports.import(INTERFACE, FUNCTION, kind);
                } else {
                    imports.import(import.module, import.name, kind);
                }
            }
            rewritten.section(&imports);
        } else if let Some((id, range)) = payload.as_section() {
            let data = module.get(range).ok_or("a section lies outside of the file")?;
            rewritten.section(&RawSection { id, data });
        }
    }
    if !found {
        return Ok(None);
    }
    let mut module = rewritten.finish();
    let described = |error: &dyn std::fmt::Display| format!("{error:#}");
    let mut resolve = Resolve::default();
    let package = resolve.push_str("exit-codes.wit", WORLD).map_err(|error| described(&error))?;
    let world = resolve.select_world(&[package], None).map_err(|error| described(&error))?;
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        .map_err(|error| described(&error))?;
    Ok(Some(module))
}
