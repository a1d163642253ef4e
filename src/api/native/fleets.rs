//! Fleets, and kubeconfigs for them.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::fault::Fault;
use super::session::principal;
use crate::api::door::{self, Caller};
use crate::clock::rfc3339;
use crate::coordinator::verbs::{FleetRow, Held, Place, Verbs};
use crate::protocol::federation::{Fleet, NewFleet, NewKubeconfig};

/// `GET fleets`.
pub async fn list(State(verbs): State<Verbs>, caller: Caller) -> Result<Json<Vec<Fleet>>, Fault> {
    let who = principal(&verbs, &caller).await?;
    Ok(Json(verbs.fleets(&who).await?.into_iter().map(view).collect()))
}

/// `POST fleets`.
pub async fn create(
    State(verbs): State<Verbs>,
    caller: Caller,
    body: Body,
) -> Result<(StatusCode, Json<Fleet>), Fault> {
    let who = principal(&verbs, &caller).await?;
    let wanted: NewFleet = door::json(body).await?;
    Ok((StatusCode::CREATED, Json(view(verbs.create_fleet(&who, wanted.name, wanted.federation).await?))))
}

/// `GET fleets/{id or name}`.
pub async fn show(
    State(verbs): State<Verbs>,
    fleet: Result<Path<String>, PathRejection>,
    caller: Caller,
) -> Result<Json<Fleet>, Fault> {
    let who = principal(&verbs, &caller).await?;
    Ok(Json(view(verbs.fleet(&who, &fleet?.0).await?)))
}

/// `DELETE fleets/{id or name}`.
pub async fn delete(
    State(verbs): State<Verbs>,
    fleet: Result<Path<String>, PathRejection>,
    caller: Caller,
) -> Result<StatusCode, Fault> {
    let who = principal(&verbs, &caller).await?;
    verbs.delete_fleet(&who, &fleet?.0).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `PUT` and `DELETE fleets/{id or name}/clusters/{id or name}`.
pub async fn hold(
    State(verbs): State<Verbs>,
    both: Result<Path<(String, String)>, PathRejection>,
    caller: Caller,
) -> Result<Json<Fleet>, Fault> {
    let who = principal(&verbs, &caller).await?;
    let (fleet, cluster) = both?.0;
    let held = if caller.method == Method::PUT { Held::In } else { Held::Out };
    Ok(Json(view(verbs.hold(&who, &fleet, &cluster, held).await?)))
}

/// `POST fleets/{id or name}/kubeconfig`.
pub async fn kubeconfig(
    State(verbs): State<Verbs>,
    fleet: Result<Path<String>, PathRejection>,
    caller: Caller,
    body: Body,
) -> Result<Response, Fault> {
    let who = principal(&verbs, &caller).await?;
    let wanted: NewKubeconfig = door::json(body).await?;
    let place = match (wanted.project, wanted.vpc, wanted.subnet) {
        (Some(project), Some(vpc), Some(subnet)) => Some(Place { project, vpc, subnet }),
        (None, None, None) => None,
        _ => return Err(Fault::new(400, "invalid", "give project, vpc and subnet, or none of them")),
    };
    let origin = caller.origin(&verbs).unwrap_or_default();
    let issued = verbs.issue_certificate(&who, &fleet?.0, wanted.days, &origin, place.as_ref()).await?;
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, door::NO_STORE)], Json(issued.kubeconfig())).into_response())
}

fn view(row: FleetRow) -> Fleet {
    Fleet {
        id: row.id,
        name: row.name,
        federation: row.federation,
        clusters: row.clusters.into_iter().map(|(_, name)| name).collect(),
        created_at: rfc3339(row.created_ms),
    }
}
