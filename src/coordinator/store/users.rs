//! Stored users and sessions: one place says whether a user may enter at all, and as what.

use std::sync::Arc;

use rusqlite::{OptionalExtension as _, Row, Transaction};

use super::certificates::forget_old;
use super::fleets::fleet_id;
use super::roster::{cluster_id, unreadable};
use super::{Store, StoreError};
use crate::coordinator::principal::{Door, Principal, Reach, Role, Scope};
use crate::coordinator::users::{Changed, Limits, Session, UserRow};

/// The tables of this room.
pub(super) const TABLES: &str = "
CREATE TABLE users (
    name TEXT PRIMARY KEY,
    hash TEXT NOT NULL,
    role TEXT NOT NULL,
    disabled INTEGER NOT NULL DEFAULT 0,
    limited INTEGER NOT NULL DEFAULT 0, -- to what user_scope names, which may be nothing
    created_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE user_scope (
    user TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    fleet TEXT REFERENCES fleets (id) ON DELETE CASCADE,
    cluster TEXT REFERENCES clusters (id) ON DELETE CASCADE,
    CHECK ((fleet IS NULL) <> (cluster IS NULL))
) STRICT;
CREATE INDEX scope_of_user ON user_scope (user);
CREATE INDEX scopes_of_fleet ON user_scope (fleet);
CREATE INDEX scopes_of_cluster ON user_scope (cluster);

CREATE TABLE sessions (
    digest TEXT PRIMARY KEY,
    user TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    created_ms INTEGER NOT NULL,
    used_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_of_user ON sessions (user, used_ms);
";

/// Sessions of one user at the same time; past it, the one that was not used for longest goes.
const SESSIONS: u32 = 256;

impl Store {
    /// Adds a user; `false` when the name is taken.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn add_user(&self, row: UserRow, hash: String) -> Result<bool, StoreError> {
        self.sure(move |tx| {
            let added = tx.execute(
                "INSERT OR IGNORE INTO users (name, hash, role, disabled, created_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
                (&row.name, &hash, row.role.as_str(), row.disabled, row.created_ms),
            )?;
            if added == 1 {
                limit(tx, &row.name, row.limits.as_ref())?;
            }
            Ok(added == 1)
        })
        .await
    }

    /// All users, by name.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn users(&self) -> Result<Vec<UserRow>, StoreError> {
        self.quick(|tx| {
            let mut select = tx.prepare_cached("SELECT name FROM users ORDER BY name")?;
            let names: Vec<String> = select.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            names.iter().filter_map(|name| row(tx, name).transpose()).collect()
        })
        .await
    }

    /// One user.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn user(&self, name: &str) -> Result<Option<UserRow>, StoreError> {
        let name = name.to_owned();
        self.quick(move |tx| row(tx, &name)).await
    }

    /// Whoever a user is today, by a credential of the kind `door`; nobody when there is no such user, or a disabled one.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn standing(&self, name: &str, door: Door) -> Result<Option<Principal>, StoreError> {
        let name = name.to_owned();
        self.quick(move |tx| standing(tx, &name, door)).await
    }

    /// A user's password hash, and who that is; nobody when the user is disabled.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn password(&self, name: &str) -> Result<Option<(String, Principal)>, StoreError> {
        let name = name.to_owned();
        self.quick(move |tx| {
            let Some(principal) = standing(tx, &name, Door::Password)? else { return Ok(None) };
            let hash = tx.query_row("SELECT hash FROM users WHERE name = ?1", [&name], |row| row.get(0))?;
            Ok(Some((hash, principal)))
        })
        .await
    }

    /// Gives a user another password, which ends all sessions and tokens of that user, and with `all` the user's access keys and
    /// certificates; `false` when there is none of that name.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn change_password(&self, name: &str, hash: String, all: bool, now_ms: i64) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.sure(move |tx| {
            end_entries(tx, &name)?;
            if all {
                tx.execute("DELETE FROM access_keys WHERE user = ?1", [&name])?;
                let revoke = "UPDATE certificates SET revoked_ms = ?2 WHERE user = ?1 AND revoked_ms IS NULL";
                tx.execute(revoke, (&name, now_ms))?;
            }
            Ok(tx.execute("UPDATE users SET hash = ?2 WHERE name = ?1", (&name, &hash))? == 1)
        })
        .await
    }

    /// Changes a user, unless nobody could administer the whole afterwards.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn change_user(
        &self,
        name: &str,
        role: Option<Role>,
        limits: Option<Option<Limits>>,
        disabled: Option<bool>,
    ) -> Result<Changed, StoreError> {
        let name = name.to_owned();
        self.sure(move |tx| {
            let Some(before) = row(tx, &name)? else { return Ok(Changed::Absent) };
            let after = UserRow {
                role: role.unwrap_or(before.role),
                limits: limits.unwrap_or_else(|| before.limits.clone()),
                disabled: disabled.unwrap_or(before.disabled),
                ..before.clone()
            };
            if before.rules() && !after.rules() && !others_rule(tx, &name)? {
                return Ok(Changed::Last);
            }
            tx.execute(
                "UPDATE users SET role = ?2, disabled = ?3 WHERE name = ?1",
                (&name, after.role.as_str(), after.disabled),
            )?;
            limit(tx, &name, after.limits.as_ref())?;
            if after.disabled {
                end_entries(tx, &name)?;
            }
            Ok(Changed::Yes)
        })
        .await
    }

    /// Deletes a user with all that lets the user in, unless nobody could administer the whole afterwards.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn delete_user(&self, name: &str) -> Result<Changed, StoreError> {
        let name = name.to_owned();
        self.sure(move |tx| {
            let Some(before) = row(tx, &name)? else { return Ok(Changed::Absent) };
            if before.rules() && !others_rule(tx, &name)? {
                return Ok(Changed::Last);
            }
            // Sessions, tokens, keys, certificates and pending downloads go with it.
            tx.execute("DELETE FROM users WHERE name = ?1", [&name])?;
            Ok(Changed::Yes)
        })
        .await
    }

    /// Whether there is any user with the role.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn has_role(&self, role: Role) -> Result<bool, StoreError> {
        self.quick(move |tx| {
            Ok(tx.query_row("SELECT EXISTS (SELECT 1 FROM users WHERE role = ?1)", [role.as_str()], |row| row.get(0))?)
        })
        .await
    }

    /// Keeps a session; those that were not used for too long go.
    ///
    /// # Errors
    /// When the state cannot be written, or the user is gone.
    pub async fn add_session(&self, digest: String, user: &str, now_ms: i64, idle_ms: i64) -> Result<(), StoreError> {
        let user = user.to_owned();
        self.quick(move |tx| {
            tx.execute("DELETE FROM sessions WHERE used_ms <= ?1", [now_ms - idle_ms])?;
            tx.execute(
                "DELETE FROM sessions WHERE digest IN
                    (SELECT digest FROM sessions WHERE user = ?1 ORDER BY used_ms DESC LIMIT -1 OFFSET ?2)",
                (&user, SESSIONS - 1),
            )?;
            tx.execute(
                "INSERT INTO sessions (digest, user, created_ms, used_ms) VALUES (?1, ?2, ?3, ?3)",
                (&digest, &user, now_ms),
            )?;
            Ok(())
        })
        .await
    }

    /// Uses a session: good for another `idle_ms` from now, unless it was not used for that long.
    ///
    /// # Errors
    /// When the state cannot be used.
    pub async fn use_session(&self, digest: String, now_ms: i64, idle_ms: i64) -> Result<Option<Session>, StoreError> {
        self.quick(move |tx| {
            let found: Option<(String, i64, i64)> = tx
                .query_row(
                    "SELECT user, created_ms, used_ms FROM sessions WHERE digest = ?1 AND used_ms > ?2",
                    (&digest, now_ms - idle_ms),
                    |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
                )
                .optional()?;
            let Some((user, created_ms, last_used_ms)) = found else { return Ok(None) };
            let Some(principal) = standing(tx, &user, Door::Session)? else { return Ok(None) };
            tx.execute("UPDATE sessions SET used_ms = max(used_ms, ?2) WHERE digest = ?1", (&digest, now_ms))?;
            Ok(Some(Session { principal, created_ms, last_used_ms }))
        })
        .await
    }

    /// Forgets sessions that were not used for too long; users' tokens, pending downloads and used signatures that expired; and
    /// certificates that were over long ago.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn forget_expired(&self, now_ms: i64, idle_ms: i64) -> Result<usize, StoreError> {
        self.quick(move |tx| {
            Ok(tx.execute("DELETE FROM sessions WHERE used_ms <= ?1", [now_ms - idle_ms])?
                + tx.execute("DELETE FROM user_tokens WHERE expires_ms <= ?1", [now_ms])?
                + tx.execute("DELETE FROM bundle_tokens WHERE expires_ms <= ?1", [now_ms])?
                + tx.execute("DELETE FROM used_signatures WHERE until_ms < ?1", [now_ms])?
                + forget_old(tx, now_ms)?)
        })
        .await
    }

    /// Ends a session; `false` when there was none that was good.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn drop_session(&self, digest: String, now_ms: i64, idle_ms: i64) -> Result<bool, StoreError> {
        self.sure(move |tx| {
            let dropped =
                tx.execute("DELETE FROM sessions WHERE digest = ?1 AND used_ms > ?2", (&digest, now_ms - idle_ms))?;
            Ok(dropped == 1)
        })
        .await
    }
}

