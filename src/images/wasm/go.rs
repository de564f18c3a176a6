//! Memory of programs in Go.
//!
//! Go's runtime takes all memory behind its data to be its own: it grows it and never asks where the new pages lie. The adapter,
//! which gives WASI 0.1 to a core module, takes a few pages of the same memory, and the two would write over each other.
//!
//! Where the data end, and so where the heap begins, the program reads at its start from a table of its own. So `_start` begins
//! with moving that up, and the hole is what the adapter is given, by a `cabi_realloc` as other languages' modules have it.
//!
//! ```text
//! data │ heap, wherever memory.grow leads        as linked
//! data │ hole │ heap                             as it runs
//! ```

use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{
    Encode, ExportKind, ExportSection, FuncType, Function, MemArg, Module, RawSection, SectionId, ValType,
};
use wasmparser::{BinaryReader, ConstExpr, DataKind, ExternalKind, Operator, Parser, Payload, TypeRef};

/// A custom section that Go's linker writes and nobody else does.
const MARK: &str = "go:buildid";
const START: &str = "_start";
const REALLOC: &str = "cabi_realloc";

const PAGE: u64 = 64 << 10;
/// The adapter's state and its stack are a page each; as much again for what a later one may want.
const HOLE: u64 = 4 * PAGE;
/// What Go's linker adds to the memory behind the data. The hole lies in it, so that nothing has to grow.
const SPARE: u64 = 1 << 20;
/// Where in the hole stands how much of it is taken.
const HEAD: i32 = 16;
/// More than this at once is no Go program's data.
const MEMORY_MAX: u64 = 1 << 30;

/// What of a module matters here.
#[derive(Default)]
struct Found {
    /// Functions that it imports.
    imported: u32,
    types: u32,
    /// The type of each of its own functions.
    functions: Vec<u32>,
    start: Option<u32>,
    has_realloc: bool,
    /// Its memory before it runs.
    memory: Vec<u8>,
}

/// The module with a place for the adapter; `None` when it is not Go's.
pub fn with_place_for_adapter(module: &[u8]) -> Result<Option<Vec<u8>>, String> {
    if !is_go(module) {
        return Ok(None);
    }
    let found = look(module).map_err(|error| error.to_string())?;
    let Some(start) = found.start.filter(|_| !found.has_realloc) else { return Ok(None) };
    let Some((slot, end)) = end_of_data(&found.memory) else { return Ok(None) };
    let own = start.checked_sub(found.imported).and_then(|own| usize::try_from(own).ok());
    let Some(kind) = own.and_then(|own| found.functions.get(own)) else { return Ok(None) };
    let starting = found.imported + u32::try_from(found.functions.len()).map_err(|error| error.to_string())?;
    let taking = starting + 1;

    let hole = end.next_multiple_of(PAGE);
    let bodies = [start_behind(slot, end + HOLE, start)?, take(hole)?];
    let mut rewritten = Module::new();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.map_err(|error| error.to_string())?;
        let Some((id, range)) = payload.as_section() else { continue };
        let data = module.get(range).ok_or("a section lies outside of the file")?;
        match &payload {
            Payload::TypeSection(_) => {
                let realloc = FuncType::new([ValType::I32; 4], [ValType::I32]);
                let mut one = vec![0x60];
                encode_types(&realloc, &mut one);
                let data = with_more(data, 1, &one)?;
                rewritten.section(&RawSection { id: SectionId::Type.into(), data: &data });
            }
            Payload::FunctionSection(_) => {
                let mut both = Vec::new();
                kind.encode(&mut both);
                found.types.encode(&mut both);
                let data = with_more(data, 2, &both)?;
                rewritten.section(&RawSection { id: SectionId::Function.into(), data: &data });
            }
            Payload::ExportSection(section) => {
                let mut exports = ExportSection::new();
                for export in section.clone() {
                    let export = export.map_err(|error| error.to_string())?;
                    let kind = RoundtripReencoder.export_kind(export.kind).map_err(|error| error.to_string())?;
                    let is_start = export.name == START && kind == ExportKind::Func;
                    exports.export(export.name, kind, if is_start { starting } else { export.index });
                }
                exports.export(REALLOC, ExportKind::Func, taking);
                rewritten.section(&exports);
            }
            Payload::CodeSectionStart { .. } => {
                let mut both = Vec::new();
                bodies.iter().for_each(|body| body.encode(&mut both));
                let data = with_more(data, 2, &both)?;
                rewritten.section(&RawSection { id: SectionId::Code.into(), data: &data });
            }
            _ => {
                rewritten.section(&RawSection { id, data });
            }
        }
    }
    Ok(Some(rewritten.finish()))
}

/// Go's linker writes its mark first.
fn is_go(module: &[u8]) -> bool {
    let mut payloads = Parser::new(0).parse_all(module).skip(1);
    matches!(payloads.next(), Some(Ok(Payload::CustomSection(section))) if section.name() == MARK)
}

