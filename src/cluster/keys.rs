//! The cluster's keys, as controllers may use them.

use std::sync::Arc;

use apiserver::Authority;
use apiserver::certificates::Wanted;
use apiserver::tokens::TokenIssuer;
use controllers::{CertificateWish, Keys};

/// Signs with what lies in the data folder.
pub struct ClusterKeys {
    pub authority: Arc<Authority>,
    pub issuer: Arc<TokenIssuer>,
}

impl Keys for ClusterKeys {
    fn read(&self, request: &str) -> Result<CertificateWish, String> {
        let Wanted { common_name, organizations, dns_names, addresses, other_names } = Wanted::of(request)?;
        Ok(CertificateWish { common_name, organizations, dns_names, addresses, other_names })
    }

    fn sign(&self, request: &str, usages: &[String], seconds: i64) -> Result<String, String> {
        self.authority.sign_request(request, usages, seconds)
    }

    fn account_token(&self, namespace: &str, account: &str, uid: &str, secret: &str) -> Result<String, String> {
        self.issuer.legacy(namespace, account, uid, secret)
    }
}
