#!/usr/bin/env bash
# Rebuilds the sample components into workloads/prebuilt and writes down which sources they came from.
#
# Needs a Rust toolchain with the target: rustup target add wasm32-wasip2
set -euo pipefail
cd "$(dirname "$0")"
cargo build --release --target wasm32-wasip2 --locked
for crate in hello echo gateway batch chaos gatekeeper tcp-echo hello3 steps3 keeper toolbox; do
  cp "target/wasm32-wasip2/release/$crate.wasm" prebuilt/
done
# One line a file: hash, two spaces, path. A test compares it with what lies here.
{ echo "# Written by build.sh: the sources that the files here were built from."
  find .cargo/config.toml Cargo.toml Cargo.lock ./*/Cargo.toml ./*/src ./*/build.rs languages/c languages/assemblyscript prebuilt/*.wasm -type f | sed 's|^\./||' | LC_ALL=C sort | xargs sha256sum
} > prebuilt/SOURCES
