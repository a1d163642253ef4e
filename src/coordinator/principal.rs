//! Whoever stands behind a credential that was checked, whichever door it came through: a name, a role, a scope.
//!
//! Made by `coordinator::users` and the rooms of the other credentials, asked by every verb. It holds no credential itself.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::refusal::Refusal;
use crate::id::{ClusterId, FleetId};

/// What a user may do; each role may all that the ones below it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Read.
    Viewer,
    /// Collect, and read.
    Operator,
    /// Everything.
    Admin,
}

impl Role {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// The role of a word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Viewer, Self::Operator, Self::Admin].into_iter().find(|role| role.as_str() == word)
    }
}

/// By which credential somebody came, as the audit log names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Name and password.
    Password,
    /// A session's id.
    Session,
    /// A Keystone token.
    Token,
    /// A request signed with an access key.
    Signature,
    /// A client certificate.
    Certificate,
    /// A cluster's download token.
    DownloadToken,
}

impl Door {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Session => "session",
            Self::Token => "token",
            Self::Signature => "signature",
            Self::Certificate => "certificate",
            Self::DownloadToken => "download-token",
        }
    }
}

/// What of all clusters somebody may see and touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// Only this.
    Only(Arc<Reach>),
}

/// The reach of a limited scope, as it was when the credential was checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Fleets that were named in it.
    pub fleets: BTreeSet<FleetId>,
    /// Clusters that were named, and those of the fleets.
    pub clusters: BTreeSet<ClusterId>,
}

/// Whoever stands behind a credential that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The user's name.
    pub name: String,
    /// The user's role, or less where the credential grants less.
    pub role: Role,
    /// What it reaches.
    pub scope: Scope,
    /// By which credential it came.
    pub door: Door,
    /// Where the connection came from, where that is known.
    pub from: Option<IpAddr>,
}

impl Principal {
    /// One whose connection is not known yet.
    pub fn new(name: &str, role: Role, scope: Scope, door: Door) -> Self {
        Self { name: name.to_owned(), role, scope, door, from: None }
    }

    /// Refuses whoever has less than `role`.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`].
    pub fn needs(&self, role: Role) -> Result<(), Refusal> {
        if self.role >= role { Ok(()) } else { Err(Refusal::Forbidden) }
    }

    /// Whether a cluster is within the scope.
    pub fn sees(&self, cluster: ClusterId) -> bool {
        match &self.scope {
            Scope::All => true,
            Scope::Only(reach) => reach.clusters.contains(&cluster),
        }
    }

    /// Whether a fleet is within the scope.
    pub fn sees_fleet(&self, fleet: FleetId) -> bool {
        match &self.scope {
            Scope::All => true,
            Scope::Only(reach) => reach.fleets.contains(&fleet),
        }
    }

    /// Refuses whoever's scope does not hold the cluster.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`].
    pub fn reaches(&self, cluster: ClusterId) -> Result<(), Refusal> {
        if self.sees(cluster) { Ok(()) } else { Err(Refusal::Forbidden) }
    }

    /// Refuses whoever is limited to a part: for what concerns the coordinator as a whole.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`].
    pub fn needs_all(&self) -> Result<(), Refusal> {
        if self.scope == Scope::All { Ok(()) } else { Err(Refusal::Forbidden) }
    }
}
