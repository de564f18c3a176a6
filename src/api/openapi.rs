//! OpenAPI documents, made on demand from a [`KindSet`] and the schema asset.

use crate::kind::KindSet;

/// `GET /openapi/v3`: the index, JSON.
pub fn v3_index(_kinds: &KindSet) -> Vec<u8> {
    Vec::new()
}

/// `GET /openapi/v3/PATH` (`api/v1`, `apis/apps/v1`): one group version, JSON.
pub fn v3_document(_kinds: &KindSet, _path: &str) -> Option<Vec<u8>> {
    None
}

/// `GET /openapi/v2`, JSON.
pub fn v2(_kinds: &KindSet) -> Vec<u8> {
    Vec::new()
}
