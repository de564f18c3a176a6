//! Images: OCI artifacts that hold one WebAssembly component each.
//!
//! *Owns*: the content store on disk, references, pulling from registries, the built-in registry (`/v2/`), turning core
//! modules into components, the cache of compiled artifacts.
//!
//! *Does not know*: Kubernetes, wasmtime (a compiler is handed in), who may push (that is decided before a request
//! reaches the [`router`]).
//!
//! *Entry point*: [`ImageStore`]: `open`, `push`, `resolve`; then [`Artifacts`] for what is compiled from it.

#![forbid(unsafe_code)]

pub mod artifact;
mod artifacts;
pub mod builtin;
mod collect;
mod compose;
mod credentials;
mod digest;
mod exports;
mod gates;
mod layers;
mod manifest;
mod origin;
mod pull;
mod reference;
mod registry;
pub mod remote;
mod store;
mod wasm;

pub use artifacts::{ArtifactError, Artifacts, Bounds, BoundsError, Compiled, DRAFT, Order, TooComplex, Work};
pub use builtin::Builtin;
pub use collect::{Collected, Limits, Stored, Use, Users};
pub use compose::ComposeError;
pub use credentials::{Credential, Credentials};
pub use digest::{Digest, DigestError};
pub use exports::exports;
pub use gates::{MirrorError, Registries};
pub use manifest::ContentError;
pub use origin::Origin;
pub use pull::{Fetched, ImageFiles, PullError, PullPolicy, Pulled, Purpose, Resolved};
pub use reference::{LOCAL_REGISTRY, Reference, ReferenceError};
pub use registry::router;
pub use store::{Image, ImageStore, OpenError, PushError, StoreError};
pub use wasm::{Encoding, WasmError, to_component};
