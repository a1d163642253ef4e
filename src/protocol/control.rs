//! The operators' conversation: the native API under `/sheaf/v1` on the public listener, which the CLI uses.
//!
//! | call | body | answer |
//! |---|---|---|
//! | `POST session`, `Authorization: Basic` | | 201 [`SessionGrant`] |
//! | `GET session`, `DELETE session` | | 200 [`Whoami`], 204 |
//! | `GET clusters`, `POST clusters` | [`NewCluster`] | 200 `[`[`Cluster`]`]`, 201 [`Cluster`] |
//! | `GET clusters/{id or name}`, `DELETE …` | | 200 [`Cluster`], 204 |
//! | `GET nodes?cluster=`, `GET nodes/{name}`, `DELETE …` | | 200 `[`[`Node`]`]`, 200 [`Node`], 204 |
//! | `GET secrets?cluster=`, `POST secrets` | [`NewSecret`] | 200 `[`[`AgentSecretRow`]`]`, 201 [`AgentSecretGrant`] |
//! | `POST secrets/{name}/revoke?now=true` | | 200 [`AgentSecretRow`] |
//! | `GET users`, `POST users` | [`NewUser`] | 200 `[`[`User`]`]`, 201 [`User`] |
//! | `GET users/{name}`, `PATCH …`, `DELETE …` | [`UserChange`] | 200 [`User`], 200 [`User`], 204 |
//! | `POST users/{name}/password` | [`NewPassword`] | 204 |
//! | `POST users/{name}/keys` | [`NewAccessKey`] | 201 [`AccessKeyGrant`] |
//! | `GET keys?user=`, `DELETE keys/{id}` | | 200 `[`[`AccessKey`]`]`, 204 |
//! | `GET audit?since=&user=&after=&limit=` | | 200 [`AuditPage`] |
//! | `GET tasks?limit=&state=`, `GET tasks/{id}`, `POST tasks/{id}/cancel` | | 200 `[`[`Task`]`]`, 200 [`Task`], 202 [`Task`] |
//! | `GET tasks/{id}/result?from=`, `GET tasks/{id}/debug?from=` | | 200, text from that byte on; the header as for events |
//! | `GET tasks/{id}/events?from=` | | 200, lines of JSON, an [`Event`] each, from that byte on; the header [`LOG_TOTAL_HEADER`] says how many there are |
//! | `POST bundles` | [`NewBundle`] | 200, the bundle as it is made; headers [`TASK_HEADER`], [`BUNDLE_HEADER`], [`KEY_HEADER`] |
//! | `GET deployments`, `GET deployments/{name}` | | 200 `[`[`Deployment`]`]`, 200 [`Deployment`] with its instances |
//! | `POST deployments?recreate=&skip_drain=&fix=&dry_run=` | a manifest, YAML | 202 [`Task`] |
//! | `DELETE deployments/{name}?force=` | | 202 [`Task`] |
//! | `POST stored` | [`NewBundle`] | 202 [`Task`], whose result is the kept bundle's id once it is done |
//! | `GET stored`, `GET stored/{id}`, `DELETE …` | | 200 `[`[`StoredBundle`]`]`, 200 [`StoredBundle`], 204 |
//! | `GET stored/{id}/content`, `Range` | | 200, 206 or 416, the kept bundle or a range of it; header [`KEY_HEADER`] |
//!
//! All but the first carry `Authorization: Bearer <token>`; any other credential of the public listener does as well. An error is a
//! [`super::problem::Problem`]. A bundle's download that has to be given up ends by a reset, never cleanly.
//! Readers ignore unknown members; nothing here opens a socket.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::agents::Vitals;
use crate::bundle::Format;
use crate::bundle::outcome::Verdict;
use crate::id::{BundleId, BundleName, ClusterId, ClusterName, CollectorName, DeploymentName, NodeName, TaskId};

/// Where the native API stands on the public listener.
pub const PREFIX: &str = "/sheaf/v1";
/// Header of a download: the task's number.
pub const TASK_HEADER: &str = "sheaf-task";
/// Header of a download: the bundle's name.
pub const BUNDLE_HEADER: &str = "sheaf-bundle";
/// Header of a part of a log: bytes that there are so far.
pub const LOG_TOTAL_HEADER: &str = "sheaf-log-total";
/// Header of a download: the public key that will seal it, base64, for whoever wants to pin it.
pub const KEY_HEADER: &str = "sheaf-seal-key";

/// Answer to a log-in.
#[derive(Clone, Serialize, Deserialize)]
pub struct SessionGrant {
    /// Goes into `Authorization: Bearer`.
    pub token: String,
    /// The user's name.
    pub user: String,
    /// The user's role.
    pub role: String,
    /// Seconds it stays good without being used.
    pub idle_secs: u64,
}

/// By hand, since the token must not print.
impl fmt::Debug for SessionGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionGrant").field("user", &self.user).field("role", &self.role).finish_non_exhaustive()
    }
}

