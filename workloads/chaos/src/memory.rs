//! Taking memory.

use std::hint::black_box;

/// Holds this many MiB. A failing allocation aborts the component, as in most languages.
pub fn allocate(mib: u64) -> u64 {
    let held: Vec<Vec<u8>> = (0..mib).map(|_| vec![1u8; 1 << 20]).collect();
    black_box(&held).len() as u64
}

/// Asks for memory directly and survives the refusal.
pub fn grow() -> u64 {
    const PAGES_PER_MIB: usize = 16;
    let mut mib = 0;
    while core::arch::wasm32::memory_grow(0, PAGES_PER_MIB) != usize::MAX {
        mib += 1;
    }
    mib
}

/// A million small allocations, all held until the last is made.
pub fn scatter() -> u64 {
    let held: Vec<Box<[u8; 24]>> = (0..1_000_000u32).map(|number| Box::new([number as u8; 24])).collect();
    black_box(&held).len() as u64
}
