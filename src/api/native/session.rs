//! Log-in, log-out, and who is asking.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::fault::Fault;
use crate::api::door;
use crate::coordinator::verbs::{Principal, Verbs};
use crate::limits;
use crate::protocol::control::{SessionGrant, Whoami};

/// Headers of other dialects whose credentials count here as well.
const FOREIGN: [&str; 2] = ["vmware-api-session-id", "x-jwt-token"];

/// Whoever calls.
pub async fn principal(verbs: &Verbs, headers: &HeaderMap) -> Result<Principal, Fault> {
    // Our own header first: whoever sends `Authorization` means it.
    let own: &[&str] = if headers.contains_key(header::AUTHORIZATION) { &[] } else { &FOREIGN };
    Ok(door::principal(verbs, headers, own).await?)
}

/// `POST session`.
pub async fn create(State(verbs): State<Verbs>, headers: HeaderMap) -> Result<Response, Fault> {
    let (who, id) = door::log_in(&verbs, &headers).await?;
    let grant = SessionGrant {
        token: id.expose().to_owned(),
        user: who.name,
        role: who.role.as_str().to_owned(),
        idle_secs: limits::SESSION.as_secs(),
    };
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, door::NO_STORE)], Json(grant)).into_response())
}

/// `GET session`.
pub async fn show(State(verbs): State<Verbs>, headers: HeaderMap) -> Result<Json<Whoami>, Fault> {
    let who = principal(&verbs, &headers).await?;
    Ok(Json(Whoami { user: who.name, role: who.role.as_str().to_owned() }))
}

/// `DELETE session`.
pub async fn delete(State(verbs): State<Verbs>, headers: HeaderMap) -> Result<StatusCode, Fault> {
    let (_, id) = door::session(&verbs, &headers, &[]).await?;
    verbs.close_session(id.expose()).await?;
    Ok(StatusCode::NO_CONTENT)
}
