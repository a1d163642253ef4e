//! Users and their access keys: made, changed, deleted, by an admin of everything; a password and keys also by oneself.
//!
//! Names and passwords come from the native API and go to `coordinator::users` and `coordinator::keys`. One admin of everything is
//! always left. What is made is shown once.

use std::collections::BTreeSet;

use super::enter::is_whole;
use super::{KeyRow, Limits, Principal, Refusal, Role, UserRow, Verbs};
use crate::coordinator::users::Changed;
use crate::secret::Secret;

/// What a user is to be limited to, as somebody typed it: ids or names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedLimits {
    /// Fleets.
    pub fleets: Vec<String>,
    /// Clusters.
    pub clusters: Vec<String>,
}

/// A user that is to be made.
#[derive(Clone, Debug)]
pub struct WantedUser {
    /// The name.
    pub name: String,
    /// The password.
    pub password: Secret,
    /// The role.
    pub role: Role,
    /// What it is limited to, if to anything.
    pub limits: Option<WantedLimits>,
}

/// What is to be changed of a user; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct UserChange {
    /// The role.
    pub role: Option<Role>,
    /// What it is limited to, `Some(None)` for nothing.
    pub limits: Option<Option<WantedLimits>>,
    /// Whether every credential is refused.
    pub disabled: Option<bool>,
}

/// Users.
impl Verbs {
    /// All users, by name.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] but for an admin of everything.
    pub async fn users(&self, who: &Principal) -> Result<Vec<UserRow>, Refusal> {
        self.watched(who, "user.list", "", async {
            rules(who)?;
            Ok(self.rooms.store.users().await?)
        })
        .await
    }