/// Who the caller is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whoami {
    /// The user's name.
    pub user: String,
    /// The user's role.
    pub role: String,
}

/// A record of the audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// RFC 3339.
    pub time: String,
    /// A user, `node:` and a node's name, or nothing for a stranger.
    #[serde(default)]
    pub who: String,
    /// By which credential.
    #[serde(default)]
    pub door: String,
    /// From which address, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What was asked for, a noun and a verb: `cluster.create`.
    pub what: String,
    /// To what it was to be done.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// `done`, `refused` or `failed`.
    pub outcome: String,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// How many of strangers' failures were not written since the last that was, because there were too many.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unwritten: u64,
}

/// A part of the audit log, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditPage {
    /// The records; there may be none although there are more pages.
    pub records: Vec<AuditRecord>,
    /// What to give as `after` for the next page; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Body of a user's creation.
#[derive(Clone, Serialize, Deserialize)]
pub struct NewUser {
    /// Its name, unique.
    pub name: String,
    /// The password.
    pub password: String,
    /// `admin`, `operator` or `viewer`.
    pub role: String,
    /// Limited to these; everything when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<UserScope>,
}

/// By hand, since the password must not print.
impl fmt::Debug for NewUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewUser").field("name", &self.name).field("role", &self.role).finish_non_exhaustive()
    }
}

/// What a user is limited to: ids or names, in answers ids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserScope {
    /// Fleets, with all clusters that are in them at the time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fleets: Vec<String>,
    /// Clusters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<String>,
}

/// Body of a user's change; what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserChange {
    /// `admin`, `operator` or `viewer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Limited to these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<UserScope>,
    /// Limited to nothing any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unlimited: bool,
    /// All credentials refused, or good again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

/// Body of a change of password.
#[derive(Clone, Serialize, Deserialize)]
pub struct NewPassword {
    /// The new one.
    pub password: String,
    /// The one until now, when it is one's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
}

/// By hand, since nothing of it may print.
impl fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewPassword")
    }
}

/// A user in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The name, which is the id as well.
    pub id: String,
    /// The name.
    pub name: String,
    /// `admin`, `operator` or `viewer`.
    pub role: String,
    /// Whether all credentials are refused.
    #[serde(default)]
    pub disabled: bool,
    /// What it is limited to; absent for everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<UserScope>,
    /// RFC 3339.
    #[serde(default)]
    pub created_at: String,
}

/// An access key in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    /// The access key (AK).
    pub id: String,
    /// The same, or what it is called.
    pub name: String,
    /// Whose it is.
    pub user: String,
    /// RFC 3339.
    #[serde(default)]
    pub created_at: String,
    /// RFC 3339: a signature of it was last accepted, to the minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<String>,
}

/// Body of an access key's creation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewAccessKey {
    /// What it is called; its id when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// An access key as it is created: the only time that the secret key is shown.
#[derive(Clone, Serialize, Deserialize)]
pub struct AccessKeyGrant {
    /// The access key (AK).
    pub id: String,
    /// The same, or what it is called.
    pub name: String,
    /// Whose it is.
    pub user: String,
    /// The secret key (SK).
    pub secret: String,
}

/// By hand, since the secret key must not print.
impl fmt::Debug for AccessKeyGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKeyGrant").field("id", &self.id).field("user", &self.user).finish_non_exhaustive()
    }
}

/// Body of a cluster's creation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewCluster {
    /// Its name, unique.
    pub name: ClusterName,
    /// Managed by this coordinator; otherwise attached.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub managed: bool,
}

/// A cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its id.
    pub id: ClusterId,
    /// Its name.
    pub name: String,
    /// Managed by this coordinator; otherwise attached.
    pub managed: bool,
    /// Nodes that belong to it.
    #[serde(default)]
    pub nodes: u64,
    /// RFC 3339.
    #[serde(default)]
    pub created_at: String,
}

/// A node, with what it said of itself last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its cluster's name.
    pub cluster: String,
    /// Whether its agent is connected.
    pub online: bool,
    /// RFC 3339: connected since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// RFC 3339: last heard of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<String>,
    /// The agent's version.
    #[serde(default)]
    pub agent_version: String,
    /// Operating system, pretty name.
    #[serde(default)]
    pub os: String,
    /// Kernel release.
    #[serde(default)]
    pub kernel: String,
    /// `/etc/machine-id`.
    #[serde(default)]
    pub machine_id: String,
    /// Labels from the agent's configuration.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Collectors that it declares, and whether each is on by default.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub collectors: BTreeMap<String, bool>,
    /// Its clock minus the coordinator's, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_offset_ms: Option<i64>,
    /// Its last vitals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vitals: Option<Vitals>,
}

/// Body of an agent secret's creation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewSecret {
    /// The node's name.
    pub name: NodeName,
    /// Id or name of the cluster; `default` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
}

