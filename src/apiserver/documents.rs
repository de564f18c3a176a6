//! Discovery and OpenAPI: documents that are made once for each set of kinds, when they are first asked for.

use std::collections::HashMap;
use std::sync::Arc;

use api::discovery::{self, Aggregated};
use api::{KindSet, Status, openapi};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, ETAG, HOST, IF_NONE_MATCH, VARY};
use http::{HeaderMap, HeaderValue};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::accept::{self, Discovery, Encoding};
use crate::custom_metrics;
use crate::metrics_api;
use crate::reply::Reply;
use crate::reviews;
use crate::server::Call;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const AGGREGATED_BETA: &str = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

/// A document with the tag that clients hold it by.
#[derive(Clone)]
struct Document {
    bytes: Bytes,
    tag: String,
}

impl Document {
    fn new(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let tag = format!("\"{}\"", hex::encode_upper(Sha256::digest(&bytes)));
        Self { bytes, tag }
    }

    fn answer(self, headers: &HeaderMap, media_type: &'static str) -> Reply {
        let held = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let same =
            held.split(',').map(|tag| tag.trim().trim_start_matches("W/")).any(|tag| tag == self.tag || tag == "*");
        let reply = if same { Reply::bytes(304, media_type, "") } else { Reply::bytes(200, media_type, self.bytes) };
        let reply = reply.header(VARY, HeaderValue::from_static("Accept"));
        match HeaderValue::from_str(&self.tag) {
            Ok(tag) => reply.header(ETAG, tag),
            Err(_) => reply,
        }
    }
}

/// What was made from one set of kinds.
struct Made {
    source: Arc<KindSet>,
    kinds: Arc<KindSet>,
    documents: HashMap<String, Document>,
}

/// The documents of the present set of kinds.
#[derive(Default)]
pub(crate) struct Documents {
    made: Mutex<Option<Made>>,
}

impl Documents {
    /// The stored kinds and the questions that are answered without being stored.
    pub fn kinds(&self, stored: &Arc<KindSet>) -> Arc<KindSet> {
        let mut made = self.made.lock();
        if let Some(made) = made.as_ref().filter(|made| Arc::ptr_eq(&made.source, stored)) {
            return Arc::clone(&made.kinds);
        }
        let questions = reviews::kinds().chain(metrics_api::kinds()).chain(custom_metrics::kinds()).map(Arc::new);
        let missing = questions.filter(|kind| stored.by_kind(&kind.group, &kind.version, &kind.kind).is_none());
        let kinds = Arc::new(KindSet::new(stored.iter().cloned().chain(missing)));
        *made = Some(Made { source: Arc::clone(stored), kinds: Arc::clone(&kinds), documents: HashMap::new() });
        kinds
    }

    /// The document `name`, made by `make` the first time.
    async fn document(
        &self,
        call: &Call,
        name: String,
        make: impl FnOnce(&KindSet) -> Option<Vec<u8>> + Send + 'static,
    ) -> Result<Document, Status> {
        let current = |made: &&mut Made| Arc::ptr_eq(&made.kinds, &call.kinds);
        if let Some(found) = self.made.lock().as_mut().filter(current).and_then(|made| made.documents.get(&name)) {
            return Ok(found.clone());
        }
        let kinds = Arc::clone(&call.kinds);
        // OpenAPI takes long enough to make others wait.
        let bytes = tokio::task::spawn_blocking(move || make(&kinds)).await;
        let bytes = bytes.map_err(|error| Status::internal(error.to_string()))?.ok_or_else(Status::no_such_path)?;
        let document = Document::new(bytes);
        if let Some(made) = self.made.lock().as_mut().filter(current) {
            made.documents.insert(name, document.clone());
        }
        Ok(document)
    }

    async fn json(
        &self,
        call: &Call,
        name: String,
        make: impl FnOnce(&KindSet) -> Option<serde_json::Value> + Send + 'static,
    ) -> Result<Document, Status> {
        self.document(call, name, |kinds| make(kinds).map(|value| value.to_string().into_bytes())).await
    }

