//! Stored access keys and Keystone tokens: the keys' secrets sealed, the tokens hashed.

use rusqlite::OptionalExtension as _;

use super::users::standing;
use super::{Added, Store, StoreError};
use crate::coordinator::principal::{Door, Principal};

/// The tables of this room.
pub(super) const TABLES: &str = "
CREATE TABLE access_keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    user TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    sealed BLOB NOT NULL,
    created_ms INTEGER NOT NULL,
    used_ms INTEGER
) STRICT;
CREATE INDEX access_keys_of_user ON access_keys (user);

CREATE TABLE user_tokens (
    digest TEXT PRIMARY KEY,
    user TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    expires_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX user_tokens_of_user ON user_tokens (user, expires_ms);
";

/// Signatures of requests that change something, for as long as each could be sent again.
pub(super) const SIGNATURES: &str = "
CREATE TABLE used_signatures (
    digest TEXT PRIMARY KEY,
    key TEXT NOT NULL REFERENCES access_keys (id) ON DELETE CASCADE,
    until_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX used_signatures_of_key ON used_signatures (key, until_ms);
CREATE INDEX used_signatures_by_end ON used_signatures (until_ms);
";

/// Signatures of one key that are remembered at the same time; past it, the key can change nothing until some are over.
const USES: u32 = 20_000;
/// Access keys of one user.
const KEYS: u32 = 20;
/// Tokens of one user at the same time; past it, the one that would expire first goes.
const TOKENS: u32 = 256;
/// How often the time of a key's last use is written.
const USED_MS: i64 = 60_000;

/// An access key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// The access key.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// Whose it is.
    pub user: String,
    /// When it was made, milliseconds since 1970.
    pub created_ms: i64,
    /// When a signature of it was last accepted, about.
    pub used_ms: Option<i64>,
}

impl Store {
    /// Keeps an access key.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn add_key(&self, row: KeyRow, sealed: Vec<u8>) -> Result<Added, StoreError> {
        self.sure(move |tx| {
            let there: bool =
                tx.query_row("SELECT EXISTS (SELECT 1 FROM users WHERE name = ?1)", [&row.user], |row| row.get(0))?;
            if !there {
                return Ok(Added::NoOwner);
            }
            let added = tx.execute(
                "INSERT INTO access_keys (id, name, user, sealed, created_ms)
                 SELECT ?1, ?2, ?3, ?4, ?5 WHERE (SELECT count(*) FROM access_keys WHERE user = ?3) < ?6",
                (&row.id, &row.name, &row.user, &sealed, row.created_ms, KEYS),
            )?;
            Ok(if added == 1 { Added::Yes } else { Added::TooMany })
        })
        .await
    }

    /// Access keys of a user, or all, oldest first.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn keys(&self, user: Option<&str>) -> Result<Vec<KeyRow>, StoreError> {
        let user = user.map(str::to_owned);
        self.quick(move |tx| {
            let mut select = tx.prepare_cached(
                "SELECT id, name, user, created_ms, used_ms FROM access_keys WHERE ?1 IS NULL OR user = ?1
                 ORDER BY created_ms, id",
            )?;
            let rows = select.query_map([&user], |row| {
                Ok(KeyRow {
                    id: row.get(0)?,
                    name: row.get(1)?,
                    user: row.get(2)?,
                    created_ms: row.get(3)?,
                    used_ms: row.get(4)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Forgets an access key of `user`, or anybody's without one; answers whose it was.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn drop_key(&self, id: &str, user: Option<&str>) -> Result<Option<String>, StoreError> {
        let (id, user) = (id.to_owned(), user.map(str::to_owned));
        self.sure(move |tx| {
            let delete = "DELETE FROM access_keys WHERE id = ?1 AND (?2 IS NULL OR user = ?2) RETURNING user";
            Ok(tx.query_row(delete, (&id, &user), |row| row.get(0)).optional()?)
        })
        .await
    }

    /// An access key's sealed secret, and whose it is; `None` also when that user may not enter.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn key(&self, id: &str) -> Result<Option<(Principal, Vec<u8>)>, StoreError> {
        let id = id.to_owned();
        self.quick(move |tx| {
            let found: Option<(String, Vec<u8>)> = tx
                .query_row("SELECT user, sealed FROM access_keys WHERE id = ?1", [&id], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .optional()?;
            let Some((user, sealed)) = found else { return Ok(None) };
            Ok(standing(tx, &user, Door::Signature)?.map(|principal| (principal, sealed)))
        })
        .await
    }

    /// Notes that a signature of the key was accepted.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn key_used(&self, id: &str, now_ms: i64) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.quick(move |tx| {
            tx.execute(
                "UPDATE access_keys SET used_ms = ?2 WHERE id = ?1 AND coalesce(used_ms, 0) <= ?2 - ?3",
                (&id, now_ms, USED_MS),
            )?;
            Ok(())
        })
        .await
    }

    /// Uses a signature up: `TooMany` where so many of the key are remembered that no more can be, `NoOwner` for one that was used
    /// before, or whose key is gone. It is remembered until `until_ms`, across restarts.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn use_signature(
        &self,
        digest: String,
        key: &str,
        now_ms: i64,
        until_ms: i64,
    ) -> Result<Added, StoreError> {
        let key = key.to_owned();
        self.quick(move |tx| {
            tx.execute("DELETE FROM used_signatures WHERE until_ms < ?1", [now_ms])?;
            let uses: u32 =
                tx.query_row("SELECT count(*) FROM used_signatures WHERE key = ?1", [&key], |row| row.get(0))?;
            if uses >= USES {
                return Ok(Added::TooMany);
            }
            let added = tx.execute(
                "INSERT OR IGNORE INTO used_signatures (digest, key, until_ms)
                 SELECT ?1, id, ?3 FROM access_keys WHERE id = ?2",
                (&digest, &key, until_ms),
            )?;
            Ok(if added == 1 { Added::Yes } else { Added::NoOwner })
        })
        .await
    }

    /// Keeps a token of a user; those that expired go.
    ///
    /// # Errors
    /// When the state cannot be written, or the user is gone.
    pub async fn add_user_token(
        &self,
        digest: String,
        user: &str,
        now_ms: i64,
        expires_ms: i64,
    ) -> Result<(), StoreError> {
        let user = user.to_owned();
        self.quick(move |tx| {
            tx.execute("DELETE FROM user_tokens WHERE expires_ms <= ?1", [now_ms])?;
            tx.execute(
                "DELETE FROM user_tokens WHERE digest IN
                    (SELECT digest FROM user_tokens WHERE user = ?1 ORDER BY expires_ms DESC LIMIT -1 OFFSET ?2)",
                (&user, TOKENS - 1),
            )?;
            tx.execute(
                "INSERT INTO user_tokens (digest, user, expires_ms) VALUES (?1, ?2, ?3)",
                (&digest, &user, expires_ms),
            )?;
            Ok(())
        })
        .await
    }

    /// Whose token it is, if it is good and that user may enter.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn user_token(&self, digest: String, now_ms: i64) -> Result<Option<Principal>, StoreError> {
        self.quick(move |tx| {
            let select = "SELECT user FROM user_tokens WHERE digest = ?1 AND expires_ms > ?2";
            let user: Option<String> = tx.query_row(select, (&digest, now_ms), |row| row.get(0)).optional()?;
            user.map_or(Ok(None), |user| standing(tx, &user, Door::Token))
        })
        .await
    }
}
