//! A guest's side of the host: the data in its store, and the interfaces that we answer ourselves.

use std::sync::Arc;

use network::Connection;
use tokio::io::AsyncRead;
use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime_wasi::cli::{AsyncStdinStream, IsTerminal, StdinStream};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemView};
use wasmtime_wasi::p2::InputStream;
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};
use world::cli::{environment, stderr, stdout};
use world::io::DynOutputStream;

use crate::container::Container;
use crate::handles::{Account, HTTP_CALL};
use crate::memory::Limiter;
use crate::outbound::Hooks;
use crate::output::{LineStream, Lines};
use crate::spec::{Stdin, Stream};

/// The data of one instance's store.
pub(crate) struct Guest {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    handles: Account,
    pub hooks: Hooks,
    pub memory: Limiter,
    // Made when first asked for: most requests write nothing.
    stdout: Option<Arc<Lines>>,
    stderr: Option<Arc<Lines>>,
}

/// Standard input that is a terminal.
struct Typed(AsyncStdinStream);

impl IsTerminal for Typed {
    fn is_terminal(&self) -> bool {
        true
    }
}

impl StdinStream for Typed {
    fn p2_stream(&self) -> Box<dyn InputStream> {
        self.0.p2_stream()
    }

    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        self.0.async_stream()
    }
}

impl Guest {
    /// A guest that has opened nothing.
    pub fn new(container: &Arc<Container>, connection: Connection) -> Self {
        let mut wasi = WasiCtx::builder();
        let limits = &container.spec.handles;
        wasi.max_random_size(limits.random_bytes);
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles);
        if let Some(reader) = container.spec.stdin.as_ref().and_then(Stdin::take) {
            let stream = AsyncStdinStream::new(reader);
            if container.spec.stdin.as_ref().is_some_and(Stdin::is_terminal) {
                wasi.stdin(Typed(stream));
            } else {
                wasi.stdin(stream);
            }
        }
        Self {
            wasi: wasi.build(),
            http: WasiHttpCtx::new(),
            table,
            handles: Account::default(),
            hooks: Hooks { container: Arc::clone(container), connection },
            memory: Limiter::new(Arc::clone(&container.memory)),
            stdout: None,
            stderr: None,
        }
    }

    fn look_at_handles(&mut self, weight: u64) {
        let most = self.hooks.container.spec.handles.handles;
        self.handles.look(weight, &mut self.table, most, &mut self.memory);
    }

    /// The guest asks for the list of a folder, of so many bytes. Says whether there is room for it.
    pub fn hold_listing(&mut self, bytes: u64) -> bool {
        self.handles.hold_listing(bytes, &mut self.table, &self.hooks.container.memory)
    }

    /// Opens the volumes. Every pod has one, its token, and most requests look at none.
    fn open_mounts(&mut self) -> wasmtime::Result<()> {
        let mut wasi = WasiCtx::builder();
        for mount in self.hooks.container.spec.mounts.iter().filter(|mount| mount.opened.is_none()) {
            let permissions = if mount.read_only { FsPerms::ReadOnly } else { FsPerms::ReadWrite };
            crate::mounts::make(mount)?;
            wasi.preopened_dir(&mount.host_dir, &mount.guest_path, permissions)
                .map_err(|error| error.context(format!("opening the volume at {}", mount.guest_path)))?;
        }
        self.wasi.filesystem().clone_from(wasi.build().filesystem());
        Ok(())
    }

    /// What was written to a stream so far, for all handles to it.
    pub fn lines(&mut self, stream: Stream) -> Arc<Lines> {
        let lines = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let lines = lines.get_or_insert_with(|| Lines::new(stream, Arc::clone(&self.hooks.container.spec.output)));
        Arc::clone(lines)
    }

    fn output(&mut self, stream: Stream) -> wasmtime::Result<Resource<DynOutputStream>> {
        let stream: DynOutputStream = Box::new(LineStream::new(self.lines(stream)));
        Ok(self.table.push(stream)?)
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.look_at_handles(1);
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.look_at_handles(HTTP_CALL);
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

/// Interfaces that [`Guest`] answers itself: those whose answer belongs to the container, so that an instance need not
/// copy it when it starts.
pub(crate) struct Own;

impl HasData for Own {
    type Data<'a> = &'a mut Guest;
}

impl environment::Host for Guest {
    fn get_environment(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        let spec = &self.hooks.container.spec;
        let mut variables = spec.env.clone();
        // What has no `initial-cwd` looks here: Go, and shells.
        if let Some(path) = spec.working_dir.as_ref().filter(|_| !spec.env.iter().any(|(name, _)| name == "PWD")) {
            variables.push(("PWD".to_owned(), path.clone()));
        }
        Ok(variables)
    }
    fn get_arguments(&mut self) -> wasmtime::Result<Vec<String>> {
        let spec = &self.hooks.container.spec;
        Ok(if spec.args.is_empty() { vec![spec.name.clone()] } else { spec.args.clone() })
    }
    fn initial_cwd(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(self.hooks.container.spec.working_dir.clone())
    }
}

impl preopens::Host for Guest {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        self.open_mounts()?;
        let mut directories = preopens::Host::get_directories(&mut self.filesystem())?;
        let container = Arc::clone(&self.hooks.container);
        for mount in &container.spec.mounts {
            if let Some(opened) = &mount.opened {
                let directory = self.table.push(crate::mounts::directory(opened, mount.read_only)?)?;
                directories.push((directory, mount.guest_path.clone()));
            }
        }
        if let Some(here) = crate::mounts::here(&container.spec)? {
            directories.push((self.table.push(here)?, crate::mounts::HERE.to_owned()));
        }
        Ok(directories)
    }
}

impl world::next::filesystem::preopens::Host for Guest {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        preopens::Host::get_directories(self)
    }
}

impl stdout::Host for Guest {
    fn get_stdout(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        self.output(Stream::Stdout)
    }
}

impl stderr::Host for Guest {
    fn get_stderr(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        self.output(Stream::Stderr)
    }
}
