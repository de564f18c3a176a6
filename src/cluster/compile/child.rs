//! Compiling in a process of its own, from both of its ends.

use std::ffi::OsString;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use images::{ArtifactError, Work};
use runtime::Form;

/// The word on the command line that makes this binary a compiler. It is for this program's own use.
pub const COMPILE_VERB: &str = "compile-component";

/// The exit code for a component that does not compile, with the reason on standard error.
const REFUSED: u8 = 3;
const FIRST_LOOK: Duration = Duration::from_millis(2);
const LOOK_MAX: Duration = Duration::from_millis(50);
const WORDS_MAX: u64 = 16 << 10;

/// Runs the compiler until it ends, or must.
pub(super) fn compile(compiler: &Path, form: &str, work: &Work) -> Result<Vec<u8>, ArtifactError> {
    let failed = |error: std::io::Error| ArtifactError::Failed(format!("{}: {error}", compiler.display()));
    let mut child = Command::new(compiler)
        .arg(COMPILE_VERB)
        .arg(form)
        .arg(&work.source)
        .arg(&work.scratch)
        // Its end is how the compiler learns that this process is gone.
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let ended = wait(&mut child, work);
    if ended.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let status = ended?.map_err(failed)?;
    if status.success() {
        return std::fs::read(&work.scratch).map_err(failed);
    }
    let mut words = String::new();
    if let Some(said) = child.stderr.take() {
        let _ = said.take(WORDS_MAX).read_to_string(&mut words);
    }
    if status.code() == Some(i32::from(REFUSED)) {
        return Err(ArtifactError::Compile(words.trim().to_owned()));
    }
    tracing::warn!(%status, words, source = %work.source.display(), "the compiler fell over");
    Err(ArtifactError::Compile(format!("the compiler fell over on this component ({status})")))
}

/// Waits for the end; an error says that it has to be brought about.
fn wait(child: &mut Child, work: &Work) -> Result<Result<std::process::ExitStatus, std::io::Error>, ArtifactError> {
    let mut pause = FIRST_LOOK;
    loop {
        match child.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => return Ok(Ok(status)),
            Err(error) => return Ok(Err(error)),
        }
        if work.is_abandoned() {
            return Err(ArtifactError::Failed("nobody waits for it any more".to_owned()));
        }
        if Instant::now() >= work.until {
            return Err(work.bounds.out_of_time().into());
        }
        if pause >= LOOK_MAX && base::os::resident_bytes(child.id()).is_some_and(|bytes| bytes > work.bounds.memory) {
            return Err(work.bounds.out_of_memory().into());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LOOK_MAX);
    }
}

/// The other end: `FORM SOURCE OUTPUT`.
pub fn compile_component(arguments: &[OsString]) -> ExitCode {
    let [form, source, output] = arguments else { return ExitCode::FAILURE };
    end_with_parent();
    let Ok(component) = std::fs::read(source) else { return ExitCode::FAILURE };
    let compiled = if form == images::DRAFT {
        runtime::draft_alone(&component)
    } else {
        runtime::compile_alone(&component, Form { fuel: form == "fuel" })
    };
    match compiled {
        Ok(compiled) => {
            let written = base::files::write_atomically(Path::new(output), &compiled, base::files::Access::Private);
            if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            use std::io::Write;
            let _ = write!(std::io::stderr(), "{}", base::report(&error));
            ExitCode::from(REFUSED)
        }
    }
}

/// Ends this process when nobody holds the other end of its standard input any more.
#[allow(clippy::disallowed_methods)]
fn end_with_parent() {
    let watch = move || {
        let mut byte = [0];
        while std::io::stdin().read(&mut byte).is_ok_and(|read| read > 0) {}
        std::process::exit(i32::from(REFUSED) + 1);
    };
    // Without it the compiler ends when it is done.
    let _ = std::thread::Builder::new().name("parent".to_owned()).spawn(watch);
}
