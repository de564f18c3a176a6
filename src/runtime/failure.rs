//! What a guest's error was.

use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::meter::Cut;

/// What the table of handles says when it is full helps nobody.
const TOO_MANY_HANDLES: &str = "no more handles may be open at once; to allow more, add the annotation  coracle.dev/max-handles: \"NUMBER\"  to the pod";
/// A back-trace with more frames says no more.
const FRAMES_MAX: usize = 16;

/// Why a guest did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// A trap, or an error of a host function; with back-trace.
    Trap(String),
    /// A trap after memory was refused.
    OutOfMemory(String),
    /// The fuel is spent.
    Fuel(String),
    /// It ran past its deadline.
    Deadline,
    /// The container ended.
    Stopped,
    /// No room for another instance right now.
    Busy,
    /// It called `exit`.
    Exit(i32),
}

impl Failure {
    /// Tells what an error of wasmtime means for a guest that was or was not refused memory.
    pub fn of(error: &wasmtime::Error, was_refused: bool) -> Self {
        if let Some(I32Exit(code)) = error.downcast_ref::<I32Exit>() {
            return if was_refused && *code != 0 {
                Self::OutOfMemory(format!("the component then ended with code {code}"))
            } else {
                Self::Exit(*code)
            };
        }
        match error.downcast_ref::<Cut>() {
            Some(Cut::Deadline) => return Self::Deadline,
            Some(Cut::Stopped) => return Self::Stopped,
            Some(cut @ Cut::Memory) => return Self::OutOfMemory(cut.to_string()),
            None => {}
        }
        if error.is::<PoolConcurrencyLimitError>() {
            return Self::Busy;
        }
        let text = describe(error);
        if matches!(error.downcast_ref::<Trap>(), Some(Trap::OutOfFuel)) {
            Self::Fuel(text)
        } else if was_refused {
            Self::OutOfMemory(text)
        } else {
            Self::Trap(text)
        }
    }

    /// The label for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Trap(_) => "trap",
            Self::OutOfMemory(_) => "out_of_memory",
            Self::Fuel(_) => "fuel",
            Self::Deadline => "deadline",
            Self::Stopped => "stopped",
            Self::Busy => "busy",
            Self::Exit(_) => "exit",
        }
    }
}

/// The error's root and where in the component it happened, innermost function first.
pub(crate) fn describe(error: &wasmtime::Error) -> String {
    let mut text = match error.downcast_ref::<ResourceTableError>() {
        Some(ResourceTableError::Full) => TOO_MANY_HANDLES.to_owned(),
        _ => error.root_cause().to_string(),
    };
    // A trap's root says it all; an error of a host function may have its context around it, as may the back-trace.
    if !error.is::<Trap>()
        && let Some(outer) =
            error.chain().map(ToString::to_string).find(|cause| !cause.starts_with("error while executing"))
        && outer != text
    {
        text = format!("{outer}: {text}");
    }
    let Some(trace) = error.downcast_ref::<WasmBacktrace>() else { return text };
    for frame in trace.frames().iter().take(FRAMES_MAX) {
        let module = frame.module().name().unwrap_or("<module>");
        let function = frame.func_name().map_or_else(|| format!("<function {}>", frame.func_index()), demangled);
        text.push_str(&format!("\n  at {module}!{function}"));
    }
    if trace.frames().len() > FRAMES_MAX {
        text.push_str(&format!("\n  and {} more", trace.frames().len() - FRAMES_MAX));
    }
    text
}

/// Rust's and C++'s symbols as their authors wrote them.
fn demangled(name: &str) -> String {
    // wasmtime demangles only symbols that come with line information; names of functions it gives as they are.
    if name.starts_with("_R") {
        return format!("{:#}", rustc_demangle::demangle(name));
    }
    let Some(rest) = name.strip_prefix("_ZN") else { return name.to_owned() };
    let mut parts = Vec::new();
    let mut rest = rest;
    while let Some(digits) = rest.find(|c: char| !c.is_ascii_digit()).filter(|digits| *digits > 0) {
        let Ok(length) = rest[..digits].parse::<usize>() else { break };
        // The guest wrote this number.
        let Some(end) = digits.checked_add(length) else { return name.to_owned() };
        let (Some(part), Some(after)) = (rest.get(digits..end), rest.get(end..)) else { return name.to_owned() };
        parts.push(part);
        rest = after;
    }
    // The last part of a legacy Rust symbol is a hash.
    if parts.last().is_some_and(|part| part.len() == 17 && part.starts_with('h')) {
        parts.pop();
    }
    if parts.is_empty() { name.to_owned() } else { parts.join("::").replace("..", "::") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_read_as_they_were_written() {
        for (symbol, name) in [
            ("_ZN5chaos4trap17h0123456789abcdefE", "chaos::trap"),
            ("_ZN5chaos4trapE", "chaos::trap"),
            ("run", "run"),
            ("_RNvNtNtCs1BgeOjHGpXa_3std7process5abort", "_RNvNtNtCs1BgeOjHGpXa_3std7process5abort"),
            ("_RNvNtCs54DFjI2GdUj_4core9panicking9panic_fmt", "core::panicking::panic_fmt"),
            ("_ZN99short", "_ZN99short"),
            ("_ZN18446744073709551615x", "_ZN18446744073709551615x"),
        ] {
            assert_eq!(demangled(symbol), name);
        }
    }

    #[test]
    fn errors_are_told_apart() {
        let exit = || wasmtime::Error::new(I32Exit(3));
        assert_eq!(Failure::of(&exit(), false), Failure::Exit(3));
        assert!(matches!(Failure::of(&exit(), true), Failure::OutOfMemory(_)));
        assert_eq!(Failure::of(&wasmtime::Error::new(Cut::Deadline), true), Failure::Deadline);
        assert!(matches!(Failure::of(&Trap::OutOfFuel.into(), true), Failure::Fuel(_)));
        assert!(matches!(Failure::of(&Trap::UnreachableCodeReached.into(), false), Failure::Trap(_)));
        assert!(matches!(Failure::of(&Trap::UnreachableCodeReached.into(), true), Failure::OutOfMemory(_)));
    }
}
