//! The verbs: the only door through which the API rooms reach the coordinator.
//!
//! Calls come from faces, already translated, with the [`Principal`] whose credential was checked at the door; each verb
//! checks the role, asks the rooms below, and answers with plain rows or a [`Refusal`]. It speaks no dialect and knows no HTTP.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use globset::{Glob, GlobSet, GlobSetBuilder};
use tokio::time::Instant;
use tracing::info;

use super::roster::{About, DEFAULT_CLUSTER};
use super::run::{BundleSpec, Engine, StartError};
use super::secrets::Secrets;
use super::session::{AgentAuth, NodeIdentity};
use super::store::Store;
use super::store::roster::Deleted;
use super::store::vault::Vault;
use super::tasks::{NewTask, Tasks};
use super::users::Users;
use crate::bundle::Format;
use crate::bundle::seal::PublicKey;
use crate::clock::Clock;
use crate::id::{ClusterId, ClusterName, CollectorName, NodeName, TaskId};
use crate::limits;
use crate::protocol::agents::Hello;
use crate::protocol::control::TaskState;
use crate::report;
use crate::secret::Secret;
use crate::shutdown::Shutdown;

pub use super::refusal::Refusal;
pub use super::roster::{ClusterKind, ClusterRow, NodeRow};
pub use super::run::{Body, Download, Figures, Online};
pub use super::secrets::{Exchanged, SecretRow, SecretStatus};
pub use super::tasks::{Log, LogPart, TaskFilter, TaskRow};
pub use super::users::{Principal, Role, Session};

/// Characters of a case id, and of a note.
const CASE: usize = 128;
const NOTE: usize = 4096;
/// Globs, and collectors, of one request.
const FILTERS: usize = 256;

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
    pub tasks: Vec<(TaskState, u64)>,
    /// Seconds since the coordinator started.
    pub uptime_secs: u64,
}

/// What the verbs stand on.
pub(super) struct Rooms {
    pub(super) store: Store,
    pub(super) vault: Vault,
    pub(super) users: Users,
    pub(super) secrets: Secrets,
    pub(super) tasks: Tasks,
    pub(super) engine: Engine,
    pub(super) seal: PublicKey,
    pub(super) external_url: Option<String>,
    pub(super) clock: Clock,
    pub(super) shutdown: Shutdown,
}

/// The door; cheap to clone.
#[derive(Clone)]
pub struct Verbs {
    rooms: Arc<Rooms>,
    started: Instant,
}

/// Who may enter.
impl Verbs {
    pub(super) fn new(rooms: Rooms) -> Self {
        Self { rooms: Arc::new(rooms), started: Instant::now() }
    }

    /// Checks a user's password.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`]; [`Refusal::Busy`] when too many passwords wait to be checked.
    pub async fn login(&self, user: &str, password: &Secret) -> Result<Principal, Refusal> {
        self.rooms.users.login(user, password).await
    }

