//! Secrets: values that cannot be printed, logged or serialised by accident.
//!
//! They come from files, requests and the random source, and leave only through [`Secret::expose`], a word that can be searched for.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use serde::Deserialize;
use zeroize::Zeroizing;

/// A text that prints as `[secret]` and is wiped when dropped.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text in.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// A new secret of 32 random bytes, in URL-safe base64.
    ///
    /// # Panics
    /// When the system has no random source: nothing can be trusted then.
    pub fn random() -> Self {
        Self::new(URL_SAFE_NO_PAD.encode(random_bytes::<32>()))
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether both are the same, in a time that does not tell how much of them is.
    pub fn same(&self, other: &str) -> bool {
        same_bytes(self.0.as_bytes(), other.as_bytes())
    }

    /// What is stored in place of a generated secret: its SHA-256 in hex. Passwords need argon2 instead.
    pub fn digest(&self) -> String {
        hex(ring::digest::digest(&ring::digest::SHA256, self.0.as_bytes()).as_ref())
    }
}
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Random bytes from the system.
///
/// # Panics
/// When the system has no random source: nothing can be trusted then.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the system's random source answers");
    bytes
}

/// Compares without telling by time how much is the same; hashes first, so that lengths tell nothing either.
pub fn same_bytes(a: &[u8], b: &[u8]) -> bool {
    blake3::hash(a) == blake3::hash(b)
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// An agent secret, `sheaf1.<id>.<random>`: found by its id, compared by its digest.
#[derive(Clone, Debug)]
pub struct AgentSecret {
    id: String,
    whole: Secret,
}

impl AgentSecret {
    /// A new agent secret with a random id.
    pub fn random() -> Self {
        let id = hex(&random_bytes::<8>());
        let whole = Secret::new(format!("sheaf1.{id}.{}", Secret::random().expose()));
        Self { id, whole }
    }

    /// Reads one; `None` for any other shape.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('.');
        let (version, id, random) = (parts.next()?, parts.next()?, parts.next()?);
        let shaped = parts.next().is_none()
            && version == "sheaf1"
            && id.len() == 16
            && id.bytes().all(|b| b.is_ascii_hexdigit())
            && random.len() == 43
            && random.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        shaped.then(|| Self { id: id.to_owned(), whole: Secret::new(text.trim()) })
    }

    /// The part by which it is found; no secret.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The whole text.
    pub fn whole(&self) -> &Secret {
        &self.whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print() {
        let secret = AgentSecret::random();
        assert!(!format!("{secret:?}").contains(secret.whole().expose()));
        assert_eq!(
            AgentSecret::parse(secret.whole().expose()).map(|s| s.id().to_owned()),
            Some(secret.id().to_owned())
        );
    }

    #[test]
    fn other_shapes_are_no_agent_secrets() {
        for bad in
            ["", "sheaf1", "sheaf1..", "sheaf2.0011223344556677.x", "sheaf1.0011223344556677.short", "sheaf1.a.b.c"]
        {
            assert!(AgentSecret::parse(bad).is_none(), "{bad:?}");
        }
    }
}