/// Whoever a user is today, for every kind of credential; nobody when there is no such user, or a disabled one.
pub(super) fn standing(tx: &Transaction<'_>, name: &str, door: Door) -> Result<Option<Principal>, StoreError> {
    let Some(row) = row(tx, name)?.filter(|row| !row.disabled) else { return Ok(None) };
    let scope = match row.limits {
        None => Scope::All,
        Some(limits) => Scope::Only(Arc::new(reach(tx, limits)?)),
    };
    Ok(Some(Principal::new(name, row.role, scope, door)))
}

/// What a limited user reaches at this time.
fn reach(tx: &Transaction<'_>, limits: Limits) -> Result<Reach, StoreError> {
    let Limits { fleets, mut clusters } = limits;
    let mut select = tx.prepare_cached("SELECT cluster FROM fleet_clusters WHERE fleet = ?1")?;
    for fleet in &fleets {
        let held = select.query_map([fleet.to_string()], |row| cluster_id(row, 0))?;
        clusters.extend(held.collect::<Result<Vec<_>, _>>()?);
    }
    Ok(Reach { fleets, clusters })
}

/// Whether any other user may administer everything.
fn others_rule(tx: &Transaction<'_>, but: &str) -> Result<bool, StoreError> {
    Ok(tx.query_row(
        "SELECT EXISTS (SELECT 1 FROM users WHERE role = ?1 AND NOT disabled AND NOT limited AND name <> ?2)",
        (Role::Admin.as_str(), but),
        |row| row.get(0),
    )?)
}

