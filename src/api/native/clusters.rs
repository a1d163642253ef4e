//! Clusters.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::fault::Fault;
use super::session::principal;
use crate::api::door::{self, Caller};
use crate::clock::rfc3339;
use crate::coordinator::verbs::{self, ClusterKind, Verbs};
use crate::protocol::control::{Cluster, NewCluster};

/// `GET clusters`.
pub async fn list(State(verbs): State<Verbs>, caller: Caller) -> Result<Json<Vec<Cluster>>, Fault> {
    let who = principal(&verbs, &caller).await?;
    Ok(Json(verbs.clusters(&who).await?.into_iter().map(view).collect()))
}

/// `POST clusters`.
pub async fn create(
    State(verbs): State<Verbs>,
    caller: Caller,
    body: Body,
) -> Result<(StatusCode, Json<Cluster>), Fault> {
    let who = principal(&verbs, &caller).await?;
    let wanted: NewCluster = door::json(body).await?;
    let kind = if wanted.managed { ClusterKind::Managed } else { ClusterKind::Attached };
    let made = verbs.create_cluster(&who, wanted.name, kind).await?;
    Ok((StatusCode::CREATED, Json(view(made))))
}

/// `GET clusters/{id or name}`.
pub async fn show(
    State(verbs): State<Verbs>,
    cluster: Result<Path<String>, PathRejection>,
    caller: Caller,
) -> Result<Json<Cluster>, Fault> {
    let who = principal(&verbs, &caller).await?;
    Ok(Json(view(verbs.cluster(&who, &cluster?.0).await?)))
}

/// `DELETE clusters/{id or name}`.
pub async fn delete(
    State(verbs): State<Verbs>,
    cluster: Result<Path<String>, PathRejection>,
    caller: Caller,
) -> Result<StatusCode, Fault> {
    let who = principal(&verbs, &caller).await?;
    verbs.delete_cluster(&who, &cluster?.0).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn view(cluster: verbs::Cluster) -> Cluster {
    Cluster {
        id: cluster.row.id,
        name: cluster.row.name,
        managed: cluster.row.kind == ClusterKind::Managed,
        nodes: cluster.nodes,
        created_at: rfc3339(cluster.row.created_ms),
    }
}
