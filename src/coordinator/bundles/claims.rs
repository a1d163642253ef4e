//! Claims on download tokens: while one call waits for its turn with a token, another with the same token has none.
//!
//! A claim uses nothing up; given back, the token is as good as before. In memory only.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// All claims; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Claims(Arc<Mutex<HashSet<String>>>);

/// A claim on one token, until it is dropped.
#[derive(Debug)]
pub struct Claim {
    digest: String,
    claims: Claims,
}

impl Claims {
    /// Claims the token of this digest; `None` when somebody else has it.
    pub fn take(&self, digest: &str) -> Option<Claim> {
        let new = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(digest.to_owned());
        new.then(|| Claim { digest: digest.to_owned(), claims: self.clone() })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.digest);
    }
}
