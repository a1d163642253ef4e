//! Log-in, log-out, and who is asking.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::fault::Fault;
use crate::api::door::{self, Caller};
use crate::coordinator::verbs::{Principal, Verbs};
use crate::limits;
use crate::protocol::control::{SessionGrant, Whoami};

/// Whoever calls.
pub async fn principal(verbs: &Verbs, caller: &Caller) -> Result<Principal, Fault> {
    Ok(door::principal(verbs, caller, &[]).await?)
}

/// `POST session`.
pub async fn create(State(verbs): State<Verbs>, caller: Caller) -> Result<Response, Fault> {
    let (who, id) = door::log_in(&verbs, &caller).await?;
    let grant = SessionGrant {
        token: id.expose().to_owned(),
        user: who.name,
        role: who.role.as_str().to_owned(),
        idle_secs: limits::SESSION.as_secs(),
    };
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, door::NO_STORE)], Json(grant)).into_response())
}

/// `GET session`.
pub async fn show(State(verbs): State<Verbs>, caller: Caller) -> Result<Json<Whoami>, Fault> {
    let who = principal(&verbs, &caller).await?;
    Ok(Json(Whoami { user: who.name, role: who.role.as_str().to_owned() }))
}

/// `DELETE session`.
pub async fn delete(State(verbs): State<Verbs>, caller: Caller) -> Result<StatusCode, Fault> {
    let (_, id) = door::session(&verbs, &caller, &[]).await?;
    verbs.close_session(id.expose(), caller.from()).await?;
    Ok(StatusCode::NO_CONTENT)
}
