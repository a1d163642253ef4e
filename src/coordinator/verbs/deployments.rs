//! Deployments: listed, shown, compared, carried out, taken back.
//!
//! A deployment resolves only among nodes in the caller's scope, and is seen only by those whose scope holds all its nodes. What takes
//! long runs as a task; the work itself is done by `coordinator::deployments`.

use serde_json::{Map, Value};

use super::{Principal, Refusal, Role, Scope, Verbs};
use crate::coordinator::deployments::diff::{self, Change};
use crate::coordinator::deployments::manifest::{self, Manifest, ManifestError};
use crate::coordinator::deployments::resolve::Candidate;
use crate::coordinator::deployments::rollout::{How, Wish};
use crate::coordinator::deployments::row::{DeploymentRow, InstanceRow};
use crate::coordinator::tasks::NewTask;
use crate::id::{DeploymentName, TaskId};
use crate::report;

/// Deployments.
impl Verbs {
    /// Deployments that the caller sees, by name.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn deployments(&self, who: &Principal) -> Result<Vec<DeploymentRow>, Refusal> {
        self.watched(who, "deployment.list", "", self.deployments_of(who)).await
    }

    /// The same for a verb that records its own refusals.
    pub(super) async fn deployments_of(&self, who: &Principal) -> Result<Vec<DeploymentRow>, Refusal> {
        who.needs(Role::Viewer)?;
        let mut rows = self.rooms.store.deployments().await?;
        rows.retain(|row| sees(who, row));
        Ok(rows)
    }

    /// One deployment.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]; [`Refusal::Forbidden`] when the caller's scope does not hold all its nodes.
    pub async fn deployment(&self, who: &Principal, name: &str) -> Result<DeploymentRow, Refusal> {
        self.watched(who, "deployment.read", name, self.deployment_of(who, name)).await
    }

    /// The same for a verb that records its own refusals.
    pub(super) async fn deployment_of(&self, who: &Principal, name: &str) -> Result<DeploymentRow, Refusal> {
        who.needs(Role::Viewer)?;
        let row = self.rooms.store.deployment(name).await?.ok_or_else(|| Refusal::not_found("deployment", name))?;
        if sees(who, &row) { Ok(row) } else { Err(Refusal::Forbidden) }
    }

    /// A deployment's instances, by group and number; also those that are to leave.
    ///
    /// # Errors
    /// As [`Verbs::deployment`].
    pub async fn instances(&self, who: &Principal, name: &str) -> Result<Vec<InstanceRow>, Refusal> {
        self.watched(who, "deployment.read", name, async {
            let row = self.deployment_of(who, name).await?;
            Ok(self.rooms.store.instances(&row.name).await?)
        })
        .await
    }

    /// Carries a manifest out as a task; `text` is what it was read from.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] when a deployment of that name is not the caller's to see.
    pub async fn deploy(
        &self,
        who: &Principal,
        manifest: Manifest,
        text: String,
        how: How,
        context_id: Option<String>,
    ) -> Result<TaskId, Refusal> {
        let name = manifest.name.to_string();
        self.recorded(who, "deployment.deploy", &name, self.start_deploy(who, manifest, text, how, context_id)).await
    }

    async fn start_deploy(
        &self,
        who: &Principal,
        manifest: Manifest,
        text: String,
        how: How,
        context_id: Option<String>,
    ) -> Result<TaskId, Refusal> {
        who.needs(Role::Operator)?;
        let name = manifest.name.clone();
        self.visible(who, &name).await?;
        let candidates = self.candidates(who).await?;
        let verb = if how.dry_run { "dry run of deployment" } else { "deployment" };
        let task = NewTask {
            kind: "deploy".into(),
            description: format!("{verb} {name}"),
            user: who.name.clone(),
            clusters: candidates.iter().map(|node| node.row.cluster).collect(),
            deployment: Some(name),
            context_id,
        };
        let (deployments, user) = (self.rooms.deployments.clone(), who.name.clone());
        let work =
            |work| async move { deployments.deploy(&work, Wish { manifest, text, how, user }, candidates).await };
        self.rooms.tasks.spawn(task, work).await
    }

    /// Takes a deployment back from its nodes as a task.
    ///
    /// # Errors
    /// As [`Verbs::deployment`].
    pub async fn delete_deployment(
        &self,
        who: &Principal,
        name: &str,
        force: bool,
        context_id: Option<String>,
    ) -> Result<TaskId, Refusal> {
        self.recorded(who, "deployment.delete", name, self.start_delete(who, name, force, context_id)).await
    }

    async fn start_delete(
        &self,
        who: &Principal,
        name: &str,
        force: bool,
        context_id: Option<String>,
    ) -> Result<TaskId, Refusal> {
        who.needs(Role::Operator)?;
        let row = self.deployment_of(who, name).await?;
        let task = NewTask {
            kind: "delete-deployment".into(),
            description: format!("delete deployment {}", row.name),
            user: who.name.clone(),
            clusters: row.clusters.iter().copied().collect(),
            deployment: Some(row.name.clone()),
            context_id,
        };
        let (deployments, user) = (self.rooms.deployments.clone(), who.name.clone());
        self.rooms
            .tasks
            .spawn(task, move |work| async move { deployments.delete(&work, &row.name, &user, force).await })
            .await
    }

    /// What a manifest would change of a deployment, as lines; all of it is new where there is none.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for a text that is no manifest; [`Refusal::Forbidden`] as in [`Verbs::deployment`].
    pub async fn deployment_diff(
        &self,
        who: &Principal,
        name: &DeploymentName,
        text: String,
        redact: bool,
    ) -> Result<Vec<(String, Change)>, Refusal> {
        let there = self.watched(who, "deployment.diff", name.as_str(), self.visible(who, name)).await?;
        let old = there.map(|row| row.wanted);
        aside(move || {
            let new = manifest::tree(&text)?;
            let old: Option<Map<String, Value>> = old.map(|old| manifest::tree(&old)).transpose()?;
            Ok(diff::diff(old.as_ref(), &new, redact))
        })
        .await?
        .map_err(|error: ManifestError| Refusal::Invalid(error.to_string()))
    }

    /// The deployment of a name that may be new.
    async fn visible(&self, who: &Principal, name: &DeploymentName) -> Result<Option<DeploymentRow>, Refusal> {
        who.needs(Role::Viewer)?;
        let there = self.rooms.store.deployment(name.as_str()).await?;
        if there.as_ref().is_none_or(|row| sees(who, row)) { Ok(there) } else { Err(Refusal::Forbidden) }
    }

    /// Nodes that the caller may deploy to.
    async fn candidates(&self, who: &Principal) -> Result<Vec<Candidate>, Refusal> {
        let rows = self.rooms.store.nodes(None).await?;
        let seen = rows.into_iter().filter(|row| who.sees(row.cluster));
        Ok(seen.map(|row| Candidate { online: self.rooms.engine.online(&row.name).is_some(), row }).collect())
    }
}

/// Reads a manifest beside the threads that serve.
///
/// # Errors
/// When it is no manifest.
pub async fn read_manifest(text: String) -> Result<Manifest, ManifestError> {
    match aside(move || Manifest::read(&text)).await {
        Ok(read) => read,
        Err(_) => Err(ManifestError::Yaml("its reader broke off".to_owned())),
    }
}

/// Runs what takes the processor for a moment on a thread of its own.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(|error| {
        tracing::error!(error = report::chain(&error), "a manifest's reader broke off");
        Refusal::Internal
    })
}

/// Whether somebody's scope holds all nodes of a deployment. One that has none is nobody's part.
pub(super) fn sees(who: &Principal, row: &DeploymentRow) -> bool {
    match who.scope {
        Scope::All => true,
        Scope::Only(_) => !row.clusters.is_empty() && row.clusters.iter().all(|cluster| who.sees(*cluster)),
    }
}
