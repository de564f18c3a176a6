//! `wasi:logging`: lines with a level, into the container's log.
//!
//! A line reads `LEVEL CONTEXT: MESSAGE`, on standard error, where programs say what is not their result. Who logs faster
//! than the log takes it waits, as who writes does.

use wasmtime::component::Linker;

use super::{Capability, Grant};
use crate::guest::{Guest, Own};
use crate::spec::{LogLevel, Stream};

mod bindings {
    #![allow(missing_docs, reason = "generated")]
    wasmtime::component::bindgen!({
        path: ["../../wit/deps/logging.wit"],
        inline: "package coracle:host; world host { import wasi:logging/logging@0.1.0-draft; }",
        imports: { default: async | trappable },
    });
}

use bindings::wasi::logging::logging::{self, Level};

pub(super) const ROW: Capability =
    Capability { name: "logging", interfaces: &["wasi:logging/"], grant: Grant::Always, link, link_next: None };

fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    logging::add_to_linker::<Guest, Own>(linker, |guest| guest)?;
    // Most toolchains import it without a version, as it was for years.
    linker.instance("wasi:logging/logging")?.func_wrap_async(
        "log",
        |mut store, (level, context, message): (Level, String, String)| {
            Box::new(async move { logging::Host::log(store.data_mut(), level, context, message).await })
        },
    )
}

impl logging::Host for Guest {
    async fn log(&mut self, level: Level, context: String, message: String) -> wasmtime::Result<()> {
        let (level, name) = match level {
            Level::Trace => (LogLevel::Trace, "TRACE"),
            Level::Debug => (LogLevel::Debug, "DEBUG"),
            Level::Info => (LogLevel::Info, "INFO"),
            Level::Warn => (LogLevel::Warn, "WARN"),
            Level::Error => (LogLevel::Error, "ERROR"),
            Level::Critical => (LogLevel::Critical, "CRITICAL"),
        };
        if level < self.hooks.container.spec.grants.log_level {
            return Ok(());
        }
        let lines = self.lines(Stream::Stderr);
        if let Some(room) = lines.room() {
            room.await;
        }
        // A record is a line: what would look like another is shown for what it is.
        let text =
            if context.is_empty() { format!("{name} {message}") } else { format!("{name} {context}: {message}") };
        let mut line = text.trim_end_matches('\n').replace('\n', "\\n");
        line.push('\n');
        lines.write(line.as_bytes());
        Ok(())
    }
}
