//! The table of capabilities: everything that a guest can be given, what it is made of, and what grants it.
//!
//! One row each, a file or folder below this one for how it is carried out. [`world::OFFERED`] names the same interfaces
//! with their versions, and `docs/interfaces.md` says it for people; tests hold the three together.

use wasmtime::component::Linker;

use crate::guest::Guest;
use crate::spec::Grants;

pub(crate) mod blobstore;
mod cli;
mod clocks;
mod config;
mod filesystem;
mod http;
mod io;
pub(crate) mod keyvalue;
mod lifecycle;
mod listings;
mod logging;
mod methods;
mod open_files;
mod random;
pub(crate) mod sockets;

/// A capability.
pub(crate) struct Capability {
    /// What messages and documents call it.
    pub name: &'static str,
    /// Its interfaces, or the beginning that they have in common: `wasi:cli/`.
    pub interfaces: &'static [&'static str],
    /// Who has it.
    pub grant: Grant,
    /// Makes its interfaces known to a linker.
    pub link: Link,
    /// Makes those known that only programs with tasks of their own import: they need an engine that has these.
    pub link_next: Option<Link>,
}

/// Makes interfaces known to a linker.
pub(crate) type Link = fn(&mut Linker<Guest>) -> wasmtime::Result<()>;

/// Who has a capability.
pub(crate) enum Grant {
    /// Every container: it reaches nothing beyond the pod, or what it reaches is asked again at each use.
    Always,
    /// Containers whose spec says so.
    Asked {
        /// Whether it does.
        granted: fn(&Grants) -> bool,
        /// The annotation that would.
        annotation: &'static str,
    },
}

/// Every capability. What is not here, no guest has.
pub(crate) const TABLE: &[Capability] = &[
    io::ROW,
    cli::ROW,
    clocks::ROW,
    random::ROW,
    filesystem::ROW,
    sockets::ROW,
    http::ROW,
    config::ROW,
    keyvalue::ROW,
    blobstore::ROW,
    logging::ROW,
    lifecycle::ROW,
];

impl Capability {
    /// Whether an import such as `wasi:cli/environment@0.2.0` is a part of this one.
    fn has(&self, import: &str) -> bool {
        let interface = import.split_once('@').map_or(import, |(interface, _)| interface);
        self.interfaces.iter().any(|own| interface == *own || (own.ends_with('/') && interface.starts_with(own)))
    }
}

/// The first import that `grants` does not hold, with the annotation that would grant it.
pub(crate) fn first_denied<'a>(imports: &'a [String], grants: &Grants) -> Option<(&'a str, &'static str)> {
    imports.iter().find_map(|import| {
        TABLE.iter().filter(|capability| capability.has(import)).find_map(|capability| match capability.grant {
            Grant::Asked { granted, annotation } if !granted(grants) => Some((import.as_str(), annotation)),
            Grant::Asked { .. } | Grant::Always => None,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interface_of_the_world_belongs_to_one_capability() {
        for interface in world::OFFERED {
            let owners: Vec<_> =
                TABLE.iter().filter(|capability| capability.has(interface.name)).map(|found| found.name).collect();
            assert_eq!(owners.len(), 1, "{} belongs to {owners:?}", interface.name);
        }
    }

    #[test]
    fn the_document_lists_every_interface_with_its_versions_and_what_grants_it() {
        let document = include_str!("../../docs/interfaces.md");
        let rows: Vec<&str> = document.lines().take_while(|line| !line.starts_with("## ")).collect();
        let rows: Vec<&str> = rows.into_iter().filter(|line| line.starts_with("| `")).collect();
        let wanted = world::OFFERED.iter().map(|interface| {
            let version = |version: &&str| match *version {
                "" => "none".to_owned(),
                line if line.ends_with('.') => format!("`{line}x`"),
                exact => format!("`{exact}`"),
            };
            let versions: Vec<String> = interface.versions.iter().map(version).collect();
            let owner = TABLE.iter().find(|capability| capability.has(interface.name));
            let grant = match owner.map(|capability| &capability.grant) {
                Some(Grant::Asked { annotation, .. }) => {
                    format!("`{}`", annotation.split(':').next().unwrap_or_default())
                }
                _ => "always".to_owned(),
            };
            format!("| `{}` | {} | {grant} |", interface.name, versions.join(", "))
        });
        assert_eq!(rows, wanted.collect::<Vec<_>>());
    }
}
