//! Stored deployments and their instances. What is wanted and what agents keep stand side by side, and each operation leaves both whole.

use rusqlite::{OptionalExtension as _, Row, Transaction};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::roster::{cluster_id, count, unreadable};
use super::{Store, StoreError};
use crate::coordinator::deployments::resolve::Placed;
use crate::coordinator::deployments::row::{DeploymentRow, Duty, InstanceRow, RollOut};
use crate::id::{ClusterId, DeploymentName, NodeName};
use crate::protocol::questions::Deployment;

/// The tables of this room.
pub(super) const TABLES: &str = "
CREATE TABLE deployments (
    name TEXT PRIMARY KEY,
    manifest TEXT, -- the last that all nodes took
    wanted TEXT NOT NULL, -- the one that they are to take, or took
    releases TEXT NOT NULL,
    stemcells TEXT NOT NULL,
    user TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    deleting INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE instances (
    deployment TEXT NOT NULL REFERENCES deployments (name) ON DELETE CASCADE,
    node TEXT NOT NULL,
    id TEXT NOT NULL,
    part TEXT NOT NULL, -- the instance group
    number INTEGER NOT NULL,
    wanted TEXT, -- NULL: to be forgotten
    digest TEXT, -- of what is wanted
    applied TEXT, -- digest of what the agent last said it keeps
    reason TEXT,
    PRIMARY KEY (deployment, node)
) STRICT, WITHOUT ROWID;
CREATE INDEX instances_of_node ON instances (node);
";

const DEPLOYMENT: &str = "SELECT d.name, d.manifest, d.wanted, d.releases, d.stemcells, d.user, d.created_ms, d.updated_ms, d.deleting,
    (SELECT json_group_array(DISTINCT n.cluster) FROM instances i JOIN nodes n ON n.name = i.node WHERE i.deployment = d.name),
    (SELECT count(*) FROM instances i WHERE i.deployment = d.name),
    (SELECT count(*) FROM instances i WHERE i.deployment = d.name AND (i.digest IS NULL OR i.applied IS NOT i.digest))
    FROM deployments d";

impl Store {
    /// All deployments, by name.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn deployments(&self) -> Result<Vec<DeploymentRow>, StoreError> {
        self.quick(|tx| {
            let mut select = tx.prepare_cached(&format!("{DEPLOYMENT} ORDER BY d.name"))?;
            let rows = select.query_map([], deployment)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// One deployment.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn deployment(&self, name: &str) -> Result<Option<DeploymentRow>, StoreError> {
        let name = name.to_owned();
        self.quick(move |tx| {
            Ok(tx.query_row(&format!("{DEPLOYMENT} WHERE d.name = ?1"), [&name], deployment).optional()?)
        })
        .await
    }

    /// A deployment's instances, by group and number.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn instances(&self, name: &DeploymentName) -> Result<Vec<InstanceRow>, StoreError> {
        let name = name.to_string();
        self.quick(move |tx| {
            let mut select = tx.prepare_cached(
                "SELECT i.id, i.part, i.number, i.node, n.cluster, c.name, i.wanted, i.applied, i.reason FROM instances i
                 JOIN nodes n ON n.name = i.node JOIN clusters c ON c.id = n.cluster
                 WHERE i.deployment = ?1 ORDER BY i.part, i.number, i.node",
            )?;
            let rows = select.query_map([&name], instance)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// What a deployment is to become, from now on: its nodes are to keep their part, those that left are to forget theirs.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn roll_out(&self, to: RollOut, now_ms: i64) -> Result<(), StoreError> {
        self.sure(move |tx| {
            tx.execute(
                "INSERT INTO deployments (name, wanted, releases, stemcells, user, created_ms, updated_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)
                 ON CONFLICT (name) DO UPDATE SET wanted = excluded.wanted, releases = excluded.releases,
                    stemcells = excluded.stemcells, user = excluded.user, updated_ms = excluded.updated_ms, deleting = 0",
                (to.name.as_str(), &to.manifest, json(&to.releases), json(&to.stemcells), &to.user, now_ms),
            )?;
            tx.execute("UPDATE instances SET wanted = NULL, digest = NULL WHERE deployment = ?1", [to.name.as_str()])?;
            let mut put = tx.prepare_cached(
                "INSERT INTO instances (deployment, node, id, part, number, wanted, digest) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT (deployment, node) DO UPDATE SET id = excluded.id, part = excluded.part, number = excluded.number,
                    wanted = excluded.wanted, digest = excluded.digest, reason = NULL",
            )?;
            for planned in &to.instances {
                let Placed { id, group, index, node } = &planned.placed;
                put.execute((
                    to.name.as_str(),
                    node.as_str(),
                    id.to_string(),
                    group,
                    index,
                    json(&planned.part),
                    planned.part.digest(),
                ))?;
            }
            finish(tx, to.name.as_str())
        })
        .await
    }

    /// All nodes are to forget a deployment; `false` when there is none of that name.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn withdraw(&self, name: &DeploymentName) -> Result<bool, StoreError> {
        let name = name.to_string();
        self.sure(move |tx| {
            let found = tx.execute("UPDATE deployments SET deleting = 1 WHERE name = ?1", [&name])?;
            tx.execute("UPDATE instances SET wanted = NULL, digest = NULL WHERE deployment = ?1", [&name])?;
            finish(tx, &name)?;
            Ok(found == 1)
        })
        .await
    }

    /// An agent said that it keeps this of a deployment.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn instance_applied(
        &self,
        name: &DeploymentName,
        node: &NodeName,
        digest: String,
    ) -> Result<(), StoreError> {
        let (name, node) = (name.to_string(), node.to_string());
        self.sure(move |tx| {
            tx.execute(
                "UPDATE instances SET applied = ?3, reason = CASE WHEN digest = ?3 THEN NULL ELSE reason END
                 WHERE deployment = ?1 AND node = ?2",
                (&name, &node, &digest),
            )?;
            finish(tx, &name)
        })
        .await
    }

    /// An agent forgot a deployment, and is no part of it any more unless it is wanted again meanwhile.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn instance_forgotten(&self, name: &DeploymentName, node: &NodeName) -> Result<(), StoreError> {
        let (name, node) = (name.to_string(), node.to_string());
        self.sure(move |tx| {
            tx.execute("DELETE FROM instances WHERE deployment = ?1 AND node = ?2 AND wanted IS NULL", (&name, &node))?;
            tx.execute("UPDATE instances SET applied = NULL WHERE deployment = ?1 AND node = ?2", (&name, &node))?;
            finish(tx, &name)
        })
        .await
    }

    /// Why a node does not keep what is wanted of it.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn instance_failed(
        &self,
        name: &DeploymentName,
        node: &NodeName,
        reason: String,
    ) -> Result<(), StoreError> {
        let (name, node) = (name.to_string(), node.to_string());
        self.quick(move |tx| {
            tx.execute(
                "UPDATE instances SET reason = ?3 WHERE deployment = ?1 AND node = ?2 AND applied IS NOT digest",
                (&name, &node, &reason),
            )?;
            Ok(())
        })
        .await
    }

    /// Deletes a deployment with whatever stands of it.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn delete_deployment(&self, name: &DeploymentName) -> Result<bool, StoreError> {
        let name = name.to_string();
        self.sure(move |tx| Ok(tx.execute("DELETE FROM deployments WHERE name = ?1", [&name])? == 1)).await
    }

    /// What a node is to keep and to forget.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn duties(&self, node: &NodeName) -> Result<Vec<Duty>, StoreError> {
        let node = node.to_string();
        self.quick(move |tx| {
            let mut select = tx.prepare_cached("SELECT deployment, wanted, applied FROM instances WHERE node = ?1")?;
            let rows = select.query_map([&node], duty)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }
}

