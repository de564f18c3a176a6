//! The one binary: parses the command line and hands over.

mod available;
mod up;

use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command, RestoreArgs, terminal};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // One TLS provider for everything in this process; a second call would only find it set.
    let _ = rustls::crypto::ring::default_provider().install_default();
    quiet_checks();
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|verb| verb == cluster::COMPILE_VERB) {
        return cluster::compile_component(&arguments.collect::<Vec<_>>());
    }
    match Cli::parse().command {
        Command::Up(args) => up::run(*args),
        Command::Restore(args) => report(restore(&args)),
        command => report(request(command)),
    }
}

/// A damaged store says so in one sentence; what the check stumbled over is no news on top of it.
fn quiet_checks() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name() != Some(cluster::CHECK_THREAD) {
            print(panic);
        }
    }));
}

/// A verb that talks to a server needs one thread.
fn request(command: Command) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            outcome = cli::run(command) => outcome,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    })
}

fn restore(args: &RestoreArgs) -> anyhow::Result<()> {
    let folder = args.data_dir.clone().unwrap_or_else(cli::args::default_data_dir);
    let copy = cluster::restore(&folder)?;
    terminal::line(&format!("restored {} from {}", folder.display(), copy.display()));
    Ok(())
}

fn report(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::complain(&format!("coracle: {}", base::report(error.as_ref())));
            ExitCode::FAILURE
        }
    }
}