    /// Opens a session; its id is the credential, shown this once.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn open_session(&self, who: &Principal) -> Result<Secret, Refusal> {
        self.rooms.users.open_session(who).await
    }

    /// The session of an id, which counts as used by this.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`] when there is none or it expired.
    pub async fn session(&self, id: &str) -> Result<Session, Refusal> {
        self.rooms.users.session(id).await
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`] when there is none.
    pub async fn close_session(&self, id: &str) -> Result<(), Refusal> {
        self.rooms.users.close_session(id).await
    }
}

/// Clusters and nodes.
impl Verbs {
    /// All clusters, by name.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn clusters(&self, who: &Principal) -> Result<Vec<Cluster>, Refusal> {
        who.needs(Role::Viewer)?;
        let rows = self.rooms.store.clusters().await?;
        Ok(rows.into_iter().map(|(row, nodes)| Cluster { row, nodes }).collect())
    }

    /// One cluster, by id or name.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub async fn cluster(&self, who: &Principal, id_or_name: &str) -> Result<Cluster, Refusal> {
        who.needs(Role::Viewer)?;
        let found = self.rooms.store.find_cluster(id_or_name).await?;
        let (row, nodes) = found.ok_or_else(|| Refusal::not_found("cluster", id_or_name))?;
        Ok(Cluster { row, nodes })
    }

    /// Makes a cluster.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] for a taken name; [`Refusal::Invalid`] for one that reads as an id.
    pub async fn create_cluster(
        &self,
        who: &Principal,
        name: ClusterName,
        kind: ClusterKind,
    ) -> Result<Cluster, Refusal> {
        who.needs(Role::Admin)?;
        if name.as_str().parse::<ClusterId>().is_ok() {
            return Err(Refusal::Invalid("a cluster's name must not look like an id".into()));
        }
        let created_ms = self.rooms.clock.now_ms();
        let row = ClusterRow { id: ClusterId::random(), name: name.into(), kind, created_ms };
        if !self.rooms.store.add_cluster(row.clone()).await? {
            return Err(Refusal::Conflict(format!("there is a cluster `{}` already", row.name)));
        }
        info!(target: "audit", user = who.name, cluster = row.name, id = %row.id, "cluster made");
        Ok(Cluster { row, nodes: 0 })
    }

    /// Deletes a cluster to which nothing belongs, by id or name.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]; [`Refusal::Conflict`] when it still has nodes or agent secrets.
    pub async fn delete_cluster(&self, who: &Principal, id_or_name: &str) -> Result<(), Refusal> {
        who.needs(Role::Admin)?;
        let row = self.cluster(who, id_or_name).await?.row;
        match self.rooms.store.delete_cluster(row.id).await? {
            Deleted::Yes => {
                info!(target: "audit", user = who.name, cluster = row.name, id = %row.id, "cluster deleted");
                Ok(())
            }
            Deleted::Absent => Err(Refusal::not_found("cluster", id_or_name)),
            Deleted::InUse => Err(Refusal::Conflict(format!(
                "cluster `{}` still has nodes or agent secrets; remove its nodes and revoke its secrets first",
                row.name
            ))),
        }
    }

    /// Nodes, by name: all, or one cluster's (id or name).
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for an unknown cluster.
    pub async fn nodes(&self, who: &Principal, cluster: Option<&str>) -> Result<Vec<Node>, Refusal> {
        who.needs(Role::Viewer)?;
        let cluster = match cluster {
            None => None,
            Some(key) => Some(self.cluster(who, key).await?.row.id),
        };
        let rows = self.rooms.store.nodes(cluster).await?;
        Ok(rows.into_iter().map(|row| self.with_connection(row)).collect())
    }

    /// One node.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub async fn node(&self, who: &Principal, name: &str) -> Result<Node, Refusal> {
        who.needs(Role::Viewer)?;
        let row = self.rooms.store.node(name).await?.ok_or_else(|| Refusal::not_found("node", name))?;
        Ok(self.with_connection(row))
    }

    /// Removes a node: its secret, tokens and connection end, its name is free again.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when there is neither a node nor an agent secret of that name.
    pub async fn remove_node(&self, who: &Principal, name: &str) -> Result<(), Refusal> {
        who.needs(Role::Admin)?;
        if !self.rooms.secrets.remove_node(name).await? {
            return Err(Refusal::not_found("node", name));
        }
        self.disconnect(name);
        info!(target: "audit", user = who.name, node = name, "node removed");
        Ok(())
    }

    fn with_connection(&self, row: NodeRow) -> Node {
        let online = self.rooms.engine.online(&row.name);
        let heard = self.rooms.engine.roll().last_seen(&row.name);
        Node { last_seen_ms: Some(heard.unwrap_or(row.last_seen_ms)), online, row }
    }

    fn disconnect(&self, name: &str) {
        if let Ok(node) = name.parse::<NodeName>() {
            self.rooms.engine.disconnect(&node);
        }
    }
}

/// Agent secrets.
impl Verbs {
    /// Makes an agent secret for a node of that name in `cluster` (id or name; `default` when absent).
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for a name that is none and for an unknown cluster; [`Refusal::Conflict`] for a taken name, also
    /// a revoked one's.
    pub async fn create_secret(
        &self,
        who: &Principal,
        name: &str,
        cluster: Option<&str>,
    ) -> Result<NewSecret, Refusal> {
        who.needs(Role::Admin)?;
        let name: NodeName = name.parse().map_err(|e: crate::id::NameError| Refusal::Invalid(e.to_string()))?;
        let cluster = self.cluster(who, cluster.unwrap_or(DEFAULT_CLUSTER)).await.map_err(|refusal| match refusal {
            Refusal::NotFound(what) => Refusal::Invalid(format!("{what} not found")),
            other => other,
        })?;
        let (row, secret) = self.rooms.secrets.create(&name, cluster.row.id).await?;
        info!(target: "audit", user = who.name, node = row.name, cluster = row.cluster_name, "agent secret made");
        Ok(NewSecret { row, secret })
    }

    /// All agent secrets, by name; never the secrets themselves.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn secrets(&self, who: &Principal) -> Result<Vec<SecretRow>, Refusal> {
        who.needs(Role::Viewer)?;
        self.rooms.secrets.list().await
    }

    /// Revokes an agent secret, for good; with `now` its tokens and its connection end too.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub async fn revoke_secret(&self, who: &Principal, name: &str, now: bool) -> Result<SecretRow, Refusal> {
        who.needs(Role::Admin)?;
        let row =
            self.rooms.secrets.revoke(name, now).await?.ok_or_else(|| Refusal::not_found("agent secret", name))?;
        if now {
            self.disconnect(name);
        }
        info!(target: "audit", user = who.name, node = row.name, now, "agent secret revoked");
        Ok(row)
    }

    /// Trades an agent secret for an access token; needs no other credential. `ttl_ms` absent or 0 means half an hour.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`] for a bad or revoked secret, [`Refusal::Invalid`] for a bad ttl.
    pub async fn exchange_secret(&self, secret: &str, ttl_ms: Option<u64>) -> Result<Exchanged, Refusal> {
        self.rooms.secrets.exchange(secret, ttl_ms).await
    }
}

