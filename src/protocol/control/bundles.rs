//! Bundles: what is asked for, and what is kept.

use serde::{Deserialize, Serialize};

use crate::bundle::Format;
use crate::bundle::manifest::Budgets;
use crate::bundle::outcome::Verdict;
use crate::id::{BundleId, BundleName, CollectorName, TaskId};
use crate::protocol::questions::CollectorSize;
use crate::protocol::redaction::AskedRule;
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
    /// What is to be taken out beyond what nodes take out anyway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redact: Vec<AskedRule>,
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

/// What a bundle would hold, without one being made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleEstimate {
    /// Each node's part, by name.
    pub nodes: Vec<NodeEstimate>,
    /// Files of all nodes that answered.
    pub files: u64,
    /// Bytes of them, before compression.
    pub bytes: u64,
    /// Bytes of those that budgets and limits would leave out.
    pub left_out: u64,
    /// Nodes that did not answer.
    pub unknown: u64,
}

/// What one node would give.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEstimate {
    /// The node.
    pub node: String,
    /// Why nothing is known of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Whether it had more to look at than time for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut_short: bool,
    /// Its collectors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub collectors: Vec<CollectorSize>,
    /// Bytes that it may give.
    pub allowed: u64,
    /// Bytes that are more than that.
    pub left_out: u64,
}
