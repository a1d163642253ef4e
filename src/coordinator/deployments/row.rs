//! A deployment and its instances, as they stand in the state: what is wanted of each node, and what its agent keeps.
//!
//! Rows come from the store and go to the verbs. A node is settled when what its agent keeps is what is wanted; the manifest that
//! people are shown is the last one for which all nodes were.

use std::collections::BTreeSet;

use super::resolve::{Placed, Planned, Versioned};
use crate::id::{ClusterId, DeploymentName};
use crate::protocol::questions::Deployment;

/// A deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentRow {
    /// Its name.
    pub name: DeploymentName,
    /// The last manifest that all its nodes took; `None` until there is one.
    pub manifest: Option<String>,
    /// The manifest that its nodes are to take, or took.
    pub wanted: String,
    /// Releases of that manifest.
    pub releases: Vec<Versioned>,
    /// Stemcells of that manifest.
    pub stemcells: Vec<Versioned>,
    /// Who deployed it last.
    pub user: String,
    /// When it was made, milliseconds since 1970.
    pub created_ms: i64,
    /// When it was last deployed.
    pub updated_ms: i64,
    /// Somebody asked for its end, and not all nodes forgot it yet.
    pub deleting: bool,
    /// The clusters of its nodes.
    pub clusters: BTreeSet<ClusterId>,
    /// Its nodes, those that are to forget it included.
    pub nodes: u64,
    /// Nodes whose agent keeps something else than what is wanted.
    pub unsettled: u64,
}

/// One node's part of a deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceRow {
    /// Group, number, id and node.
    pub placed: Placed,
    /// The node's cluster.
    pub cluster: ClusterId,
    /// The cluster's name.
    pub cluster_name: String,
    /// What its agent is to keep; `None` when it is to forget the deployment.
    pub wanted: Option<Deployment>,
    /// The digest of what its agent last said it keeps.
    pub applied: Option<String>,
    /// Why it does not keep what is wanted, as far as its agent said.
    pub reason: Option<String>,
}

impl InstanceRow {
    /// Whether the agent keeps what is wanted.
    pub fn is_settled(&self) -> bool {
        self.wanted.as_ref().is_some_and(|wanted| self.applied.as_deref() == Some(&wanted.digest()))
    }

    /// How it stands, in a word.
    pub fn standing(&self) -> &'static str {
        match (&self.wanted, self.is_settled(), &self.applied) {
            (None, ..) => "leaving",
            (_, true, _) => "current",
            (_, false, Some(_)) => "stale",
            (_, false, None) => "waiting",
        }
    }
}

/// What a deployment is to become, in one step.
#[derive(Clone, Debug)]
pub struct RollOut {
    /// Its name.
    pub name: DeploymentName,
    /// The manifest.
    pub manifest: String,
    /// Its releases.
    pub releases: Vec<Versioned>,
    /// Its stemcells.
    pub stemcells: Vec<Versioned>,
    /// Its instances.
    pub instances: Vec<Planned>,
    /// Who asks.
    pub user: String,
}

/// What one node is to do about one deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct Duty {
    /// The deployment.
    pub name: DeploymentName,
    /// What it is to keep; `None` when it is to forget it.
    pub wanted: Option<Deployment>,
    /// The digest of what it last said it keeps.
    pub applied: Option<String>,
}
