//! The command line: what it accepts, the verbs that talk to a server, and everything that is printed.
//!
//! *Owns*: argument names (they are kubectl's where kubectl has them), reading manifests, tables on a terminal.
//!
//! *Does not know*: how a server works. Every verb goes over HTTPS to the server of a kubeconfig, Coracle's or another's;
//! tables come from there.
//!
//! *Entry point*: [`Cli`] is parsed by `main`, which hands `up` and `restore` to `cluster` and the rest to [`run`].

#![forbid(unsafe_code)]

pub mod apply;
pub mod args;
pub mod connection;
pub mod terminal;

mod control_plane;
mod image_paths;
mod manifests;
mod push;
mod resources;
mod spelling;
mod timestamps;
mod verbs;
mod yaml;

pub use apply::{Applied, Outcome, apply_files};
pub use args::{Cli, Command, RestoreArgs, UpArgs};
pub use connection::Connection;
pub use control_plane::ControlPlaneArgs;
pub use image_paths::name_of as image_name;
pub use push::push_file;

/// Runs a verb that talks to a server.
///
/// # Errors
/// One sentence for the person at the terminal; `main` prints it and exits with 1.
pub async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Apply(args) => verbs::apply::run(args).await,
        Command::Get(args) => verbs::get::run(args).await,
        Command::Describe(args) => verbs::describe::run(args).await,
        Command::Delete(args) => verbs::delete::run(args).await,
        Command::Logs(args) => verbs::logs::run(args).await,
        Command::Scale(args) => verbs::scale::run(args).await,
        Command::Run(args) => verbs::run::run(args).await,
        Command::Push(args) => verbs::push::run(args).await,
        Command::Images(args) => verbs::images::run(args).await,
        Command::PortForward(args) => verbs::port_forward::run(args).await,
        Command::Kubeconfig(args) => verbs::kubeconfig::run(&args),
        Command::Version(args) => verbs::version::run(args).await,
        Command::Completion(args) => verbs::completion::run(&args),
        Command::Up(_) | Command::Restore(_) => anyhow::bail!("this verb runs a server, not a request to one"),
    }
}
