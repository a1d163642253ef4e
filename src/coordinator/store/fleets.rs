//! Stored fleets and which clusters they hold.

use rusqlite::{OptionalExtension as _, Row, Transaction};

use super::roster::{cluster_id, unreadable};
use super::{Store, StoreError};
use crate::coordinator::fleets::FleetRow;
use crate::id::{ClusterId, FleetId};

/// The tables of this room.
pub(super) const TABLES: &str = "
CREATE TABLE fleets (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    federation INTEGER NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE fleet_clusters (
    fleet TEXT NOT NULL REFERENCES fleets (id) ON DELETE CASCADE,
    cluster TEXT NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    PRIMARY KEY (fleet, cluster)
) STRICT, WITHOUT ROWID;
CREATE INDEX fleets_of_cluster ON fleet_clusters (cluster);
";

const FLEET: &str = "SELECT id, name, federation, created_ms FROM fleets";

impl Store {
    /// Adds a fleet without clusters; `false` when its name is taken.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn add_fleet(&self, row: FleetRow) -> Result<bool, StoreError> {
        self.sure(move |tx| {
            let added = tx.execute(
                "INSERT OR IGNORE INTO fleets (id, name, federation, created_ms) VALUES (?1, ?2, ?3, ?4)",
                (row.id.to_string(), &row.name, row.federation, row.created_ms),
            )?;
            Ok(added == 1)
        })
        .await
    }

    /// All fleets with their clusters, by name.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn fleets(&self) -> Result<Vec<FleetRow>, StoreError> {
        self.quick(|tx| {
            let mut select = tx.prepare_cached(&format!("{FLEET} ORDER BY name"))?;
            let rows: Vec<FleetRow> = select.query_map([], fleet)?.collect::<Result<_, _>>()?;
            rows.into_iter().map(|row| with_clusters(tx, row)).collect()
        })
        .await
    }

    /// The fleet of an id, or of a name, with its clusters.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn find_fleet(&self, id_or_name: &str) -> Result<Option<FleetRow>, StoreError> {
        // The canonical form of an id, whichever way it was written.
        let key = id_or_name.parse::<FleetId>().map_or_else(|_| id_or_name.to_owned(), |id| id.to_string());
        self.quick(move |tx| {
            let found = tx
                .query_row(&format!("{FLEET} WHERE id = ?1 OR name = ?1 ORDER BY id = ?1 DESC"), [&key], fleet)
                .optional()?;
            found.map(|row| with_clusters(tx, row)).transpose()
        })
        .await
    }

    /// Deletes a fleet, its certificates and what was granted for it; its clusters stay. `false` when there was none.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn delete_fleet(&self, id: FleetId) -> Result<bool, StoreError> {
        self.sure(move |tx| Ok(tx.execute("DELETE FROM fleets WHERE id = ?1", [id.to_string()])? == 1)).await
    }

    /// Puts a cluster into a fleet, once however often; `false` when one of them is gone.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn put_into_fleet(&self, fleet: FleetId, cluster: ClusterId) -> Result<bool, StoreError> {
        self.sure(move |tx| {
            let (fleet, cluster) = (fleet.to_string(), cluster.to_string());
            tx.execute(
                "INSERT OR IGNORE INTO fleet_clusters (fleet, cluster)
                 SELECT f.id, c.id FROM fleets f, clusters c WHERE f.id = ?1 AND c.id = ?2",
                (&fleet, &cluster),
            )?;
            is_in(tx, &fleet, &cluster)
        })
        .await
    }

    /// Takes a cluster out of a fleet; `false` when it was not in it.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn take_from_fleet(&self, fleet: FleetId, cluster: ClusterId) -> Result<bool, StoreError> {
        self.sure(move |tx| {
            let (fleet, cluster) = (fleet.to_string(), cluster.to_string());
            let there = is_in(tx, &fleet, &cluster)?;
            tx.execute("DELETE FROM fleet_clusters WHERE fleet = ?1 AND cluster = ?2", (&fleet, &cluster))?;
            Ok(there)
        })
        .await
    }
}

fn is_in(tx: &Transaction<'_>, fleet: &str, cluster: &str) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM fleet_clusters WHERE fleet = ?1 AND cluster = ?2)";
    Ok(tx.query_row(sql, (fleet, cluster), |row| row.get(0))?)
}

/// A column that holds a fleet's id.
pub(super) fn fleet_id(row: &Row<'_>, column: usize) -> rusqlite::Result<FleetId> {
    row.get_ref(column)?.as_str()?.parse().map_err(|e| unreadable(column, e))
}

fn fleet(row: &Row<'_>) -> rusqlite::Result<FleetRow> {
    let (id, name) = (fleet_id(row, 0)?, row.get(1)?);
    Ok(FleetRow { id, name, federation: row.get(2)?, created_ms: row.get(3)?, clusters: Vec::new() })
}

fn with_clusters(tx: &Transaction<'_>, mut row: FleetRow) -> Result<FleetRow, StoreError> {
    let mut select = tx.prepare_cached(
        "SELECT c.id, c.name FROM fleet_clusters f JOIN clusters c ON c.id = f.cluster WHERE f.fleet = ?1 ORDER BY c.name",
    )?;
    let clusters = select.query_map([row.id.to_string()], |row| Ok((cluster_id(row, 0)?, row.get(1)?)))?;
    row.clusters = clusters.collect::<Result<_, _>>()?;
    Ok(row)
}
