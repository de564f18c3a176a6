//! The agent's grants as the runtime's.

use node::Place;

pub(crate) fn granted(grants: node::Grants, namespace: &str) -> runtime::Grants {
    let place = |place: Place| match place {
        Place::Embedded => runtime::Place::Embedded { scope: namespace.to_owned() },
        Place::Mounted(path) => runtime::Place::Mounted(path),
        Place::Remote { url, user, password } => runtime::Place::Remote { url, user, password },
    };
    runtime::Grants {
        config: grants.config,
        keyvalue: grants.keyvalue.into_iter().map(|(name, found)| (name, place(found))).collect(),
        blobstore: grants.blobstore.into_iter().map(|(name, found)| (name, place(found))).collect(),
        log_level: match grants.log_level {
            node::LogLevel::Trace => runtime::LogLevel::Trace,
            node::LogLevel::Debug => runtime::LogLevel::Debug,
            node::LogLevel::Info => runtime::LogLevel::Info,
            node::LogLevel::Warn => runtime::LogLevel::Warn,
            node::LogLevel::Error => runtime::LogLevel::Error,
            node::LogLevel::Critical => runtime::LogLevel::Critical,
        },
    }
}