    /// `/api`
    pub async fn legacy(&self, call: &Call) -> Result<Reply, Status> {
        match accept::discovery(call.accept())? {
            Discovery::Aggregated(form) => self.aggregated(call, true, form).await,
            Discovery::Plain(encoding) => {
                let host = call.headers.get(HOST).and_then(|value| value.to_str().ok());
                let host = host.or(call.uri.authority().map(http::uri::Authority::as_str)).unwrap_or_default();
                let document = Document::new(discovery::core_versions(host).to_string());
                self.plain(call, encoding, document)
            }
        }
    }

    /// `/apis`
    pub async fn groups(&self, call: &Call) -> Result<Reply, Status> {
        match accept::discovery(call.accept())? {
            Discovery::Aggregated(form) => self.aggregated(call, false, form).await,
            Discovery::Plain(encoding) => {
                let document = self.json(call, "groups".into(), |kinds| Some(discovery::groups(kinds))).await?;
                self.plain(call, encoding, document)
            }
        }
    }

    async fn aggregated(&self, call: &Call, core: bool, form: Aggregated) -> Result<Reply, Status> {
        let make = move |kinds: &KindSet| Some(discovery::aggregated(kinds, core, form));
        let document = self.json(call, format!("aggregated {core} {form:?}"), make).await?;
        let media_type = match form {
            Aggregated::V2 => AGGREGATED,
            Aggregated::V2Beta1 => AGGREGATED_BETA,
        };
        Ok(document.answer(&call.headers, media_type))
    }

    fn plain(&self, call: &Call, encoding: Encoding, document: Document) -> Result<Reply, Status> {
        match call.encoding(encoding) {
            Encoding::Json => Ok(document.answer(&call.headers, encoding.media_type())),
            other => Reply::document(200, other, document.bytes),
        }
    }

    /// `/apis/GROUP`
    pub async fn group(&self, call: &Call, group: &str) -> Result<Reply, Status> {
        let encoding = call.plain()?;
        let group = group.to_owned();
        let document = self.json(call, format!("group {group}"), move |kinds| discovery::group(kinds, &group)).await?;
        self.plain(call, encoding, document)
    }

    /// `/api/VERSION`, `/apis/GROUP/VERSION`
    pub async fn resources(&self, call: &Call, group: &str, version: &str) -> Result<Reply, Status> {
        let encoding = call.plain()?;
        let (group, version) = (group.to_owned(), version.to_owned());
        let name = format!("resources {group}/{version}");
        let document = self.json(call, name, move |kinds| discovery::resources(kinds, &group, &version)).await?;
        self.plain(call, encoding, document)
    }

    /// `/openapi/v2`
    pub async fn openapi_v2(&self, call: &Call) -> Result<Reply, Status> {
        if accept::openapi_v2(call.accept())? {
            let document = self.document(call, "openapi/v2 protobuf".into(), |kinds| Some(openapi::v2_protobuf(kinds)));
            return Ok(document.await?.answer(&call.headers, openapi::V2_PROTOBUF));
        }
        let document = self.document(call, "openapi/v2".into(), |kinds| Some(openapi::v2(kinds))).await?;
        Ok(document.answer(&call.headers, Encoding::Json.media_type()))
    }

    /// `/openapi/v3`
    pub async fn openapi_v3_index(&self, call: &Call) -> Result<Reply, Status> {
        accept::plain(call.accept())?;
        let document = self.document(call, "openapi/v3".into(), |kinds| Some(openapi::v3_index(kinds))).await?;
        Ok(document.answer(&call.headers, Encoding::Json.media_type()))
    }

    /// `/openapi/v3/PATH`. Asked for with the hash that the index names, it never changes: clients keep it on disk.
    pub async fn openapi_v3(&self, call: &Call, path: String) -> Result<Reply, Status> {
        accept::plain(call.accept())?;
        let name = format!("openapi/v3/{path}");
        let mut lasting = false;
        if let Some(hash) = call.query.get("hash") {
            let index = self.document(call, "openapi/v3".into(), |kinds| Some(openapi::v3_index(kinds))).await?;
            lasting = contains(&index.bytes, format!("{name}?hash={hash}\"").as_bytes());
        }
        let document = self.document(call, name, move |kinds| openapi::v3_document(kinds, &path)).await?;
        let reply = document.answer(&call.headers, Encoding::Json.media_type());
        let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
        Ok(if lasting { reply.header(CACHE_CONTROL, forever) } else { reply })
    }
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}
