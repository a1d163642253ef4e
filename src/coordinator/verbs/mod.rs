//! The verbs: the only door through which the API rooms reach the coordinator.
//!
//! Calls come from faces, already translated, with the [`Principal`] whose credential was checked at the door; each verb
//! checks the role, asks the rooms below, and answers with plain rows or a [`Refusal`]. It speaks no dialect and knows no HTTP.

mod access;
mod agents;
mod audit;
mod bundles;
mod certificates;
mod deployments;
mod enter;
mod estimate;
mod fleets;
mod logs;
mod roster;
mod secrets;
mod software;
mod stored;
mod tasks;
mod users;
mod vms;

use std::future::Future;
use std::sync::Arc;

use tokio::time::Instant;

use super::audit::{Audit, Outcome};
use super::bundles::Bundles;
use super::deployments::Deployments;
use super::endpoints::Endpoints;
use super::keys::Keys;
use super::pki::Pki;
use super::run::Engine;
use super::secrets::Secrets;
use super::store::Store;
use super::store::vault::Vault;
use super::tasks::Tasks;
use super::users::Users;
use crate::bundle::Format;
use crate::bundle::manifest::Budgets;
use crate::bundle::seal::PublicKey;
use crate::clock::Clock;
use crate::protocol::control::TaskState;
use crate::secret::Secret;
use crate::shutdown::Shutdown;
use crate::window::{Asked, Lookback};

pub use super::audit::{Page as AuditPage, Query as AuditQuery};
pub use super::certificates::CertificateRow;
pub use super::credential::Credential;
pub use super::deployments::diff::Change;
pub use super::deployments::manifest::{MANIFEST_BYTES, Manifest, ManifestError};
pub use super::deployments::resolve::{Placed, Versioned, stemcell};
pub use super::deployments::rollout::{How, SkipDrain};
pub use super::deployments::row::{DeploymentRow, InstanceRow};
pub use super::endpoints::Place;
pub use super::fleets::FleetRow;
pub use super::join::JoinError;
pub use super::keys::KeyRow;
pub use super::principal::{Door, Principal, Reach, Role, Scope};
pub use super::refusal::Refusal;
pub use super::roster::{ClusterKind, ClusterRow, NodeRow};
pub use super::run::{Body, Download, Figures, NodePart, Online, Step, StepState};
pub use super::secrets::{Exchanged, SecretRow, SecretStatus};
pub use super::signature::{SCHEME, Signed};
pub use super::stored::{Part, StoredRow};
pub use super::tasks::{Log, LogPart, NewTask, Sight, TaskError, TaskFilter, TaskRow, Work, state_word};
pub use super::users::{Limits, Session, UserRow};

pub use access::Approach;
pub use certificates::Issued;
pub use deployments::read_manifest;
pub use fleets::Held;
pub use logs::LogsWanted;
pub use software::{Release, System};
pub use users::{UserChange, WantedLimits, WantedUser};
pub use vms::{Probe, Render, Seen, Standing};

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
    /// The time that logs are taken from.
    pub window: Asked,
    /// How it is laid out.
    pub format: Format,
    /// What is to be taken out beyond what nodes take out anyway.
    pub redact: Vec<crate::protocol::redaction::AskedRule>,
    /// Bytes at most.
    pub budgets: Budgets,
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
    pub tasks: Vec<(TaskState, u64)>,
    /// Whole days that each certificate is still good for.
    pub certificate_days: Vec<(&'static str, i64)>,
    /// Seconds since the coordinator started.
    pub uptime_secs: u64,
}

/// What the verbs stand on.
pub(super) struct Rooms {
    pub(super) store: Store,
    pub(super) vault: Vault,
    pub(super) users: Users,
    pub(super) keys: Keys,
    pub(super) audit: Audit,
    pub(super) secrets: Secrets,
    pub(super) tasks: Tasks,
    pub(super) bundles: Bundles,
    pub(super) engine: Engine,
    pub(super) deployments: Deployments,
    pub(super) seal: PublicKey,
    pub(super) pki: Arc<Pki>,
    pub(super) endpoints: Endpoints,
    pub(super) external_url: Option<String>,
    /// How far back logs go when a request does not say.
    pub(super) lookback: Lookback,
    /// What a bundle may hold where its request does not say.
    pub(super) budgets: Budgets,
    pub(super) clock: Clock,
    pub(super) shutdown: Shutdown,
}

/// The door; cheap to clone.
#[derive(Clone)]
pub struct Verbs {
    rooms: Arc<Rooms>,
    started: Instant,
}

impl Verbs {
    pub(super) fn new(rooms: Rooms) -> Self {
        Self { rooms: Arc::new(rooms), started: Instant::now() }
    }

    /// Records what becomes of an act, and passes it on: for whatever changes something or hands out a credential or a bundle.
    async fn recorded<T>(
        &self,
        who: &Principal,
        what: &'static str,
        target: &str,
        act: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        let result = act.await;
        self.rooms.audit.record(who, what, target, Outcome::of(&result));
        result
    }

    /// Records a refusal alone, and passes the answer on: for whatever only reads.
    async fn watched<T>(
        &self,
        who: &Principal,
        what: &'static str,
        target: &str,
        reading: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        let result = reading.await;
        if result.as_ref().is_err_and(Refusal::is_denial) {
            self.rooms.audit.record(who, what, target, Outcome::of(&result));
        }
        result
    }
}

#[cfg(test)]
mod tests;
