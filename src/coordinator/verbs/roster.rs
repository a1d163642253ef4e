//! Clusters and nodes: made, listed, removed.
//!
//! Rows come from the store, what a connection tells from the engine. Nothing here trusts a name that a node gives itself.

use tracing::info;

use super::{Cluster, ClusterKind, ClusterRow, Node, NodeRow, Principal, Refusal, Role, Verbs};
use crate::coordinator::store::roster::Deleted;
use crate::id::{ClusterId, ClusterName, NodeName};

/// Clusters and nodes.
impl Verbs {
    /// All clusters, by name.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn clusters(&self, who: &Principal) -> Result<Vec<Cluster>, Refusal> {
        who.needs(Role::Viewer)?;
        let rows = self.rooms.store.clusters().await?;
        Ok(rows.into_iter().map(|(row, nodes)| Cluster { row, nodes }).collect())
    }

    /// One cluster, by id or name.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub async fn cluster(&self, who: &Principal, id_or_name: &str) -> Result<Cluster, Refusal> {
        who.needs(Role::Viewer)?;
        let found = self.rooms.store.find_cluster(id_or_name).await?;
        let (row, nodes) = found.ok_or_else(|| Refusal::not_found("cluster", id_or_name))?;
        Ok(Cluster { row, nodes })
    }

    /// Makes a cluster.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] for a taken name; [`Refusal::Invalid`] for one that reads as an id.
    pub async fn create_cluster(
        &self,
        who: &Principal,
        name: ClusterName,
        kind: ClusterKind,
    ) -> Result<Cluster, Refusal> {
        who.needs(Role::Admin)?;
        if name.as_str().parse::<ClusterId>().is_ok() {
            return Err(Refusal::Invalid("a cluster's name must not look like an id".into()));
        }
        let created_ms = self.rooms.clock.now_ms();
        let row = ClusterRow { id: ClusterId::random(), name: name.into(), kind, created_ms };
        if !self.rooms.store.add_cluster(row.clone()).await? {
            return Err(Refusal::Conflict(format!("there is a cluster `{}` already", row.name)));
        }
        info!(target: "audit", user = who.name, cluster = row.name, id = %row.id, "cluster made");
        Ok(Cluster { row, nodes: 0 })
    }

    /// Deletes a cluster to which nothing belongs, by id or name.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]; [`Refusal::Conflict`] when it still has nodes or agent secrets.
    pub async fn delete_cluster(&self, who: &Principal, id_or_name: &str) -> Result<(), Refusal> {
        who.needs(Role::Admin)?;
        let row = self.cluster(who, id_or_name).await?.row;
        match self.rooms.store.delete_cluster(row.id).await? {
            Deleted::Yes => {
                info!(target: "audit", user = who.name, cluster = row.name, id = %row.id, "cluster deleted");
                Ok(())
            }
            Deleted::Absent => Err(Refusal::not_found("cluster", id_or_name)),
            Deleted::InUse => Err(Refusal::Conflict(format!(
                "cluster `{}` still has nodes or agent secrets; remove its nodes and revoke its secrets first",
                row.name
            ))),
        }
    }

    /// Nodes, by name: all, or one cluster's (id or name).
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for an unknown cluster.
    pub async fn nodes(&self, who: &Principal, cluster: Option<&str>) -> Result<Vec<Node>, Refusal> {
        who.needs(Role::Viewer)?;
        let cluster = match cluster {
            None => None,
            Some(key) => Some(self.cluster(who, key).await?.row.id),
        };
        let rows = self.rooms.store.nodes(cluster).await?;
        Ok(rows.into_iter().map(|row| self.with_connection(row)).collect())
    }

    /// One node.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub async fn node(&self, who: &Principal, name: &str) -> Result<Node, Refusal> {
        who.needs(Role::Viewer)?;
        let row = self.rooms.store.node(name).await?.ok_or_else(|| Refusal::not_found("node", name))?;
        Ok(self.with_connection(row))
    }

    /// Removes a node: its secret, tokens and connection end, its name is free again.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when there is neither a node nor an agent secret of that name.
    pub async fn remove_node(&self, who: &Principal, name: &str) -> Result<(), Refusal> {
        who.needs(Role::Admin)?;
        if !self.rooms.secrets.remove_node(name).await? {
            return Err(Refusal::not_found("node", name));
        }
        self.disconnect(name);
        info!(target: "audit", user = who.name, node = name, "node removed");
        Ok(())
    }

    fn with_connection(&self, row: NodeRow) -> Node {
        let online = self.rooms.engine.online(&row.name);
        let heard = self.rooms.engine.roll().last_seen(&row.name);
        Node { last_seen_ms: Some(heard.unwrap_or(row.last_seen_ms)), online, row }
    }

    pub(super) fn disconnect(&self, name: &str) {
        if let Ok(node) = name.parse::<NodeName>() {
            self.rooms.engine.disconnect(&node);
        }
    }
}
