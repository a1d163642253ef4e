//! The audit log, as an admin of everything may read it.
//!
//! Pages come from `coordinator::audit`; that somebody reads is a record itself. Nothing here writes or deletes.

use super::{AuditPage, AuditQuery, Principal, Refusal, Role, Verbs};

/// The audit log.
impl Verbs {
    /// A page of the audit log, oldest first.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] but for an admin of everything; [`Refusal::Invalid`] for a place that no page named.
    pub async fn audit(&self, who: &Principal, query: AuditQuery) -> Result<AuditPage, Refusal> {
        let read = async {
            who.needs(Role::Admin)?;
            who.needs_all()
        };
        // One reading may be many pages.
        match query.after {
            None => self.recorded(who, "audit.read", query.user.as_deref().unwrap_or_default(), read).await?,
            Some(_) => self.watched(who, "audit.read", "", read).await?,
        }
        self.rooms.audit.read(query).await
    }
}
