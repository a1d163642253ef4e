//! Bundles: who may ask, which nodes match, and the download tokens of the vCenter API.
//!
//! Requests come from faces; what is checked and settled goes to the engine, which knows nothing of users.

use globset::{Glob, GlobSet, GlobSetBuilder};
use tracing::info;

use super::{BundleRequest, BundleToken, Door, Download, Principal, Refusal, Role, Scope, Verbs};
use crate::bundle::seal::PublicKey;
use crate::coordinator::run::{BundleSpec, NodePart, StartError};
use crate::coordinator::tasks::NewTask;
use crate::id::{ClusterId, CollectorName, NodeName};
use crate::limits;
use crate::protocol::control::TaskState;
use crate::report;
use crate::secret::Secret;

/// Characters of a case id, and of a note.
const CASE: usize = 128;
const NOTE: usize = 4096;
/// Globs, and collectors, of one request.
const FILTERS: usize = 256;

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
        Ok(Principal::new(&name, role, Scope::All, Door::DownloadToken))
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
                ..NewTask::default()
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
            nodes: nodes.into_iter().map(NodePart::from).collect(),
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
