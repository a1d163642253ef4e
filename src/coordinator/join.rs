//! Joining: what becomes of a node that shows its cluster's join certificate and asks for an agent secret of its own.
//!
//! Values only: the decision is made inside one transaction of the store, and told to the node by the verbs.

use super::refusal::Refusal;
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

/// Why a node may not join, for its administrator to read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// Nothing was shown that says which cluster.
    #[error("no join certificate was shown; join with the access info of a cluster")]
    NoCertificate,
    /// Its cluster was deleted.
    #[error("the join certificate is not known here; its cluster was deleted, or it is another coordinator's")]
    Unknown,
    /// It was revoked.
    #[error("the join certificate was revoked: the access info was reset; ask for the new one")]
    Revoked,
    /// It is over.
    #[error("the join certificate has expired; ask for new access info (`sheaf cluster access-info CLUSTER --reset`)")]
    Expired,
    /// Another machine has the name.
    #[error(
        "the name `{0}` is taken by another machine; join by another --name, or free it with `sheaf node remove {0}`"
    )]
    Taken(NodeName),
    /// The name was shut out.
    #[error("the agent secret of `{0}` was revoked; after `sheaf node remove {0}` a node can join by that name again")]
    NameRevoked(NodeName),
    /// What the node says of itself makes no sense.
    #[error("the machine id must be 1 to 128 letters, digits or ._-; is there an /etc/machine-id on this node?")]
    MachineId,
    /// Anything else.
    #[error(transparent)]
    Other(#[from] Refusal),
}

impl JoinError {
    /// What a decision that is not good says.
    pub fn of(joined: Joined, name: &NodeName) -> Self {
        match joined {
            Joined::Taken { .. } => Self::Taken(name.clone()),
            Joined::NameRevoked => Self::NameRevoked(name.clone()),
            Joined::Unknown => Self::Unknown,
            Joined::Revoked => Self::Revoked,
            Joined::Expired => Self::Expired,
            Joined::Good { .. } => Self::Other(Refusal::Internal),
        }
    }
}

impl Joining {
    /// Checks what a node says of itself.
    ///
    /// # Errors
    /// [`JoinError::MachineId`].
    pub fn new(name: NodeName, machine_id: &str) -> Result<Self, JoinError> {
        let id = machine_id.trim();
        let good =
            (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if good { Ok(Self { name, machine_id: id.to_owned() }) } else { Err(JoinError::MachineId) }
    }
}
