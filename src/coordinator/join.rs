//! Joining: what becomes of a node that shows its cluster's join certificate and asks for an agent secret of its own.
//!
//! Values only: the decision is made inside one transaction of the store, and told to the node by the verbs.

use crate::id::{ClusterId, NodeName};

/// What a node that joins says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joining {
    /// The name that it claims.
    pub name: NodeName,
    /// `/etc/machine-id`: tells a node that comes again from another machine.
    pub machine_id: String,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joined {
    /// It may have this agent secret; every earlier one of its name is retired.
    Good {
        /// The secret's id.
        id: String,
        /// The secret's generation.
        generation: u32,
        /// The cluster's name.
        cluster_name: String,
        /// Whether the machine had joined by this name before.
        again: bool,
    },
    /// Another machine has the name, or nobody knows which.
    Taken {
        /// The cluster whose access info was shown.
        cluster: ClusterId,
    },
    /// The name's agent secret was revoked.
    NameRevoked,
    /// No such join certificate: its cluster was deleted.
    Unknown,
    /// The join certificate was revoked by a reset of the access info.
    Revoked,
    /// The join certificate is over.
    Expired,
}
