//! Agent secrets.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::fault::Fault;
use super::nodes::Narrow;
use super::session::principal;
use crate::api::door::{self, Caller};
use crate::clock::rfc3339;
use crate::coordinator::verbs::{SecretRow, Verbs};
use crate::protocol::control::{AgentSecretGrant, AgentSecretRow, NewSecret};

/// Query of a revocation.
#[derive(Deserialize)]
pub struct Revocation {
    #[serde(default)]
    now: bool,
}

/// `GET secrets`.
pub async fn list(
    State(verbs): State<Verbs>,
    query: Result<Query<Narrow>, QueryRejection>,
    caller: Caller,
) -> Result<Json<Vec<AgentSecretRow>>, Fault> {
    let who = principal(&verbs, &caller).await?;
    let only = match query?.0.cluster {
        Some(cluster) => Some(verbs.cluster(&who, &cluster).await?.row.id),
        None => None,
    };
    let rows = verbs.secrets(&who).await?.into_iter().filter(|row| only.is_none_or(|id| row.cluster == id));
    Ok(Json(rows.map(view).collect()))
}

/// `POST secrets`.
pub async fn create(State(verbs): State<Verbs>, caller: Caller, body: Body) -> Result<Response, Fault> {
    let who = principal(&verbs, &caller).await?;
    let wanted: NewSecret = door::json(body).await?;
    let made = verbs.create_secret(&who, wanted.name.as_str(), wanted.cluster.as_deref()).await?;
    let grant = AgentSecretGrant {
        id: made.row.id,
        name: made.row.name,
        cluster: made.row.cluster_name,
        secret: made.secret.expose().to_owned(),
        status: made.row.status.as_str().to_owned(),
    };
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, door::NO_STORE)], Json(grant)).into_response())
}

/// `POST secrets/{name}/revoke`.
pub async fn revoke(
    State(verbs): State<Verbs>,
    name: Result<Path<String>, PathRejection>,
    query: Result<Query<Revocation>, QueryRejection>,
    caller: Caller,
) -> Result<Json<AgentSecretRow>, Fault> {
    let who = principal(&verbs, &caller).await?;
    Ok(Json(view(verbs.revoke_secret(&who, &name?.0, query?.0.now).await?)))
}

fn view(row: SecretRow) -> AgentSecretRow {
    AgentSecretRow {
        id: row.id,
        name: row.name,
        cluster: row.cluster_name,
        status: row.status.as_str().to_owned(),
        modified_at: rfc3339(row.modified_ms),
    }
}
