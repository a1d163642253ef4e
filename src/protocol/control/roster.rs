//! What there is: clusters, nodes and the secrets that agents log in with.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{ClusterId, ClusterName, NodeName};
use crate::protocol::agents::Vitals;

/// Body of a cluster's creation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewCluster {
    /// Its name, unique.
    pub name: ClusterName,
    /// Managed by this coordinator; otherwise attached.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub managed: bool,
}

/// A cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its id.
    pub id: ClusterId,
    /// Its name.
    pub name: String,
    /// Managed by this coordinator; otherwise attached.
    pub managed: bool,
    /// Nodes that belong to it.
    #[serde(default)]
    pub nodes: u64,
    /// RFC 3339.
    #[serde(default)]
    pub created_at: String,
}

/// A node, with what it said of itself last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its cluster's name.
    pub cluster: String,
    /// Whether its agent is connected.
    pub online: bool,
    /// RFC 3339: connected since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// RFC 3339: last heard of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<String>,
    /// The agent's version.
    #[serde(default)]
    pub agent_version: String,
    /// Operating system, pretty name.
    #[serde(default)]
    pub os: String,
    /// Kernel release.
    #[serde(default)]
    pub kernel: String,
    /// `/etc/machine-id`.
    #[serde(default)]
    pub machine_id: String,
    /// Labels from the agent's configuration.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Collectors that it declares, and whether each is on by default.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub collectors: BTreeMap<String, bool>,
    /// Whether its configuration refuses every order to collect.
    #[serde(default)]
    pub refuses: bool,
    /// Its clock minus the coordinator's, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_offset_ms: Option<i64>,
    /// Round trip between it and the coordinator, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip_ms: Option<u64>,
    /// Its last vitals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vitals: Option<Vitals>,
}

/// Body of an agent secret's creation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewSecret {
    /// The node's name.
    pub name: NodeName,
    /// Id or name of the cluster; `default` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
}

/// An agent secret as it is created: the only time that it is shown.
#[derive(Clone, Serialize, Deserialize)]
pub struct AgentSecretGrant {
    /// Its id.
    pub id: String,
    /// Its name, the node's.
    pub name: String,
    /// The cluster's name.
    pub cluster: String,
    /// The secret.
    pub secret: String,
    /// `ACTIVE`.
    pub status: String,
}

/// By hand, since the secret must not print.
impl fmt::Debug for AgentSecretGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentSecretGrant").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

/// An agent secret in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentSecretRow {
    /// Its id.
    pub id: String,
    /// Its name, the node's.
    pub name: String,
    /// The cluster's name.
    #[serde(default)]
    pub cluster: String,
    /// `ACTIVE` or `REVOKED`.
    pub status: String,
    /// RFC 3339: created, rotated or revoked.
    #[serde(default)]
    pub modified_at: String,
}
