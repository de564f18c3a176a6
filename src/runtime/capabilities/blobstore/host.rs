//! `wasi:blobstore@0.2.0-draft` over [`Blobs`].

use std::sync::Arc;
use std::time::SystemTime;

use futures::TryStreamExt;
use tokio_util::io::StreamReader;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::WasiView;
use wasmtime_wasi::p2::pipe::AsyncReadStream;
use world::io::{DynInputStream, DynOutputStream};

use super::spool::{Spool, SpoolStream};
use super::{Blobs, Content, SYNC_BYTES_MAX, check_name, open};
use crate::container::Container;
use crate::guest::{Guest, Own};

mod bindings {
    #![allow(missing_docs, reason = "generated")]
    wasmtime::component::bindgen!({
        path: ["../../wit/deps/io.wit", "../../wit/deps/blobstore.wit"],
        inline: "package coracle:host; world host { import wasi:blobstore/blobstore@0.2.0-draft; }",
        imports: { default: async | trappable },
        with: {
            "wasi:io": world::io::bindings,
            "wasi:blobstore/types.outgoing-value": crate::capabilities::blobstore::host::Outgoing,
            "wasi:blobstore/types.incoming-value": crate::capabilities::blobstore::host::Incoming,
            "wasi:blobstore/container.container": crate::capabilities::blobstore::host::Open,
            "wasi:blobstore/container.stream-object-names": crate::capabilities::blobstore::host::Listing,
        },
    });
}

use bindings::wasi::blobstore::container::{ContainerMetadata, ObjectMetadata};
use bindings::wasi::blobstore::types::ObjectId;
use bindings::wasi::blobstore::{blobstore, container, types};

/// An open container.
pub struct Open {
    name: String,
    blobs: Arc<dyn Blobs>,
}

/// A value that the guest writes.
pub struct Outgoing {
    spool: Arc<Spool>,
    taken: bool,
    /// Where it goes once it is finished.
    to: Option<(Arc<dyn Blobs>, String)>,
}

/// A value that the guest reads.
pub struct Incoming(Content);

/// Names that the guest has not read yet.
pub struct Listing {
    blobs: Arc<dyn Blobs>,
    names: std::collections::VecDeque<String>,
    /// Where the rest begins; nothing when there is none.
    next: Option<Option<String>>,
}

impl Listing {
    /// As many names as there are, up to `count`, and whether these were the last.
    async fn take(&mut self, count: u64) -> Result<(Vec<String>, bool), String> {
        let mut taken = Vec::new();
        while (taken.len() as u64) < count {
            if let Some(name) = self.names.pop_front() {
                taken.push(name);
                continue;
            }
            let Some(after) = self.next.take() else { break };
            let (names, next) = self.blobs.list(after).await?;
            self.names = names.into();
            self.next = next.map(Some);
        }
        Ok((taken, self.names.is_empty() && self.next.is_none()))
    }
}

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    types::add_to_linker::<Guest, Own>(linker, |guest| guest)?;
    container::add_to_linker::<Guest, Own>(linker, |guest| guest)?;
    blobstore::add_to_linker::<Guest, Own>(linker, |guest| guest)
}

type Answer<T> = wasmtime::Result<Result<T, String>>;

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl types::Host for Guest {}

impl types::HostOutgoingValue for Guest {
    async fn new_outgoing_value(&mut self) -> wasmtime::Result<Resource<Outgoing>> {
        let spool = Spool::new()?;
        Ok(self.ctx().table.push(Outgoing { spool, taken: false, to: None })?)
    }

    async fn outgoing_value_write_body(
        &mut self,
        value: Resource<Outgoing>,
    ) -> wasmtime::Result<Result<Resource<DynOutputStream>, ()>> {
        let outgoing = self.ctx().table.get_mut(&value)?;
        if std::mem::replace(&mut outgoing.taken, true) {
            return Ok(Err(()));
        }
        let stream: DynOutputStream = Box::new(SpoolStream(Arc::clone(&outgoing.spool)));
        Ok(Ok(self.ctx().table.push_child(stream, &value)?))
    }

    async fn finish(&mut self, value: Resource<Outgoing>) -> Answer<()> {
        let outgoing = self.ctx().table.delete(value)?;
        let Some((blobs, name)) = outgoing.to else { return Ok(Ok(())) };
        Ok(match outgoing.spool.whole().await {
            Ok(whole) => blobs.write(&name, whole).await,
            Err(why) => Err(why),
        })
    }