/// An agent secret as it is created: the only time that it is shown.
#[derive(Clone, Serialize, Deserialize)]
pub struct AgentSecretGrant {
    /// Its id.
    pub id: String,
    /// Its name, the node's.
    pub name: String,
    /// The cluster's name.
    pub cluster: String,
    /// The secret.
    pub secret: String,
    /// `ACTIVE`.
    pub status: String,
}

/// By hand, since the secret must not print.
impl fmt::Debug for AgentSecretGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentSecretGrant").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

/// An agent secret in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentSecretRow {
    /// Its id.
    pub id: String,
    /// Its name, the node's.
    pub name: String,
    /// The cluster's name.
    #[serde(default)]
    pub cluster: String,
    /// `ACTIVE` or `REVOKED`.
    pub status: String,
    /// RFC 3339: created, rotated or revoked.
    #[serde(default)]
    pub modified_at: String,
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// Waits for its turn.
    Queued,
    /// Runs.
    Processing,
    /// Was asked to stop.
    Cancelling,
    /// Stopped when asked.
    Cancelled,
    /// Came to its end.
    Done,
    /// Did not.
    Errored,
}

impl TaskState {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Processing => "processing",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
            Self::Done => "done",
            Self::Errored => "errored",
        }
    }

    /// Whether nothing more will happen.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Cancelled | Self::Done | Self::Errored)
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A deployment: which nodes run which collectors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// Its name.
    pub name: String,
    /// `current` when all its nodes keep what is wanted of them, `stale` when some do not, or `deleting`.
    pub state: String,
    /// Its nodes, those that are to forget it among them.
    pub nodes: u64,
    /// Nodes that keep something else than what is wanted.
    #[serde(default)]
    pub unsettled: u64,
    /// Packs of collectors that it uses, `name/version`.
    #[serde(default)]
    pub releases: Vec<String>,
    /// Operating systems of its nodes, `name/version`.
    #[serde(default)]
    pub stemcells: Vec<String>,
    /// Who deployed it last.
    #[serde(default)]
    pub user: String,
    /// RFC 3339.
    #[serde(default)]
    pub created_at: String,
    /// RFC 3339.
    #[serde(default)]
    pub updated_at: String,
    /// The last manifest that all its nodes took, as it was sent; not in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// Its nodes' parts; not in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<Instance>,
}

/// One node's part of a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its id.
    pub id: String,
    /// The instance group.
    pub group: String,
    /// Its number in the group.
    pub index: u32,
    /// The node.
    pub node: String,
    /// The node's cluster.
    pub cluster: String,
    /// `current`, `stale` (it keeps something older), `waiting` (it keeps nothing yet) or `leaving`.
    pub state: String,
    /// Collectors that it is to run.
    #[serde(default)]
    pub jobs: Vec<String>,
    /// Why it is not current, as far as its agent said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its number.
    pub id: TaskId,
    /// A short name for lists: its number as text.
    pub name: String,
    /// What kind it is, one word: `bundle`.
    #[serde(default)]
    pub kind: String,
    /// Where it stands.
    pub state: TaskState,
    /// What it does.
    pub description: String,
    /// Who asked.
    pub user: String,
    /// The deployment it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentName>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
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

/// A line of a task's event log, in the director's shape: within a stage each task goes from started to finished or failed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Seconds since 1970.
    pub time: i64,
    /// The stage.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stage: String,
    /// Tags of the stage.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Tasks in the stage.
    #[serde(default)]
    pub total: u64,
    /// The task within the stage: in a bundle's `Collecting` stage, the node's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub task: String,
    /// Its number, from 1.
    #[serde(default)]
    pub index: u64,
    /// `started`, `in_progress`, `finished`, `failed`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// Percent.
    #[serde(default)]
    pub progress: u64,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "EventData::is_empty")]
    pub data: EventData,
    /// `warning` for a line that belongs to no stage.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What it warns of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What ended the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<EventError>,
}

/// What ended a task, as its event log says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventError {
    /// The director's number for it.
    pub code: i64,
    /// A sentence.
    pub message: String,
}

/// What an event says besides: of a node in a bundle, its state and what came so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventData {
    /// A word or two for people: `waiting`, `sending`, `collected`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Raw bytes so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Entries so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
}

impl EventData {
    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

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
    /// How it is laid out.
    #[serde(default = "compressed")]
    pub format: Format,
}

fn compressed() -> Format {
    Format::TarZst
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_not_print_does_not() {
        let grant = SessionGrant { token: "s3cret".into(), user: "u".into(), role: "admin".into(), idle_secs: 1 };
        assert!(!format!("{grant:?}").contains("s3cret"));
    }

    #[test]
    fn an_older_or_newer_peer_is_read() {
        let event: Event =
            serde_json::from_str(r#"{"time":1,"task":"n1","novel":{}}"#).expect("unknown members are ignored");
        assert_eq!(event.task, "n1");
        let bundle: NewBundle = serde_json::from_str(r#"{"cluster":"c"}"#).expect("all but the cluster has a default");
        assert_eq!(bundle.format, Format::TarZst);
    }
}
