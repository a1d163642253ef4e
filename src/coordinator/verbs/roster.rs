//! Clusters and nodes: made, listed, removed.
//!
//! Rows come from the store, what a connection tells from the engine. Nothing here trusts a name that a node gives itself.

use std::time::Duration;

use super::{Cluster, ClusterKind, ClusterRow, Node, NodeRow, Principal, Refusal, Role, Scope, Verbs};
use crate::coordinator::run::AskError;
use crate::coordinator::store::roster::Deleted;
use crate::id::{ClusterId, ClusterName, NodeName};
use crate::protocol::history::History;
use crate::protocol::questions::{Question, Reply, Wanted};

/// Time that an agent has to read its history.
const HISTORY: Duration = Duration::from_secs(15);

/// Clusters and nodes. Whoever is limited to a part sees that part, and is not told whether there is anything else.
impl Verbs {
    /// All clusters within reach, by name.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn clusters(&self, who: &Principal) -> Result<Vec<Cluster>, Refusal> {
        self.watched(who, "cluster.list", "", async {
            who.needs(Role::Viewer)?;
            let rows = self.rooms.store.clusters().await?.into_iter().filter(|(row, _)| who.sees(row.id));
            Ok(rows.map(|(row, nodes)| Cluster { row, nodes }).collect())
        })
        .await
    }

    /// One cluster, by id or name.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]; [`Refusal::Forbidden`] for one out of reach, and, to whoever is limited, for one that is not there.
    pub async fn cluster(&self, who: &Principal, id_or_name: &str) -> Result<Cluster, Refusal> {
        self.watched(who, "cluster.read", id_or_name, self.cluster_of(who, id_or_name)).await
    }

    /// The same for a verb that records its own refusals.
    pub(super) async fn cluster_of(&self, who: &Principal, id_or_name: &str) -> Result<Cluster, Refusal> {
        who.needs(Role::Viewer)?;
        match self.rooms.store.find_cluster(id_or_name).await? {
            Some((row, nodes)) if who.sees(row.id) => Ok(Cluster { row, nodes }),
            None if who.scope == Scope::All => Err(Refusal::not_found("cluster", id_or_name)),
            _ => Err(Refusal::Forbidden),
        }
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
        let target = name.to_string();
        self.recorded(who, "cluster.create", &target, async {
            who.needs(Role::Admin)?;
            who.needs_all()?;
            if name.as_str().parse::<ClusterId>().is_ok() {
                return Err(Refusal::Invalid("a cluster's name must not look like an id".into()));
            }
            let created_ms = self.rooms.clock.now_ms();
            let row = ClusterRow { id: ClusterId::random(), name: name.into(), kind, created_ms };
            if !self.rooms.store.add_cluster(row.clone()).await? {
                return Err(Refusal::Conflict(format!("there is a cluster `{}` already", row.name)));
            }
            Ok(Cluster { row, nodes: 0 })
        })
        .await
    }

    /// Deletes a cluster to which nothing belongs, by id or name.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]; [`Refusal::Conflict`] when it still has nodes or agent secrets.
    pub async fn delete_cluster(&self, who: &Principal, id_or_name: &str) -> Result<(), Refusal> {
        self.recorded(who, "cluster.delete", id_or_name, async {
            who.needs(Role::Admin)?;
            let row = self.cluster_of(who, id_or_name).await?.row;
            match self.rooms.store.delete_cluster(row.id).await? {
                Deleted::Yes => Ok(()),
                Deleted::Absent => Err(Refusal::not_found("cluster", id_or_name)),
                Deleted::InUse => Err(Refusal::Conflict(format!(
                    "cluster `{}` still has nodes or agent secrets; remove its nodes and revoke its secrets first",
                    row.name
                ))),
            }
        })
        .await
    }

    /// Nodes within reach, by name: all, or one cluster's (id or name).
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for an unknown cluster.
    pub async fn nodes(&self, who: &Principal, cluster: Option<&str>) -> Result<Vec<Node>, Refusal> {
        self.watched(who, "node.list", cluster.unwrap_or_default(), async {
            who.needs(Role::Viewer)?;
            let cluster = match cluster {
                None => None,
                Some(key) => Some(self.cluster_of(who, key).await?.row.id),
            };
            let rows = self.rooms.store.nodes(cluster).await?.into_iter().filter(|row| who.sees(row.cluster));
            Ok(rows.map(|row| self.with_connection(row)).collect())
        })
        .await
    }

    /// One node.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]; [`Refusal::Forbidden`] as for a cluster.
    pub async fn node(&self, who: &Principal, name: &str) -> Result<Node, Refusal> {
        self.watched(who, "node.read", name, async {
            who.needs(Role::Viewer)?;
            match self.rooms.store.node(name).await? {
                Some(row) if who.sees(row.cluster) => Ok(self.with_connection(row)),
                None if who.scope == Scope::All => Err(Refusal::not_found("node", name)),
                _ => Err(Refusal::Forbidden),
            }
        })
        .await
    }

    /// A node's history, as its agent has it now.
    ///
    /// # Errors
    /// As [`Verbs::node`]; [`Refusal::Conflict`] when its agent is not there, does not answer or has none.
    pub async fn node_history(&self, who: &Principal, name: &str, wanted: Wanted) -> Result<Box<History>, Refusal> {
        self.watched(who, "node.history", name, async {
            who.needs(Role::Viewer)?;
            let node = match self.rooms.store.node(name).await? {
                Some(row) if who.sees(row.cluster) => row.name,
                None if who.scope == Scope::All => return Err(Refusal::not_found("node", name)),
                _ => return Err(Refusal::Forbidden),
            };
            match self.rooms.engine.ask(&node, &who.name, Question::History(wanted), HISTORY).await {
                Ok(Reply::History(history)) => Ok(history),
                Ok(_) => Err(Refusal::Conflict("the agent answered another question".into())),
                Err(error @ AskError::NotConnected) => Err(Refusal::Conflict(format!(
                    "node `{node}`: {error}; its history lies on the node, and up to its last bundle in that bundle \
                     (`sheaf node show {node} --history --bundle FILE`)"
                ))),
                Err(error) => Err(Refusal::Conflict(format!("node `{node}`: {error}"))),
            }
        })
        .await
    }

    /// Removes a node: its secret, tokens and connection end, its name is free again.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when there is neither a node nor an agent secret of that name.
    pub async fn remove_node(&self, who: &Principal, name: &str) -> Result<(), Refusal> {
        self.recorded(who, "node.remove", name, async {
            who.needs(Role::Admin)?;
            self.reaches_name(who, name, "node").await?;
            if !self.rooms.secrets.remove_node(name).await? {
                return Err(Refusal::not_found("node", name));
            }
            self.disconnect(name);
            Ok(())
        })
        .await
    }

    /// Refuses whoever does not reach the cluster to which a node or agent secret of that name belongs.
    pub(super) async fn reaches_name(&self, who: &Principal, name: &str, kind: &str) -> Result<(), Refusal> {
        match self.rooms.store.clusters_of_name(name).await?.as_slice() {
            [] if who.scope == Scope::All => Err(Refusal::not_found(kind, name)),
            [] => Err(Refusal::Forbidden),
            clusters => clusters.iter().try_for_each(|cluster| who.reaches(*cluster)),
        }
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
