//! `wasi:keyvalue@0.2.0-draft`.

use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::WasiView;

use super::{Bucket, Change, Fault, open};
use crate::guest::{Guest, Own};

mod bindings {
    #![allow(missing_docs, reason = "generated")]
    wasmtime::component::bindgen!({
        path: ["../../wit/deps/keyvalue.wit"],
        inline: "
            package coracle:host;
            world host {
                import wasi:keyvalue/store@0.2.0-draft;
                import wasi:keyvalue/atomics@0.2.0-draft;
                import wasi:keyvalue/batch@0.2.0-draft;
            }
        ",
        imports: { default: async | trappable },
        with: { "wasi:keyvalue/store.bucket": crate::capabilities::keyvalue::Bucket },
    });
}

use bindings::wasi::keyvalue::store::{Error, KeyResponse};
use bindings::wasi::keyvalue::{atomics, batch, store};

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    store::add_to_linker::<Guest, Own>(linker, |guest| guest)?;
    atomics::add_to_linker::<Guest, Own>(linker, |guest| guest)?;
    batch::add_to_linker::<Guest, Own>(linker, |guest| guest)
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NoSuchStore => Self::NoSuchStore,
            Fault::Other(text) => Self::Other(text),
        }
    }
}

type Answer<T> = wasmtime::Result<Result<T, Error>>;

impl store::Host for Guest {
    async fn open(&mut self, identifier: String) -> Answer<Resource<Bucket>> {
        let container = std::sync::Arc::clone(&self.hooks.container);
        match open(&container, &identifier).await {
            Ok(bucket) => Ok(Ok(self.ctx().table.push(bucket)?)),
            Err(fault) => Ok(Err(fault.into())),
        }
    }
}

impl store::HostBucket for Guest {
    async fn get(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<Option<Vec<u8>>> {
        let bucket = self.ctx().table.get(&bucket)?;
        Ok(bucket.get(vec![key]).await.map(|mut values| values.pop().flatten()).map_err(Error::from))
    }

    async fn set(&mut self, bucket: Resource<Bucket>, key: String, value: Vec<u8>) -> Answer<()> {
        let bucket = self.ctx().table.get(&bucket)?;
        Ok(bucket.change(vec![Change::Set(key, value)]).await.map(drop).map_err(Error::from))
    }

    async fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<()> {
        let bucket = self.ctx().table.get(&bucket)?;
        Ok(bucket.change(vec![Change::Delete(key)]).await.map(drop).map_err(Error::from))
    }

    async fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<bool> {
        let bucket = self.ctx().table.get(&bucket)?;
        Ok(bucket.get(vec![key]).await.map(|values| values.iter().any(Option::is_some)).map_err(Error::from))
    }

    async fn list_keys(&mut self, bucket: Resource<Bucket>, cursor: Option<u64>) -> Answer<KeyResponse> {
        let bucket = self.ctx().table.get(&bucket)?;
        let keys = bucket.store.keys(cursor.unwrap_or_default()).await;
        Ok(keys.map(|(keys, cursor)| KeyResponse { keys, cursor }).map_err(Error::from))
    }

    async fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.ctx().table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for Guest {
    async fn increment(&mut self, bucket: Resource<Bucket>, key: String, delta: u64) -> Answer<u64> {
        let bucket = self.ctx().table.get(&bucket)?;
        let Ok(delta) = i64::try_from(delta) else {
            return Ok(Err(Error::Other("a counter has 63 bits".to_owned())));
        };
        let counted = bucket.increment(key, delta).await;
        Ok(counted.and_then(|number| u64::try_from(number).map_err(Fault::other)).map_err(Error::from))
    }
}

impl batch::Host for Guest {
    async fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Answer<Vec<Option<(String, Vec<u8>)>>> {
        let bucket = self.ctx().table.get(&bucket)?;
        let values = bucket.get(keys.clone()).await;
        let paired = |values: Vec<Option<Vec<u8>>>| {
            keys.into_iter().zip(values).map(|(key, value)| value.map(|value| (key, value))).collect()
        };
        Ok(values.map(paired).map_err(Error::from))
    }

    async fn set_many(&mut self, bucket: Resource<Bucket>, pairs: Vec<(String, Vec<u8>)>) -> Answer<()> {
        let bucket = self.ctx().table.get(&bucket)?;
        let changes = pairs.into_iter().map(|(key, value)| Change::Set(key, value)).collect();
        Ok(bucket.change(changes).await.map(drop).map_err(Error::from))
    }

    async fn delete_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> Answer<()> {
        let bucket = self.ctx().table.get(&bucket)?;
        Ok(bucket.change(keys.into_iter().map(Change::Delete).collect()).await.map(drop).map_err(Error::from))
    }
}
