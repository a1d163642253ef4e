//! Stored users and sessions.

use rusqlite::{OptionalExtension as _, Row};

use super::roster::unreadable;
use super::{Store, StoreError};
use crate::coordinator::principal::{Door, Principal, Role, Scope};
use crate::coordinator::users::Session;

/// The tables of this room.
pub(super) const TABLES: &str = "
CREATE TABLE users (
    name TEXT PRIMARY KEY,
    hash TEXT NOT NULL,
    role TEXT NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT;

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
    pub async fn add_user(&self, name: &str, hash: String, role: Role, now_ms: i64) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.sure(move |tx| {
            let added = tx.execute(
                "INSERT OR IGNORE INTO users (name, hash, role, created_ms) VALUES (?1, ?2, ?3, ?4)",
                (&name, &hash, role.as_str(), now_ms),
            )?;
            Ok(added == 1)
        })
        .await
    }

    /// Gives a user another password, which ends all sessions of that user; `false` when there is none of that name.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn change_password(&self, name: &str, hash: String) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.sure(move |tx| {
            tx.execute("DELETE FROM sessions WHERE user = ?1", [&name])?;
            Ok(tx.execute("UPDATE users SET hash = ?2 WHERE name = ?1", (&name, &hash))? == 1)
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

    /// A user's password hash and role.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn user(&self, name: &str) -> Result<Option<(String, Role)>, StoreError> {
        let name = name.to_owned();
        self.quick(move |tx| {
            Ok(tx
                .query_row("SELECT hash, role FROM users WHERE name = ?1", [&name], |row| {
                    Ok((row.get(0)?, role(row, 1)?))
                })
                .optional()?)
        })
        .await
    }

    /// Keeps a session.
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
            let found = tx
                .query_row(
                    "SELECT s.user, u.role, s.created_ms, s.used_ms FROM sessions s JOIN users u ON u.name = s.user
                     WHERE s.digest = ?1 AND s.used_ms > ?2",
                    (&digest, now_ms - idle_ms),
                    |row| {
                        let name: String = row.get(0)?;
                        let principal = Principal::new(&name, role(row, 1)?, Scope::All, Door::Session);
                        Ok(Session { principal, created_ms: row.get(2)?, last_used_ms: row.get(3)? })
                    },
                )
                .optional()?;
            if found.is_some() {
                tx.execute("UPDATE sessions SET used_ms = max(used_ms, ?2) WHERE digest = ?1", (&digest, now_ms))?;
            }
            Ok(found)
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

fn role(row: &Row<'_>, column: usize) -> rusqlite::Result<Role> {
    let text = row.get_ref(column)?.as_str()?;
    Role::parse(text).ok_or_else(|| unreadable(column, std::io::Error::other(format!("role `{text}`"))))
}
