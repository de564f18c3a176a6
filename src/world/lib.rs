//! The interfaces that a guest can import and export: what `wit/` says, as host bindings.
//!
//! *Owns*: the list of what is offered, the names of the exports that decide how a component runs, and the bindings.
//!
//! *Does not know*: how any of it is carried out; `runtime` links implementations.
//!
//! *Entry point*: [`OFFERED`] and [`is_offered`]; [`cli`], [`http`] and [`io`] for the bindings.

#![forbid(unsafe_code)]

pub use wasmtime_wasi::p2::bindings::CommandPre;
pub use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, random, sockets};
pub use wasmtime_wasi_http::p2::bindings::{ProxyPre, http};

/// Streams and pollables, which every other interface of 0.2 is built on.
pub mod io {
    pub use wasmtime_wasi_io::bindings::wasi::io as bindings;
    pub use wasmtime_wasi_io::poll::{DynPollable, Pollable, subscribe};
    pub use wasmtime_wasi_io::streams::{
        DynInputStream, DynOutputStream, InputStream, OutputStream, StreamError, StreamResult,
    };
}

/// WASI 0.3, where functions, streams and futures are the component model's own.
pub mod next {
    pub use wasmtime_wasi::p3::bindings::{Command, CommandPre};
    pub use wasmtime_wasi::p3::bindings::{cli, clocks, filesystem, random, sockets};
    pub use wasmtime_wasi_http::p3::bindings::{Service, ServicePre, http};
}

/// The export that makes a component of 0.2 an HTTP server.
pub const HTTP_EXPORT: &str = "wasi:http/incoming-handler";
/// The export that makes a component of 0.3 an HTTP server.
pub const HTTP_EXPORT_NEXT: &str = "wasi:http/handler";
/// The export that makes a component a command.
pub const COMMAND_EXPORT: &str = "wasi:cli/run";
/// The line of WASI versions that most are written against.
pub const WASI_LINE: &str = "0.2.";
/// The line after it.
pub const WASI_LINE_NEXT: &str = "0.3.";

/// The worlds as authors read them.
pub const WIT: &[(&str, &str)] = &[
    ("http.wit", include_str!("../../wit/http.wit")),
    ("command.wit", include_str!("../../wit/command.wit")),
    ("next.wit", include_str!("../../wit/next.wit")),
    ("lifecycle.wit", include_str!("../../wit/lifecycle.wit")),
    ("config.wit", include_str!("../../wit/deps/config.wit")),
    ("config-draft.wit", include_str!("../../wit/deps/config-draft.wit")),
    ("keyvalue.wit", include_str!("../../wit/deps/keyvalue.wit")),
    ("keyvalue-draft2.wit", include_str!("../../wit/deps/keyvalue-draft2.wit")),
    ("blobstore.wit", include_str!("../../wit/deps/blobstore.wit")),
    ("logging.wit", include_str!("../../wit/deps/logging.wit")),
];

/// An interface that a component may import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Package and interface, without version.
    pub name: &'static str,
    /// Versions; one that ends with a dot stands for all that begin so. The empty one is an import without version.
    pub versions: &'static [&'static str],
}

const fn both(name: &'static str) -> Interface {
    Interface { name, versions: &[WASI_LINE, WASI_LINE_NEXT] }
}

const fn first(name: &'static str) -> Interface {
    Interface { name, versions: &[WASI_LINE] }
}

const fn next(name: &'static str) -> Interface {
    Interface { name, versions: &[WASI_LINE_NEXT] }
}

const KEYVALUE: &[&str] = &["0.2.0-draft", "0.2.0-draft2"];

/// Every interface that a component may import. Whether a container is given it is another question:
/// `runtime::capabilities`.
pub const OFFERED: &[Interface] = &[
    Interface { name: "coracle:lifecycle/stop", versions: &["0.1."] },
    Interface { name: "coracle:lifecycle/stop-async", versions: &["0.1."] },
    Interface { name: "wasi:blobstore/blobstore", versions: &["0.2.0-draft"] },
    Interface { name: "wasi:blobstore/container", versions: &["0.2.0-draft"] },
    Interface { name: "wasi:blobstore/types", versions: &["0.2.0-draft"] },
    both("wasi:cli/environment"),
    both("wasi:cli/exit"),
    both("wasi:cli/stderr"),
    both("wasi:cli/stdin"),
    both("wasi:cli/stdout"),
    both("wasi:cli/terminal-input"),
    both("wasi:cli/terminal-output"),
    both("wasi:cli/terminal-stderr"),
    both("wasi:cli/terminal-stdin"),
    both("wasi:cli/terminal-stdout"),
    next("wasi:cli/types"),
    both("wasi:clocks/monotonic-clock"),
    next("wasi:clocks/system-clock"),
    next("wasi:clocks/types"),
    first("wasi:clocks/wall-clock"),
    Interface { name: "wasi:config/runtime", versions: &["0.2.0-draft"] },
    Interface { name: "wasi:config/store", versions: &["0.2.0-rc.1"] },
    both("wasi:filesystem/preopens"),
    both("wasi:filesystem/types"),
    next("wasi:http/client"),
    first("wasi:http/outgoing-handler"),
    both("wasi:http/types"),
    first("wasi:io/error"),
    first("wasi:io/poll"),
    first("wasi:io/streams"),
    Interface { name: "wasi:keyvalue/atomics", versions: KEYVALUE },
    Interface { name: "wasi:keyvalue/batch", versions: KEYVALUE },
    Interface { name: "wasi:keyvalue/store", versions: KEYVALUE },
    Interface { name: "wasi:logging/logging", versions: &["", "0.1.0-draft"] },
    both("wasi:random/insecure"),
    both("wasi:random/insecure-seed"),
    both("wasi:random/random"),
    first("wasi:sockets/instance-network"),
    both("wasi:sockets/ip-name-lookup"),
    first("wasi:sockets/network"),
    first("wasi:sockets/tcp"),
    first("wasi:sockets/tcp-create-socket"),
    next("wasi:sockets/types"),
    first("wasi:sockets/udp"),
    first("wasi:sockets/udp-create-socket"),
];

impl Interface {
    /// Whether `version` is one of those that are offered.
    fn has(&self, version: &str) -> bool {
        self.versions.iter().any(|own| version == *own || (own.ends_with('.') && version.starts_with(own)))
    }
}

/// Whether an import such as `wasi:http/types@0.2.4` is offered.
pub fn is_offered(import: &str) -> bool {
    let (name, version) = import.split_once('@').unwrap_or((import, ""));
    OFFERED.iter().any(|interface| interface.name == name && interface.has(version))
}

/// Whether an export such as `wasi:cli/run@0.2.3` is `interface` in a version of `line`.
pub fn is_version_of(export: &str, interface: &str, line: &str) -> bool {
    export.split_once('@').is_some_and(|(name, version)| name == interface && version.starts_with(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_offered_by_interface_and_line() {
        for (import, offered) in [
            ("wasi:http/types@0.2.0", true),
            ("wasi:http/types@0.2.12", true),
            ("wasi:http/types@0.3.0", true),
            ("wasi:http/types", false),
            ("wasi:keyvalue/store@0.2.0", false),
            ("wasi:keyvalue/store@0.2.0-draft2", true),
            ("wasi:logging/logging", true),
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
            let name = interface.name;
            assert!(text.contains(&format!("{name}@")), "{name} is offered, but no world in wit/ imports it");
        }
    }
}
