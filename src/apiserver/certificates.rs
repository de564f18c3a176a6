//! The cluster's own certificate authority, and what it signs.
//!
//! *Guarantees*: the authority's key is readable by its owner only and never leaves the folder; a server certificate is
//! made anew at each start, so that it is never near its end; an authority near its end is replaced at start.

mod requests;
mod signing;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::files::{Access, write_atomically};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use thiserror::Error;
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer, X509Certificate};

pub use requests::CertificateRequests;
pub use signing::Wanted;

const AUTHORITY_DAYS: i64 = 3650;
/// What Apple's verifier accepts at most is 825 days.
const LEAF_DAYS: i64 = 800;
/// An authority with less than this left is replaced: longer than a leaf lives.
const RENEW_DAYS: i64 = 900;

/// Why certificates could not be had.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// A file of the authority cannot be read or written.
    #[error("cannot use the certificate file {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The authority's files are there and are no authority.
    #[error("{} holds no usable certificate authority ({detail}); remove it and its key to have a new one made", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A name cannot stand in a certificate.
    #[error("{name:?} cannot stand in a certificate; use a DNS name or an IP address")]
    Name {
        /// The name.
        name: String,
    },
    /// A certificate holds at most two groups.
    #[error("a client certificate holds at most two groups, {count} were asked for")]
    TooManyGroups {
        /// How many.
        count: usize,
    },
    /// Key generation or signing failed.
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
    /// The TLS library refused a certificate.
    #[error("cannot use a certificate for TLS: {0}")]
    Tls(String),
}

/// A certificate with its key, both PEM.
#[derive(Clone)]
pub struct Pair {
    /// The certificate.
    pub certificate_pem: String,
    /// The private key, PKCS#8.
    pub key_pem: String,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Pair(certificate, key)")
    }
}

/// The certificate authority that a cluster trusts.
pub struct Authority {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Authority")
    }
}

impl Authority {
    /// Reads `ca.crt` and `ca.key` of `folder`, or makes them.
    ///
    /// # Errors
    /// When the files are there and cannot be used; they are never overwritten then.
    pub fn load_or_create(folder: &Path) -> Result<Self, CertificateError> {
        let (certificate, key) = (folder.join("ca.crt"), folder.join("ca.key"));
        match (read(&certificate)?, read(&key)?) {
            (Some(certificate_pem), Some(key_pem)) => {
                let damaged = |detail| CertificateError::Damaged { path: certificate.clone(), detail };
                let loaded = Self::load(&certificate_pem, &key_pem).map_err(damaged)?;
                if loaded.days_left().map_err(damaged)? > RENEW_DAYS { Ok(loaded) } else { Self::create(folder) }
            }
            (None, None) => Self::create(folder),
            (Some(_), None) => {
                Err(CertificateError::Damaged { path: certificate, detail: "its key is missing".into() })
            }
            (None, Some(_)) => {
                Err(CertificateError::Damaged { path: key, detail: "its certificate is missing".into() })
            }
        }
    }

    /// An authority in memory only.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn ephemeral() -> Result<Self, CertificateError> {
        Ok(Self::make()?.0)
    }

    fn create(folder: &Path) -> Result<Self, CertificateError> {
        let (made, key_pem) = Self::make()?;
        let write = |name: &str, text: &str, access| {
            let path = folder.join(name);
            write_atomically(&path, text.as_bytes(), access).map_err(|source| CertificateError::Io { path, source })
        };
        write("ca.key", &key_pem, Access::Private)?;
        write("ca.crt", &made.certificate_pem, Access::Shared)?;
        Ok(made)
    }

    fn make() -> Result<(Self, String), CertificateError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        lifetime(&mut params, AUTHORITY_DAYS);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "coracle-ca");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key)?;
        let key_pem = key.serialize_pem();
        let made = Self {
            certificate: certificate.der().clone(),
            certificate_pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        };
        Ok((made, key_pem))
    }

    fn load(certificate_pem: &str, key_pem: &str) -> Result<Self, String> {
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes()).map_err(|e| e.to_string())?;
        let key = KeyPair::from_pem(key_pem).map_err(|error| error.to_string())?;
        let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|error| error.to_string())?;
        if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err("the key belongs to another certificate".to_owned());
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(|error| error.to_string())?;
        Ok(Self { certificate, certificate_pem: certificate_pem.to_owned(), issuer })
    }

    fn days_left(&self) -> Result<i64, String> {
        let (_, parsed) = X509Certificate::from_der(&self.certificate).map_err(|error| error.to_string())?;
        let left = parsed.validity().not_after.timestamp() - OffsetDateTime::now_utc().unix_timestamp();
        Ok(left / 86_400)
    }

    /// The authority's certificate, for kubeconfigs.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// A certificate for an API server: the names that Kubernetes' clients use, this host's, and `extra`.
    ///
    /// # Errors
    /// When a name of `extra` can stand in no certificate.
    pub fn server_certificate(&self, extra: &[String]) -> Result<Pair, CertificateError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "coracle-apiserver");
        params.subject_alt_names = server_names(extra)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    /// A certificate that makes whoever holds its key `user`, a member of `groups` (two at most).
    ///
    /// # Errors
    /// When there are too many groups, or signing fails.
    pub fn client_certificate(&self, user: &str, groups: &[&str]) -> Result<Pair, CertificateError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        // rcgen keeps one value a type; the same OID written out is a second type to it.
        let slots = [DnType::OrganizationName, DnType::CustomDnType(vec![2, 5, 4, 10])];
        if groups.len() > slots.len() {
            return Err(CertificateError::TooManyGroups { count: groups.len() });
        }
        for (slot, group) in slots.into_iter().zip(groups) {
            params.distinguished_name.push(slot, *group);
        }
        params.distinguished_name.push(DnType::CommonName, user);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    /// The certificate of `kubectl`'s administrator.
    ///
    /// # Errors
    /// When signing fails.
    pub fn admin_certificate(&self) -> Result<Pair, CertificateError> {
        self.client_certificate("kubernetes-admin", &[api::UserInfo::MASTERS])
    }

    fn sign(&self, mut params: CertificateParams) -> Result<Pair, CertificateError> {
        lifetime(&mut params, LEAF_DAYS);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Pair { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// TLS for an API listener: `pair` proves the server, clients may prove themselves with a certificate of this
    /// authority, HTTP/2 is preferred.
    ///
    /// # Errors
    /// When the TLS library refuses a certificate.
    pub fn server_tls(&self, pair: &Pair) -> Result<rustls::ServerConfig, CertificateError> {
        let tls = |error: &dyn std::fmt::Display| CertificateError::Tls(error.to_string());
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).map_err(|error| tls(&error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .allow_unauthenticated()
            .build()
            .map_err(|error| tls(&error))?;
        let chain = vec![CertificateDer::from_pem_slice(pair.certificate_pem.as_bytes()).map_err(|error| tls(&error))?];
        let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).map_err(|error| tls(&error))?;
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| tls(&error))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(|error| tls(&error))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn read(path: &Path) -> Result<Option<String>, CertificateError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CertificateError::Io { path: path.to_owned(), source }),
    }
}

