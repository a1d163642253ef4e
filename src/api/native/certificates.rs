//! Certificates of operators.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use serde::Deserialize;

use super::fault::Fault;
use super::session::principal;
use crate::api::door::Caller;
use crate::clock::rfc3339;
use crate::coordinator::verbs::{CertificateRow, Verbs};
use crate::protocol::federation::Certificate;

/// Query of a list.
#[derive(Deserialize)]
pub struct OfFleet {
    fleet: Option<String>,
}

/// `GET certificates`.
pub async fn list(
    State(verbs): State<Verbs>,
    query: Result<Query<OfFleet>, QueryRejection>,
    caller: Caller,
) -> Result<Json<Vec<Certificate>>, Fault> {
    let who = principal(&verbs, &caller).await?;
    let rows = verbs.certificates(&who, query?.0.fleet.as_deref()).await?;
    let now = verbs.now_ms();
    Ok(Json(rows.into_iter().map(|row| view(row, now)).collect()))
}

/// `POST certificates/{serial}/revoke`.
pub async fn revoke(
    State(verbs): State<Verbs>,
    serial: Result<Path<String>, PathRejection>,
    caller: Caller,
) -> Result<Json<Certificate>, Fault> {
    let who = principal(&verbs, &caller).await?;
    let row = verbs.revoke_certificate(&who, &serial?.0).await?;
    Ok(Json(view(row, verbs.now_ms())))
}

fn view(row: CertificateRow, now_ms: i64) -> Certificate {
    let status = match row.revoked_ms {
        Some(_) => "REVOKED",
        None if row.expires_ms <= now_ms => "EXPIRED",
        None => "ACTIVE",
    };
    Certificate {
        name: format!("{}@{}", row.user, row.fleet_name),
        id: row.serial,
        user: row.user,
        role: row.role.as_str().to_owned(),
        fleet: row.fleet_name,
        status: status.to_owned(),
        created_at: rfc3339(row.created_ms),
        expires_at: rfc3339(row.expires_ms),
    }
}
