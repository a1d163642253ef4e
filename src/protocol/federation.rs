//! The operators' conversation about fleets, certificates and access info: more of the native API under `/sheaf/v1`.
//!
//! | call | body | answer |
//! |---|---|---|
//! | `GET fleets`, `POST fleets` | [`NewFleet`] | 200 `[`[`Fleet`]`]`, 201 [`Fleet`] |
//! | `GET fleets/{id or name}`, `DELETE …` | | 200 [`Fleet`], 204 |
//! | `PUT fleets/{id or name}/clusters/{id or name}`, `DELETE …` | | 200 [`Fleet`] |
//! | `POST fleets/{id or name}/kubeconfig` | [`NewKubeconfig`] | 201 a kubeconfig in JSON |
//! | `GET certificates?fleet=` | | 200 `[`[`Certificate`]`]` |
//! | `POST certificates/{serial}/revoke` | | 200 [`Certificate`] |
//! | `POST clusters/{id or name}/access-info` | [`NewAccessInfo`] | 200 a Kubernetes `List`, once; then 409 `downloaded` |
//! | `POST clusters/{id or name}/access-info/reset` | | 204 |
//!
//! Credentials and errors are those of [`super::control`]. Nothing here opens a socket.

use serde::{Deserialize, Serialize};

use crate::id::{FleetId, FleetName};

/// Body of a fleet's creation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewFleet {
    /// Its name, unique.
    pub name: FleetName,
    /// Whether certificates are issued for it.
    #[serde(default = "yes")]
    pub federation: bool,
}

/// A fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleet {
    /// Its id.
    pub id: FleetId,
    /// Its name.
    pub name: String,
    /// Whether certificates are issued for it.
    pub federation: bool,
    /// Names of its clusters.
    #[serde(default)]
    pub clusters: Vec<String>,
    /// RFC 3339.
    #[serde(default)]
    pub created_at: String,
}

/// Body of a kubeconfig's creation. The place is all of it or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewKubeconfig {
    /// Days that its certificate is good.
    pub days: u32,
    /// Project's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// VPC's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpc: Option<String>,
    /// Subnet's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet: Option<String>,
}

/// An operator's certificate in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Its serial number: what revokes it.
    pub id: String,
    /// `<user>@<fleet>`.
    pub name: String,
    /// Who asked for it.
    pub user: String,
    /// What it grants at most.
    pub role: String,
    /// The fleet that it reaches.
    pub fleet: String,
    /// `ACTIVE`, `EXPIRED` or `REVOKED`.
    pub status: String,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub expires_at: String,
}

/// Body of a download of access info.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewAccessInfo {
    /// IP address of the VPC endpoint by which the nodes reach the coordinator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpcendpoint: Option<String>,
    /// The nodes' region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

fn yes() -> bool {
    true
}
