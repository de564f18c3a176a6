//! Programs of others: nginx in front of the native server, and wasmtime's own server.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use anyhow::Context;
use tempfile::TempDir;

use crate::closed::Target;
use crate::machine::cores;
use crate::process::{Process, find, free_address, root};

/// nginx as a proxy with kept upstream connections and no access log, which is how it is fastest.
pub fn nginx(upstream: SocketAddr) -> anyhow::Result<Option<(Process, Target, TempDir)>> {
    let Some(program) = present("nginx") else { return Ok(None) };
    let (folder, address) = (tempfile::tempdir()?, free_address()?);
    let config = folder.path().join("nginx.conf");
    std::fs::write(&config, nginx_config(folder.path(), address, upstream))?;
    let mut command = Command::new(program);
    command.arg("-p").arg(folder.path()).arg("-c").arg(&config).args(["-e", "stderr"]);
    let mut process = Process::start(command.stdin(Stdio::null()))?;
    process.listens(address)?;
    Ok(Some((process, Target::new(address, "hello.localhost"), folder)))
}

fn nginx_config(folder: &std::path::Path, listen: SocketAddr, upstream: SocketAddr) -> String {
    let folder = folder.display();
    let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("  {kind}_temp_path {folder}/{kind};\n"))
        .concat();
    format!(
        "worker_processes {cores};\ndaemon off;\npid {folder}/nginx.pid;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n  access_log off;\n{temp}  keepalive_requests 100000000;\n\
         \x20 upstream native {{ server {upstream}; keepalive 128; keepalive_requests 100000000; }}\n\
         \x20 server {{ listen {listen}; location / {{\n\
         \x20   proxy_pass http://native; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
         \x20   proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;\n  }} }}\n}}\n",
        cores = cores(),
    )
}

/// `wasmtime serve` of hello as it comes, with the command line interfaces that hello imports.
pub fn wasmtime() -> anyhow::Result<Option<(Process, Target)>> {
    let Some(program) = present("wasmtime") else { return Ok(None) };
    let address = free_address()?;
    let mut command = Command::new(program);
    command.args(["serve", "-S", "cli", "--env", "POD_NAME=bench", "--addr", &address.to_string()]);
    command.arg(root().join("workloads/prebuilt/hello.wasm")).stdin(Stdio::null()).stderr(Stdio::null());
    let mut process = Process::start(&mut command).context("wasmtime serve")?;
    process.listens(address)?;
    Ok(Some((process, Target::new(address, "hello.localhost"))))
}

/// Where a rival's program is, or a loud word that its row will be missing.
pub fn present(name: &str) -> Option<std::path::PathBuf> {
    let found = find(name);
    if found.is_none() {
        eprintln!(
            "!!! {name} is not in target/tools or the PATH: ITS ROW IS LEFT OUT. Run benches/tools or .ci/tools."
        );
    }
    found
}