/// A removed node is no part of any deployment any more.
pub(super) fn without_node(tx: &Transaction<'_>, node: &str) -> Result<(), StoreError> {
    let mut select = tx.prepare_cached("DELETE FROM instances WHERE node = ?1 RETURNING deployment")?;
    let names: Vec<String> = select.query_map([node], |row| row.get(0))?.collect::<Result<_, _>>()?;
    names.iter().try_for_each(|name| finish(tx, name))
}

/// A manifest that all nodes took is the deployment's; a deployment that all nodes forgot when that was asked for is gone.
fn finish(tx: &Transaction<'_>, name: &str) -> Result<(), StoreError> {
    tx.prepare_cached(
        "UPDATE deployments SET manifest = wanted WHERE name = ?1 AND NOT deleting AND manifest IS NOT wanted AND NOT EXISTS (
            SELECT 1 FROM instances i WHERE i.deployment = ?1 AND (i.digest IS NULL OR i.applied IS NOT i.digest))",
    )?
    .execute([name])?;
    tx.prepare_cached(
        "DELETE FROM deployments WHERE name = ?1 AND deleting AND NOT EXISTS (
            SELECT 1 FROM instances i WHERE i.deployment = ?1)",
    )?
    .execute([name])?;
    Ok(())
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn parsed<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    serde_json::from_str(row.get_ref(column)?.as_str()?).map_err(|e| unreadable(column, e))
}

fn wanted(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Deployment>> {
    match row.get_ref(column)? {
        rusqlite::types::ValueRef::Null => Ok(None),
        _ => parsed(row, column).map(Some),
    }
}

fn name<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<T> {
    row.get_ref(column)?.as_str()?.parse().map_err(|e| unreadable(column, e))
}

fn deployment(row: &Row<'_>) -> rusqlite::Result<DeploymentRow> {
    Ok(DeploymentRow {
        name: name(row, 0)?,
        manifest: row.get(1)?,
        wanted: row.get(2)?,
        releases: parsed(row, 3)?,
        stemcells: parsed(row, 4)?,
        user: row.get(5)?,
        created_ms: row.get(6)?,
        updated_ms: row.get(7)?,
        deleting: row.get(8)?,
        clusters: parsed::<Vec<ClusterId>>(row, 9)?.into_iter().collect(),
        nodes: count(row, 10)?,
        unsettled: count(row, 11)?,
    })
}

fn instance(row: &Row<'_>) -> rusqlite::Result<InstanceRow> {
    Ok(InstanceRow {
        placed: Placed { id: name::<Uuid>(row, 0)?, group: row.get(1)?, index: row.get(2)?, node: name(row, 3)? },
        cluster: cluster_id(row, 4)?,
        cluster_name: row.get(5)?,
        wanted: wanted(row, 6)?,
        applied: row.get(7)?,
        reason: row.get(8)?,
    })
}

fn duty(row: &Row<'_>) -> rusqlite::Result<Duty> {
    Ok(Duty { name: name(row, 0)?, wanted: wanted(row, 1)?, applied: row.get(2)? })
}
