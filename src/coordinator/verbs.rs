//! The verbs: the only door through which the API rooms reach the coordinator.
//!
//! Calls come from faces, already translated, with the [`Principal`] whose credential was checked at the door; each verb
//! checks the role, asks the rooms below, and answers with plain rows or a [`Refusal`]. It speaks no dialect and knows no HTTP.

use crate::bundle::Format;
use crate::id::{ClusterId, ClusterName, NodeName, TaskId};
use crate::secret::Secret;

pub use super::refusal::Refusal;
pub use super::roster::{ClusterKind, ClusterRow, NodeRow};
pub use super::run::{Body, Download, Figures, Online};
pub use super::secrets::{Exchanged, SecretRow, SecretStatus};
pub use super::tasks::{Log, LogPart, TaskFilter, TaskRow};
pub use super::users::{Principal, Role, Session};

/// A cluster with what is counted about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// The cluster.
    pub row: ClusterRow,
    /// Its nodes.
    pub nodes: u64,
}

/// A node with what its connection tells.
#[derive(Clone, Debug)]
pub struct Node {
    /// What is stored.
    pub row: NodeRow,
    /// What is known while it is connected.
    pub online: Option<Online>,
    /// When it was last heard of, milliseconds since 1970.
    pub last_seen_ms: Option<i64>,
}

/// A new agent secret: the only time that it is shown.
#[derive(Clone, Debug)]
pub struct NewSecret {
    /// What a list shows of it.
    pub row: SecretRow,
    /// The secret.
    pub secret: Secret,
}

/// A download token of the vCenter API.
#[derive(Clone, Debug)]
pub struct BundleToken {
    /// The token.
    pub token: Secret,
    /// Until when it is good, milliseconds since 1970.
    pub expires_ms: i64,
}

/// What is wanted of a bundle.
#[derive(Clone, Debug)]
pub struct BundleRequest {
    /// Id or name of the cluster.
    pub cluster: String,
    /// Globs on names of nodes; empty for all.
    pub nodes: Vec<String>,
    /// Collectors; empty for each node's default.
    pub collectors: Vec<String>,
    /// How it is laid out.
    pub format: Format,
    /// Case id.
    pub case: Option<String>,
    /// Note.
    pub note: Option<String>,
}

/// Figures for the metrics.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    /// The engine's.
    pub engine: Figures,
    /// Nodes known.
    pub nodes: u64,
    /// Clusters.
    pub clusters: u64,
    /// Tasks by state, of those that are kept.
    pub tasks: Vec<(crate::protocol::control::TaskState, u64)>,
    /// Seconds since the coordinator started.
    pub uptime_secs: u64,
}

/// The door; cheap to clone.
#[derive(Clone)]
pub struct Verbs {}

impl Verbs {
    /// Checks a user's password.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`]; [`Refusal::Busy`] when too many passwords wait to be checked.
    pub async fn login(&self, user: &str, password: &Secret) -> Result<Principal, Refusal> {
        let _ = (user, password);
        Err(Refusal::Internal)
    }

    /// Opens a session; its id is the credential, shown this once.
    pub async fn open_session(&self, who: &Principal) -> Result<Secret, Refusal> {
        let _ = who;
        Err(Refusal::Internal)
    }

    /// The session of an id, which counts as used by this; [`Refusal::Unauthenticated`] when there is none or it expired.
    pub async fn session(&self, id: &str) -> Result<Session, Refusal> {
        let _ = id;
        Err(Refusal::Internal)
    }

    /// Ends a session. An unknown one is [`Refusal::Unauthenticated`].
    pub async fn close_session(&self, id: &str) -> Result<(), Refusal> {
        let _ = id;
        Err(Refusal::Internal)
    }

    /// All clusters, by name.
    pub async fn clusters(&self, who: &Principal) -> Result<Vec<Cluster>, Refusal> {
        let _ = who;
        Err(Refusal::Internal)
    }

    /// One cluster, by id or name.
    pub async fn cluster(&self, who: &Principal, id_or_name: &str) -> Result<Cluster, Refusal> {
        let _ = (who, id_or_name);
        Err(Refusal::Internal)
    }

    /// Makes a cluster. A taken name is a [`Refusal::Conflict`].
    pub async fn create_cluster(
        &self,
        who: &Principal,
        name: ClusterName,
        kind: ClusterKind,
    ) -> Result<Cluster, Refusal> {
        let _ = (who, name, kind);
        Err(Refusal::Internal)
    }

    /// Deletes an empty cluster, by id or name; one with nodes or secrets is a [`Refusal::Conflict`].
    pub async fn delete_cluster(&self, who: &Principal, id_or_name: &str) -> Result<(), Refusal> {
        let _ = (who, id_or_name);
        Err(Refusal::Internal)
    }

