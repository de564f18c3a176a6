//! What the figures were taken on.

use sysinfo::System;

/// One line: processor, memory, system, and how busy the machine was before the run.
pub fn facts() -> String {
    let system = System::new_all();
    let brand = system.cpus().first().map_or("unknown processor", |cpu| cpu.brand().trim());
    format!(
        "Machine: {brand}, {} cores, {} GiB, {}, kernel {}; load before the run {:.1}.",
        cores(),
        system.total_memory() >> 30,
        System::long_os_version().unwrap_or_else(|| std::env::consts::OS.to_owned()),
        System::kernel_version().unwrap_or_default(),
        System::load_average().one,
    )
}

/// How many threads run at once.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}
