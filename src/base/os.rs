//! What only one operating system offers, each with a fallback beside it.

use std::fs::File;
use std::io;
use std::time::Duration;

mod cores;

pub use cores::keep_free;

/// How urgent a thread's work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Somebody waits for the answer.
    Serving,
    /// The API and controllers: as urgent, but for the cores that are kept for those who serve ([`keep_free`]).
    Control,
    /// What follows from what was asked for: placing pods and starting them. It is soon done where nothing else is to be
    /// done, and gives way to requests where much is.
    Background,
    /// Little by little beside what serves: compiles, log files.
    Bulk,
    /// Whenever nobody else wants the core: guests that compute. Such a thread gives way in the moment that another one
    /// wakes, where one of low priority alone is left to finish its slice of milliseconds.
    Idle,
}

/// Tells the operating system how urgent the calling thread is. Where it cannot be told, nothing changes: what depends
/// on it is latency under load, never correctness.
pub fn set_thread_urgency(urgency: Urgency) {
    match urgency {
        Urgency::Serving => {}
        Urgency::Control => cores::join(),
        Urgency::Background | Urgency::Bulk => {
            cores::join();
            lower_thread(urgency);
        }
        // Such a thread is no trouble anywhere.
        Urgency::Idle => lower_thread(urgency),
    }
}

/// A tenth of the weight of threads that serve.
#[cfg(any(target_os = "linux", target_os = "android"))]
const BACKGROUND_NICENESS: i32 = 10;

#[cfg(any(target_os = "linux", target_os = "android"))]
fn lower_thread(urgency: Urgency) {
    use thread_priority::{
        NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
        thread_native_id,
    };
    if urgency == Urgency::Background {
        // Nobody stands for the calling thread, and on Linux for no other one of the process.
        if let Err(error) = rustix::process::setpriority_process(None, BACKGROUND_NICENESS) {
            tracing::debug!(%error, "cannot lower this thread's priority");
        }
        return;
    }
    // Neither needs a right.
    let policy = ThreadSchedulePolicy::Normal(match urgency {
        Urgency::Idle => NormalThreadSchedulePolicy::Idle,
        _ => NormalThreadSchedulePolicy::Batch,
    });
    if let Err(error) = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy) {
        tracing::debug!(?error, "cannot lower this thread's priority");
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn lower_thread(urgency: Urgency) {
    use thread_priority::{ThreadPriority, ThreadPriorityValue};
    // Of a hundred steps; where the operating system has a few, the one below the middle.
    let below_middle = ThreadPriorityValue::try_from(30).map_or(ThreadPriority::Min, ThreadPriority::Crossplatform);
    let priority = if urgency == Urgency::Background { below_middle } else { ThreadPriority::Min };
    if let Err(error) = thread_priority::set_current_thread_priority(priority) {
        tracing::debug!(?error, "cannot lower this thread's priority");
    }
}

/// How long the calling thread has had a core; `None` where the operating system does not tell.
#[cfg(unix)]
pub fn thread_cpu_time() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}

/// How long the calling thread has had a core; `None` where the operating system does not tell.
#[cfg(not(unix))]
pub fn thread_cpu_time() -> Option<Duration> {
    None
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

/// Bytes of memory that another process holds, if it is there.
pub fn resident_bytes(process: u32) -> Option<u64> {
    let id = sysinfo::Pid::from_u32(process);
    let mut system = sysinfo::System::new();
    let memory = sysinfo::ProcessRefreshKind::nothing().with_memory();
    system.refresh_processes_specifics(sysinfo::ProcessesToUpdate::Some(&[id]), true, memory);
    system.process(id).map(sysinfo::Process::memory)
}

/// How much there is of something, and how much of it is free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// All of it.
    pub total: u64,
    /// What may still be taken.
    pub available: u64,
}

/// Bytes of memory of the host, or of the group of processes that this one is held to if that is less.
pub fn memory() -> Room {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    let host = Room { total: system.total_memory(), available: system.available_memory() };
    match system.cgroup_limits() {
        Some(group) if group.total_memory > 0 && group.total_memory < host.total => {
            Room { total: group.total_memory, available: group.free_memory.min(host.available) }
        }
        _ => host,
    }
}

/// Bytes of the file system that `path` is on; nothing where it does not say.
pub fn disk(path: &std::path::Path) -> Option<Room> {
    let room = Room { total: fs4::total_space(path).ok()?, available: fs4::available_space(path).ok()? };
    (room.total > 0).then_some(room)
}

/// Processes and threads that the host can have; nothing where it does not say.
pub fn processes() -> Option<Room> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let total = std::fs::read_to_string("/proc/sys/kernel/pid_max").ok()?.trim().parse().ok()?;
    let load = std::fs::read_to_string("/proc/loadavg").ok()?;
    let used: u64 = load.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()?;
    Some(Room { total, available: total.saturating_sub(used) })
}

/// What tells this machine from others for as long as it is installed, and this run of it from the next: empty where the
/// operating system does not say.
pub fn machine_ids() -> (String, String) {
    let read = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    if cfg!(target_os = "linux") {
        return (read("/etc/machine-id"), read("/proc/sys/kernel/random/boot_id"));
    }
    (String::new(), String::new())
}