/// Bundles.
impl Verbs {
    /// The cluster's download token: the same one for as long as it is good, then a new one.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for an unknown cluster.
    pub async fn bundle_token(&self, who: &Principal, cluster: ClusterId) -> Result<BundleToken, Refusal> {
        who.needs(Role::Operator)?;
        let fresh = Secret::random();
        let place = token_place(cluster);
        let offer = (fresh.digest(), self.rooms.vault.seal(&place, fresh.expose().as_bytes()));
        let now = self.rooms.clock.now_ms();
        let expires = now + limits::DOWNLOAD_TOKEN.as_millis() as i64;
        let row = self.rooms.store.bundle_token(cluster, offer, who.name.clone(), now, expires).await?;
        let row = row.ok_or_else(|| Refusal::not_found("cluster", &cluster.to_string()))?;
        let plain = self.rooms.vault.open_sealed(&place, &row.sealed);
        let plain = plain.map_err(|e| Refusal::internal("a download token does not open", &e))?;
        let token = Secret::new(String::from_utf8_lossy(&plain));
        info!(target: "audit", user = who.name, cluster = %cluster, "download token given");
        Ok(BundleToken { token, expires_ms: row.expires_ms })
    }

    /// Uses a download token up, exactly once; answers who asked for it.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`] for anything but the good token, which stays as it is then.
    pub async fn use_bundle_token(&self, cluster: ClusterId, token: &str) -> Result<Principal, Refusal> {
        let digest = Secret::new(token).digest();
        let used = self.rooms.store.consume_bundle_token(cluster, digest, self.rooms.clock.now_ms()).await?;
        let Some((name, role)) = used else {
            info!(target: "audit", cluster = %cluster, "refused a download token");
            return Err(Refusal::Unauthenticated);
        };
        info!(target: "audit", user = name, cluster = %cluster, "download token used");
        let role = Role::parse(&role).ok_or(Refusal::Unauthenticated)?;
        Ok(Principal { name, role })
    }

