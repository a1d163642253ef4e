//! Stored clusters and nodes.

use rusqlite::types::Type;
use rusqlite::{ErrorCode, OptionalExtension as _, Row};

use super::deployments::without_node;
use super::{Store, StoreError};
use crate::coordinator::roster::{About, ClusterKind, ClusterRow, NodeRow};
use crate::id::{ClusterId, NodeName};

/// The tables of this room.
pub(super) const TABLES: &str = "
CREATE TABLE clusters (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE nodes (
    name TEXT PRIMARY KEY,
    cluster TEXT NOT NULL REFERENCES clusters (id),
    about TEXT NOT NULL,
    first_seen_ms INTEGER NOT NULL,
    last_seen_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX nodes_of_cluster ON nodes (cluster, name);
";

const CLUSTER: &str = "SELECT id, name, kind, created_ms FROM clusters";
const NODE: &str = "SELECT n.name, n.cluster, c.name, n.about, n.first_seen_ms, n.last_seen_ms
    FROM nodes n JOIN clusters c ON c.id = n.cluster";

/// What became of a cluster's deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// Gone.
    Yes,
    /// There was none.
    Absent,
    /// It still has nodes or agent secrets.
    InUse,
}

impl Store {
    /// Adds a cluster; `false` when its name is taken.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn add_cluster(&self, row: ClusterRow) -> Result<bool, StoreError> {
        self.sure(move |tx| {
            let added = tx.execute(
                "INSERT OR IGNORE INTO clusters (id, name, kind, created_ms) VALUES (?1, ?2, ?3, ?4)",
                (row.id.to_string(), &row.name, row.kind.as_str(), row.created_ms),
            )?;
            Ok(added == 1)
        })
        .await
    }

    /// All clusters with the number of their nodes, by name.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn clusters(&self) -> Result<Vec<(ClusterRow, u64)>, StoreError> {
        self.quick(|tx| {
            let mut select = tx.prepare_cached(
                "SELECT id, name, kind, created_ms, (SELECT count(*) FROM nodes WHERE cluster = clusters.id)
                 FROM clusters ORDER BY name",
            )?;
            let rows = select.query_map([], |row| Ok((cluster(row)?, count(row, 4)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The cluster of an id, or of a name.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn find_cluster(&self, id_or_name: &str) -> Result<Option<(ClusterRow, u64)>, StoreError> {
        // The canonical form of an id, whichever way it was written.
        let key = id_or_name.parse::<ClusterId>().map_or_else(|_| id_or_name.to_owned(), |id| id.to_string());
        self.quick(move |tx| {
            let Some(row) = tx
                .query_row(&format!("{CLUSTER} WHERE id = ?1 OR name = ?1 ORDER BY id = ?1 DESC"), [&key], cluster)
                .optional()?
            else {
                return Ok(None);
            };
            let nodes =
                tx.query_row("SELECT count(*) FROM nodes WHERE cluster = ?1", [row.id.to_string()], |r| count(r, 0))?;
            Ok(Some((row, nodes)))
        })
        .await
    }

    /// Deletes a cluster that nothing belongs to.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn delete_cluster(&self, id: ClusterId) -> Result<Deleted, StoreError> {
        self.sure(move |tx| {
            // Revoked secrets go with their cluster: their names were kept to tell its nodes apart.
            let id = id.to_string();
            let active: bool = tx.query_row(
                "SELECT EXISTS (SELECT 1 FROM secrets WHERE cluster = ?1 AND NOT revoked)
                     OR EXISTS (SELECT 1 FROM nodes WHERE cluster = ?1)",
                [&id],
                |row| row.get(0),
            )?;
            if active {
                return Ok(Deleted::InUse);
            }
            tx.execute("DELETE FROM secrets WHERE cluster = ?1", [&id])?;
            match tx.execute("DELETE FROM clusters WHERE id = ?1", [&id]) {
                Ok(0) => Ok(Deleted::Absent),
                Ok(_) => Ok(Deleted::Yes),
                Err(e) if e.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => Ok(Deleted::InUse),
                Err(e) => Err(e.into()),
            }
        })
        .await
    }

    /// Takes in what a node says of itself. Nothing happens for a node whose secret is gone: it was removed meanwhile.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn node_seen(&self, node: &NodeName, about: &About, now_ms: i64) -> Result<(), StoreError> {
        let (node, about) = (node.to_string(), serde_json::to_string(about).unwrap_or_default());
        self.quick(move |tx| {
            tx.execute(
                "INSERT INTO nodes (name, cluster, about, first_seen_ms, last_seen_ms)
                 SELECT name, cluster, ?2, ?3, ?3 FROM secrets WHERE name = ?1
                 ON CONFLICT (name) DO UPDATE SET
                    cluster = excluded.cluster, about = excluded.about, last_seen_ms = excluded.last_seen_ms",
                (&node, &about, now_ms),
            )?;
            Ok(())
        })
        .await
    }

    /// A node's session ended now.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn node_left(&self, node: &NodeName, now_ms: i64) -> Result<(), StoreError> {
        let node = node.to_string();
        self.quick(move |tx| {
            tx.execute("UPDATE nodes SET last_seen_ms = ?2 WHERE name = ?1", (&node, now_ms))?;
            Ok(())
        })
        .await
    }

    /// Nodes by name, all or one cluster's.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn nodes(&self, cluster: Option<ClusterId>) -> Result<Vec<NodeRow>, StoreError> {
        let cluster = cluster.map(|id| id.to_string());
        self.quick(move |tx| {
            let mut select =
                tx.prepare_cached(&format!("{NODE} WHERE ?1 IS NULL OR n.cluster = ?1 ORDER BY n.name"))?;
            let rows = select.query_map([cluster], node)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The names of a cluster's nodes, in order.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn node_names(&self, cluster: ClusterId) -> Result<Vec<NodeName>, StoreError> {
        self.quick(move |tx| {
            let mut select = tx.prepare_cached("SELECT name FROM nodes WHERE cluster = ?1 ORDER BY name")?;
            let rows = select.query_map([cluster.to_string()], |row| {
                row.get_ref(0)?.as_str()?.parse().map_err(|e| unreadable(0, e))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// One node.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn node(&self, name: &str) -> Result<Option<NodeRow>, StoreError> {
        let name = name.to_owned();
        self.quick(move |tx| Ok(tx.query_row(&format!("{NODE} WHERE n.name = ?1"), [&name], node).optional()?)).await
    }

    /// Removes a node with its secret and tokens; `false` when there was neither node nor secret of that name.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn remove_node(&self, name: &str) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.sure(move |tx| {
            let nodes = tx.execute("DELETE FROM nodes WHERE name = ?1", [&name])?;
            let secrets = tx.execute("DELETE FROM secrets WHERE name = ?1", [&name])?;
            without_node(tx, &name)?;
            Ok(nodes + secrets > 0)
        })
        .await
    }
}

/// A column that holds a count.
pub(super) fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}

/// A column that holds a cluster's id.
pub(super) fn cluster_id(row: &Row<'_>, column: usize) -> rusqlite::Result<ClusterId> {
    row.get_ref(column)?.as_str()?.parse().map_err(|e| unreadable(column, e))
}

fn cluster(row: &Row<'_>) -> rusqlite::Result<ClusterRow> {
    let kind = match row.get_ref(2)?.as_str()? {
        "managed" => ClusterKind::Managed,
        _ => ClusterKind::Attached,
    };
    Ok(ClusterRow { id: cluster_id(row, 0)?, name: row.get(1)?, kind, created_ms: row.get(3)? })
}

fn node(row: &Row<'_>) -> rusqlite::Result<NodeRow> {
    Ok(NodeRow {
        name: row.get_ref(0)?.as_str()?.parse().map_err(|e| unreadable(0, e))?,
        cluster: cluster_id(row, 1)?,
        cluster_name: row.get(2)?,
        about: serde_json::from_str(row.get_ref(3)?.as_str()?).map_err(|e| unreadable(3, e))?,
        first_seen_ms: row.get(4)?,
        last_seen_ms: row.get(5)?,
    })
}

/// An error of a column whose text is not what we wrote.
pub(super) fn unreadable(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}