    async fn drop(&mut self, value: Resource<Outgoing>) -> wasmtime::Result<()> {
        self.ctx().table.delete(value)?;
        Ok(())
    }
}

impl types::HostIncomingValue for Guest {
    async fn incoming_value_consume_sync(&mut self, value: Resource<Incoming>) -> Answer<Vec<u8>> {
        let Incoming(content) = self.ctx().table.delete(value)?;
        if content.size > SYNC_BYTES_MAX {
            return Ok(Err(format!("the object has {} bytes; read it as a stream", content.size)));
        }
        let mut bytes = Vec::new();
        let mut pieces = content.bytes;
        loop {
            match pieces.try_next().await {
                Ok(Some(piece)) if bytes.len() + piece.len() <= content.size as usize => {
                    bytes.extend_from_slice(&piece)
                }
                Ok(Some(_)) => return Ok(Err("the object is longer than it was said to be".to_owned())),
                Ok(None) => return Ok(Ok(bytes)),
                Err(error) => return Ok(Err(error.to_string())),
            }
        }
    }

    async fn incoming_value_consume_async(&mut self, value: Resource<Incoming>) -> Answer<Resource<DynInputStream>> {
        let Incoming(content) = self.ctx().table.delete(value)?;
        let stream: DynInputStream = Box::new(AsyncReadStream::new(StreamReader::new(content.bytes)));
        Ok(Ok(self.ctx().table.push(stream)?))
    }

    async fn size(&mut self, value: Resource<Incoming>) -> wasmtime::Result<u64> {
        Ok(self.ctx().table.get(&value)?.0.size)
    }

    async fn drop(&mut self, value: Resource<Incoming>) -> wasmtime::Result<()> {
        self.ctx().table.delete(value)?;
        Ok(())
    }
}

impl container::Host for Guest {}

impl container::HostContainer for Guest {
    async fn name(&mut self, open: Resource<Open>) -> Answer<String> {
        Ok(Ok(self.ctx().table.get(&open)?.name.clone()))
    }

    async fn info(&mut self, open: Resource<Open>) -> Answer<ContainerMetadata> {
        // Nobody has written down when it began.
        Ok(Ok(ContainerMetadata { name: self.ctx().table.get(&open)?.name.clone(), created_at: 0 }))
    }

    async fn get_data(
        &mut self,
        open: Resource<Open>,
        name: String,
        start: u64,
        end: u64,
    ) -> Answer<Resource<Incoming>> {
        let blobs = Arc::clone(&self.ctx().table.get(&open)?.blobs);
        if let Err(why) = check_name(&name) {
            return Ok(Err(why));
        }
        match blobs.read(&name, start, end).await {
            Ok(content) => Ok(Ok(self.ctx().table.push(Incoming(content))?)),
            Err(why) => Ok(Err(why)),
        }
    }

    async fn write_data(&mut self, open: Resource<Open>, name: String, value: Resource<Outgoing>) -> Answer<()> {
        let blobs = Arc::clone(&self.ctx().table.get(&open)?.blobs);
        if let Err(why) = check_name(&name) {
            return Ok(Err(why));
        }
        self.ctx().table.get_mut(&value)?.to = Some((blobs, name));
        Ok(Ok(()))
    }

    async fn list_objects(&mut self, open: Resource<Open>) -> Answer<Resource<Listing>> {
        let blobs = Arc::clone(&self.ctx().table.get(&open)?.blobs);
        let listing = Listing { blobs, names: std::collections::VecDeque::new(), next: Some(None) };
        Ok(Ok(self.ctx().table.push(listing)?))
    }

    async fn delete_object(&mut self, open: Resource<Open>, name: String) -> Answer<()> {
        self.delete_objects(open, vec![name]).await
    }

    async fn delete_objects(&mut self, open: Resource<Open>, names: Vec<String>) -> Answer<()> {
        let blobs = Arc::clone(&self.ctx().table.get(&open)?.blobs);
        for name in &names {
            let deleted = match check_name(name) {
                Ok(()) => blobs.delete(name).await,
                Err(why) => Err(why),
            };
            if deleted.is_err() {
                return Ok(deleted);
            }
        }
        Ok(Ok(()))
    }

    async fn has_object(&mut self, open: Resource<Open>, name: String) -> Answer<bool> {
        let blobs = Arc::clone(&self.ctx().table.get(&open)?.blobs);
        if let Err(why) = check_name(&name) {
            return Ok(Err(why));
        }
        Ok(blobs.info(&name).await.map(|info| info.is_some()))
    }

