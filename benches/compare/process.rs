//! Servers under test: child processes, what they use, and their end.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, Signal, System};

/// How long a server may take to listen.
const START_WAIT: Duration = Duration::from_secs(30);
/// How long a server may take to end by itself.
const END_WAIT: Duration = Duration::from_secs(5);

/// A child and its children. Dropping it ends them.
pub struct Process {
    child: Child,
}

/// CPU time and resident memory, of a process and its children.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Since it started.
    pub cpu: Duration,
    /// Now.
    pub resident_bytes: u64,
}

impl Process {
    /// Starts it.
    pub fn start(command: &mut Command) -> anyhow::Result<Self> {
        let child = command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { child })
    }

    /// What it has used so far.
    pub fn usage(&self) -> Usage {
        let mut system = System::new();
        let wanted = ProcessRefreshKind::nothing().with_cpu().with_memory().without_tasks();
        system.refresh_processes_specifics(ProcessesToUpdate::All, true, wanted);
        let own = Pid::from_u32(self.child.id());
        let family =
            system.processes().values().filter(|process| process.pid() == own || process.parent() == Some(own));
        family.fold(Usage::default(), |sum, process| Usage {
            cpu: sum.cpu + Duration::from_millis(process.accumulated_cpu_time()),
            resident_bytes: sum.resident_bytes + process.memory(),
        })
    }

    /// Waits until it listens.
    pub fn listens(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = self.ended()? {
                bail!("the server at {address} ended with {status}");
            }
            if began.elapsed() > START_WAIT {
                bail!("the server at {address} does not listen");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Its piped standard output, once.
    pub fn output(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> anyhow::Result<Option<std::process::ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    fn terminate(&self) {
        let pid = Pid::from_u32(self.child.id());
        let mut system = System::new();
        system.refresh_processes(ProcessesToUpdate::Some(&[pid]), false);
        if let Some(process) = system.process(pid) {
            process.kill_with(Signal::Term);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.terminate();
        let began = Instant::now();
        while began.elapsed() < END_WAIT {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A loopback address where nobody listens at the moment.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// A program of `target/tools` or of the PATH.
pub fn find(name: &str) -> Option<PathBuf> {
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(root().join("target/tools")).chain(std::env::split_paths(&path));
    let extra = std::iter::once(PathBuf::from("/usr/sbin"));
    folders.chain(extra).map(|folder| folder.join(&file)).find(|path| path.is_file())
}

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
