//! How long a request's method may be: `set-method` of `wasi:http`, looked at before it is carried out. Everything else of a
//! request's head has a bound of its own.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::types::HostOutgoingRequest;
use wasmtime_wasi_http::p3::Request;
use world::http::types::{self as first, HostOutgoingRequest as FirstHost};
use world::next::http::types::{self as next, HostRequest as NextHost};

use crate::guest::Guest;

const FIRST: &str = "wasi:http/types@0.2.12";
const NEXT: &str = "wasi:http/types@0.3.0";
/// The longest that is registered has 17 letters.
const METHOD_BYTES_MAX: usize = 64;

type FirstSet = (Resource<HostOutgoingRequest>, first::Method);
type NextSet = (Resource<Request>, next::Method);

/// Puts the limit in front of what is linked already.
pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let set = |mut store: StoreContextMut<'_, Guest>, (request, method): FirstSet| {
        if matches!(&method, first::Method::Other(name) if name.len() > METHOD_BYTES_MAX) {
            return Ok((Err(()),));
        }
        Ok((FirstHost::set_method(&mut store.data_mut().http(), request, method)?,))
    };
    linker.instance(FIRST)?.func_wrap("[method]outgoing-request.set-method", set)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// The same for 0.3.
pub(super) fn link_next(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let set = |mut store: StoreContextMut<'_, Guest>, (request, method): NextSet| {
        if matches!(&method, next::Method::Other(name) if name.len() > METHOD_BYTES_MAX) {
            return Ok((Err(()),));
        }
        Ok((NextHost::set_method(&mut store.data_mut().http(), request, method)?,))
    };
    linker.instance(NEXT)?.func_wrap("[method]request.set-method", set)?;
    linker.allow_shadowing(false);
    Ok(())
}
