//! Stored join certificates, and which machine joined by which name: each operation is one decision, made inside its transaction.

use rusqlite::{OptionalExtension as _, Transaction};

use super::roster::cluster_id;
use super::{Store, StoreError};
use crate::coordinator::join::{Joined, Joining};
use crate::id::ClusterId;

/// The tables of this room.
pub(super) const TABLES: &str = "
CREATE TABLE join_certificates (
    serial TEXT PRIMARY KEY,
    cluster TEXT NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    user TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    revoked_ms INTEGER
) STRICT;
-- At most one that was downloaded and not revoked: this is what makes access info good for one download.
CREATE UNIQUE INDEX join_certificate_of_cluster ON join_certificates (cluster) WHERE revoked_ms IS NULL;

CREATE TABLE machines (
    name TEXT PRIMARY KEY REFERENCES secrets (name) ON DELETE CASCADE,
    machine_id TEXT NOT NULL,
    joined_ms INTEGER NOT NULL
) STRICT;
";

/// What is known of a name that a node claims.
struct Claimed {
    id: String,
    issued: u32,
    revoked: bool,
    cluster: ClusterId,
    machine_id: Option<String>,
}

impl Store {
    /// Whether a cluster's access info was downloaded and not reset since.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn access_info_taken(&self, cluster: ClusterId) -> Result<bool, StoreError> {
        self.quick(move |tx| {
            let sql = "SELECT EXISTS (SELECT 1 FROM join_certificates WHERE cluster = ?1 AND revoked_ms IS NULL)";
            Ok(tx.query_row(sql, [cluster.to_string()], |row| row.get(0))?)
        })
        .await
    }

    /// Takes a cluster's access info, exactly once until it is reset: the certificate of this serial stands from now on.
    /// `false` when another call was first, or the cluster is gone.
    ///
    /// # Errors
    /// When the state cannot be written; nothing was taken then.
    pub async fn take_access_info(
        &self,
        cluster: ClusterId,
        serial: String,
        user: String,
        now_ms: i64,
        expires_ms: i64,
    ) -> Result<bool, StoreError> {
        self.sure(move |tx| {
            let taken = tx.execute(
                "INSERT OR IGNORE INTO join_certificates (serial, cluster, user, created_ms, expires_ms)
                 SELECT ?1, id, ?3, ?4, ?5 FROM clusters WHERE id = ?2",
                (&serial, cluster.to_string(), &user, now_ms, expires_ms),
            )?;
            Ok(taken == 1)
        })
        .await
    }

    /// Revokes a cluster's join certificate, so that its access info can be downloaded anew; `false` when there was none.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn reset_access_info(&self, cluster: ClusterId, now_ms: i64) -> Result<bool, StoreError> {
        self.sure(move |tx| {
            let revoked = tx.execute(
                "UPDATE join_certificates SET revoked_ms = ?2 WHERE cluster = ?1 AND revoked_ms IS NULL",
                (cluster.to_string(), now_ms),
            )?;
            Ok(revoked > 0)
        })
        .await
    }

    /// Lets a node join with the certificate of `serial`, if it may; `id` is for its agent secret, if it is a new one.
    ///
    /// # Errors
    /// When the state cannot be written; nothing was decided then.
    pub async fn join_node(
        &self,
        serial: String,
        joining: Joining,
        id: String,
        now_ms: i64,
    ) -> Result<Joined, StoreError> {
        self.sure(move |tx| {
            let (cluster, cluster_name) = match certificate(tx, &serial, now_ms)? {
                Ok(found) => found,
                Err(refused) => return Ok(refused),
            };
            let name = joining.name.as_str();
            let (id, generation, again) = match claimed(tx, name)? {
                None if is_node(tx, name)? => return Ok(Joined::Taken { cluster }),
                None => (id, 0, false),
                Some(known) if known.cluster != cluster || known.machine_id.as_ref() != Some(&joining.machine_id) => {
                    return Ok(Joined::Taken { cluster });
                }
                Some(known) if known.revoked => return Ok(Joined::NameRevoked),
                // Above everything that was ever handed out.
                Some(known) => (known.id, known.issued + 1, true),
            };
            tx.execute(
                "INSERT INTO secrets (id, name, cluster, generation, issued, created_ms, modified_ms)
                 VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?5)
                 ON CONFLICT (name) DO UPDATE SET generation = ?4, issued = ?4, modified_ms = ?5",
                (&id, name, cluster.to_string(), generation, now_ms),
            )?;
            tx.execute("DELETE FROM agent_tokens WHERE secret = ?1", [&id])?;
            tx.execute(
                "INSERT INTO machines (name, machine_id, joined_ms) VALUES (?1, ?2, ?3)
                 ON CONFLICT (name) DO UPDATE SET joined_ms = ?3",
                (name, &joining.machine_id, now_ms),
            )?;
            Ok(Joined::Good { id, generation, cluster_name, again })
        })
        .await
    }
}

/// The cluster of a join certificate that is good, its id and its name.
fn certificate(
    tx: &Transaction<'_>,
    serial: &str,
    now_ms: i64,
) -> Result<Result<(ClusterId, String), Joined>, StoreError> {
    let found = tx
        .query_row(
            "SELECT j.cluster, c.name, j.expires_ms, j.revoked_ms IS NOT NULL
             FROM join_certificates j JOIN clusters c ON c.id = j.cluster WHERE j.serial = ?1",
            [serial],
            |row| Ok((cluster_id(row, 0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )
        .optional()?;
    let Some((cluster, name, expires_ms, revoked)): Option<(_, _, i64, bool)> = found else {
        return Ok(Err(Joined::Unknown));
    };
    Ok(match (revoked, now_ms < expires_ms) {
        (true, _) => Err(Joined::Revoked),
        (_, false) => Err(Joined::Expired),
        (false, true) => Ok((cluster, name)),
    })
}

fn is_node(tx: &Transaction<'_>, name: &str) -> Result<bool, StoreError> {
    Ok(tx.query_row("SELECT EXISTS (SELECT 1 FROM nodes WHERE name = ?1)", [name], |row| row.get(0))?)
}

fn claimed(tx: &Transaction<'_>, name: &str) -> Result<Option<Claimed>, StoreError> {
    let found = tx
        .query_row(
            "SELECT s.id, s.issued, s.revoked, s.cluster, m.machine_id
             FROM secrets s LEFT JOIN machines m ON m.name = s.name WHERE s.name = ?1",
            [name],
            |row| {
                Ok(Claimed {
                    id: row.get(0)?,
                    issued: row.get(1)?,
                    revoked: row.get(2)?,
                    cluster: cluster_id(row, 3)?,
                    machine_id: row.get(4)?,
                })
            },
        )
        .optional()?;
    Ok(found)
}
