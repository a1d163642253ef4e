//! The roster: clusters and their nodes.

use std::collections::BTreeMap;

use crate::id::{ClusterId, NodeName};

/// How nodes come into a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterKind {
    /// A third party's; nodes join with access info.
    Attached,
    /// Managed by this coordinator.
    Managed,
}

impl ClusterKind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Attached => "attached",
            Self::Managed => "managed",
        }
    }
}

/// A cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterRow {
    /// Its id.
    pub id: ClusterId,
    /// Its name.
    pub name: String,
    /// How nodes come into it.
    pub kind: ClusterKind,
    /// When it was made, milliseconds since 1970.
    pub created_ms: i64,
}

/// A node, as it last described itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// Its name.
    pub name: NodeName,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its cluster's name.
    pub cluster_name: String,
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// Operating system, pretty name.
    pub os: String,
    /// Kernel release.
    pub kernel: String,
    /// The agent's version.
    pub agent_version: String,
    /// Labels from the agent's configuration.
    pub labels: BTreeMap<String, String>,
    /// Collectors it declares, and whether each is on by default.
    pub collectors: BTreeMap<String, bool>,
    /// When it first came, milliseconds since 1970.
    pub first_seen_ms: i64,
    /// When its last session began or ended.
    pub last_seen_ms: i64,
}
