//! `wasi:keyvalue@0.2.0-draft2`: as the first draft, with other cursors and counters, and compare-and-swap.

use std::sync::Arc;

use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::WasiView;

use super::{Bucket, Change, Fault, Outcome, Store, open};
use crate::guest::{Guest, Own};

mod bindings {
    #![allow(missing_docs, reason = "generated")]
    wasmtime::component::bindgen!({
        path: ["../../wit/deps/keyvalue-draft2.wit"],
        inline: "
            package coracle:host;
            world host {
                import wasi:keyvalue/store@0.2.0-draft2;
                import wasi:keyvalue/atomics@0.2.0-draft2;
                import wasi:keyvalue/batch@0.2.0-draft2;
            }
        ",
        imports: { default: async | trappable },
        with: { "wasi:keyvalue/store.bucket": crate::capabilities::keyvalue::Bucket, "wasi:keyvalue/atomics.cas": crate::capabilities::keyvalue::second::Cas },
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
        let container = Arc::clone(&self.hooks.container);
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

    async fn list_keys(&mut self, bucket: Resource<Bucket>, cursor: Option<String>) -> Answer<KeyResponse> {
        let bucket = self.ctx().table.get(&bucket)?;
        let Ok(from) = cursor.as_deref().unwrap_or("0").parse() else {
            return Ok(Err(Error::Other("this is no cursor of this store's".to_owned())));
        };
        let keys = bucket.store.keys(from).await;
        let response = |(keys, cursor): super::Keys| KeyResponse { keys, cursor: cursor.map(|at| at.to_string()) };
        Ok(keys.map(response).map_err(Error::from))
    }

    async fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.ctx().table.delete(bucket)?;
        Ok(())
    }
}

/// A key, and the value that it had.
pub struct Cas {
    store: Arc<dyn Store>,
    key: String,
    old: Option<Vec<u8>>,
}

impl atomics::Host for Guest {
    async fn increment(&mut self, bucket: Resource<Bucket>, key: String, delta: i64) -> Answer<i64> {
        let bucket = self.ctx().table.get(&bucket)?;
        Ok(bucket.increment(key, delta).await.map_err(Error::from))
    }

    async fn swap(&mut self, cas: Resource<Cas>, value: Vec<u8>) -> wasmtime::Result<Result<(), atomics::CasError>> {
        let Cas { store, key, old } = self.ctx().table.delete(cas)?;
        let bucket = Bucket { store: Arc::clone(&store) };
        let swapped = bucket.change(vec![Change::Swap { key: key.clone(), old, new: value }]).await;
        match swapped.as_deref() {
            Ok([Outcome::Stale]) => {}
            Ok(_) => return Ok(Ok(())),
            Err(fault) => return Ok(Err(atomics::CasError::StoreError(fault.clone().into()))),
        }
        match bucket.get(vec![key.clone()]).await {
            Ok(mut values) => {
                let renewed = Cas { store, key, old: values.pop().flatten() };
                Ok(Err(atomics::CasError::CasFailed(self.ctx().table.push(renewed)?)))
            }
            Err(fault) => Ok(Err(atomics::CasError::StoreError(fault.into()))),
        }
    }
}

impl atomics::HostCas for Guest {
    async fn new(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<Resource<Cas>> {
        let bucket = self.ctx().table.get(&bucket)?;
        let store = Arc::clone(&bucket.store);
        match bucket.get(vec![key.clone()]).await {
            Ok(mut values) => {
                let cas = Cas { store, key, old: values.pop().flatten() };
                Ok(Ok(self.ctx().table.push(cas)?))
            }
            Err(fault) => Ok(Err(fault.into())),
        }
    }

    async fn current(&mut self, cas: Resource<Cas>) -> Answer<Option<Vec<u8>>> {
        Ok(Ok(self.ctx().table.get(&cas)?.old.clone()))
    }

    async fn drop(&mut self, cas: Resource<Cas>) -> wasmtime::Result<()> {
        self.ctx().table.delete(cas)?;
        Ok(())
    }
}

impl batch::Host for Guest {
    async fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Answer<Vec<(String, Option<Vec<u8>>)>> {
        let bucket = self.ctx().table.get(&bucket)?;
        let values = bucket.get(keys.clone()).await;
        let paired = |values: Vec<Option<Vec<u8>>>| keys.into_iter().zip(values).collect();
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
