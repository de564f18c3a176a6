//! `coracle push`

use crate::args::PushArgs;
use crate::connection::Connection;
use crate::push::push_file;
use crate::terminal;

/// Pushes a component and prints the image's name.
pub async fn run(args: PushArgs) -> anyhow::Result<()> {
    let connection = Connection::open(&args.connection).await?;
    let digest = push_file(&connection, &args.file, &args.name).await?;
    let name = args.name.strip_prefix("coracle.local/").unwrap_or(&args.name);
    terminal::line(&format!("coracle.local/{name}\n{digest}"));
    Ok(())
}
