//! Deployments and the instances of their jobs.

use serde::{Deserialize, Serialize};

/// A deployment: which nodes run which collectors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// Its name.
    pub name: String,
    /// `current` when all its nodes keep what is wanted of them, `stale` when some do not, or `deleting`.
    pub state: String,
    /// Its nodes, those that are to forget it among them.
    pub nodes: u64,
    /// Nodes that keep something else than what is wanted.
    #[serde(default)]
    pub unsettled: u64,
    /// Packs of collectors that it uses, `name/version`.
    #[serde(default)]
    pub releases: Vec<String>,
    /// Operating systems of its nodes, `name/version`.
    #[serde(default)]
    pub stemcells: Vec<String>,
    /// Who deployed it last.
    #[serde(default)]
    pub user: String,
    /// RFC 3339.
    #[serde(default)]
    pub created_at: String,
    /// RFC 3339.
    #[serde(default)]
    pub updated_at: String,
    /// The last manifest that all its nodes took, as it was sent; not in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// Its nodes' parts; not in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<Instance>,
}

/// One node's part of a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its id.
    pub id: String,
    /// The instance group.
    pub group: String,
    /// Its number in the group.
    pub index: u32,
    /// The node.
    pub node: String,
    /// The node's cluster.
    pub cluster: String,
    /// `current`, `stale` (it keeps something older), `waiting` (it keeps nothing yet) or `leaving`.
    pub state: String,
    /// Collectors that it is to run.
    #[serde(default)]
    pub jobs: Vec<String>,
    /// Why it is not current, as far as its agent said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
