//! How much a compilation may cost, and what a component shows of that before it begins.
//!
//! Compilers take time that grows faster than the size of a function, so the largest function counts beside the whole.

use std::time::Duration;

use thiserror::Error;
use wasmparser::{Parser, Payload};

/// What compiling may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of a component.
    pub bytes: u64,
    /// Functions of a component, over all its modules.
    pub functions: u64,
    /// Bytes of one function.
    pub function_bytes: u64,
    /// Time of one compilation.
    pub time: Duration,
    /// Memory of one compilation, where it runs in a process of its own.
    pub memory: u64,
    /// Bytes of all that is compiled, on disk; the files that were used longest ago go first.
    pub cache_bytes: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            bytes: 256 << 20,
            functions: 500_000,
            function_bytes: 2 << 20,
            time: Duration::from_secs(300),
            memory: 4 << 30,
            cache_bytes: 8 << 30,
        }
    }
}

/// Which bound a component breaks.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{what}; raise the bound with `coracle up --compile-limits {setting}=…` (it is {limit})")]
pub struct TooComplex {
    /// What is too much.
    pub what: String,
    /// The setting that would allow it.
    pub setting: &'static str,
    /// What it is now.
    pub limit: String,
}

/// Why a text sets no bounds.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{0:?} is not NAME=VALUE, with bytes, functions, function-bytes, seconds, memory or cache-bytes, such as function-bytes=4Mi"
)]
pub struct BoundsError(pub String);

impl Bounds {
    /// Sets one bound: `NAME=VALUE`.
    ///
    /// # Errors
    /// When the text is not that.
    pub fn set(&mut self, text: &str) -> Result<(), BoundsError> {
        let wrong = || BoundsError(text.to_owned());
        let (name, value) = text.split_once('=').ok_or_else(wrong)?;
        let value = number(value.trim()).filter(|value| *value > 0).ok_or_else(wrong)?;
        match name.trim() {
            "bytes" => self.bytes = value,
            "functions" => self.functions = value,
            "function-bytes" => self.function_bytes = value,
            "seconds" => self.time = Duration::from_secs(value),
            "memory" => self.memory = value,
            "cache-bytes" => self.cache_bytes = value,
            _ => return Err(wrong()),
        }
        Ok(())
    }

    /// Looks at a component, without checking that it is one.
    pub(super) fn check(&self, component: &[u8]) -> Result<(), TooComplex> {
        let over = |what: String, setting, limit: u64| Err(TooComplex { what, setting, limit: limit.to_string() });
        if component.len() as u64 > self.bytes {
            return over(format!("it has {} bytes", component.len()), "bytes", self.bytes);
        }
        let mut functions = 0u64;
        // What is damaged is the compiler's to tell.
        for payload in Parser::new(0).parse_all(component).map_while(Result::ok) {
            match payload {
                Payload::CodeSectionStart { count, .. } => functions = functions.saturating_add(u64::from(count)),
                Payload::CodeSectionEntry(body) => {
                    let size = body.range().len() as u64;
                    if size > self.function_bytes {
                        let what = format!("one of its functions has {size} bytes");
                        return over(what, "function-bytes", self.function_bytes);
                    }
                }
                _ => {}
            }
            if functions > self.functions {
                return over(format!("it has {functions} functions or more"), "functions", self.functions);
            }
        }
        Ok(())
    }

    /// What to say when the time is over.
    pub fn out_of_time(&self) -> TooComplex {
        let seconds = self.time.as_secs();
        let what = format!("compiling it took more than {seconds} seconds");
        TooComplex { what, setting: "seconds", limit: seconds.to_string() }
    }

    /// What to say when the memory is spent.
    pub fn out_of_memory(&self) -> TooComplex {
        let what = format!("compiling it took more than {} MiB of memory", self.memory >> 20);
        TooComplex { what, setting: "memory", limit: self.memory.to_string() }
    }
}

/// A number, with `Ki`, `Mi` or `Gi` behind it if need be.
fn number(text: &str) -> Option<u64> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let shift = match &text[digits..] {
        "" => 0,
        "Ki" => 10,
        "Mi" => 20,
        "Gi" => 30,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component of modules with so many functions of about so many bytes each.
    fn component(modules: usize, functions: usize, bytes: usize) -> Vec<u8> {
        let body = "(drop (i32.const 1))".repeat(bytes / 3);
        let functions = format!("(func {body})").repeat(functions);
        wat::parse_str(format!("(component {})", format!("(core module {functions})").repeat(modules))).unwrap()
    }

    #[test]
    fn each_bound_has_its_setting() {
        let bounds = Bounds { bytes: 100_000, functions: 20, function_bytes: 1000, ..Bounds::default() };
        for (component, setting) in [
            (component(2, 10, 900), None),
            (component(3, 10, 10), Some("functions")),
            (component(1, 1, 1200), Some("function-bytes")),
            (component(2, 100, 900), Some("bytes")),
            (b"\0asm broken".to_vec(), None),
        ] {
            let found = bounds.check(&component).err();
            assert_eq!(found.as_ref().map(|error| error.setting), setting, "{found:?}");
        }
    }

    #[test]
    fn settings_are_read() {
        let mut bounds = Bounds::default();
        for text in ["bytes=1Mi", "functions=7", "function-bytes=2Ki", "seconds=9", "memory=1Gi", "cache-bytes=3"] {
            bounds.set(text).unwrap();
        }
        let wanted = Bounds {
            bytes: 1 << 20,
            functions: 7,
            function_bytes: 2048,
            time: Duration::from_secs(9),
            memory: 1 << 30,
            cache_bytes: 3,
        };
        assert_eq!(bounds, wanted);
        for text in ["", "bytes", "bytes=0", "bytes=x", "bytes=1Ti", "other=1"] {
            assert!(bounds.set(text).is_err(), "{text}");
        }
        assert!(bounds.out_of_time().to_string().contains("--compile-limits seconds="));
    }
}
