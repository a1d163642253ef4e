//! Agent secrets and access tokens.

use crate::id::ClusterId;
use crate::secret::Secret;

/// Where an agent secret stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretStatus {
    /// Good.
    Active,
    /// Revoked, for good.
    Revoked,
}

impl SecretStatus {
    /// The word of the public API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Revoked => "REVOKED",
        }
    }
}

/// An agent secret, without the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRow {
    /// Its id, the same for all its rotations.
    pub id: String,
    /// Its name, the node's.
    pub name: String,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its cluster's name.
    pub cluster_name: String,
    /// Where it stands.
    pub status: SecretStatus,
    /// When it was made, milliseconds since 1970.
    pub created_ms: i64,
    /// When it was made, rotated or revoked last.
    pub modified_ms: i64,
}

/// What an agent gets for its secret.
#[derive(Clone, Debug)]
pub struct Exchanged {
    /// The access token.
    pub access_token: Secret,
    /// The node's name.
    pub name: String,
    /// The secret that replaces the one that was used, from its first use on.
    pub new_secret: Secret,
    /// How long the token is good, milliseconds.
    pub ttl_ms: u64,
}