    /// Starts a bundle; its bytes come out of the answer while they are merged.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for an unknown cluster, [`Refusal::Invalid`] for filters that make no sense or match nothing,
    /// [`Refusal::Busy`] when too many run.
    pub async fn start_bundle(&self, who: &Principal, request: BundleRequest) -> Result<Download, Refusal> {
        who.needs(Role::Operator)?;
        check_request(&request)?;
        let cluster = self.cluster(who, &request.cluster).await?.row;
        let nodes = self.matching_nodes(who, &request.cluster, &request.nodes).await?;
        if nodes.is_empty() {
            let all = if request.nodes.is_empty() { "has no nodes yet" } else { "has no node of these names" };
            return Err(Refusal::Invalid(format!("cluster `{}` {all}", cluster.name)));
        }
        let tasks = &self.rooms.tasks;
        let task = tasks
            .create(NewTask {
                kind: "bundle".into(),
                description: format!("bundle of cluster {}", cluster.name),
                user: who.name.clone(),
                cluster: Some(cluster.id),
            })
            .await?;
        tasks
            .debug(
                task,
                &format!("{} nodes, filter {:?}, collectors {:?}", nodes.len(), request.nodes, request.collectors),
            )
            .await?;
        tasks.begin(task).await?;
        let started = self.rooms.engine.start(BundleSpec {
            task,
            cluster: cluster.name,
            nodes,
            node_filter: request.nodes,
            collectors: request.collectors,
            format: request.format,
            case: request.case,
            note: request.note,
            requested_by: who.name.clone(),
        });
        match started {
            Ok(download) => Ok(download),
            Err(error) => {
                tasks.end(task, TaskState::Errored, &report::chain(&error)).await?;
                Err(refused(&error))
            }
        }
    }

    /// Names of a cluster's nodes (id or name) that match any of the globs; all without globs.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for an unknown cluster, [`Refusal::Invalid`] for a bad glob.
    pub async fn matching_nodes(
        &self,
        who: &Principal,
        cluster: &str,
        globs: &[String],
    ) -> Result<Vec<NodeName>, Refusal> {
        let globs = glob_set(globs)?;
        let cluster = self.cluster(who, cluster).await?.row;
        let names = self.rooms.store.nodes(Some(cluster.id)).await?.into_iter().map(|row| row.name);
        Ok(names.filter(|name| globs.as_ref().is_none_or(|set| set.is_match(name.as_str()))).collect())
    }

    /// The URL to hand out in place of the one that a request came by, if one is configured; no slash at its end.
    pub fn external_url(&self) -> Option<&str> {
        self.rooms.external_url.as_deref()
    }

    /// The public half of the key that seals bundles.
    pub fn seal_public_key(&self) -> &PublicKey {
        &self.rooms.seal
    }
}

