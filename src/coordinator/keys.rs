//! Access keys (AK/SK) and Keystone tokens of users.
//!
//! The secret key must be known again to check a signature, so it is sealed under the master key and opened for the moment of the
//! check; a token is only recognised, so it is hashed. Both are shown once, when they are made. What was shown at the door
//! becomes a [`Principal`] or a refusal.

use super::principal::Principal;
use super::refusal::Refusal;
use super::signature::Signed;
use super::store::vault::Vault;
use super::store::{Added, Store};
use crate::clock::Clock;
use crate::limits;
use crate::secret::{Secret, random_bytes};

pub use super::store::keys::KeyRow;

/// Characters of an access key; those of a secret key are twice as many.
const ACCESS: usize = 20;
const SYMBOLS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// Bytes of a token that anybody has.
const LONGEST: usize = 1024;
/// Characters of a key's name.
const NAME: usize = 64;

/// Checks signatures and tokens; cheap to clone.
#[derive(Clone)]
pub struct Keys {
    store: Store,
    vault: Vault,
    clock: Clock,
}

impl Keys {
    /// Keys of a store.
    pub fn new(store: Store, vault: Vault, clock: Clock) -> Self {
        Self { store, vault, clock }
    }

    /// Makes an access key; the secret key is shown this once.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for an unknown user; [`Refusal::Conflict`] when that one has too many; [`Refusal::Invalid`] for an
    /// unusable name.
    pub async fn create(&self, user: &str, name: Option<&str>) -> Result<(KeyRow, Secret), Refusal> {
        let id = symbols::<ACCESS>();
        let secret = Secret::new(symbols::<{ ACCESS * 2 }>());
        let name = name.unwrap_or(&id).to_owned();
        if name.is_empty() || name.chars().count() > NAME || name.chars().any(char::is_control) {
            return Err(Refusal::Invalid(format!("a key's name is 1 to {NAME} characters")));
        }
        let sealed = self.vault.seal(&place(&id), secret.expose().as_bytes());
        let row = KeyRow { id, name, user: user.to_owned(), created_ms: self.clock.now_ms(), used_ms: None };
        match self.store.add_key(row.clone(), sealed).await? {
            Added::Yes => Ok((row, secret)),
            Added::NoOwner => Err(Refusal::not_found("user", user)),
            Added::TooMany => Err(Refusal::Conflict("this user has too many access keys; revoke one first".into())),
        }
    }

    /// Access keys of a user, or all, oldest first; never the secret keys.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn list(&self, user: Option<&str>) -> Result<Vec<KeyRow>, Refusal> {
        Ok(self.store.keys(user).await?)
    }

    /// Revokes an access key of `user`, or anybody's without one; answers whose it was.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub async fn revoke(&self, id: &str, user: Option<&str>) -> Result<String, Refusal> {
        self.store.drop_key(id, user).await?.ok_or_else(|| Refusal::not_found("access key", id))
    }

    /// Whoever signed a request. One that may change something is taken once: whoever overheard it cannot have it done again. The
    /// same request made twice within a second has the same signature, and the second is refused as well, since nothing tells
    /// it from an echo; a client that tries again signs again, with the time of then. What only reads may be repeated.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`] when the key is not known, its user may not enter, or the signature is wrong, too old, or was
    /// used up; [`Refusal::Busy`] when the key changes more than can be remembered.
    pub async fn signer(&self, signed: &Signed) -> Result<Principal, Refusal> {
        let id = signed.access();
        let found = if id.len() == ACCESS { self.store.key(id).await? } else { None };
        let (principal, sealed) = found.ok_or(Refusal::Unauthenticated)?;
        let opened = self.vault.open_sealed(&place(id), &sealed);
        let opened = opened.map_err(|e| Refusal::internal("a secret key does not open", &e))?;
        let now = self.clock.now_ms();
        if !signed.is_good(&Secret::new(String::from_utf8_lossy(&opened)), now) {
            return Err(Refusal::Unauthenticated);
        }
        if signed.changes() {
            match self.store.use_signature(signed.digest(), id, now, signed.until_ms()).await? {
                Added::Yes => {}
                Added::NoOwner => return Err(Refusal::Unauthenticated),
                Added::TooMany => return Err(Refusal::Busy),
            }
        }
        self.store.key_used(id, now).await?;
        Ok(principal)
    }

    /// Makes a token for a user; it is shown this once. Answers until when it is good, milliseconds since 1970.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn issue_token(&self, who: &Principal) -> Result<(Secret, i64), Refusal> {
        let token = Secret::random();
        let now = self.clock.now_ms();
        let expires = now + limits::USER_TOKEN.as_millis() as i64;
        self.store.add_user_token(token.digest(), &who.name, now, expires).await?;
        Ok((token, expires))
    }

    /// Whose token it is.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`] when it is nobody's.
    pub async fn bearer(&self, token: &Secret) -> Result<Principal, Refusal> {
        if token.expose().is_empty() || token.expose().len() > LONGEST {
            return Err(Refusal::Unauthenticated);
        }
        self.store.user_token(token.digest(), self.clock.now_ms()).await?.ok_or(Refusal::Unauthenticated)
    }
}

/// The name under which a secret key is sealed.
fn place(id: &str) -> String {
    format!("secret key {id}")
}

fn symbols<const N: usize>() -> String {
    // A byte has eight times as many values as there are symbols: each is as likely as any other.
    random_bytes::<N>().iter().map(|byte| char::from(SYMBOLS[usize::from(byte % 32)])).collect()
}