    /// Nodes, by name: all, or one cluster's (id or name).
    pub async fn nodes(&self, who: &Principal, cluster: Option<&str>) -> Result<Vec<Node>, Refusal> {
        let _ = (who, cluster);
        Err(Refusal::Internal)
    }

    /// One node.
    pub async fn node(&self, who: &Principal, name: &str) -> Result<Node, Refusal> {
        let _ = (who, name);
        Err(Refusal::Internal)
    }

    /// Removes a node: its secret, tokens and connection end, its name is free again.
    pub async fn remove_node(&self, who: &Principal, name: &str) -> Result<(), Refusal> {
        let _ = (who, name);
        Err(Refusal::Internal)
    }

    /// Makes an agent secret for a node of that name in `cluster` (id or name; `default` when absent).
    /// A name that is none, and an unknown cluster, are [`Refusal::Invalid`]; a taken name, also a revoked one's, a [`Refusal::Conflict`].
    pub async fn create_secret(
        &self,
        who: &Principal,
        name: &str,
        cluster: Option<&str>,
    ) -> Result<NewSecret, Refusal> {
        let _ = (who, name, cluster);
        Err(Refusal::Internal)
    }

    /// All agent secrets, by name; never the secrets themselves.
    pub async fn secrets(&self, who: &Principal) -> Result<Vec<SecretRow>, Refusal> {
        let _ = who;
        Err(Refusal::Internal)
    }

    /// Revokes an agent secret, for good; with `now` its tokens and its connection end too.
    pub async fn revoke_secret(&self, who: &Principal, name: &str, now: bool) -> Result<SecretRow, Refusal> {
        let _ = (who, name, now);
        Err(Refusal::Internal)
    }

    /// Trades an agent secret for an access token; needs no other credential. `ttl_ms` absent or 0 means half an hour.
    /// A bad or revoked secret is [`Refusal::Unauthenticated`], a bad ttl [`Refusal::Invalid`].
    pub async fn exchange_secret(&self, secret: &str, ttl_ms: Option<u64>) -> Result<Exchanged, Refusal> {
        let _ = (secret, ttl_ms);
        Err(Refusal::Internal)
    }

    /// The cluster's download token: the same one for as long as it is good, then a new one.
    pub async fn bundle_token(&self, who: &Principal, cluster: ClusterId) -> Result<BundleToken, Refusal> {
        let _ = (who, cluster);
        Err(Refusal::Internal)
    }

    /// Uses a download token up, exactly once; answers who asked for it. Anything but the good token is
    /// [`Refusal::Unauthenticated`] and leaves the good one as it is.
    pub async fn use_bundle_token(&self, cluster: ClusterId, token: &str) -> Result<Principal, Refusal> {
        let _ = (cluster, token);
        Err(Refusal::Internal)
    }

    /// Starts a bundle; its bytes come out of the answer while they are merged.
    pub async fn start_bundle(&self, who: &Principal, request: BundleRequest) -> Result<Download, Refusal> {
        let _ = (who, request);
        Err(Refusal::Internal)
    }

    /// The public half of the key that seals bundles (Ed25519, 32 bytes).
    pub fn seal_public_key(&self) -> [u8; 32] {
        [0; 32]
    }

    /// Tasks, newest first.
    pub async fn tasks(&self, who: &Principal, filter: TaskFilter) -> Result<Vec<TaskRow>, Refusal> {
        let _ = (who, filter);
        Err(Refusal::Internal)
    }

    /// One task.
    pub async fn task(&self, who: &Principal, id: TaskId) -> Result<TaskRow, Refusal> {
        let _ = (who, id);
        Err(Refusal::Internal)
    }

    /// A part of one of a task's logs from byte `from`, `most` bytes at most. What was read once never changes.
    pub async fn task_log(
        &self,
        who: &Principal,
        id: TaskId,
        log: Log,
        from: u64,
        most: usize,
    ) -> Result<LogPart, Refusal> {
        let _ = (who, id, log, from, most);
        Err(Refusal::Internal)
    }

    /// Asks a task to stop; one that is over already is a [`Refusal::Conflict`].
    pub async fn cancel_task(&self, who: &Principal, id: TaskId) -> Result<TaskRow, Refusal> {
        let _ = (who, id);
        Err(Refusal::Internal)
    }

    /// Whether requests can be served: the state answers and the coordinator is not stopping.
    pub async fn ready(&self) -> Result<(), Refusal> {
        Err(Refusal::Internal)
    }

    /// Figures for the metrics.
    pub async fn numbers(&self) -> Result<Numbers, Refusal> {
        Err(Refusal::Internal)
    }

    /// Nodes of a cluster whose names match the globs.
    pub async fn matching_nodes(
        &self,
        who: &Principal,
        cluster: &str,
        globs: &[String],
    ) -> Result<Vec<NodeName>, Refusal> {
        let _ = (who, cluster, globs);
        Err(Refusal::Internal)
    }
}
