//! Reading: one object, or many at one revision, page by page.

use std::sync::Arc;
use std::time::Duration;

use api::{FieldError, Kind, Status};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use store::Revision;

use crate::cache::Snapshot;
use crate::options::{List, ListOptions, RevisionMatch, Revisions};
use crate::{Object, Objects, form, keys, refusal};

/// How long a read waits for a revision that is not there yet.
const PATIENCE: Duration = Duration::from_secs(3);

/// How many objects one review asks a webhook to convert.
const CONVERTED_TOGETHER: usize = 500;

/// What a continue token holds; the shape is Kubernetes'.
#[derive(Deserialize, Serialize)]
struct Token {
    v: String,
    /// -1 where the list goes on at whatever is the newest revision.
    rv: i64,
    /// The place of the last object that was answered, and a zero byte.
    start: String,
}

const TOKEN_VERSION: &str = "meta.k8s.io/v1";

const TOO_OLD_TO_CONTINUE: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new list \
without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. \
Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted \
between the time the first chunk was returned and now may show up in the list.";

impl Token {
    fn after(place: &str, revision: i64) -> String {
        let token = Self { v: TOKEN_VERSION.to_owned(), rv: revision, start: format!("{place}\0") };
        BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
    }

    fn parse(text: &str) -> Result<Self, Status> {
        let wrong = |why: &str| Status::bad_request(format!("continue key is not valid: {why}"));
        let bytes =
            BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|error| wrong(&error.to_string()))?;
        let token: Self = serde_json::from_slice(&bytes).map_err(|error| wrong(&error.to_string()))?;
        if token.v != TOKEN_VERSION || token.start.is_empty() || token.rv == 0 || token.rv < -1 {
            return Err(wrong("unsupported version or content"));
        }
        Ok(token)
    }

    fn place(&self) -> &str {
        self.start.trim_end_matches('\0')
    }
}

/// 422 about the options themselves.
pub(crate) fn options_invalid(error: FieldError) -> Status {
    Status::invalid("meta.k8s.io", "ListOptions", "", &[error])
}

