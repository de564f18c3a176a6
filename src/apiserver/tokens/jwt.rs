//! JSON Web Tokens, as far as ServiceAccounts need them: ES256, one key.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use ring::rand::SystemRandom;
use ring::signature::KeyPair as _;
use ring::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, UnparsedPublicKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Longer tokens are nobody's.
const LONGEST: usize = 16 << 10;

/// A signing key and its public half.
pub(super) struct Key {
    pair: EcdsaKeyPair,
    random: SystemRandom,
    /// Uncompressed: 4, x, y.
    point: Vec<u8>,
    id: String,
}

impl Key {
    /// A new key, and its PEM.
    pub fn make() -> Result<(Self, String), String> {
        let made = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| error.to_string())?;
        let pem = made.serialize_pem();
        Ok((Self::read(&made)?, pem))
    }

    /// Reads PKCS#8.
    pub fn from_pem(pem: &str) -> Result<Self, String> {
        Self::read(&KeyPair::from_pem(pem).map_err(|error| error.to_string())?)
    }

    fn read(key: &KeyPair) -> Result<Self, String> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.serialized_der(), &random)
            .map_err(|error| error.to_string())?;
        let point = pair.public_key().as_ref().to_vec();
        let id = BASE64.encode(Sha256::digest(key.subject_public_key_info()));
        Ok(Self { pair, random, point, id })
    }

    /// `HEADER.CLAIMS.SIGNATURE`
    pub fn sign(&self, claims: &Value) -> Result<String, String> {
        let header = json!({ "alg": "ES256", "kid": self.id });
        let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
        let signature = self.pair.sign(&self.random, signed.as_bytes()).map_err(|error| error.to_string())?;
        Ok(format!("{signed}.{}", BASE64.encode(signature)))
    }

    /// The claims of a token that this key signed.
    pub fn verify(&self, token: &str) -> Option<Value> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header = decode(header)?;
        let known = header["kid"].as_str().is_none_or(|id| id == self.id);
        if header["alg"] != "ES256" || !known {
            return None;
        }
        let signature = BASE64.decode(signature).ok()?;
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.point);
        key.verify(signed.as_bytes(), &signature).ok()?;
        decode(claims)
    }

    /// The public half, as a JSON Web Key.
    pub fn public(&self) -> Value {
        let coordinate = |range| BASE64.encode(self.point.get(range).unwrap_or_default());
        json!({
            "use": "sig",
            "kty": "EC",
            "kid": self.id,
            "crv": "P-256",
            "alg": "ES256",
            "x": coordinate(1..33),
            "y": coordinate(33..65),
        })
    }
}

fn decode(part: &str) -> Option<Value> {
    serde_json::from_slice(&BASE64.decode(part).ok()?).ok()
}

/// What a text says that has the form of a token, whoever signed it.
pub(super) fn unchecked_claims(token: &str) -> Option<Value> {
    if token.len() > LONGEST {
        return None;
    }
    let mut parts = token.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() { None } else { decode(claims).filter(Value::is_object) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_knows_its_own_tokens_and_no_others() {
        let (key, pem) = Key::make().unwrap();
        let token = key.sign(&json!({ "sub": "x" })).unwrap();
        let again = Key::from_pem(&pem).unwrap();
        assert_eq!(again.verify(&token), Some(json!({ "sub": "x" })));
        assert!(Key::make().unwrap().0.verify(&token).is_none());
        let (head, signature) = token.rsplit_once('.').unwrap();
        let forged = BASE64.encode(json!({ "sub": "y" }).to_string());
        let header = head.split_once('.').unwrap().0;
        assert!(key.verify(&format!("{header}.{forged}.{signature}")).is_none());
        let none = BASE64.encode(json!({ "alg": "none" }).to_string());
        assert!(key.verify(&format!("{none}.{forged}.")).is_none());
    }

    proptest::proptest! {
        #[test]
        fn nonsense_is_no_token(text in ".{0,200}") {
            let (key, _) = Key::make().unwrap();
            proptest::prop_assert!(key.verify(&text).is_none());
            let _ = unchecked_claims(&text);
        }
    }
}