    /// One user: any for an admin of everything, oneself for others.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub async fn user(&self, who: &Principal, name: &str) -> Result<UserRow, Refusal> {
        self.watched(who, "user.read", name, async {
            if name != who.name {
                rules(who)?;
            }
            self.rooms.store.user(name).await?.ok_or_else(|| Refusal::not_found("user", name))
        })
        .await
    }

    /// Makes a user.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] for a taken name; [`Refusal::Invalid`] for an unusable name or password, and for a scope that names
    /// what is not there.
    pub async fn create_user(&self, who: &Principal, wanted: WantedUser) -> Result<UserRow, Refusal> {
        let WantedUser { name, password, role, limits } = wanted;
        self.recorded(who, "user.create", &name, async {
            rules(who)?;
            let limits = match limits {
                None => None,
                Some(limits) => Some(self.found(who, limits).await?),
            };
            if !self.rooms.users.add(&name, &password, role, limits).await? {
                return Err(Refusal::Conflict(format!("there is a user `{name}` already")));
            }
            self.user(who, &name).await
        })
        .await
    }

    /// Changes a user: role, scope, disabled or not. It counts from the next request on, whatever the credential.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]; [`Refusal::Conflict`] when nobody could administer everything any more.
    pub async fn change_user(&self, who: &Principal, name: &str, change: UserChange) -> Result<UserRow, Refusal> {
        let what = match change.disabled {
            Some(true) => "user.disable",
            Some(false) => "user.enable",
            None => "user.change",
        };
        self.recorded(who, what, name, async {
            rules(who)?;
            let limits = match change.limits {
                None => None,
                Some(None) => Some(None),
                Some(Some(limits)) => Some(Some(self.found(who, limits).await?)),
            };
            changed(name, self.rooms.users.change(name, change.role, limits, change.disabled).await?)?;
            self.user(who, name).await
        })
        .await
    }

    /// Deletes a user; sessions, tokens, keys, certificates and pending downloads end with it.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]; [`Refusal::Conflict`] when nobody could administer everything any more.
    pub async fn delete_user(&self, who: &Principal, name: &str) -> Result<(), Refusal> {
        self.recorded(who, "user.delete", name, async {
            rules(who)?;
            changed(name, self.rooms.store.delete_user(name).await?)
        })
        .await
    }

    /// Gives a user another password, which ends the user's sessions and tokens, with `all` also access keys and certificates: one's
    /// own, for the `current` one, or, for an admin of everything, anybody else's.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for an unusable password and without the current one; [`Refusal::Forbidden`] when that is wrong;
    /// [`Refusal::NotFound`].
    pub async fn change_password(
        &self,
        who: &Principal,
        name: &str,
        password: &Secret,
        current: Option<&Secret>,
        all: bool,
    ) -> Result<(), Refusal> {
        let what = if all { "user.password-and-keys" } else { "user.password" };
        self.recorded(who, what, name, async {
            if name == who.name {
                is_whole(who)?;
                let current =
                    current.ok_or_else(|| Refusal::Invalid("your current password is needed as well".into()))?;
                // A session that somebody found open must not become a password.
                let checked = self.rooms.users.login(name, current, who.from).await;
                checked.map_err(
                    |refusal| if refusal == Refusal::Unauthenticated { Refusal::Forbidden } else { refusal },
                )?;
            } else {
                rules(who)?;
            }
            let there = self.rooms.users.change_password(name, password, all).await?;
            if there { Ok(()) } else { Err(Refusal::not_found("user", name)) }
        })
        .await
    }

    /// Access keys, oldest first: one's own, or, for an admin of everything, anybody's or all.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for others' keys.
    pub async fn keys(&self, who: &Principal, user: Option<&str>) -> Result<Vec<KeyRow>, Refusal> {
        self.watched(who, "key.list", user.unwrap_or_default(), async {
            if user != Some(&who.name) {
                rules(who)?;
            }
            self.rooms.keys.list(user).await
        })
        .await
    }

    /// Makes an access key; its secret key is shown this once.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for another user's but to an admin of everything; [`Refusal::NotFound`] for an unknown user;
    /// [`Refusal::Conflict`] when that one has too many.
    pub async fn create_key(
        &self,
        who: &Principal,
        user: &str,
        name: Option<&str>,
    ) -> Result<(KeyRow, Secret), Refusal> {
        self.recorded(who, "key.create", user, async {
            if user == who.name {
                is_whole(who)?;
            } else {
                rules(who)?;
            }
            self.rooms.keys.create(user, name).await
        })
        .await
    }

    /// Revokes an access key: one's own, or, for an admin of everything, anybody's. Answers whose it was.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], also for another's key.
    pub async fn revoke_key(&self, who: &Principal, id: &str) -> Result<String, Refusal> {
        self.recorded(who, "key.revoke", id, async {
            is_whole(who)?;
            let only = if rules(who).is_ok() { None } else { Some(who.name.as_str()) };
            self.rooms.keys.revoke(id, only).await
        })
        .await
    }

    /// A scope as it was typed, by ids.
    async fn found(&self, who: &Principal, wanted: WantedLimits) -> Result<Limits, Refusal> {
        let invalid = |refusal| match refusal {
            Refusal::NotFound(what) => Refusal::Invalid(format!("{what} not found")),
            other => other,
        };
        let (mut fleets, mut clusters) = (BTreeSet::new(), BTreeSet::new());
        for fleet in &wanted.fleets {
            fleets.insert(self.fleet_of(who, fleet).await.map_err(invalid)?.id);
        }
        for cluster in &wanted.clusters {
            clusters.insert(self.cluster_of(who, cluster).await.map_err(invalid)?.row.id);
        }
        Ok(Limits { fleets, clusters })
    }
}

/// An admin of everything.
fn rules(who: &Principal) -> Result<(), Refusal> {
    who.needs(Role::Admin)?;
    who.needs_all()
}

fn changed(name: &str, changed: Changed) -> Result<(), Refusal> {
    match changed {
        Changed::Yes => Ok(()),
        Changed::Absent => Err(Refusal::not_found("user", name)),
        Changed::Last => Err(Refusal::Conflict(format!(
            "`{name}` is the last admin of everything that can log in; make another one first"
        ))),
    }
}