/// Ends what lets a user in without a password: sessions, tokens, pending downloads. Keys and certificates are ended one by one.
fn end_entries(tx: &Transaction<'_>, name: &str) -> Result<(), StoreError> {
    for table in ["sessions", "user_tokens", "bundle_tokens"] {
        tx.execute(&format!("DELETE FROM {table} WHERE user = ?1"), [name])?;
    }
    Ok(())
}

fn limit(tx: &Transaction<'_>, name: &str, limits: Option<&Limits>) -> Result<(), StoreError> {
    tx.execute("UPDATE users SET limited = ?2 WHERE name = ?1", (name, limits.is_some()))?;
    tx.execute("DELETE FROM user_scope WHERE user = ?1", [name])?;
    for fleet in limits.iter().flat_map(|limits| &limits.fleets) {
        tx.execute("INSERT INTO user_scope (user, fleet) VALUES (?1, ?2)", (name, fleet.to_string()))?;
    }
    for cluster in limits.iter().flat_map(|limits| &limits.clusters) {
        tx.execute("INSERT INTO user_scope (user, cluster) VALUES (?1, ?2)", (name, cluster.to_string()))?;
    }
    Ok(())
}

fn row(tx: &Transaction<'_>, name: &str) -> Result<Option<UserRow>, StoreError> {
    let found: Option<(Role, bool, bool, i64)> = tx
        .prepare_cached("SELECT role, disabled, limited, created_ms FROM users WHERE name = ?1")?
        .query_row([name], |row| Ok((role(row, 0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .optional()?;
    let Some((role, disabled, limited, created_ms)) = found else { return Ok(None) };
    let limits = if limited { Some(limits(tx, name)?) } else { None };
    Ok(Some(UserRow { name: name.to_owned(), role, limits, disabled, created_ms }))
}

fn limits(tx: &Transaction<'_>, name: &str) -> Result<Limits, StoreError> {
    let mut limits = Limits::default();
    let mut select = tx.prepare_cached("SELECT fleet FROM user_scope WHERE user = ?1 AND fleet IS NOT NULL")?;
    limits.fleets = select.query_map([name], |row| fleet_id(row, 0))?.collect::<Result<_, _>>()?;
    let mut select = tx.prepare_cached("SELECT cluster FROM user_scope WHERE user = ?1 AND cluster IS NOT NULL")?;
    limits.clusters = select.query_map([name], |row| cluster_id(row, 0))?.collect::<Result<_, _>>()?;
    Ok(limits)
}

fn role(row: &Row<'_>, column: usize) -> rusqlite::Result<Role> {
    let text = row.get_ref(column)?.as_str()?;
    Role::parse(text).ok_or_else(|| unreadable(column, std::io::Error::other(format!("role `{text}`"))))
}