    async fn object_info(&mut self, open: Resource<Open>, name: String) -> Answer<ObjectMetadata> {
        let (blobs, container) = {
            let open = self.ctx().table.get(&open)?;
            (Arc::clone(&open.blobs), open.name.clone())
        };
        if let Err(why) = check_name(&name) {
            return Ok(Err(why));
        }
        Ok(blobs.info(&name).await.and_then(|info| {
            let info = info.ok_or_else(|| format!("there is no object {name:?}"))?;
            Ok(ObjectMetadata { container, created_at: seconds(info.changed), size: info.size, name })
        }))
    }

    async fn clear(&mut self, open: Resource<Open>) -> Answer<()> {
        let blobs = Arc::clone(&self.ctx().table.get(&open)?.blobs);
        let mut after = None;
        loop {
            let (names, next) = match blobs.list(after).await {
                Ok(part) => part,
                Err(why) => return Ok(Err(why)),
            };
            for name in &names {
                if let Err(why) = blobs.delete(name).await {
                    return Ok(Err(why));
                }
            }
            match next {
                Some(next) => after = Some(next),
                None => return Ok(Ok(())),
            }
        }
    }

    async fn drop(&mut self, open: Resource<Open>) -> wasmtime::Result<()> {
        self.ctx().table.delete(open)?;
        Ok(())
    }
}

impl container::HostStreamObjectNames for Guest {
    async fn read_stream_object_names(
        &mut self,
        listing: Resource<Listing>,
        count: u64,
    ) -> Answer<(Vec<String>, bool)> {
        Ok(self.ctx().table.get_mut(&listing)?.take(count).await)
    }

    async fn skip_stream_object_names(&mut self, listing: Resource<Listing>, count: u64) -> Answer<(u64, bool)> {
        let taken = self.ctx().table.get_mut(&listing)?.take(count).await;
        Ok(taken.map(|(names, ended)| (names.len() as u64, ended)))
    }

    async fn drop(&mut self, listing: Resource<Listing>) -> wasmtime::Result<()> {
        self.ctx().table.delete(listing)?;
        Ok(())
    }
}

const FIXED: &str =
    "containers are those that the annotation coracle.dev/blobstore names; none is made or deleted from within";

/// Copies an object through a file: the other container may be somewhere else.
async fn copy(container: &Arc<Container>, from: &ObjectId, to: &ObjectId) -> Result<Arc<dyn Blobs>, String> {
    check_name(&from.object)?;
    check_name(&to.object)?;
    let (source, target) = (open(container, &from.container).await?, open(container, &to.container).await?);
    let mut content = source.read(&from.object, 0, u64::MAX).await?;
    let spool = Spool::new().map_err(|error| error.to_string())?;
    while let Some(piece) = content.bytes.try_next().await.map_err(|error| error.to_string())? {
        spool.write(piece);
        spool.settle().await;
    }
    target.write(&to.object, spool.whole().await?).await?;
    Ok(source)
}

impl blobstore::Host for Guest {
    async fn create_container(&mut self, name: String) -> Answer<Resource<Open>> {
        if self.hooks.container.spec.grants.blobstore.contains_key(&name) {
            return self.get_container(name).await;
        }
        Ok(Err(FIXED.to_owned()))
    }

    async fn get_container(&mut self, name: String) -> Answer<Resource<Open>> {
        let container = Arc::clone(&self.hooks.container);
        match open(&container, &name).await {
            Ok(blobs) => Ok(Ok(self.ctx().table.push(Open { name, blobs })?)),
            Err(why) => Ok(Err(why)),
        }
    }

    async fn delete_container(&mut self, _name: String) -> Answer<()> {
        Ok(Err(FIXED.to_owned()))
    }

    async fn container_exists(&mut self, name: String) -> Answer<bool> {
        Ok(Ok(self.hooks.container.spec.grants.blobstore.contains_key(&name)))
    }

    async fn copy_object(&mut self, from: ObjectId, to: ObjectId) -> Answer<()> {
        let container = Arc::clone(&self.hooks.container);
        Ok(copy(&container, &from, &to).await.map(drop))
    }

    async fn move_object(&mut self, from: ObjectId, to: ObjectId) -> Answer<()> {
        let container = Arc::clone(&self.hooks.container);
        let moved = async {
            let source = copy(&container, &from, &to).await?;
            if from.container == to.container && from.object == to.object {
                return Ok(());
            }
            source.delete(&from.object).await
        };
        Ok(moved.await)
    }
}
