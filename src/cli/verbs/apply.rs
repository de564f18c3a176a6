//! `coracle apply`

use crate::apply::{Again, apply_files};
use crate::args::ApplyArgs;
use crate::connection::Connection;
use crate::terminal;

/// Applies files as `kubectl apply` does.
pub async fn run(args: ApplyArgs) -> anyhow::Result<()> {
    let connection = Connection::open(&args.connection).await?;
    apply_files(&connection, &args.filenames, Again::Restore, |applied| {
        terminal::line(&format!("{} {}", applied.name, applied.outcome.word()));
    })
    .await
}
