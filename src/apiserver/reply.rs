//! Writing answers: status, headers, bytes.

use api::Status;
use axum::body::Body;
use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WARNING};
use http::{HeaderValue, Response, StatusCode};
use serde_json::Value;

use crate::accept::Encoding;

/// Bodies that are kept whole in memory tell so here, so that the packing step can take them without copying.
pub(crate) enum Payload {
    /// All of it.
    Whole(Bytes),
    /// A document that is made while it is sent, in pieces that are worth packing.
    Pieces(BoxStream<'static, Result<Bytes, Status>>),
    /// As it comes.
    Stream(Body),
}

/// An answer before it is turned into an HTTP response.
pub(crate) struct Reply {
    pub code: u16,
    pub media_type: &'static str,
    pub payload: Payload,
    pub headers: Vec<(http::HeaderName, HeaderValue)>,
    pub warnings: Vec<String>,
    /// A response that was made elsewhere (the images registry, an upgrade) goes out as it is.
    pub ready: Option<Response<Body>>,
}

impl Reply {
    fn new(code: u16, media_type: &'static str, payload: Payload) -> Self {
        Self { code, media_type, payload, headers: Vec::new(), warnings: Vec::new(), ready: None }
    }

    pub fn bytes(code: u16, media_type: &'static str, bytes: impl Into<Bytes>) -> Self {
        Self::new(code, media_type, Payload::Whole(bytes.into()))
    }

    pub fn stream(media_type: &'static str, body: Body) -> Self {
        Self::new(200, media_type, Payload::Stream(body))
    }

    pub fn pieces(media_type: &'static str, pieces: BoxStream<'static, Result<Bytes, Status>>) -> Self {
        Self::new(200, media_type, Payload::Pieces(pieces))
    }

    pub fn text(code: u16, text: impl Into<String>) -> Self {
        Self::bytes(code, "text/plain; charset=utf-8", text.into())
    }

    pub fn json(code: u16, value: &Value) -> Self {
        Self::bytes(code, Encoding::Json.media_type(), value.to_string())
    }

    /// A document in the encoding that was agreed on.
    pub fn document(code: u16, encoding: Encoding, json: Bytes) -> Result<Self, Status> {
        match encoding {
            Encoding::Json => Ok(Self::bytes(code, encoding.media_type(), json)),
            Encoding::PrettyJson => {
                let mut text = serde_json::to_string_pretty(&parsed(&json)?).map_err(unwritable)?;
                text.push('\n');
                Ok(Self::bytes(code, encoding.media_type(), text))
            }
            Encoding::Yaml => Ok(Self::bytes(code, encoding.media_type(), api::yaml::to_string(&parsed(&json)?))),
        }
    }

    pub fn status(status: &Status) -> Self {
        let mut reply = Self::json(status.code, &status.to_json());
        if status.retry_after_seconds > 0 {
            reply.headers.push((RETRY_AFTER, HeaderValue::from(status.retry_after_seconds)));
        }
        reply
    }

    pub fn ready(response: Response<Body>) -> Self {
        let code = response.status().as_u16();
        Self { ready: Some(response), ..Self::new(code, "", Payload::Whole(Bytes::new())) }
    }

    pub fn with_warnings(mut self, warnings: Vec<String>) -> Self {
        self.warnings.extend(warnings);
        self
    }

    pub fn header(mut self, name: http::HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub fn into_response(self) -> Response<Body> {
        if let Some(response) = self.ready {
            return response;
        }
        let body = match self.payload {
            Payload::Whole(bytes) => Body::from(bytes),
            Payload::Pieces(pieces) => {
                Body::from_stream(pieces.map_err(|status| std::io::Error::other(status.message)))
            }
            Payload::Stream(body) => body,
        };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
        for warning in warning_headers(self.warnings) {
            headers.append(WARNING, warning);
        }
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        response
    }
}

fn parsed(json: &[u8]) -> Result<Value, Status> {
    serde_json::from_slice(json).map_err(unwritable)
}

fn unwritable(error: impl std::fmt::Display) -> Status {
    Status::internal(format!("the answer could not be written: {error}"))
}

/// `299 - "text"`, each once, no more than proxies take.
fn warning_headers(mut warnings: Vec<String>) -> Vec<HeaderValue> {
    const MOST: usize = 4096;
    let mut seen = std::collections::HashSet::new();
    warnings.retain(|warning| seen.insert(warning.clone()));
    let mut used = 0;
    let mut headers = Vec::new();
    for warning in warnings {
        let mut quoted = String::with_capacity(warning.len() + 10);
        for letter in warning.chars() {
            match letter {
                '"' | '\\' => quoted.extend(['\\', letter]),
                control if control.is_control() => quoted.push(' '),
                other => quoted.push(other),
            }
        }
        used += quoted.len();
        if used > MOST {
            break;
        }
        headers.extend(HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()).ok());
    }
    headers
}
