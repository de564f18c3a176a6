//! `coracle completion`

use clap::CommandFactory;

use crate::args::{Cli, CompletionArgs};
use crate::terminal;

/// Prints the script.
pub fn run(args: &CompletionArgs) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "coracle", &mut script);
    terminal::raw(&script);
    Ok(())
}
