//! The roster: clusters and their nodes, and what a node says of itself, cut to a size that can be kept.
//!
//! Rows come from the store and from agents' hellos; they go to the verbs. Nothing here trusts a name that a node gives itself.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::id::{ClusterId, NodeName};
use crate::protocol::agents::Hello;
use crate::protocol::questions::Pack;

/// The cluster that is always there unless somebody deletes it.
pub const DEFAULT_CLUSTER: &str = "default";
/// Labels, and collectors, of one node at most.
pub const ENTRIES: usize = 128;
/// Addresses of a node.
const ADDRESSES: usize = 16;
/// Bytes of one text that a node says of itself.
const TEXT: usize = 256;

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
    /// What it said of itself last.
    pub about: About,
    /// When it first came, milliseconds since 1970.
    pub first_seen_ms: i64,
    /// When its last session began or ended.
    pub last_seen_ms: i64,
}

/// What a node said of itself last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// Host name.
    pub hostname: String,
    /// Operating system, pretty name.
    pub os: String,
    /// Operating system's id, such as `debian`.
    pub os_id: String,
    /// Operating system's version.
    pub os_version: String,
    /// Kernel release.
    pub kernel: String,
    /// The agent's version.
    pub agent_version: String,
    /// Its own addresses.
    pub addresses: Vec<IpAddr>,
    /// Labels from the agent's configuration.
    pub labels: BTreeMap<String, String>,
    /// Collectors it declares, and whether each is on by default.
    pub collectors: BTreeMap<String, bool>,
    /// Packs that its collectors belong to.
    pub packs: Vec<Pack>,
    /// Whether it refuses every order to collect.
    pub refuses: bool,
}

impl About {
    /// What is kept of a hello.
    pub fn of(hello: &Hello) -> Self {
        Self {
            machine_id: cut(&hello.machine_id),
            hostname: cut(&hello.hostname),
            os: cut(&hello.os),
            os_id: cut(&hello.os_id),
            os_version: cut(&hello.os_version),
            kernel: cut(&hello.kernel),
            agent_version: cut(&hello.agent_version),
            addresses: hello.addresses.iter().copied().take(ADDRESSES).collect(),
            labels: hello.labels.iter().take(ENTRIES).map(|(k, v)| (cut(k), cut(v))).collect(),
            collectors: hello.collectors.iter().take(ENTRIES).map(|(k, on)| (cut(k), *on)).collect(),
            packs: hello.packs.iter().take(ENTRIES).map(pack).collect(),
            refuses: hello.refuses,
        }
    }
}

fn pack(pack: &Pack) -> Pack {
    Pack {
        name: cut(&pack.name),
        version: cut(&pack.version),
        jobs: pack.jobs.iter().take(ENTRIES).map(|job| cut(job)).collect(),
    }
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT)].to_owned()
}
