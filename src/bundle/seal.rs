//! The seal: an Ed25519 signature over the statement of what a bundle is.
//!
//! The private key comes from whoever writes bundles (a coordinator's store, an agent's state) and never leaves this type but as
//! PKCS#8 for storage. What is signed are the exact bytes of one string, so that no reader has to re-serialise anything.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use zeroize::Zeroizing;

use super::manifest::{Seal, Statement};

/// What stands before the 32 bytes of an Ed25519 public key in a SubjectPublicKeyInfo.
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const PEM_BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const PEM_END: &str = "-----END PUBLIC KEY-----";

/// Why bytes are no key, or a seal does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Not a private key that can seal.
    #[error("seal key is no Ed25519 key in PKCS#8")]
    PrivateKey,
    /// Neither PEM nor base64 of an Ed25519 public key.
    #[error("key is neither PEM nor base64 of an Ed25519 public key")]
    PublicKey,
    /// SEAL.json is not what our writer would have made.
    #[error("seal is malformed")]
    Malformed,
    /// The signature is not the key's over the statement.
    #[error("seal's signature is wrong")]
    Signature,
}

/// The key that seals bundles.
pub struct SealKey {
    pair: Ed25519KeyPair,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl SealKey {
    /// A new random key.
    ///
    /// # Panics
    /// When the system has no random source: nothing can be trusted then.
    pub fn generate() -> Self {
        let document =
            Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("the system's random source answers");
        Self::from_pkcs8(document.as_ref()).expect("a generated key is a key")
    }

    /// A key as it was stored.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, SealError> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).map_err(|_| SealError::PrivateKey)?;
        Ok(Self { pair, pkcs8: Zeroizing::new(pkcs8.to_vec()) })
    }

    /// The key for storage.
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The public half, which others pin.
    pub fn public(&self) -> PublicKey {
        let mut key = [0; 32];
        key.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey(key)
    }

    /// Seals a statement.
    pub(super) fn seal(&self, statement: &Statement) -> Seal {
        let statement = serde_json::to_string(statement).expect("a statement of plain values serialises");
        let signature = STANDARD.encode(self.pair.sign(statement.as_bytes()).as_ref());
        Seal { statement, signature, key: self.public().to_string() }
    }
}
impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealKey({})", self.public())
    }
}

/// The public half of a [`SealKey`]; prints as base64 of its 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Reads a key: PEM (`BEGIN PUBLIC KEY`), or base64 of its 32 bytes or of its SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, SealError> {
        let text = match text.split_once(PEM_BEGIN) {
            Some((_, rest)) => rest.split_once(PEM_END).ok_or(SealError::PublicKey)?.0,
            None => text,
        };
        let text: String = text.split_ascii_whitespace().collect();
        let bytes = STANDARD.decode(text).map_err(|_| SealError::PublicKey)?;
        let key = bytes.strip_prefix(SPKI.as_slice()).unwrap_or(&bytes);
        key.try_into().map(Self).map_err(|_| SealError::PublicKey)
    }

    /// The key as PEM, as `openssl pkey -pubin` reads it.
    pub fn to_pem(&self) -> String {
        let spki = [SPKI.as_slice(), &self.0].concat();
        format!("{PEM_BEGIN}\n{}\n{PEM_END}\n", STANDARD.encode(spki))
    }
}
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl Seal {
    /// The exact content of SEAL.json.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec(self).expect("a seal of texts serialises");
        text.push(b'\n');
        text
    }

    /// Reads SEAL.json, which must be byte for byte what [`Seal::encode`] makes, and checks the signature with the key that it
    /// names itself. Whether that key is to be trusted is the caller's to say.
    ///
    /// # Errors
    /// When it is malformed, or the signature is wrong.
    pub fn open(content: &[u8]) -> Result<(Statement, PublicKey), SealError> {
        let seal: Self = serde_json::from_slice(content).map_err(|_| SealError::Malformed)?;
        if seal.encode() != content {
            return Err(SealError::Malformed);
        }
        let key = PublicKey::parse(&seal.key).map_err(|_| SealError::Malformed)?;
        if key.to_string() != seal.key {
            return Err(SealError::Malformed);
        }
        let signature = STANDARD.decode(&seal.signature).map_err(|_| SealError::Malformed)?;
        UnparsedPublicKey::new(&ED25519, key.0)
            .verify(seal.statement.as_bytes(), &signature)
            .map_err(|_| SealError::Signature)?;
        let statement = serde_json::from_str(&seal.statement).map_err(|_| SealError::Malformed)?;
        Ok((statement, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_from_every_form() {
        let key = SealKey::generate();
        let public = key.public();
        assert_eq!(SealKey::from_pkcs8(key.pkcs8()).expect("stored").public(), public);
        let pem = public.to_pem();
        let spki: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        for text in [public.to_string(), format!(" {public}\n"), pem.clone(), format!("# a comment\n{pem}"), spki] {
            assert_eq!(PublicKey::parse(&text), Ok(public), "{text}");
        }
        for text in ["", "AAAA", "-----BEGIN PUBLIC KEY-----\nAAAA", "not base64!", &public.to_string()[1..]] {
            assert_eq!(PublicKey::parse(text), Err(SealError::PublicKey), "{text}");
        }
        assert!(SealKey::from_pkcs8(b"junk").is_err());
    }

    #[test]
    fn the_private_half_does_not_print() {
        let key = SealKey::generate();
        assert_eq!(format!("{key:?}"), format!("SealKey({})", key.public()));
    }
}
