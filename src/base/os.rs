//! What only one operating system offers, each with a fallback beside it.

use std::fs::File;
use std::io;

/// How urgent a thread's work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Somebody waits for the answer.
    Serving,
    /// Little by little beside what serves: compiles, log files.
    Bulk,
    /// Whenever nobody else wants the core: guests that compute. Such a thread gives way in the moment that another one
    /// wakes, where one of low priority alone is left to finish its slice of milliseconds.
    Idle,
}

/// Tells the operating system how urgent the calling thread is. Where it cannot be told, nothing changes: what depends
/// on it is latency under load, never correctness.
pub fn set_thread_urgency(urgency: Urgency) {
    if urgency != Urgency::Serving {
        lower_thread(urgency);
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn lower_thread(urgency: Urgency) {
    use thread_priority::{
        NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
        thread_native_id,
    };
    // Neither needs a right.
    let policy = ThreadSchedulePolicy::Normal(match urgency {
        Urgency::Idle => NormalThreadSchedulePolicy::Idle,
        Urgency::Bulk | Urgency::Serving => NormalThreadSchedulePolicy::Batch,
    });
    if let Err(error) = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy) {
        tracing::debug!(?error, "cannot lower this thread's priority");
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn lower_thread(_urgency: Urgency) {
    if let Err(error) = thread_priority::set_current_thread_priority(thread_priority::ThreadPriority::Min) {
        tracing::debug!(?error, "cannot lower this thread's priority");
    }
}

/// Lets others read a file that was made private.
#[cfg(unix)]
pub(crate) fn make_shared(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

/// Lets others read a file that was made private.
#[cfg(not(unix))]
pub(crate) fn make_shared(_file: &File) -> io::Result<()> {
    Ok(())
}

/// Lets nobody else look into a folder.
#[cfg(unix)]
pub(crate) fn make_private(folder: &std::path::Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
}

/// Lets nobody else look into a folder: a user's own folders are private there already.
#[cfg(not(unix))]
pub(crate) fn make_private(_folder: &std::path::Path) -> io::Result<()> {
    Ok(())
}

/// Whether an error says that there is no room left on the disk.
pub fn is_disk_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge
            | io::ErrorKind::WriteZero
    )
}

/// The host as a node describes it.
#[derive(Clone, Debug)]
pub struct Host {
    /// Logical cores.
    pub cpus: usize,
    /// Physical memory in bytes.
    pub memory_bytes: u64,
    /// The host's name.
    pub name: String,
    /// `linux`, `macos`, `windows` as `kubernetes.io/os` has it (`darwin` for macOS).
    pub os: &'static str,
    /// The kernel's version.
    pub kernel: String,
    /// The system's name for people.
    pub os_image: String,
}

/// Looks at the host once.
pub fn host() -> Host {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    Host {
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        memory_bytes: system.total_memory(),
        name: sysinfo::System::host_name().unwrap_or_else(|| "localhost".to_owned()),
        os: if cfg!(target_os = "macos") { "darwin" } else { std::env::consts::OS },
        kernel: sysinfo::System::kernel_version().unwrap_or_default(),
        os_image: sysinfo::System::long_os_version().unwrap_or_default(),
    }
}

/// What this process uses and has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Bytes of memory that are resident.
    pub memory_bytes: u64,
    /// Time on a core, of all threads.
    pub cpu_time: std::time::Duration,
    /// How long it has run.
    pub age: std::time::Duration,
}

/// Looks at this process once; nothing where the operating system does not say.
pub fn process() -> Process {
    use std::time::Duration;
    let Ok(pid) = sysinfo::get_current_pid() else { return Process::default() };
    let mut system = sysinfo::System::new();
    let what = sysinfo::ProcessRefreshKind::nothing().with_memory().with_cpu();
    system.refresh_processes_specifics(sysinfo::ProcessesToUpdate::Some(&[pid]), false, what);
    system.process(pid).map_or_else(Process::default, |process| Process {
        memory_bytes: process.memory(),
        cpu_time: Duration::from_millis(process.accumulated_cpu_time()),
        age: Duration::from_secs(process.run_time()),
    })
}
