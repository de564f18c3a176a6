//! Requests as a handler of `wasi:http@0.3` takes them.

use http::header::HOST;
use http::uri::{Authority, Scheme};
use http_body_util::BodyExt;
use network::HttpRequest;
use tokio::sync::oneshot;
use wasmtime::component::Accessor;
use wasmtime_wasi_http::p3::Request;
use wasmtime_wasi_http::{FieldMap, WasiHttpView};
use world::http::types::ErrorCode;
use world::next::Service;
use world::next::http::types::ErrorCode as NextCode;

use crate::exchange::Head;
use crate::guest::Guest;
use crate::outbound::from_body_error;

/// A request that waits for its guest.
pub(crate) struct Incoming {
    pub request: HttpRequest,
    pub scheme: Scheme,
    pub head: oneshot::Sender<Head>,
}

/// Has `service` answer one request: from the call to the response's head. Its body follows while the store's tasks run.
pub(crate) async fn answer(accessor: &Accessor<Guest>, service: &Service, incoming: Incoming) -> wasmtime::Result<()> {
    let Incoming { request, scheme, head } = incoming;
    let (parts, body) = request.into_parts();
    let authority = parts.uri.authority().cloned().or_else(|| {
        let host = parts.headers.get(HOST)?;
        Authority::try_from(host.as_bytes()).ok()
    });
    let path = parts.uri.into_parts().path_and_query;
    let (request, read) = accessor.with(|mut access| {
        let guest = access.data_mut();
        let headers = FieldMap::new_immutable(&mut guest.hooks, parts.headers);
        Request::new(parts.method, Some(scheme), authority, path, headers, None, body.map_err(from_body_error))
    });
    let said = match service.handle(accessor, request).await? {
        Ok(response) => Ok(accessor.with(|access| response.into_http_with_getter(access, read, Guest::http))?),
        Err(code) => Err(as_first(code)),
    };
    // Who asked may be gone.
    let _ = head.send(said);
    Ok(())
}

fn as_first(code: NextCode) -> ErrorCode {
    match code {
        NextCode::LoopDetected => ErrorCode::LoopDetected,
        NextCode::InternalError(text) => ErrorCode::InternalError(text),
        other => ErrorCode::InternalError(Some(format!("it answered with the error {other:?}"))),
    }
}
