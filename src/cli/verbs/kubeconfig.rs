//! `coracle kubeconfig`

use anyhow::Context;

use crate::args::{KubeconfigArgs, default_data_dir};
use crate::terminal;

/// Prints the local cluster's kubeconfig, or where it lies.
pub fn run(args: &KubeconfigArgs) -> anyhow::Result<()> {
    let path = args.data_dir.clone().unwrap_or_else(default_data_dir).join("kubeconfig");
    if args.path {
        terminal::line(&path.display().to_string());
        return Ok(());
    }
    let text = std::fs::read(&path)
        .with_context(|| format!("cannot read {}; `coracle up` writes it when the API serves", path.display()))?;
    terminal::raw(&text);
    Ok(())
}
