//! `coracle version`

use serde_json::Value;

use crate::args::VersionArgs;
use crate::connection::{Call, Connection};
use crate::terminal;

/// Prints this program's version, and the server's.
pub async fn run(args: VersionArgs) -> anyhow::Result<()> {
    terminal::line(&format!("Client Version: v{}", env!("CARGO_PKG_VERSION")));
    if args.client {
        return Ok(());
    }
    let connection = Connection::open(&args.connection).await?;
    let version = connection.json(Call::get("/version")).await?;
    let text = version.get("gitVersion").and_then(Value::as_str).unwrap_or("unknown");
    terminal::line(&format!("Server Version: {text}"));
    Ok(())
}
