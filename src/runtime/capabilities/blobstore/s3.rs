//! Objects of a server that speaks S3, which is asked as the container itself would ask it: through its own outgoing requests, so
//! that Services work and leaving the cluster needs the same leave.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use http::header::{CONTENT_LENGTH, LAST_MODIFIED, RANGE};
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Limited, StreamBody};
use network::{Body, BodyError, Connection, HttpResponse};
use rusty_s3::actions::ListObjectsV2;
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use tokio_util::io::ReaderStream;

use super::spool::Whole;
use super::{Blobs, Content, Info, Names};
use crate::container::Container;
use crate::spec::{Outbound, Target};

/// A signature is good for so long.
const SIGNED: Duration = Duration::from_secs(300);
const REGION: &str = "us-east-1";
/// A listing or an error that is longer is not read.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// One bucket.
pub(super) struct S3 {
    bucket: Bucket,
    credentials: Option<Credentials>,
    outbound: Option<Arc<dyn Outbound>>,
    connection: Connection,
}

impl S3 {
    /// `url` is `s3://BUCKET?endpoint=URL&region=NAME`; without an endpoint it is Amazon's.
    pub fn new(container: &Container, url: &str, user: &str, password: &str) -> Result<Self, String> {
        let rest = url.strip_prefix("s3://").ok_or_else(|| format!("{url} is no s3:// URL"))?;
        let (name, query) = rest.split_once('?').unwrap_or((rest, ""));
        let value = |wanted: &str| {
            query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .find(|(key, _)| *key == wanted)
                .map(|(_, value)| value)
        };
        let region = value("region").unwrap_or(REGION).to_owned();
        let (endpoint, style) = match value("endpoint") {
            Some(endpoint) => (endpoint.to_owned(), UrlStyle::Path),
            None => (format!("https://s3.{region}.amazonaws.com"), UrlStyle::VirtualHost),
        };
        let endpoint = endpoint.parse().map_err(|error| format!("the endpoint {endpoint} is no URL: {error}"))?;
        let bucket = Bucket::new(endpoint, style, name.trim_matches('/').to_owned(), region);
        let bucket = bucket.map_err(|error| format!("{url}: {error}"))?;
        let credentials = (!user.is_empty()).then(|| Credentials::new(user, password));
        let connection = Connection { source: container.spec.address, deadline: None, depth: 1 };
        Ok(Self { bucket, credentials, outbound: container.spec.outbound.clone(), connection })
    }

    fn signed<'a, A: S3Action<'a>>(action: &A) -> String {
        action.sign(SIGNED).to_string()
    }

    fn key(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    async fn ask(&self, request: http::request::Builder, url: String, body: Body) -> Result<HttpResponse, String> {
        let uri: http::Uri = url.parse().map_err(|error| format!("{error}"))?;
        let https = uri.scheme() == Some(&http::uri::Scheme::HTTPS);
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let request = request.uri(uri).body(body).map_err(|error| error.to_string())?;
        let Some(outbound) = &self.outbound else { return Err("this container may not send requests".to_owned()) };
        let answer = outbound.call(Target { host, port, https }, request, self.connection.clone()).await;
        answer.map_err(|error| error.to_string())
    }

    /// The answer, where it is one of success; the server's own words otherwise.
    async fn succeed(answer: HttpResponse) -> Result<HttpResponse, String> {
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let said = text(answer).await.unwrap_or_default();
        let message =
            |tag: &str| said.split_once(&format!("<{tag}>"))?.1.split_once("</").map(|(text, _)| text.to_owned());
        let words = message("Message").or_else(|| message("Code")).unwrap_or_default();
        Err(format!("the server answered {status} {words}").trim_end().to_owned())
    }
}

async fn text(answer: HttpResponse) -> Result<String, String> {
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
}

fn length(answer: &HttpResponse) -> Option<u64> {
    answer.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[async_trait]
impl Blobs for S3 {
    async fn info(&self, name: &str) -> Result<Option<Info>, String> {
        let url = Self::signed(&self.bucket.head_object(self.key(), name));
        let request = http::Request::builder().method(Method::HEAD);
        let answer = self.ask(request, url, network::body::empty()).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let answer = Self::succeed(answer).await?;
        let changed =
            answer.headers().get(LAST_MODIFIED).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
        Ok(Some(Info { size: length(&answer).unwrap_or_default(), changed: changed.unwrap_or(SystemTime::UNIX_EPOCH) }))
    }

    async fn read(&self, name: &str, start: u64, end: u64) -> Result<Content, String> {
        let url = Self::signed(&self.bucket.get_object(self.key(), name));
        let mut request = http::Request::builder().method(Method::GET);
        if start > 0 || end < u64::MAX {
            let range = if end == u64::MAX { format!("bytes={start}-") } else { format!("bytes={start}-{end}") };
            request = request.header(RANGE, range);
        }
        let answer = Self::succeed(self.ask(request, url, network::body::empty()).await?).await?;
        let size = length(&answer).ok_or("the server did not say how long the object is")?;
        let bytes = answer.into_body().into_data_stream().map(|piece| piece.map_err(std::io::Error::other));
        Ok(Content { size, bytes: Box::pin(bytes) })
    }

    async fn write(&self, name: &str, content: Whole) -> Result<(), String> {
        let url = Self::signed(&self.bucket.put_object(self.key(), name));
        let request = http::Request::builder().method(Method::PUT).header(CONTENT_LENGTH, content.size);
        let file = tokio::fs::File::from_std(content.file);
        let pieces = ReaderStream::new(tokio::io::AsyncReadExt::take(file, content.size)).map(|piece| match piece {
            Ok(bytes) => Ok(http_body::Frame::<Bytes>::data(bytes)),
            Err(error) => Err(BodyError::Other(error.to_string())),
        });
        Self::succeed(self.ask(request, url, Body::new(StreamBody::new(pieces))).await?).await.map(drop)
    }

    async fn delete(&self, name: &str) -> Result<(), String> {
        let url = Self::signed(&self.bucket.delete_object(self.key(), name));
        let request = http::Request::builder().method(Method::DELETE);
        let answer = self.ask(request, url, network::body::empty()).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(());
        }
        Self::succeed(answer).await.map(drop)
    }

    async fn list(&self, after: Option<String>) -> Result<Names, String> {
        let mut action = self.bucket.list_objects_v2(self.key());
        if let Some(after) = after {
            action.with_continuation_token(after);
        }
        let url = Self::signed(&action);
        let request = http::Request::builder().method(Method::GET);
        let answer = Self::succeed(self.ask(request, url, network::body::empty()).await?).await?;
        let listed = ListObjectsV2::parse_response(&text(answer).await?).map_err(|error| error.to_string())?;
        let names = listed.contents.into_iter().map(|object| object.key).collect();
        Ok((names, listed.next_continuation_token))
    }
}
