//! Bundles: what is asked for, and what is kept.

use serde::{Deserialize, Serialize};

use crate::bundle::Format;
use crate::bundle::manifest::Budgets;
use crate::bundle::outcome::Verdict;
use crate::id::{BundleId, BundleName, CollectorName, TaskId};
use crate::window::Asked;

/// Body of a bundle's creation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewBundle {
    /// Id or name of the cluster.
    pub cluster: String,
    /// Globs on names of nodes; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
    /// Collectors; empty for each node's default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub collectors: Vec<CollectorName>,
    /// Case id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<String>,
    /// Note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Bytes at most of each node, and of all together, before compression.
    #[serde(default, skip_serializing_if = "Budgets::is_none")]
    pub budgets: Budgets,
    /// The time that logs are taken from, `since` and `until`; the coordinator's clock resolves it once for all nodes.
    #[serde(flatten)]
    pub window: Asked,
    /// How it is laid out.
    #[serde(default = "compressed")]
    pub format: Format,
}

fn compressed() -> Format {
    Format::TarZst
}

/// A kept bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredBundle {
    /// Its id.
    pub id: BundleId,
    /// The bundle's name.
    pub name: BundleName,
    /// What it is of: a cluster's or a deployment's name.
    pub of: String,
    /// Who asked for it.
    pub user: String,
    /// The task that made it.
    pub task: TaskId,
    /// How it is laid out.
    pub format: Format,
    /// Its length.
    pub bytes: u64,
    /// What its seal says.
    pub verdict: Verdict,
    /// Nodes expected.
    pub nodes: u64,
    /// Nodes that are in it whole.
    pub nodes_collected: u64,
    /// RFC 3339: when it was published.
    pub created_at: String,
    /// RFC 3339: when it is given up at the latest.
    pub expires_at: String,
}