fn check(options: &ListOptions) -> Result<(), Status> {
    let has_revision = options.resource_version.as_deref().is_some_and(|text| !text.is_empty());
    let Some(wanted) = options.resource_version_match else { return Ok(()) };
    let forbidden = |why: &str| Err(options_invalid(FieldError::forbidden("resourceVersionMatch", why)));
    if options.continue_token.is_some() {
        return forbidden("resourceVersionMatch is forbidden when continue is provided");
    }
    if !has_revision {
        return forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided");
    }
    if wanted == RevisionMatch::Exact && options.resource_version.as_deref() == Some("0") {
        return forbidden("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
    }
    Ok(())
}

impl Objects {
    /// One object.
    pub async fn get(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        revision: &Revisions,
    ) -> Result<Arc<Object>, Status> {
        match refusal::revision(revision.resource_version.as_deref())? {
            None => self.fresh().await?,
            Some(at) => self.not_older_than(at).await?,
        }
        let found = self.cached(kind, namespace, name).ok_or_else(|| refusal::not_found(kind, name))?;
        self.seen(kind, &found).await
    }

    /// The objects of a kind, in one namespace or in all.
    pub async fn list(&self, kind: &Kind, namespace: Option<&str>, options: &ListOptions) -> Result<List, Status> {
        check(options)?;
        options.field_selector.check(kind)?;
        let token = options.continue_token.as_deref().filter(|text| !text.is_empty()).map(Token::parse).transpose()?;
        let snapshot = match &token {
            Some(token) => self.continued(kind, token, options).await?,
            None => self.snapshot_for(kind, options).await?,
        };
        let after = token.as_ref().map(Token::place);
        let by_fields = !options.field_selector.is_everything();
        if form::is_remote(kind) && by_fields {
            return self.converted_page(&snapshot, (kind, namespace), after, options).await;
        }
        let mut list = page(&snapshot, (kind, namespace), after, options);
        if form::is_remote(kind) {
            list.items = self.seen_all(kind, list.items).await?;
        }
        Ok(list)
    }

    /// A page of those that are selected after a webhook has converted them.
    async fn converted_page(
        &self,
        snapshot: &Snapshot,
        (kind, namespace): (&Kind, Option<&str>),
        after: Option<&str>,
        options: &ListOptions,
    ) -> Result<List, Status> {
        let limit = if options.limit == 0 { usize::MAX } else { usize::try_from(options.limit).unwrap_or(usize::MAX) };
        let all: Vec<(&Arc<str>, &Arc<Object>)> = snapshot.range(namespace, after).collect();
        let (mut items, mut last, mut more) = (Vec::new(), None, false);
        'pages: for chunk in all.chunks(CONVERTED_TOGETHER) {
            let seen = self.seen_all(kind, chunk.iter().map(|(_, object)| Arc::clone(object)).collect()).await?;
            for ((place, _), object) in chunk.iter().zip(seen) {
                if !object.is_selected(&options.label_selector, &options.field_selector) {
                    continue;
                }
                if items.len() == limit {
                    more = true;
                    break 'pages;
                }
                items.push(object);
                last = Some(place);
            }
        }
        let revision = i64::try_from(snapshot.revision.0).unwrap_or(i64::MAX);
        let continue_token = last.filter(|_| more).map(|place| Token::after(place, revision));
        Ok(List { revision: snapshot.revision, continue_token, remaining: None, items })
    }

    async fn continued(&self, kind: &Kind, token: &Token, options: &ListOptions) -> Result<Snapshot, Status> {
        if options.resource_version.as_deref().is_some_and(|text| !text.is_empty() && text != "0") {
            return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
        }
        let cache = self.inner.cache.kind(&keys::resource(kind));
        let Ok(at) = u64::try_from(token.rv) else {
            self.fresh().await?;
            return Ok(cache.snapshot());
        };
        self.not_older_than(Revision(at)).await?;
        cache.snapshot_at(Revision(at)).map_err(|_| {
            let mut status = Status::expired(TOO_OLD_TO_CONTINUE);
            status.continue_token = Token::after(token.place(), -1);
            status
        })
    }

    async fn snapshot_for(&self, kind: &Kind, options: &ListOptions) -> Result<Snapshot, Status> {
        let cache = self.inner.cache.kind(&keys::resource(kind));
        let Some(at) = refusal::revision(options.resource_version.as_deref())? else {
            self.fresh().await?;
            return Ok(cache.snapshot());
        };
        self.not_older_than(at).await?;
        let exact = match options.resource_version_match {
            Some(wanted) => wanted == RevisionMatch::Exact,
            // Before resourceVersionMatch existed, a limit made the revision an exact one.
            None => options.limit > 0 && at.0 > 0,
        };
        if exact { cache.snapshot_at(at).map_err(|oldest| refusal::too_old(at, oldest)) } else { Ok(cache.snapshot()) }
    }

    /// The revision that changed an object of the kind last, as far as the cache has come. For what is computed from all objects of a kind: it
    /// is computed again when this has moved.
    pub fn changed_at(&self, kind: &Kind) -> Revision {
        self.inner.cache.kind(&keys::resource(kind)).last()
    }

    /// All objects of a kind that the cache has now, as they are stored.
    pub fn now(&self, kind: &Kind) -> Vec<Arc<Object>> {
        self.inner.cache.kind(&keys::resource(kind)).snapshot().items.values().cloned().collect()
    }

    /// Waits until the cache has everything that the store has.
    pub(crate) async fn fresh(&self) -> Result<(), Status> {
        let newest = self.inner.store.revision().await.map_err(|error| refusal::not_read(&error))?;
        if self.inner.cache.reached_within(newest, PATIENCE).await {
            return Ok(());
        }
        Err(Status::timeout("the cache is behind the store, try again"))
    }

    /// Waits until the cache has reached what a client has seen elsewhere.
    pub(crate) async fn not_older_than(&self, revision: Revision) -> Result<(), Status> {
        if self.inner.cache.reached_within(revision, PATIENCE).await {
            return Ok(());
        }
        Err(refusal::too_new(revision, self.inner.cache.progress()))
    }

    /// What the cache has now.
    pub(crate) fn cached(&self, kind: &Kind, namespace: Option<&str>, name: &str) -> Option<Arc<Object>> {
        self.inner.cache.kind(&keys::resource(kind)).get(&keys::place(namespace, name))
    }
}

/// Picks one page out of a snapshot.
fn page(
    snapshot: &Snapshot,
    (kind, namespace): (&Kind, Option<&str>),
    after: Option<&str>,
    options: &ListOptions,
) -> List {
    let all = options.label_selector.is_everything() && options.field_selector.is_everything();
    let limit = if options.limit == 0 { usize::MAX } else { usize::try_from(options.limit).unwrap_or(usize::MAX) };
    let mut candidates = snapshot
        .range(namespace, after)
        .map(|(place, object)| (place, form::shown(kind, object)))
        .filter(|(_, object)| all || object.is_selected(&options.label_selector, &options.field_selector));
    let (mut items, mut last) = (Vec::new(), None);
    for (place, object) in candidates.by_ref().take(limit) {
        items.push(object);
        last = Some(place);
    }
    let more = items.len() == limit && candidates.next().is_some();
    let revision = i64::try_from(snapshot.revision.0).unwrap_or(i64::MAX);
    List {
        revision: snapshot.revision,
        continue_token: last.filter(|_| more).map(|place| Token::after(place, revision)),
        // The one that was looked at to learn that there is more counts too.
        remaining: (more && all).then(|| 1 + candidates.count() as u64),
        items,
    }
}