fn look(module: &[u8]) -> wasmparser::Result<Found> {
    let mut found = Found::default();
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::TypeSection(section) => {
                for group in section {
                    found.types += u32::try_from(group?.types().len()).unwrap_or(u32::MAX);
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    found.imported += u32::from(matches!(import?.ty, TypeRef::Func(_)));
                }
            }
            Payload::FunctionSection(section) => found.functions = section.into_iter().collect::<Result<_, _>>()?,
            Payload::MemorySection(section) => {
                for memory in section {
                    let bytes = memory?.initial.saturating_mul(PAGE).min(MEMORY_MAX);
                    found.memory = vec![0; usize::try_from(bytes).unwrap_or_default()];
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.kind == ExternalKind::Func {
                        found.has_realloc |= export.name == REALLOC;
                        found.start = if export.name == START { Some(export.index) } else { found.start };
                    }
                }
            }
            Payload::DataSection(section) => {
                for data in section {
                    let data = data?;
                    let DataKind::Active { offset_expr, .. } = &data.kind else { continue };
                    let Some(at) = constant(offset_expr)? else { continue };
                    if let Some(place) = found.memory.get_mut(at..).and_then(|rest| rest.get_mut(..data.data.len())) {
                        place.copy_from_slice(data.data);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

fn constant(expression: &ConstExpr<'_>) -> wasmparser::Result<Option<usize>> {
    Ok(match expression.get_operators_reader().read()? {
        Operator::I32Const { value } => usize::try_from(value.cast_unsigned()).ok(),
        _ => None,
    })
}

/// Where the address of the data's end stands, and that address.
///
/// The runtime's table of the module has the bounds of its kinds of data in the order in which they lie: initialised without
/// and with pointers, zeroed with and without, counters of coverage, and the end of all. No other eleven numbers in a row rise
/// like that to within a page of where the linker's spare memory begins.
fn end_of_data(memory: &[u8]) -> Option<(u64, u64)> {
    const BOUNDS: usize = 11;
    let size = memory.len() as u64;
    let words: Vec<u64> = memory.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
    let mut tables = words.windows(BOUNDS).enumerate().filter_map(|(at, bounds)| {
        let end = *bounds.last()?;
        let fits = (size.saturating_sub(SPARE + PAGE)..=size.saturating_sub(SPARE - PAGE)).contains(&end);
        let ordered =
            bounds[0] > 0 && bounds.is_sorted() && [0, 2, 4].iter().all(|&kind| bounds[kind] < bounds[kind + 1]);
        (fits && ordered).then_some(((at + BOUNDS - 1) as u64 * 8, end))
    });
    let only = tables.next()?;
    tables.next().is_none().then_some(only)
}

/// A section's content with more entries at its end.
fn with_more(section: &[u8], count: u32, entries: &[u8]) -> Result<Vec<u8>, String> {
    let mut reader = BinaryReader::new(section, 0);
    let before = reader.read_var_u32().map_err(|error| error.to_string())?;
    let there = section.get(reader.original_position()..).unwrap_or_default();
    let mut more = Vec::with_capacity(section.len() + entries.len() + 8);
    (before + count).encode(&mut more);
    more.extend_from_slice(there);
    more.extend_from_slice(entries);
    Ok(more)
}

fn encode_types(function: &FuncType, sink: &mut Vec<u8>) {
    function.params().encode(sink);
    function.results().encode(sink);
}

const fn at(offset: u64, align: u32) -> MemArg {
    MemArg { offset, align, memory_index: 0 }
}

fn address(address: u64) -> Result<i32, String> {
    u32::try_from(address).map(u32::cast_signed).map_err(|error| error.to_string())
}

/// Moves the data's end up, and starts.
fn start_behind(slot: u64, end: u64, start: u32) -> Result<Function, String> {
    let mut function = Function::new([]);
    let end = i64::try_from(end).map_err(|error| error.to_string())?;
    function.instructions().i32_const(address(slot)?).i64_const(end).i64_store(at(0, 3)).call(start).end();
    Ok(function)
}

/// `cabi_realloc` out of the hole; it is only ever asked for new memory, and traps past the hole's end.
fn take(hole: u64) -> Result<Function, String> {
    const ALIGN: u32 = 2;
    const SIZE: u32 = 3;
    const TAKEN: u32 = 4;
    let (base, end) = (address(hole)?, address(hole + HOLE)?);
    let mut function = Function::new([(1, ValType::I32)]);
    let mut code = function.instructions();
    // Its place: behind what is taken, aligned.
    code.i32_const(base).i32_load(at(0, 2)).i32_const(base + HEAD).i32_add();
    code.local_get(ALIGN).i32_add().i32_const(1).i32_sub();
    code.i32_const(0).local_get(ALIGN).i32_sub().i32_and().local_tee(TAKEN);
    code.local_get(SIZE).i32_add().i32_const(end).i32_gt_u();
    code.if_(wasm_encoder::BlockType::Empty).unreachable().end();
    // What is taken then.
    code.i32_const(base);
    code.local_get(TAKEN).local_get(SIZE).i32_add().i32_const(base + HEAD).i32_sub();
    code.i32_store(at(0, 2)).local_get(TAKEN).end();
    Ok(function)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_data_is_found_where_it_stands_once() {
        let size = 0x25_0000_usize;
        // As a linked program has them.
        let bounds = [
            0x13_1440_u64,
            0x13_5fc0,
            0x13_5fc0,
            0x13_a1d0,
            0x13_a1e0,
            0x14_8628,
            0x14_8640,
            0x15_e0a8,
            0x15_e0a8,
            0x15_e0a8,
            0x15_e0a8,
        ];
        let place = |memory: &mut [u8], at: usize| {
            for (number, bound) in bounds.iter().enumerate() {
                memory[at + number * 8..][..8].copy_from_slice(&bound.to_le_bytes());
            }
        };
        let mut memory = vec![0; size];
        assert_eq!(end_of_data(&memory), None);
        place(&mut memory, 0x13_12c0);
        assert_eq!(end_of_data(&memory), Some((0x13_12c0 + 80, 0x15_e0a8)));
        place(&mut memory, 0x13_2000);
        assert_eq!(end_of_data(&memory), None, "either might be it");
    }
}
