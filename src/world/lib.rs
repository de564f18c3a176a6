//! The interfaces that a guest can import and export: what `wit/` says, as host bindings.
//!
//! *Owns*: the list of what is offered, the names of the exports that decide how a component runs, and the bindings.
//!
//! *Does not know*: how any of it is carried out; `runtime` links implementations.
//!
//! *Entry point*: [`OFFERED`] and [`is_offered`]; [`cli`], [`http`] and [`io`] for the bindings.

#![forbid(unsafe_code)]

pub use wasmtime_wasi::p2::bindings::CommandPre;
pub use wasmtime_wasi::p2::bindings::cli;
pub use wasmtime_wasi_http::p2::bindings::{ProxyPre, http};

/// Streams and pollables, which every other interface is built on.
pub mod io {
    pub use wasmtime_wasi_io::poll::Pollable;
    pub use wasmtime_wasi_io::streams::{DynInputStream, DynOutputStream, OutputStream, StreamError, StreamResult};
}

/// The export that makes a component an HTTP server.
pub const HTTP_EXPORT: &str = "wasi:http/incoming-handler";
/// The export that makes a component a command.
pub const COMMAND_EXPORT: &str = "wasi:cli/run";
/// The line of WASI versions that is offered.
pub const WASI_LINE: &str = "0.2.";

/// The worlds as authors read them.
pub const WIT: &[(&str, &str)] =
    &[("http.wit", include_str!("../../wit/http.wit")), ("command.wit", include_str!("../../wit/command.wit"))];

/// Every interface that a component may import, without versions. `wasi:sockets` links, and every call of it is denied.
pub const OFFERED: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:http/outgoing-handler",
    "wasi:http/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// Whether an import such as `wasi:http/types@0.2.4` is offered.
pub fn is_offered(import: &str) -> bool {
    match import.split_once('@') {
        Some((interface, version)) => version.starts_with(WASI_LINE) && OFFERED.contains(&interface),
        None => false,
    }
}

/// Whether an export such as `wasi:cli/run@0.2.3` is `interface` in a version that is offered.
pub fn is_version_of(export: &str, interface: &str) -> bool {
    export.split_once('@').is_some_and(|(name, version)| name == interface && version.starts_with(WASI_LINE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_offered_by_interface_and_line() {
        for (import, offered) in [
            ("wasi:http/types@0.2.0", true),
            ("wasi:http/types@0.2.12", true),
            ("wasi:http/types@0.3.0", false),
            ("wasi:http/types", false),
            ("wasi:keyvalue/store@0.2.0", false),
            ("foo", false),
        ] {
            assert_eq!(is_offered(import), offered, "{import}");
        }
    }

    #[test]
    fn the_worlds_are_written_in_wit() {
        for (name, text) in WIT {
            let parsed = wit_parser::UnresolvedPackageGroup::parse(name, text);
            assert!(parsed.is_ok(), "{name}: {:?}", parsed.err());
        }
    }

    #[test]
    fn every_offered_interface_stands_in_a_world_for_authors() {
        let text: String = WIT.iter().map(|(_, text)| *text).collect();
        for interface in OFFERED {
            assert!(text.contains(&format!("{interface}@")), "{interface} is offered, but no world in wit/ imports it");
        }
    }
}
