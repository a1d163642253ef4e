//! Bundles: who may ask, which nodes match, and the download tokens of the vCenter API.
//!
//! Requests come from faces; what is checked and settled goes to the engine, which knows nothing of users.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;

use globset::{Glob, GlobSet, GlobSetBuilder};

use super::{
    BundleRequest, BundleToken, ClusterRow, Door, Download, NewTask, NodePart, Principal, Refusal, Role, TaskRow, Verbs,
};
use crate::bundle::manifest::Budgets;
use crate::bundle::seal::PublicKey;
use crate::coordinator::audit::{Actor, Outcome};
use crate::coordinator::bundles::Wanted;
use crate::coordinator::roster::ENTRIES;
use crate::id::{ClusterId, CollectorName, NodeName};
use crate::limits;
use crate::protocol::redaction::AskedRule;
use crate::report;
use crate::secret::Secret;
use crate::window::{Asked, Window};

/// What the audit log calls the download of a bundle.
const BUNDLE: &str = "bundle.download";
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
        let target = cluster.to_string();
        self.recorded(who, "download-token.issue", &target, self.pending_token(who, cluster)).await
    }

    async fn pending_token(&self, who: &Principal, cluster: ClusterId) -> Result<BundleToken, Refusal> {
        who.needs(Role::Operator)?;
        who.reaches(cluster)?;
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
        Ok(BundleToken { token, expires_ms: row.expires_ms })
    }

    /// Starts a bundle for whoever has the cluster's download token, which is used up at the moment when collection starts, exactly
    /// once: whoever is refused before that has it still. It must have been good when the call came.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`] for anything but the good token, which stays as it is then; and those of
    /// [`Verbs::start_bundle`].
    pub async fn start_bundle_by_token(
        &self,
        cluster: ClusterId,
        token: &str,
        request: BundleRequest,
        from: Option<IpAddr>,
    ) -> Result<Download, Refusal> {
        let target = cluster.to_string();
        let (digest, came) = (Secret::new(token).digest(), self.rooms.clock.now_ms());
        let claim = self.rooms.bundles.claims.take(&digest);
        let owner = self.rooms.store.bundle_token_owner(cluster, digest.clone(), came).await?;
        let (Some(who), Some(_claim)) = (owner, claim) else {
            let stranger = Actor::stranger(None, Door::DownloadToken.as_str(), from);
            let refused = Err(Refusal::Unauthenticated);
            self.rooms.audit.record(stranger, BUNDLE, &target, Outcome::of(&refused));
            return refused;
        };
        let who = Principal { from, ..who };
        self.recorded(&who, BUNDLE, &target, async {
            let wanted = self.wanted(&who, request).await?;
            let use_up = async {
                let used = self.rooms.store.consume_bundle_token(cluster, digest, came).await?;
                if used { Ok(()) } else { Err(Refusal::Unauthenticated) }
            };
            self.rooms.bundles.stream(wanted, use_up).await
        })
        .await
    }

    /// Starts a bundle when its turn has come; its bytes come out of the answer while they are merged. Dropped before that, the
    /// wait is over.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for an unknown cluster, [`Refusal::Invalid`] for filters that make no sense or match nothing,
    /// [`Refusal::TooMany`] when enough of the same cluster wait already for the same user, [`Refusal::Busy`] when too many run.
    pub async fn start_bundle(&self, who: &Principal, request: BundleRequest) -> Result<Download, Refusal> {
        let target = request.cluster.clone();
        self.recorded(who, BUNDLE, &target, async {
            let wanted = self.wanted(who, request).await?;
            self.rooms.bundles.stream(wanted, std::future::ready(Ok(()))).await
        })
        .await
    }

    /// Makes a bundle and keeps it, as a task whose result is the kept bundle's id.
    ///
    /// # Errors
    /// Those of [`Verbs::start_bundle`].
    pub async fn keep_bundle(&self, who: &Principal, request: BundleRequest) -> Result<TaskRow, Refusal> {
        let target = request.cluster.clone();
        self.recorded(who, "bundle.keep", &target, async {
            let wanted = self.wanted(who, request).await?;
            let task = self.rooms.bundles.keep(wanted).await?;
            self.rooms.tasks.find(task).await
        })
        .await
    }

    /// A request, checked and settled.
    async fn wanted(&self, who: &Principal, request: BundleRequest) -> Result<Wanted, Refusal> {
        who.needs(Role::Operator)?;
        check_request(&request)?;
        let window = self.window(request.window)?;
        let (cluster, nodes) = self.chosen_nodes(who, &request).await?;
        check_budgets(request.budgets, nodes.len())?;
        Ok(Wanted {
            task: NewTask {
                kind: "bundle".into(),
                description: format!("bundle of cluster {}", cluster.name),
                user: who.name.clone(),
                clusters: [cluster.id].into(),
                ..NewTask::default()
            },
            of: cluster.name,
            clusters: vec![cluster.id],
            nodes: nodes.into_iter().map(NodePart::from).collect(),
            node_filter: request.nodes,
            collectors: request.collectors,
            redact: request.redact,
            budgets: request.budgets.or(self.rooms.budgets),
            window,
            format: request.format,
            case: request.case,
            note: request.note,
        })
    }

    /// The window that is asked for, by the coordinator's clock: the same one for all nodes.
    pub(super) fn window(&self, asked: Asked) -> Result<Window, Refusal> {
        let window = asked.resolve(self.rooms.lookback, self.rooms.clock.now_ms());
        window.map_err(|error| Refusal::Invalid(error.to_string()))
    }

    /// The cluster and the nodes that a request is for: at least one. A collector that none of them declares is a word that was misspelled; one that
    /// some do not declare is skipped there. A node that never connected declares what nobody knows.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for an unknown cluster, [`Refusal::Invalid`].
    pub(super) async fn chosen_nodes(
        &self,
        who: &Principal,
        request: &BundleRequest,
    ) -> Result<(ClusterRow, Vec<NodeName>), Refusal> {
        let cluster = self.cluster_of(who, &request.cluster).await?.row;
        let nodes = self.matching_nodes(cluster.id, &request.nodes).await?;
        if nodes.is_empty() {
            let all = if request.nodes.is_empty() { "has no nodes yet" } else { "has no node of these names" };
            return Err(Refusal::Invalid(format!("cluster `{}` {all}", cluster.name)));
        }
        if !request.collectors.is_empty() {
            let chosen: HashSet<&NodeName> = nodes.iter().collect();
            let rows = self.rooms.store.nodes(Some(cluster.id)).await?;
            let known = rows.into_iter().filter(|row| chosen.contains(&row.name)).map(|row| row.about.collectors);
            // One that has as many as are kept may have more.
            let told = |declared: &BTreeMap<String, bool>| (1..ENTRIES).contains(&declared.len());
            let declared: Vec<BTreeMap<String, bool>> = known.filter(told).collect();
            check_collectors(&request.collectors, &declared)?;
        }
        Ok((cluster, nodes))
    }

    /// Names of a cluster's nodes that match any of the globs; all without globs.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for a bad glob.
    pub(super) async fn matching_nodes(&self, cluster: ClusterId, globs: &[String]) -> Result<Vec<NodeName>, Refusal> {
        let globs = glob_set(globs)?;
        let names = self.rooms.store.node_names(cluster).await?;
        Ok(names.into_iter().filter(|name| globs.as_ref().is_none_or(|set| set.is_match(name.as_str()))).collect())
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

/// What stands in every node's part has room in each node's share.
pub(super) fn check_budgets(budgets: Budgets, nodes: usize) -> Result<(), Refusal> {
    const EACH: u64 = limits::LEAST_BUDGET >> 10;
    let least = EACH.saturating_mul(nodes as u64);
    let small = |budget: Option<u64>, least: u64| budget.filter(|bytes| *bytes < least << 10).map(report::bytes);
    if let Some(budget) = small(budgets.node, EACH) {
        let why = format!("a budget of {budget} is too small for a node; give {EACH}K at least, or none");
        return Err(Refusal::Invalid(why));
    }
    let Some(budget) = small(budgets.bundle, least) else { return Ok(()) };
    let each = if nodes == 1 { String::new() } else { format!(" ({EACH}K for each)") };
    let nodes = report::counted(nodes, "node");
    Err(Refusal::Invalid(format!(
        "a budget of {budget} is too small for {nodes}; give {least}K{each} at least, or none"
    )))
}

pub(super) fn check_request(request: &BundleRequest) -> Result<(), Refusal> {
    let long = |text: &Option<String>, most| text.as_ref().is_some_and(|t| t.chars().count() > most);
    if long(&request.case, CASE) || long(&request.note, NOTE) {
        return Err(Refusal::Invalid(format!("a case id has at most {CASE} characters, a note {NOTE}")));
    }
    if request.nodes.len() > FILTERS || request.collectors.len() > FILTERS {
        return Err(Refusal::Invalid(format!("at most {FILTERS} node globs and collectors")));
    }
    check_budgets(request.budgets, 1)?;
    for collector in &request.collectors {
        collector.parse::<CollectorName>().map_err(|e| Refusal::Invalid(e.to_string()))?;
    }
    AskedRule::check(&request.redact).map_err(Refusal::Invalid)?;
    Ok(())
}

fn check_collectors(wanted: &[String], declared: &[BTreeMap<String, bool>]) -> Result<(), Refusal> {
    let unknown = |name: &&String| !declared.iter().any(|of_node| of_node.contains_key(*name));
    let Some(name) = wanted.iter().find(unknown).filter(|_| !declared.is_empty()) else { return Ok(()) };
    let names: BTreeSet<&str> = declared.iter().flat_map(BTreeMap::keys).map(String::as_str).collect();
    let names = names.into_iter().collect::<Vec<_>>().join(", ");
    Err(Refusal::Invalid(format!(
        "no node of these declares the collector `{name}`; there are {}",
        report::brief(&names, 500)
    )))
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
