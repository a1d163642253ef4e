//! Who may enter: the one place that turns a credential into a principal or a refusal, whichever door it was shown at.
//!
//! Credentials come from the faces' doors. Each kind is checked by its own room; whether its user may enter at all, and as what,
//! the state says at that moment. What was shown is never kept here, and never recorded.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Credential, Door, Principal, Reach, Refusal, Scope, Session, Verbs};
use crate::coordinator::audit::{Actor, Outcome};
use crate::secret::Secret;

/// Who may enter.
impl Verbs {
    /// Whoever stands behind a credential that was shown from the address `from`.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`] when it is not good; [`Refusal::Throttled`] when too many passwords were wrong;
    /// [`Refusal::Busy`] when too many passwords wait to be checked.
    pub async fn authenticate(&self, credential: Credential, from: Option<IpAddr>) -> Result<Principal, Refusal> {
        let named = match &credential {
            Credential::Basic(name, _) => Some(name.clone()),
            _ => None,
        };
        let (kind, key) = of(&credential);
        let checked = self.check(credential, from).await.map(|who| Principal { from, ..who });
        match &checked {
            Ok(who) => self.rooms.audit.entered(who, &key),
            Err(refusal) if refusal.is_denial() => {
                let known = match named {
                    Some(name) => self.rooms.store.user(&name).await?.map(|row| row.name),
                    None => None,
                };
                let stranger = Actor::stranger(known.as_deref(), kind.as_str(), from);
                self.rooms.audit.record(stranger, "login", "", Outcome::of(&checked));
            }
            Err(_) => {}
        }
        checked
    }

    /// Refuses whoever showed nothing that could be checked, where somebody must be known.
    pub fn nameless(&self, from: Option<IpAddr>) -> Refusal {
        let refused = Err::<(), _>(Refusal::Unauthenticated);
        self.rooms.audit.record(Actor::stranger(None, "none", from), "login", "", Outcome::of(&refused));
        Refusal::Unauthenticated
    }

    async fn check(&self, credential: Credential, from: Option<IpAddr>) -> Result<Principal, Refusal> {
        match credential {
            Credential::Basic(name, password) => self.rooms.users.login(&name, &password, from).await,
            // Whatever is one long random text is looked for among all that are: clients put them in each other's headers.
            Credential::Session(text) | Credential::Token(text) => {
                match self.rooms.users.session(text.expose()).await {
                    Ok(session) => Ok(session.principal),
                    Err(Refusal::Unauthenticated) => self.rooms.keys.bearer(&text).await,
                    Err(other) => Err(other),
                }
            }
            Credential::Signed(signed) => self.rooms.keys.signer(&signed).await,
            Credential::Certificate(serial) => self.holder(&serial).await,
        }
    }

    /// The user of a certificate: with what the certificate grants, and no more than the user has today.
    async fn holder(&self, serial: &str) -> Result<Principal, Refusal> {
        let store = &self.rooms.store;
        let granted = store.operator_certificate(serial, self.rooms.clock.now_ms()).await?;
        let granted = granted.ok_or(Refusal::Unauthenticated)?;
        let user = store.standing(&granted.user, Door::Certificate).await?.ok_or(Refusal::Unauthenticated)?;
        let mut reach = Reach { fleets: [granted.fleet].into(), clusters: granted.clusters.into_iter().collect() };
        reach.fleets.retain(|fleet| user.sees_fleet(*fleet));
        reach.clusters.retain(|cluster| user.sees(*cluster));
        Ok(Principal { role: user.role.min(granted.role), scope: Scope::Only(Arc::new(reach)), ..user })
    }

    /// Opens a session; its id is the credential, shown this once.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for whoever came by a credential that grants less than its user has; when the state cannot be
    /// written.
    pub async fn open_session(&self, who: &Principal) -> Result<Secret, Refusal> {
        self.recorded(who, "session.open", "", async {
            is_whole(who)?;
            self.rooms.users.open_session(who).await
        })
        .await
    }

    /// The session of an id, which counts as used by this.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`] when there is none or it expired.
    pub async fn session(&self, id: &str, from: Option<IpAddr>) -> Result<Session, Refusal> {
        let found = self.rooms.users.session(id).await;
        if found.as_ref().is_err_and(Refusal::is_denial) {
            let stranger = Actor::stranger(None, Door::Session.as_str(), from);
            self.rooms.audit.record(stranger, "login", "", Outcome::of(&found));
        }
        let session = found?;
        Ok(Session { principal: Principal { from, ..session.principal }, ..session })
    }

    /// Ends a session; answers whose it was.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`] when there is none.
    pub async fn close_session(&self, id: &str, from: Option<IpAddr>) -> Result<Principal, Refusal> {
        let who = self.session(id, from).await?.principal;
        self.recorded(&who, "session.close", "", self.rooms.users.close_session(id)).await?;
        Ok(who)
    }

    /// Makes a Keystone token, shown this once; it is good until the time that is answered, milliseconds since 1970.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for whoever came by a credential that grants less than its user has; when the state cannot be
    /// written.
    pub async fn issue_token(&self, who: &Principal) -> Result<(Secret, i64), Refusal> {
        self.recorded(who, "token.issue", "", async {
            is_whole(who)?;
            self.rooms.keys.issue_token(who).await
        })
        .await
    }
}

/// What a session or a token would give away: it has all that the user has.
pub(super) fn is_whole(who: &Principal) -> Result<(), Refusal> {
    match who.door {
        Door::Password | Door::Session | Door::Token | Door::Signature => Ok(()),
        Door::Certificate | Door::DownloadToken => Err(Refusal::Forbidden),
    }
}

/// The kind of a credential, and what tells it from others of its kind without being of use to anybody.
fn of(credential: &Credential) -> (Door, String) {
    match credential {
        Credential::Basic(name, _) => (Door::Password, name.clone()),
        Credential::Session(text) => (Door::Session, text.digest()),
        Credential::Token(text) => (Door::Token, text.digest()),
        Credential::Signed(signed) => (Door::Signature, signed.access().to_owned()),
        Credential::Certificate(serial) => (Door::Certificate, serial.clone()),
    }
}