/// Tasks and health.
impl Verbs {
    /// Tasks, newest first.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn tasks(&self, who: &Principal, filter: TaskFilter) -> Result<Vec<TaskRow>, Refusal> {
        who.needs(Role::Viewer)?;
        self.rooms.tasks.list(filter).await
    }

    /// One task.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub async fn task(&self, who: &Principal, id: TaskId) -> Result<TaskRow, Refusal> {
        who.needs(Role::Viewer)?;
        self.rooms.tasks.find(id).await
    }

    /// A part of one of a task's logs from byte `from`, `most` bytes at most. What was read once never changes.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub async fn task_log(
        &self,
        who: &Principal,
        id: TaskId,
        log: Log,
        from: u64,
        most: usize,
    ) -> Result<LogPart, Refusal> {
        who.needs(Role::Viewer)?;
        self.rooms.tasks.read(id, log, from, most).await
    }

    /// Asks a task to stop.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]; [`Refusal::Conflict`] when it is over already.
    pub async fn cancel_task(&self, who: &Principal, id: TaskId) -> Result<TaskRow, Refusal> {
        who.needs(Role::Operator)?;
        let tasks = &self.rooms.tasks;
        // Asking twice is no mistake.
        if tasks.find(id).await?.state != TaskState::Cancelling {
            tasks.cancelling(id).await?;
        }
        info!(target: "audit", user = who.name, task = id.0, "task asked to stop");
        if !self.rooms.engine.cancel(id) {
            // The engine does not know it: it ended in this moment and says so itself, or was never begun.
            let _ = tasks.end(id, TaskState::Cancelled, "cancelled").await;
        }
        tasks.find(id).await
    }

    /// Whether requests can be served: the state answers and the coordinator is not stopping.
    ///
    /// # Errors
    /// When they cannot.
    pub async fn ready(&self) -> Result<(), Refusal> {
        if self.rooms.shutdown.is_stopping() {
            return Err(Refusal::Busy);
        }
        Ok(self.rooms.store.alive().await?)
    }

    /// Figures for the metrics.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn numbers(&self) -> Result<Numbers, Refusal> {
        let clusters = self.rooms.store.clusters().await?;
        Ok(Numbers {
            engine: self.rooms.engine.figures(),
            nodes: clusters.iter().map(|(_, nodes)| nodes).sum(),
            clusters: clusters.len() as u64,
            tasks: self.rooms.store.task_counts().await?,
            uptime_secs: self.started.elapsed().as_secs(),
        })
    }
}

/// What the agents' listener asks.
impl AgentAuth for Verbs {
    fn agent_by_token<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Option<NodeIdentity>> {
        Box::pin(std::future::ready(self.rooms.secrets.agent_by_token(token)))
    }

    fn joined<'a>(&'a self, node: &'a NodeIdentity, hello: &'a Hello) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let seen = self.rooms.store.node_seen(&node.node, &About::of(hello), self.rooms.clock.now_ms()).await;
            info!(target: "audit", node = node.node.as_str(), cluster = node.cluster_name, "node connected");
            logged(seen);
        })
    }

    fn left<'a>(&'a self, node: &'a NodeIdentity) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            info!(target: "audit", node = node.node.as_str(), "node disconnected");
            logged(self.rooms.store.node_left(&node.node, self.rooms.clock.now_ms()).await);
        })
    }
}

/// The node goes on all the same; the list of nodes is what suffers.
fn logged(result: Result<(), super::store::StoreError>) {
    if let Err(error) = result {
        tracing::error!(error = report::chain(&error), "a node's session could not be written to the state");
    }
}

/// The name under which a cluster's token is sealed.
fn token_place(cluster: ClusterId) -> String {
    format!("bundle token {cluster}")
}

fn check_request(request: &BundleRequest) -> Result<(), Refusal> {
    let long = |text: &Option<String>, most| text.as_ref().is_some_and(|t| t.chars().count() > most);
    if long(&request.case, CASE) || long(&request.note, NOTE) {
        return Err(Refusal::Invalid(format!("a case id has at most {CASE} characters, a note {NOTE}")));
    }
    if request.nodes.len() > FILTERS || request.collectors.len() > FILTERS {
        return Err(Refusal::Invalid(format!("at most {FILTERS} node globs and collectors")));
    }
    for collector in &request.collectors {
        collector.parse::<CollectorName>().map_err(|e| Refusal::Invalid(e.to_string()))?;
    }
    Ok(())
}

fn glob_set(globs: &[String]) -> Result<Option<GlobSet>, Refusal> {
    if globs.is_empty() {
        return Ok(None);
    }
    let invalid = |e: globset::Error| Refusal::Invalid(report::brief(&format!("a node glob cannot be read: {e}"), 200));
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        set.add(Glob::new(glob).map_err(invalid)?);
    }
    set.build().map(Some).map_err(invalid)
}

fn refused(error: &StartError) -> Refusal {
    match error {
        StartError::Busy => Refusal::Busy,
        StartError::NoNodes => Refusal::Invalid(error.to_string()),
        StartError::Stopping => Refusal::Busy,
        StartError::Resource(_) => Refusal::internal("a download cannot begin", error),
    }
}

#[cfg(test)]
mod tests;