fn lifetime(params: &mut CertificateParams, days: i64) {
    // An hour back, for clocks that disagree a little.
    params.not_before = OffsetDateTime::now_utc() - Duration::hours(1);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(days);
}

/// Every name that an API server answers to.
fn server_names(extra: &[String]) -> Result<Vec<SanType>, CertificateError> {
    let mut names: Vec<SanType> = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
        // The `kubernetes` Service.
        IpAddr::V4(Ipv4Addr::new(10, 96, 0, 1)),
    ]
    .into_iter()
    .map(SanType::IpAddress)
    .collect();
    let fixed = [
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ];
    let dns = |name: &str| name.to_owned().try_into().map(SanType::DnsName);
    for name in fixed {
        names.push(dns(name)?);
    }
    // A host may have a name that no certificate can hold; then it is not offered.
    names.extend(dns(&base::os::host().name.to_ascii_lowercase()).ok());
    for name in extra {
        let wrong = || CertificateError::Name { name: name.clone() };
        let plausible = !name.is_empty() && !name.contains(|letter: char| letter.is_whitespace() || letter == '/');
        let san = match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) if plausible => dns(name).map_err(|_| wrong())?,
            Err(_) => return Err(wrong()),
        };
        if !names.contains(&san) {
            names.push(san);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_made_once_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let first = Authority::load_or_create(folder.path()).unwrap();
        let second = Authority::load_or_create(folder.path()).unwrap();
        assert_eq!(first.certificate_pem(), second.certificate_pem());
        let pair = second.server_certificate(&["node.example".to_owned(), "192.0.2.7".to_owned()]).unwrap();
        second.server_tls(&pair).unwrap();
    }

    #[test]
    fn damaged_files_are_kept_and_named() {
        let folder = tempfile::tempdir().unwrap();
        Authority::load_or_create(folder.path()).unwrap();
        std::fs::write(folder.path().join("ca.crt"), "nonsense").unwrap();
        let message = Authority::load_or_create(folder.path()).unwrap_err().to_string();
        assert!(message.contains("ca.crt"), "{message}");
        assert_eq!(std::fs::read_to_string(folder.path().join("ca.crt")).unwrap(), "nonsense");
    }

    #[test]
    fn a_client_certificate_names_its_user_and_groups() {
        let authority = Authority::ephemeral().unwrap();
        let pair = authority.client_certificate("system:node:a", &["system:nodes", "extra"]).unwrap();
        let der = CertificateDer::from_pem_slice(pair.certificate_pem.as_bytes()).unwrap();
        let peer = crate::authentication::PeerCertificate::from_der(&der).unwrap();
        assert_eq!(peer.user, "system:node:a");
        assert_eq!(peer.groups, ["system:nodes", "extra"]);
    }

    #[test]
    fn a_name_that_cannot_be_in_a_certificate_is_refused() {
        let authority = Authority::ephemeral().unwrap();
        for name in ["", "a b", "https://x/"] {
            authority.server_certificate(&[name.to_owned()]).unwrap_err();
        }
    }
}
