//! The verbs, through the room's door, over a store in memory.

mod concurrency;
mod custom;
mod deleting;
mod expiry;
mod forms;
mod owning;
mod reading;
mod watching;
mod writing;

use std::sync::Arc;

use api::{Kind, Status};
use serde_json::{Value, json};
use store::{Memory, SharedStore};

use crate::*;

pub(crate) struct World {
    pub objects: Objects,
    pub store: SharedStore,
    _tasks: base::Tasks,
}

impl World {
    pub async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub async fn with(config: Config) -> Self {
        Self::over(Arc::new(Memory::new()), config).await
    }

    pub async fn over(store: SharedStore, config: Config) -> Self {
        let tasks = base::Tasks::new();
        let objects = Objects::open(store.clone(), api::kinds::builtin(), config, &tasks).await.unwrap();
        let world = Self { objects, store, _tasks: tasks };
        for name in ["default", "other"] {
            let namespace = json!({"metadata": {"name": name}});
            match world.objects.create(&world.kind("namespaces"), None, namespace, &WriteOptions::default()).await {
                Ok(_) => {}
                Err(status) => assert_eq!(status.reason, "AlreadyExists"),
            }
        }
        world
    }

    pub fn kind(&self, plural: &str) -> Arc<Kind> {
        self.objects.kinds().iter().find(|kind| kind.plural == plural).unwrap().clone()
    }

    fn place(kind: &Kind) -> Option<&'static str> {
        kind.namespaced().then_some("default")
    }

    pub async fn create(&self, plural: &str, object: Value) -> Result<Arc<Object>, Status> {
        let kind = self.kind(plural);
        self.objects.create(&kind, Self::place(&kind), object, &WriteOptions::default()).await
    }

    pub async fn config_map(&self, name: &str, value: &str) -> Arc<Object> {
        let object = json!({"metadata": {"name": name, "labels": {"app": value}}, "data": {"key": value}});
        self.create("configmaps", object).await.unwrap()
    }

    pub async fn pod(&self, name: &str, node: &str) -> Arc<Object> {
        let mut object = json!({
            "metadata": {"name": name},
            "spec": {"containers": [{"name": "a", "image": "coracle.local/hello"}]},
        });
        if !node.is_empty() {
            object["spec"]["nodeName"] = json!(node);
        }
        self.create("pods", object).await.unwrap()
    }

    pub async fn get(&self, plural: &str, name: &str) -> Result<Arc<Object>, Status> {
        let kind = self.kind(plural);
        self.objects.get(&kind, Self::place(&kind), name, &Revisions::default()).await
    }

    pub async fn update(&self, plural: &str, name: &str, sub: Sub, object: Value) -> Result<Arc<Object>, Status> {
        let kind = self.kind(plural);
        let written =
            self.objects.update(&kind, Self::place(&kind), name, sub, object, &WriteOptions::default()).await?;
        Ok(written.object)
    }

    pub async fn patch(&self, plural: &str, name: &str, patch: Patch) -> Result<Written, Status> {
        let kind = self.kind(plural);
        self.objects.patch(&kind, Self::place(&kind), name, Sub::None, patch, &WriteOptions::default()).await
    }

    pub async fn delete(&self, plural: &str, name: &str, options: DeleteOptions) -> Result<Deleted, Status> {
        let kind = self.kind(plural);
        self.objects.delete(&kind, Self::place(&kind), name, &options).await
    }

    pub async fn list(&self, plural: &str, options: ListOptions) -> Result<List, Status> {
        let kind = self.kind(plural);
        self.objects.list(&kind, Self::place(&kind), &options).await
    }

    pub async fn watch(&self, plural: &str, options: WatchOptions) -> Watch {
        let kind = self.kind(plural);
        self.objects.watch(&kind, Self::place(&kind), &options).await.unwrap()
    }
}

pub(crate) fn names(list: &List) -> Vec<&str> {
    list.items.iter().map(|object| &*object.meta.name).collect()
}
