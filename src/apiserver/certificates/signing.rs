//! Signing what others ask for.

use std::net::IpAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer;

use super::Authority;

/// How far clocks may differ.
const BACKDATED: Duration = Duration::minutes(5);

/// What a request in PEM asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
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

impl Wanted {
    /// Reads a request, and checks that whoever made it has the key.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(pem: &str) -> Result<Self, String> {
        let params = CertificateSigningRequestParams::from_pem(pem).map_err(|error| error.to_string())?;
        let (_, block) = parse_x509_pem(pem.as_bytes()).map_err(|error| error.to_string())?;
        let (_, request) = X509CertificationRequest::from_der(&block.contents).map_err(|error| error.to_string())?;
        let subject = &request.certification_request_info.subject;
        let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| value.as_str().unwrap_or_default().to_owned();
        let mut wanted = Self {
            common_name: subject.iter_common_name().next().map(text).unwrap_or_default(),
            organizations: subject.iter_organization().map(text).collect(),
            ..Self::default()
        };
        for name in params.params.subject_alt_names {
            match name {
                SanType::DnsName(name) => wanted.dns_names.push(name.as_str().to_owned()),
                SanType::IpAddress(address) => wanted.addresses.push(address),
                _ => wanted.other_names += 1,
            }
        }
        Ok(wanted)
    }

    pub(super) fn of_base64(text: &str) -> Result<Self, String> {
        let bytes = BASE64_STANDARD.decode(text).map_err(|error| error.to_string())?;
        Self::of(&String::from_utf8(bytes).map_err(|error| error.to_string())?)
    }
}

impl Authority {
    /// Signs a request in PEM for `usages`, as CertificateSigningRequests name them, for so many seconds.
    ///
    /// # Errors
    /// What is wrong with the request, or with a usage.
    pub fn sign_request(&self, pem: &str, usages: &[String], seconds: i64) -> Result<String, String> {
        let wanted = Wanted::of(pem)?;
        let asked = CertificateSigningRequestParams::from_pem(pem).map_err(|error| error.to_string())?;
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(&wanted)?;
        params.subject_alt_names = asked.params.subject_alt_names;
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        for usage in usages {
            match (key_usage(usage), extended_usage(usage)) {
                (Some(usage), _) => params.key_usages.push(usage),
                (None, Some(usage)) => params.extended_key_usages.push(usage),
                (None, None) => return Err(format!("unrecognized usages: [{usage:?}]")),
            }
        }
        let now = OffsetDateTime::now_utc();
        params.not_before = now - BACKDATED;
        let end = now + Duration::seconds(seconds);
        params.not_after = self.days_left().map_or(end, |days| end.min(now + Duration::days(days)));
        let signed = params.signed_by(&asked.public_key, &self.issuer).map_err(|error| error.to_string())?;
        Ok(signed.pem())
    }
}

fn subject(wanted: &Wanted) -> Result<DistinguishedName, String> {
    let mut subject = DistinguishedName::new();
    // rcgen keeps one value a type; the same OID written out is a second type to it.
    let slots = [DnType::OrganizationName, DnType::CustomDnType(vec![2, 5, 4, 10])];
    if wanted.organizations.len() > slots.len() {
        return Err(format!("a certificate holds at most {} organizations", slots.len()));
    }
    for (slot, organization) in slots.into_iter().zip(&wanted.organizations) {
        subject.push(slot, organization.as_str());
    }
    if !wanted.common_name.is_empty() {
        subject.push(DnType::CommonName, wanted.common_name.as_str());
    }
    Ok(subject)
}

fn key_usage(name: &str) -> Option<KeyUsagePurpose> {
    Some(match name {
        "signing" | "digital signature" => KeyUsagePurpose::DigitalSignature,
        "content commitment" => KeyUsagePurpose::ContentCommitment,
        "key encipherment" => KeyUsagePurpose::KeyEncipherment,
        "key agreement" => KeyUsagePurpose::KeyAgreement,
        "data encipherment" => KeyUsagePurpose::DataEncipherment,
        "cert sign" => KeyUsagePurpose::KeyCertSign,
        "crl sign" => KeyUsagePurpose::CrlSign,
        "encipher only" => KeyUsagePurpose::EncipherOnly,
        "decipher only" => KeyUsagePurpose::DecipherOnly,
        _ => return None,
    })
}

fn extended_usage(name: &str) -> Option<ExtendedKeyUsagePurpose> {
    let other = |last: &[u64]| {
        let mut oid = vec![1, 3, 6, 1];
        oid.extend_from_slice(last);
        ExtendedKeyUsagePurpose::Other(oid)
    };
    Some(match name {
        "any" => ExtendedKeyUsagePurpose::Any,
        "server auth" => ExtendedKeyUsagePurpose::ServerAuth,
        "client auth" => ExtendedKeyUsagePurpose::ClientAuth,
        "code signing" => ExtendedKeyUsagePurpose::CodeSigning,
        "email protection" | "s/mime" => ExtendedKeyUsagePurpose::EmailProtection,
        "timestamping" => ExtendedKeyUsagePurpose::TimeStamping,
        "ocsp signing" => ExtendedKeyUsagePurpose::OcspSigning,
        "ipsec end system" => other(&[5, 5, 7, 3, 5]),
        "ipsec tunnel" => other(&[5, 5, 7, 3, 6]),
        "ipsec user" => other(&[5, 5, 7, 3, 7]),
        "microsoft sgc" => other(&[4, 1, 311, 10, 3, 3]),
        "netscape sgc" => ExtendedKeyUsagePurpose::Other(vec![2, 16, 840, 1, 113_730, 4, 1]),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use rcgen::KeyPair;

    use super::*;

    #[test]
    fn a_request_is_signed_for_what_it_names() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["node.example".to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
        params.distinguished_name.push(DnType::CommonName, "system:node:a");
        let pem = params.serialize_request(&key).unwrap().pem().unwrap();
        let wanted = Wanted::of(&pem).unwrap();
        assert_eq!(wanted.common_name, "system:node:a");
        assert_eq!(wanted.organizations, ["system:nodes"]);
        assert_eq!(wanted.dns_names, ["node.example"]);
        let authority = Authority::ephemeral().unwrap();
        let usages = ["digital signature", "client auth"].map(str::to_owned);
        let signed = authority.sign_request(&pem, &usages, 3600).unwrap();
        let (_, block) = parse_x509_pem(signed.as_bytes()).unwrap();
        let peer = crate::authentication::PeerCertificate::from_der(&block.contents).unwrap();
        assert_eq!((peer.user.as_str(), peer.groups), ("system:node:a", vec!["system:nodes".to_owned()]));
        assert!(authority.sign_request(&pem, &["mind reading".to_owned()], 3600).is_err());
        assert!(Wanted::of("nonsense").is_err());
    }
}
