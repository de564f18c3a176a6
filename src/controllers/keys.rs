//! What only whoever holds the cluster's keys can do.

use std::net::IpAddr;

/// What a certificate is asked for, as its request says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateWish {
    /// The subject's common name.
    pub common_name: String,
    /// The subject's organizations.
    pub organizations: Vec<String>,
    /// Names of hosts.
    pub dns_names: Vec<String>,
    /// Addresses of hosts.
    pub addresses: Vec<IpAddr>,
    /// How many other names there are: mail addresses, URIs.
    pub other_names: usize,
}

/// Signs certificates and tokens. The composition root supplies it; the keys stay there.
pub trait Keys: Send + Sync + 'static {
    /// Reads a certificate request in PEM.
    ///
    /// # Errors
    /// What is wrong with it.
    fn read(&self, request: &str) -> Result<CertificateWish, String>;

    /// Signs a certificate request in PEM for `usages`, for so many seconds; answers the certificate in PEM.
    ///
    /// # Errors
    /// What is wrong with the request.
    fn sign(&self, request: &str, usages: &[String], seconds: i64) -> Result<String, String>;

    /// The token of a Secret of type `kubernetes.io/service-account-token`.
    ///
    /// # Errors
    /// When signing fails.
    fn account_token(&self, namespace: &str, account: &str, uid: &str, secret: &str) -> Result<String, String>;
}
