//! The tables, and the steps from each version to the next.
//!
//! A step that was released is never changed; a new version adds one at the end.

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior};

use super::{StoreError, access, certificates, deployments, fleets, join, keys, roster, stored, tasks, users};

/// Step `n` leads from version `n` to `n + 1`. The tables of a room stand beside its operations.
const STEPS: &[&[&str]] = &[
    &[
        META,
        roster::TABLES,
        users::TABLES,
        keys::TABLES,
        access::TABLES,
        tasks::TABLES,
        stored::TABLES,
        fleets::TABLES,
        certificates::TABLES,
        join::TABLES,
        deployments::TABLES,
    ],
    &[keys::SIGNATURES],
];

const META: &str = "CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;";

/// Brings the file to this version, each step whole or not at all.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let known = STEPS.len() as i64;
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = tx.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    for step in STEPS.iter().skip(usize::try_from(found).map_err(|_| StoreError::Corrupt("version"))?) {
        for tables in *step {
            tx.execute_batch(tables)?;
        }
    }
    tx.pragma_update(None, "user_version", known)?;
    tx.commit()?;
    Ok(())
}

/// A value of the table `meta`.
pub(super) fn meta(tx: &Transaction<'_>, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(tx.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0)).optional()?)
}
