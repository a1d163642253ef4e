//! Stored agent secrets, their access tokens, and the download tokens: each operation is one decision, made inside its transaction.

use rusqlite::{OptionalExtension as _, Row, Transaction};

use super::roster::cluster_id;
use super::users::standing;
use super::{Store, StoreError};
use crate::coordinator::principal::{Door, Principal};
use crate::coordinator::secrets::{SecretRow, SecretStatus};
use crate::id::ClusterId;

/// The tables of this room.
pub(super) const TABLES: &str = "
CREATE TABLE secrets (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    cluster TEXT NOT NULL REFERENCES clusters (id),
    revoked INTEGER NOT NULL DEFAULT 0,
    generation INTEGER NOT NULL DEFAULT 0, -- the one in use
    issued INTEGER NOT NULL DEFAULT 0,     -- the latest handed out: this one, or the one after
    created_ms INTEGER NOT NULL,
    modified_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE agent_tokens (
    digest TEXT PRIMARY KEY,
    secret TEXT NOT NULL REFERENCES secrets (id) ON DELETE CASCADE,
    expires_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX agent_tokens_of_secret ON agent_tokens (secret, expires_ms);

CREATE TABLE bundle_tokens (
    cluster TEXT PRIMARY KEY REFERENCES clusters (id) ON DELETE CASCADE,
    digest TEXT NOT NULL,
    sealed BLOB NOT NULL,
    user TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    expires_ms INTEGER NOT NULL
) STRICT;
";

/// Tokens of one secret at the same time; past it, the one that would expire first goes.
pub const TOKENS: u32 = 64;

const SECRET: &str = "SELECT s.id, s.name, s.cluster, c.name, s.revoked, s.created_ms, s.modified_ms
    FROM secrets s JOIN clusters c ON c.id = s.cluster";

/// What became of the use of an agent secret that is known to be genuine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Used {
    /// Good; the token stands.
    Good {
        /// The secret's name, the node's.
        name: String,
        /// Its cluster.
        cluster: ClusterId,
        /// Its cluster's name.
        cluster_name: String,
        /// Whether an older generation was retired by this.
        rotated: bool,
        /// Whether it is of a generation that this state never handed out, as after a restore from a backup.
        ahead: bool,
    },
    /// No such secret: its node was removed.
    Unknown,
    /// Revoked.
    Revoked(String),
    /// A later generation is in use.
    Retired(String),
}

/// A token as the table has it.
#[derive(Clone, Debug)]
pub struct TokenRow {
    /// Its secret's id.
    pub secret: String,
    /// SHA-256 of the token.
    pub digest: String,
    /// The node.
    pub node: String,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its cluster's name.
    pub cluster_name: String,
    /// Until when it is good.
    pub expires_ms: i64,
}

/// The pending download token of a cluster.
#[derive(Clone, Debug)]
pub struct PendingRow {
    /// The token, sealed.
    pub sealed: Vec<u8>,
    /// Until when it is good.
    pub expires_ms: i64,
}

impl Store {
    /// Adds an agent secret; `None` when its name is taken.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn add_secret(
        &self,
        id: String,
        name: String,
        cluster: ClusterId,
        now_ms: i64,
    ) -> Result<Option<SecretRow>, StoreError> {
        self.sure(move |tx| {
            let added = tx.execute(
                "INSERT OR IGNORE INTO secrets (id, name, cluster, created_ms, modified_ms)
                 SELECT ?1, ?2, ?3, ?4, ?4 WHERE NOT EXISTS (SELECT 1 FROM nodes WHERE name = ?2)",
                (&id, &name, cluster.to_string(), now_ms),
            )?;
            if added == 0 {
                return Ok(None);
            }
            Ok(Some(tx.query_row(&format!("{SECRET} WHERE s.id = ?1"), [&id], secret)?))
        })
        .await
    }

    /// All agent secrets, by name.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn secrets(&self) -> Result<Vec<SecretRow>, StoreError> {
        self.quick(|tx| {
            let mut select = tx.prepare_cached(&format!("{SECRET} ORDER BY s.name"))?;
            let rows = select.query_map([], secret)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The clusters to which a node or an agent secret of that name belongs: one, or none when there is neither.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn clusters_of_name(&self, name: &str) -> Result<Vec<ClusterId>, StoreError> {
        let name = name.to_owned();
        self.quick(move |tx| {
            let mut select = tx.prepare_cached(
                "SELECT cluster FROM nodes WHERE name = ?1 UNION SELECT cluster FROM secrets WHERE name = ?1",
            )?;
            let rows = select.query_map([&name], |row| cluster_id(row, 0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Uses generation `generation` of an agent secret, and keeps a new token for it.
    ///
    /// # Errors
    /// When the state cannot be written; nothing was used then.
    pub async fn use_secret(
        &self,
        id: String,
        generation: u32,
        digest: String,
        now_ms: i64,
        expires_ms: i64,
    ) -> Result<Used, StoreError> {
        self.sure(move |tx| {
            let found = tx
                .query_row(
                    "SELECT s.name, s.cluster, c.name, s.revoked, s.generation, s.issued
                     FROM secrets s JOIN clusters c ON c.id = s.cluster WHERE s.id = ?1",
                    [&id],
                    |row| {
                        Ok((
                            row.get::<_, String>(0)?,
                            cluster_id(row, 1)?,
                            row.get::<_, String>(2)?,
                            row.get(3)?,
                            row.get(4)?,
                            row.get(5)?,
                        ))
                    },
                )
                .optional()?;
            let Some((name, cluster, cluster_name, revoked, current, issued)): Option<(_, _, _, bool, u32, u32)> =
                found
            else {
                return Ok(Used::Unknown);
            };
            if revoked {
                return Ok(Used::Revoked(name));
            }
            if generation < current {
                return Ok(Used::Retired(name));
            }
            let rotated = generation > current;
            tx.execute(
                "UPDATE secrets SET generation = ?2, issued = max(issued, ?2 + 1),
                    modified_ms = CASE WHEN ?3 THEN ?4 ELSE modified_ms END WHERE id = ?1",
                (&id, generation, rotated, now_ms),
            )?;
            keep_token(tx, &id, &digest, now_ms, expires_ms)?;
            Ok(Used::Good { name, cluster, cluster_name, rotated, ahead: generation > issued })
        })
        .await
    }

    /// Revokes an agent secret for good; with `now` its tokens go too. `None` when there is none of that name.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn revoke_secret(&self, name: &str, now: bool, now_ms: i64) -> Result<Option<SecretRow>, StoreError> {
        let name = name.to_owned();
        self.sure(move |tx| {
            tx.execute(
                "UPDATE secrets SET revoked = 1, modified_ms = ?2 WHERE name = ?1 AND NOT revoked",
                (&name, now_ms),
            )?;
            if now {
                tx.execute(
                    "DELETE FROM agent_tokens WHERE secret IN (SELECT id FROM secrets WHERE name = ?1)",
                    [&name],
                )?;
            }
            Ok(tx.query_row(&format!("{SECRET} WHERE s.name = ?1"), [&name], secret).optional()?)
        })
        .await
    }

    /// All access tokens that are good; those that are not any more are forgotten.
    ///
    /// # Errors
    /// When the state cannot be used.
    pub async fn tokens(&self, now_ms: i64) -> Result<Vec<TokenRow>, StoreError> {
        self.quick(move |tx| {
            tx.execute("DELETE FROM agent_tokens WHERE expires_ms <= ?1", [now_ms])?;
            let mut select = tx.prepare(
                "SELECT t.digest, s.name, s.cluster, c.name, t.expires_ms, t.secret FROM agent_tokens t
                 JOIN secrets s ON s.id = t.secret JOIN clusters c ON c.id = s.cluster ORDER BY t.expires_ms",
            )?;
            let rows = select.query_map([], |row| {
                Ok(TokenRow {
                    digest: row.get(0)?,
                    node: row.get(1)?,
                    cluster: cluster_id(row, 2)?,
                    cluster_name: row.get(3)?,
                    expires_ms: row.get(4)?,
                    secret: row.get(5)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The cluster's download token: the one that is good, or else the new one that is offered. `None` for an unknown cluster.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn bundle_token(
        &self,
        cluster: ClusterId,
        offer: (String, Vec<u8>),
        user: String,
        now_ms: i64,
        expires_ms: i64,
    ) -> Result<Option<PendingRow>, StoreError> {
        self.sure(move |tx| {
            let cluster = cluster.to_string();
            let there: bool =
                tx.query_row("SELECT EXISTS (SELECT 1 FROM clusters WHERE id = ?1)", [&cluster], |row| row.get(0))?;
            if !there {
                return Ok(None);
            }
            tx.execute("DELETE FROM bundle_tokens WHERE cluster = ?1 AND expires_ms <= ?2", (&cluster, now_ms))?;
            tx.execute(
                "INSERT OR IGNORE INTO bundle_tokens (cluster, digest, sealed, user, expires_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                (&cluster, &offer.0, &offer.1, &user, expires_ms),
            )?;
            let row =
                tx.query_row("SELECT sealed, expires_ms FROM bundle_tokens WHERE cluster = ?1", [&cluster], |row| {
                    Ok(PendingRow { sealed: row.get(0)?, expires_ms: row.get(1)? })
                })?;
            Ok(Some(row))
        })
        .await
    }

    /// Whose a download token is; nobody for any but the good one of a user who may enter. Nothing is used up.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn bundle_token_owner(
        &self,
        cluster: ClusterId,
        digest: String,
        now_ms: i64,
    ) -> Result<Option<Principal>, StoreError> {
        self.quick(move |tx| {
            let owner: Option<String> = tx
                .query_row(
                    "SELECT user FROM bundle_tokens WHERE cluster = ?1 AND digest = ?2 AND expires_ms > ?3",
                    (cluster.to_string(), &digest, now_ms),
                    |row| row.get(0),
                )
                .optional()?;
            owner.map_or(Ok(None), |owner| standing(tx, &owner, Door::DownloadToken))
        })
        .await
    }

    /// Uses a download token up; `false`, and nothing is used up, for any but the good one.
    ///
    /// # Errors
    /// When the state cannot be written; nothing was used up then.
    pub async fn consume_bundle_token(
        &self,
        cluster: ClusterId,
        digest: String,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        self.sure(move |tx| {
            let used = tx.execute(
                "DELETE FROM bundle_tokens WHERE cluster = ?1 AND digest = ?2 AND expires_ms > ?3",
                (cluster.to_string(), &digest, now_ms),
            )?;
            Ok(used == 1)
        })
        .await
    }
}

fn keep_token(
    tx: &Transaction<'_>,
    secret: &str,
    digest: &str,
    now_ms: i64,
    expires_ms: i64,
) -> Result<(), StoreError> {
    tx.execute("DELETE FROM agent_tokens WHERE secret = ?1 AND expires_ms <= ?2", (secret, now_ms))?;
    tx.execute(
        "DELETE FROM agent_tokens WHERE digest IN
            (SELECT digest FROM agent_tokens WHERE secret = ?1 ORDER BY expires_ms DESC LIMIT -1 OFFSET ?2)",
        (secret, TOKENS - 1),
    )?;
    tx.execute(
        "INSERT INTO agent_tokens (digest, secret, expires_ms) VALUES (?1, ?2, ?3)",
        (digest, secret, expires_ms),
    )?;
    Ok(())
}

fn secret(row: &Row<'_>) -> rusqlite::Result<SecretRow> {
    Ok(SecretRow {
        id: row.get(0)?,
        name: row.get(1)?,
        cluster: cluster_id(row, 2)?,
        cluster_name: row.get(3)?,
        status: if row.get(4)? { SecretStatus::Revoked } else { SecretStatus::Active },
        created_ms: row.get(5)?,
        modified_ms: row.get(6)?,
    })
}
