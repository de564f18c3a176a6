//! Log lines on standard error.

use std::io::IsTerminal;

use thiserror::Error;
use tracing_subscriber::EnvFilter;

/// A log filter that cannot be read.
#[derive(Debug, Error)]
#[error("the log filter {filter:?} is not understood; write for example --log info,node=debug")]
pub struct FilterError {
    filter: String,
    #[source]
    source: tracing_subscriber::filter::ParseError,
}

/// Starts logging to standard error, once per process. `filter` is `level` or `level,target=level,…`.
///
/// # Errors
/// When the filter does not parse. A second call changes nothing.
pub fn start(filter: &str) -> Result<(), FilterError> {
    // The client logs each refused connection once more, although whoever asked is told: a server that is away would fill
    // the log of every process that waits for it.
    let whole = format!("kube_client::client::builder=off,{filter}");
    let parsed = EnvFilter::try_new(whole).map_err(|source| FilterError { filter: filter.to_owned(), source })?;
    let started = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .try_init();
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
    Ok(())
}
