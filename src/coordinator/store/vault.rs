//! The master key: what must be stored and read again is sealed under it, what must be recognised is derived from it.
//!
//! The key comes from a file of its own, outside the database, so that a copy of the database alone opens nothing. What is
//! sealed is bound to its name: a value moved to another name does not open. The key never leaves this file.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use zeroize::Zeroizing;

use crate::secret::random_bytes;
use crate::state;

/// First byte of what is sealed.
const VERSION: u8 = 1;

/// Why the master key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The file cannot be read or made.
    #[error("cannot use the master key {}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others can read it.
    #[error("the master key {} can be read by others; run: chmod 600 {}", .0.display(), .0.display())]
    Exposed(PathBuf),
    /// The file holds no key.
    #[error("{} holds no master key: 32 bytes in base64 are expected", .0.display())]
    Shape(PathBuf),
    /// What was sealed does not open: another key, or somebody changed it.
    #[error("`{0}` in the state was not sealed with this master key")]
    Sealed(String),
}

/// Seals, opens and derives; cheap to clone.
#[derive(Clone)]
pub struct Vault {
    keys: Arc<Keys>,
}

struct Keys {
    seal: LessSafeKey,
    master: hmac::Key,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault")
    }
}

impl Vault {
    /// Reads the key, or makes a new one when there is none and `may_create`.
    ///
    /// # Errors
    /// When the file is missing, others can read it, or it holds no key.
    pub fn open(path: &Path, may_create: bool) -> Result<Self, VaultError> {
        match read(path) {
            Err(VaultError::File { source, .. }) if may_create && source.kind() == io::ErrorKind::NotFound => {
                create(path)?;
                read(path)
            }
            other => other,
        }
    }

    fn from_key(key: &[u8]) -> Option<Self> {
        let master = hmac::Key::new(hmac::HMAC_SHA256, key);
        // Separate uses have separate keys.
        let sealing = hmac::sign(&master, b"sheaf seal v1");
        let seal = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, sealing.as_ref()).ok()?);
        Some(Self { keys: Arc::new(Keys { seal, master }) })
    }

    /// Seals `plain` under `name`.
    ///
    /// # Panics
    /// Never: a value in memory is far below the cipher's bound.
    pub fn seal(&self, name: &str, plain: &[u8]) -> Vec<u8> {
        let nonce = random_bytes::<NONCE_LEN>();
        let mut sealed = vec![VERSION];
        sealed.extend_from_slice(&nonce);
        let mut body = Zeroizing::new(plain.to_vec());
        let tag = self
            .keys
            .seal
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(name.as_bytes()), &mut body)
            .expect("a value in memory is within the cipher's bound");
        sealed.extend_from_slice(&body);
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    /// Opens what was sealed under `name`.
    ///
    /// # Errors
    /// When it was not, or not with this key.
    pub fn open_sealed(&self, name: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let refused = || VaultError::Sealed(name.to_owned());
        let (&version, rest) = sealed.split_first().ok_or_else(refused)?;
        let (nonce, body) = rest.split_at_checked(NONCE_LEN).ok_or_else(refused)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| refused())?;
        let mut body = Zeroizing::new(body.to_vec());
        let plain = self.keys.seal.open_in_place(nonce, Aad::from(name.as_bytes()), &mut body);
        let length = plain.map_err(|_| refused())?.len();
        if version != VERSION {
            return Err(refused());
        }
        body.truncate(length);
        Ok(body)
    }

    /// 32 bytes that only this key's holder can compute from `parts`.
    pub fn derive(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.keys.master);
        context.update(purpose.as_bytes());
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.sign().as_ref());
        bytes
    }
}

fn read(path: &Path) -> Result<Vault, VaultError> {
    let failed = |source| VaultError::File { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let ours = metadata.uid() == nix::unistd::geteuid().as_raw() || metadata.uid() == 0;
    if metadata.permissions().mode() & 0o077 != 0 || !ours {
        return Err(VaultError::Exposed(path.to_owned()));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(128).read_to_string(&mut text).map_err(failed)?;
    let key = Zeroizing::new(STANDARD.decode(text.trim()).map_err(|_| VaultError::Shape(path.to_owned()))?);
    let vault = if key.len() == 32 { Vault::from_key(&key) } else { None };
    vault.ok_or_else(|| VaultError::Shape(path.to_owned()))
}

fn create(path: &Path) -> Result<(), VaultError> {
    let key = Zeroizing::new(random_bytes::<32>());
    let mut text = Zeroizing::new(STANDARD.encode(key.as_slice()));
    text.push('\n');
    state::write(path, text.as_bytes(), 0o600).map_err(|source| VaultError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault() -> (tempfile::TempDir, PathBuf, Vault) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("master.key");
        let vault = Vault::open(&path, true).expect("a new key");
        (folder, path, vault)
    }

    #[test]
    fn what_was_sealed_opens_under_its_name_only() {
        let (_folder, path, vault) = vault();
        let sealed = vault.seal("a", b"value");
        let again = Vault::open(&path, false).expect("the same key");
        assert_eq!(again.open_sealed("a", &sealed).expect("opens").as_slice(), b"value");
        assert!(again.open_sealed("b", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(vault.open_sealed("a", &changed).is_err(), "byte {at}");
        }
        assert!(vault.open_sealed("a", &sealed[..4]).is_err());
    }

    #[test]
    fn another_key_opens_nothing_and_derives_otherwise() {
        let ((_f1, _, one), (_f2, _, two)) = (vault(), vault());
        assert!(two.open_sealed("a", &one.seal("a", b"value")).is_err());
        assert_ne!(one.derive("x", &[b"1"]), two.derive("x", &[b"1"]));
        assert_eq!(one.derive("x", &[b"1"]), one.derive("x", &[b"1"]));
        assert_ne!(one.derive("x", &[b"ab", b"c"]), one.derive("x", &[b"a", b"bc"]));
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let (_folder, path, _) = vault();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).expect("chmod");
        let error = Vault::open(&path, false).expect_err("exposed");
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_missing_or_broken_key_is_no_new_key() {
        let (_folder, path, _) = vault();
        std::fs::write(&path, "short").expect("overwritten");
        assert!(matches!(Vault::open(&path, true), Err(VaultError::Shape(_))));
        std::fs::remove_file(&path).expect("removed");
        assert!(matches!(Vault::open(&path, false), Err(VaultError::File { .. })));
    }
}
