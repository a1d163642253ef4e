//! Stored certificates of operators. They go with their user and with their fleet.

use rusqlite::{OptionalExtension as _, Row, Transaction};

use super::fleets::fleet_id;
use super::roster::{cluster_id, unreadable};
use super::{Added, Store, StoreError};
use crate::coordinator::certificates::{CertificateRow, OperatorCertificate};
use crate::coordinator::principal::Role;
use crate::id::FleetId;

/// The tables of this room.
pub(super) const TABLES: &str = "
CREATE TABLE certificates (
    serial TEXT PRIMARY KEY,
    user TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    role TEXT NOT NULL,
    fleet TEXT NOT NULL REFERENCES fleets (id) ON DELETE CASCADE,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    revoked_ms INTEGER
) STRICT;
CREATE INDEX certificates_of_user ON certificates (user);
CREATE INDEX certificates_of_fleet ON certificates (fleet);
";

const CERTIFICATE: &str = "SELECT x.serial, x.user, x.role, x.fleet, f.name, x.created_ms, x.expires_ms, x.revoked_ms
    FROM certificates x JOIN fleets f ON f.id = x.fleet";
/// How long a certificate that is over, or was revoked, stays in the list.
const KEPT_MS: i64 = 90 * 86_400_000;

impl Store {
    /// Keeps a certificate that was issued, unless its user has `most` good ones for the fleet already.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn add_certificate(&self, row: CertificateRow, most: u32) -> Result<Added, StoreError> {
        self.sure(move |tx| {
            forget_old(tx, row.created_ms)?;
            let good: u32 = tx.query_row(
                "SELECT count(*) FROM certificates
                 WHERE user = ?1 AND fleet = ?2 AND revoked_ms IS NULL AND expires_ms > ?3",
                (&row.user, row.fleet.to_string(), row.created_ms),
                |row| row.get(0),
            )?;
            if good >= most {
                return Ok(Added::TooMany);
            }
            let added = tx.execute(
                "INSERT INTO certificates (serial, user, role, fleet, created_ms, expires_ms)
                 SELECT ?1, u.name, ?3, f.id, ?5, ?6 FROM users u, fleets f WHERE u.name = ?2 AND f.id = ?4",
                (&row.serial, &row.user, row.role.as_str(), row.fleet.to_string(), row.created_ms, row.expires_ms),
            )?;
            Ok(if added == 1 { Added::Yes } else { Added::NoOwner })
        })
        .await
    }

    /// What a certificate of the operators' CA grants; `None` when it is not known, revoked, or over. Whether its user is
    /// disabled, or has less by now, is not looked at here.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn operator_certificate(
        &self,
        serial: &str,
        now_ms: i64,
    ) -> Result<Option<OperatorCertificate>, StoreError> {
        let serial = serial.to_owned();
        self.quick(move |tx| {
            let found = tx
                .query_row(
                    "SELECT user, role, fleet FROM certificates
                     WHERE serial = ?1 AND revoked_ms IS NULL AND expires_ms > ?2",
                    (&serial, now_ms),
                    |row| Ok((row.get(0)?, role(row, 1)?, fleet_id(row, 2)?)),
                )
                .optional()?;
            let Some((user, role, fleet)) = found else { return Ok(None) };
            let mut select = tx.prepare_cached("SELECT cluster FROM fleet_clusters WHERE fleet = ?1")?;
            let clusters = select.query_map([fleet.to_string()], |row| cluster_id(row, 0))?;
            Ok(Some(OperatorCertificate { user, role, fleet, clusters: clusters.collect::<Result<_, _>>()? }))
        })
        .await
    }

    /// Certificates, the latest first: all, or one fleet's.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn certificates(&self, fleet: Option<FleetId>) -> Result<Vec<CertificateRow>, StoreError> {
        let fleet = fleet.map(|id| id.to_string());
        self.quick(move |tx| {
            let mut select = tx.prepare_cached(&format!(
                "{CERTIFICATE} WHERE ?1 IS NULL OR x.fleet = ?1 ORDER BY x.created_ms DESC, x.serial"
            ))?;
            let rows = select.query_map([fleet], certificate)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// One certificate.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn certificate(&self, serial: &str) -> Result<Option<CertificateRow>, StoreError> {
        let serial = serial.to_owned();
        self.quick(move |tx| {
            Ok(tx.query_row(&format!("{CERTIFICATE} WHERE x.serial = ?1"), [&serial], certificate).optional()?)
        })
        .await
    }

    /// Revokes a certificate, for good; answers it as it is then, `None` when there is none of that number.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn revoke_certificate(&self, serial: &str, now_ms: i64) -> Result<Option<CertificateRow>, StoreError> {
        let serial = serial.to_owned();
        self.sure(move |tx| {
            tx.execute(
                "UPDATE certificates SET revoked_ms = ?2 WHERE serial = ?1 AND revoked_ms IS NULL",
                (&serial, now_ms),
            )?;
            Ok(tx.query_row(&format!("{CERTIFICATE} WHERE x.serial = ?1"), [&serial], certificate).optional()?)
        })
        .await
    }
}

/// Forgets certificates that have been over or revoked for long: one that is not known is as little good.
pub(super) fn forget_old(tx: &Transaction<'_>, now_ms: i64) -> rusqlite::Result<usize> {
    let before = now_ms - KEPT_MS;
    Ok(tx.execute("DELETE FROM certificates WHERE expires_ms <= ?1 OR revoked_ms <= ?1", [before])?
        // One that was not revoked stays, over or not: it says that its cluster's access info was taken.
        + tx.execute("DELETE FROM join_certificates WHERE revoked_ms <= ?1", [before])?)
}

fn role(row: &Row<'_>, column: usize) -> rusqlite::Result<Role> {
    let text = row.get_ref(column)?.as_str()?;
    Role::parse(text).ok_or_else(|| unreadable(column, std::io::Error::other(format!("role `{text}`"))))
}

fn certificate(row: &Row<'_>) -> rusqlite::Result<CertificateRow> {
    Ok(CertificateRow {
        serial: row.get(0)?,
        user: row.get(1)?,
        role: role(row, 2)?,
        fleet: fleet_id(row, 3)?,
        fleet_name: row.get(4)?,
        created_ms: row.get(5)?,
        expires_ms: row.get(6)?,
        revoked_ms: row.get(7)?,
    })
}
