//! Rows of kept bundles: each names an object that was published before it.

use rusqlite::{OptionalExtension as _, Row};

use super::roster::{count, unreadable};
use super::{Store, StoreError};
use crate::coordinator::stored::StoredRow;
use crate::id::{BundleId, TaskId};

/// The tables of this room.
pub(super) const TABLES: &str = "
CREATE TABLE stored_bundles (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    of TEXT NOT NULL,
    clusters TEXT NOT NULL, -- JSON, ids
    user TEXT NOT NULL,
    task INTEGER NOT NULL,
    format TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    nodes INTEGER NOT NULL,
    nodes_collected INTEGER NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT;
";

const STORED: &str =
    "SELECT id, name, of, clusters, user, task, format, bytes, verdict, nodes, nodes_collected, created_ms
    FROM stored_bundles";

impl Store {
    /// Adds the row of a bundle that was published.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn add_stored(&self, row: StoredRow) -> Result<(), StoreError> {
        let (clusters, format) = (json(&row.clusters)?, word(&row.format)?);
        let verdict = word(&row.verdict)?;
        self.sure(move |tx| {
            tx.execute(
                "INSERT INTO stored_bundles (id, name, of, clusters, user, task, format, bytes, verdict, nodes,
                    nodes_collected, created_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
                (
                    row.id.to_string(),
                    row.name.as_str(),
                    &row.of,
                    &clusters,
                    &row.user,
                    row.task.0 as i64,
                    &format,
                    row.bytes as i64,
                    &verdict,
                    row.nodes as i64,
                    row.nodes_collected as i64,
                    row.created_ms,
                ),
            )?;
            Ok(())
        })
        .await
    }

    /// All kept bundles, newest first.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn stored_bundles(&self) -> Result<Vec<StoredRow>, StoreError> {
        self.quick(|tx| {
            let mut select = tx.prepare_cached(&format!("{STORED} ORDER BY created_ms DESC, task DESC"))?;
            let rows = select.query_map([], stored)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// One of them.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn stored_bundle(&self, id: BundleId) -> Result<Option<StoredRow>, StoreError> {
        self.quick(move |tx| {
            Ok(tx.query_row(&format!("{STORED} WHERE id = ?1"), [id.to_string()], stored).optional()?)
        })
        .await
    }

    /// Forgets one; `false` when there is none of that id.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn forget_stored(&self, id: BundleId) -> Result<bool, StoreError> {
        self.sure(move |tx| Ok(tx.execute("DELETE FROM stored_bundles WHERE id = ?1", [id.to_string()])? == 1)).await
    }
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|_| StoreError::Corrupt("kept bundle"))
}

/// The word that stands for a value in JSON.
fn word<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    Ok(json(value)?.trim_matches('"').to_owned())
}

fn of_word<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let value = serde_json::Value::String(row.get(column)?);
    serde_json::from_value(value).map_err(|error| unreadable(column, error))
}

fn stored(row: &Row<'_>) -> rusqlite::Result<StoredRow> {
    Ok(StoredRow {
        id: row.get_ref(0)?.as_str()?.parse().map_err(|error| unreadable(0, error))?,
        name: of_word(row, 1)?,
        of: row.get(2)?,
        clusters: serde_json::from_str(row.get_ref(3)?.as_str()?).map_err(|error| unreadable(3, error))?,
        user: row.get(4)?,
        task: TaskId(count(row, 5)?),
        format: of_word(row, 6)?,
        bytes: count(row, 7)?,
        verdict: of_word(row, 8)?,
        nodes: count(row, 9)?,
        nodes_collected: count(row, 10)?,
        created_ms: row.get(11)?,
    })
}
