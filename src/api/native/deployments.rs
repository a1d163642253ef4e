//! Deployments: listed, shown with their instances, applied and deleted as tasks.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;

use super::fault::Fault;
use super::session::principal;
use super::tasks;
use crate::api::door::{self, Caller};
use crate::clock::rfc3339;
use crate::coordinator::verbs::{
    DeploymentRow, How, InstanceRow, MANIFEST_BYTES, ManifestError, SkipDrain, Verbs, read_manifest,
};
use crate::protocol::control::{Deployment, Instance, Task};

/// How a manifest is applied.
#[derive(Deserialize)]
pub struct Options {
    #[serde(default)]
    recreate: bool,
    #[serde(default)]
    skip_drain: bool,
    #[serde(default)]
    fix: bool,
    #[serde(default)]
    dry_run: bool,
}

/// How a deployment is deleted.
#[derive(Deserialize)]
pub struct Force {
    #[serde(default)]
    force: bool,
}

/// `GET deployments`.
pub async fn list(State(verbs): State<Verbs>, caller: Caller) -> Result<Json<Vec<Deployment>>, Fault> {
    let who = principal(&verbs, &caller).await?;
    Ok(Json(verbs.deployments(&who).await?.iter().map(view).collect()))
}

/// `GET deployments/{name}`.
pub async fn show(
    State(verbs): State<Verbs>,
    name: Result<Path<String>, PathRejection>,
    caller: Caller,
) -> Result<Json<Deployment>, Fault> {
    let who = principal(&verbs, &caller).await?;
    let name = name?.0;
    let row = verbs.deployment(&who, &name).await?;
    let instances = verbs.instances(&who, &name).await?;
    let mut shown = view(&row);
    shown.manifest = row.manifest;
    shown.instances = instances.into_iter().map(instance).collect();
    Ok(Json(shown))
}

/// `POST deployments`, the manifest as the body.
pub async fn apply(
    State(verbs): State<Verbs>,
    query: Result<Query<Options>, QueryRejection>,
    caller: Caller,
    body: Body,
) -> Result<(StatusCode, Json<Task>), Fault> {
    let who = principal(&verbs, &caller).await?;
    let options = query?.0;
    let bytes = door::bytes_within(body, MANIFEST_BYTES).await?;
    let text = String::from_utf8(bytes.to_vec()).map_err(|_| ManifestError::Yaml("it is not UTF-8".to_owned()))?;
    let manifest = read_manifest(text.clone()).await?;
    let how = How {
        recreate: options.recreate,
        skip_drain: if options.skip_drain { SkipDrain::All } else { SkipDrain::No },
        fix: options.fix,
        dry_run: options.dry_run,
    };
    let task = verbs.deploy(&who, manifest, text, how, None).await?;
    Ok((StatusCode::ACCEPTED, Json(tasks::view(verbs.task(&who, task).await?))))
}

/// `DELETE deployments/{name}`.
pub async fn delete(
    State(verbs): State<Verbs>,
    name: Result<Path<String>, PathRejection>,
    query: Result<Query<Force>, QueryRejection>,
    caller: Caller,
) -> Result<(StatusCode, Json<Task>), Fault> {
    let who = principal(&verbs, &caller).await?;
    let task = verbs.delete_deployment(&who, &name?.0, query?.0.force, None).await?;
    Ok((StatusCode::ACCEPTED, Json(tasks::view(verbs.task(&who, task).await?))))
}

impl From<ManifestError> for Fault {
    fn from(bad: ManifestError) -> Self {
        Self::new(400, "bad_manifest", bad.to_string())
    }
}

fn view(row: &DeploymentRow) -> Deployment {
    let state = match (row.deleting, row.unsettled) {
        (true, _) => "deleting",
        (false, 0) => "current",
        (false, _) => "stale",
    };
    Deployment {
        name: row.name.to_string(),
        state: state.to_owned(),
        nodes: row.nodes,
        unsettled: row.unsettled,
        releases: row.releases.iter().map(|is| format!("{}/{}", is.name, is.version)).collect(),
        stemcells: row.stemcells.iter().map(|is| format!("{}/{}", is.name, is.version)).collect(),
        user: row.user.clone(),
        created_at: rfc3339(row.created_ms),
        updated_at: rfc3339(row.updated_ms),
        manifest: None,
        instances: Vec::new(),
    }
}

fn instance(row: InstanceRow) -> Instance {
    let state = row.standing().to_owned();
    let jobs = row.wanted.into_iter().flat_map(|part| part.jobs).map(|job| job.collector).collect();
    let placed = row.placed;
    Instance {
        id: placed.id.to_string(),
        group: placed.group,
        index: placed.index,
        node: placed.node.into(),
        cluster: row.cluster_name,
        state,
        jobs,
        reason: row.reason,
    }
}
