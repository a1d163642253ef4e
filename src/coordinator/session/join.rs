//! The one call of the agents' listener that needs no token: a node shows its cluster's join certificate and joins.
//!
//! TLS has checked the certificate against the joins' CA; which cluster it is for, and whether it is still good, is not decided here.

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};

use super::{Desk, json, problem, read};
use crate::coordinator::join::JoinError;
use crate::coordinator::refusal::Refusal;
use crate::net::serve::Peer;
use crate::net::tls;
use crate::protocol::join::JoinRequest;

/// `POST /agent/v1/join`.
pub(super) async fn join(State(desk): State<Desk>, request: Request) -> Result<Response, Response> {
    let peer = request.extensions().get::<Peer>().cloned();
    let serial = peer.as_ref().and_then(|peer| tls::serial(peer.certificate.as_ref()?));
    let wanted: JoinRequest = read(request.into_body()).await?;
    let from = peer.map(|peer| peer.addr.ip().to_canonical());
    let reply = desk.auth.join(serial.as_deref(), wanted, from).await.map_err(|error| refused(&error))?;
    Ok(([(header::CACHE_CONTROL, "no-store")], json(StatusCode::OK, &reply.to_json())).into_response())
}

fn refused(error: &JoinError) -> Response {
    let (status, code) = match error {
        JoinError::NoCertificate | JoinError::Unknown => (StatusCode::UNAUTHORIZED, "unauthenticated"),
        JoinError::Revoked | JoinError::Expired => (StatusCode::FORBIDDEN, "join_certificate"),
        JoinError::Taken(_) | JoinError::NameRevoked(_) => (StatusCode::CONFLICT, "name_taken"),
        JoinError::MachineId => (StatusCode::BAD_REQUEST, "machine_id"),
        JoinError::Other(Refusal::Busy) => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        JoinError::Other(Refusal::Full) => (StatusCode::INSUFFICIENT_STORAGE, "full"),
        JoinError::Other(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    };
    problem(status, code, error.to_string())
}
