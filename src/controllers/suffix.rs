//! Ends of names that follow from what they are made of, so that the same thing is never made twice.

pub(crate) use api::meta::{SUFFIX_LETTERS as LETTERS, suffix_letter as letter};

/// FNV-1a: short, stable between versions and machines. Not for anything that somebody could want to forge.
pub(crate) fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
