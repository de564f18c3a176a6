//! Client certificates: the subject's common name is the user, its organizations are the groups.

use api::UserInfo;
use async_trait::async_trait;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Authenticator, Credentials, Rejected};

/// The subject of a certificate that was verified against our authority while the connection was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The common name.
    pub user: String,
    /// The organizations.
    pub groups: Vec<String>,
}

impl PeerCertificate {
    /// Reads a verified certificate. `None` when its subject has no common name.
    pub(crate) fn from_der(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let subject = certificate.subject();
        let user = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
        let groups = subject.iter_organization().filter_map(|group| group.as_str().ok()).map(str::to_owned).collect();
        (!user.is_empty()).then_some(Self { user, groups })
    }
}

/// Believes certificates that the TLS handshake verified.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClientCertificate;

#[async_trait]
impl Authenticator for ClientCertificate {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<UserInfo>, Rejected> {
        Ok(credentials.certificate.as_ref().map(|peer| UserInfo::new(peer.user.clone(), peer.groups.clone())))
    }
}
