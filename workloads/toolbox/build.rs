//! The workspace's programs begin with 20 pages of memory; this one's tables alone need more.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-bins=--initial-memory=2097152");
}
