//! Who may enter: passwords, sessions.
//!
//! Credentials come from the faces' doors; a principal or a refusal goes back. What was shown is never kept here.

use super::{Principal, Refusal, Session, Verbs};
use crate::secret::Secret;

/// Who may enter.
impl Verbs {
    /// Checks a user's password.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`]; [`Refusal::Busy`] when too many passwords wait to be checked.
    pub async fn login(&self, user: &str, password: &Secret) -> Result<Principal, Refusal> {
        self.rooms.users.login(user, password).await
    }

    /// Opens a session; its id is the credential, shown this once.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn open_session(&self, who: &Principal) -> Result<Secret, Refusal> {
        self.rooms.users.open_session(who).await
    }

    /// The session of an id, which counts as used by this.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`] when there is none or it expired.
    pub async fn session(&self, id: &str) -> Result<Session, Refusal> {
        self.rooms.users.session(id).await
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`] when there is none.
    pub async fn close_session(&self, id: &str) -> Result<(), Refusal> {
        self.rooms.users.close_session(id).await
    }
}
