//! `cargo bench --bench compare [-- SECTION[/WORD]…]`: the README's figures, each beside a reference of the same run.
//!
//! Sections are the rows of [`SECTIONS`]; all of them without an argument. With a word, the section `victim` has only the rows
//! that contain it: `victim/crash`. Tables go to stdout as Markdown,
//! progress to stderr. Servers are child processes; `benches/tools` puts those of others in place, and a contestant whose
//! program is missing is left out with a word about it.

#![forbid(unsafe_code)]
// A bench is a program for a terminal, outside of the server's rules for tasks.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)]

mod api;
mod apply;
mod closed;
mod control_plane;
mod coracle;
mod density;
mod http;
mod http2;
mod idle;
mod machine;
mod mischief;
mod native;
mod neighbour;
mod objects;
mod open;
mod process;
mod rivals;
mod rollout;
mod rooms;
mod samples;
mod scheduling;
mod table;
mod victim;
mod wire;
mod workloads;

use std::process::ExitCode;
use std::sync::OnceLock;

/// The word that rows have to contain.
static ONLY: OnceLock<String> = OnceLock::new();

/// Whether a row of this name is asked for.
fn is_asked_for(row: &str) -> bool {
    ONLY.get().is_none_or(|word| row.contains(word))
}

type Section = (&'static str, fn() -> anyhow::Result<()>);

const SECTIONS: &[Section] = &[
    ("http", http::run),
    ("apply", apply::run),
    ("victim", victim::run),
    ("density", density::run),
    ("rooms", rooms::run),
    ("api", control_plane::run),
    ("rollout", rollout::run),
    ("workloads", workloads::run),
    ("scheduling", scheduling::run),
    ("idle", idle::run),
];

fn main() -> ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    // cargo adds `--bench`.
    let mut arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if let [role, text] = &arguments[..]
        && role == native::ROLE
    {
        return report(native::serve(text));
    }
    if let [role, name] = &arguments[..]
        && role == rooms::ROLE
    {
        return report(rooms::measure(name));
    }
    for argument in &mut arguments {
        if let Some((section, word)) = argument.split_once('/') {
            let _ = ONLY.set(word.to_owned());
            *argument = section.to_owned();
        }
    }
    if let Some(unknown) = arguments.iter().find(|name| !SECTIONS.iter().any(|(known, _)| known == name)) {
        let known: Vec<&str> = SECTIONS.iter().map(|(name, _)| *name).collect();
        eprintln!("there is no section {unknown}; there are {}", known.join(", "));
        return ExitCode::from(2);
    }
    println!("{}\n", machine::facts());
    let mut chosen =
        SECTIONS.iter().filter(|(name, _)| arguments.is_empty() || arguments.iter().any(|asked| asked == name));
    report(chosen.try_for_each(|(_, run)| run()))
}

fn report(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A step on stderr, so that a long run is seen to live.
fn progress(text: &str) {
    eprintln!("  {text}");
}
