//! Log-in and log-out, in both styles. An id from either is good for both families of paths.

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use super::SESSION_HEADER;
use super::fault::{Fault, Style};
use crate::api::door::{self, Caller};
use crate::clock::rfc3339;
use crate::coordinator::verbs::Verbs;

#[derive(Serialize)]
struct Info {
    user: String,
    created_time: String,
    last_accessed_time: String,
}

/// `POST /api/session`.
pub async fn create(style: Style, State(verbs): State<Verbs>, caller: Caller) -> Result<Response, Fault> {
    open(style, &verbs, &caller, StatusCode::CREATED).await
}

/// `POST /rest/com/vmware/cis/session`: a log-in, or with `?~action=get` the question who is logged in.
pub async fn rest_post(
    style: Style,
    State(verbs): State<Verbs>,
    Query(query): Query<Vec<(String, String)>>,
    caller: Caller,
) -> Result<Response, Fault> {
    match query.iter().find(|(name, _)| name == "~action").map(|(_, action)| action.as_str()) {
        None => open(style, &verbs, &caller, StatusCode::OK).await,
        Some("get") => info(style, &verbs, &caller).await,
        Some(_) => Err(Fault::new(style, 404, "NOT_FOUND", "there is no such operation")),
    }
}

/// `GET /api/session`.
pub async fn show(style: Style, State(verbs): State<Verbs>, caller: Caller) -> Result<Response, Fault> {
    info(style, &verbs, &caller).await
}

/// `DELETE` of either.
pub async fn delete(style: Style, State(verbs): State<Verbs>, caller: Caller) -> Result<Response, Fault> {
    let refuse = |refusal| style.refuse(&refusal);
    let (_, id) = door::session(&verbs, &caller, &[SESSION_HEADER]).await.map_err(refuse)?;
    verbs.close_session(id.expose(), caller.from()).await.map_err(refuse)?;
    Ok(match style {
        Style::Api => StatusCode::NO_CONTENT.into_response(),
        Style::Rest => StatusCode::OK.into_response(),
    })
}

async fn open(style: Style, verbs: &Verbs, caller: &Caller, status: StatusCode) -> Result<Response, Fault> {
    let (_, id) = door::log_in(verbs, caller).await.map_err(|refusal| style.refuse(&refusal))?;
    let mut answer = style.reply(status, &id.expose());
    answer.headers_mut().insert(header::CACHE_CONTROL, door::NO_STORE);
    Ok(answer)
}

async fn info(style: Style, verbs: &Verbs, caller: &Caller) -> Result<Response, Fault> {
    let found = door::session(verbs, caller, &[SESSION_HEADER]).await;
    let (session, _) = found.map_err(|refusal| style.refuse(&refusal))?;
    let info = Info {
        user: session.principal.name,
        created_time: rfc3339(session.created_ms),
        last_accessed_time: rfc3339(session.last_used_ms),
    };
    Ok(style.reply(StatusCode::OK, &info))
}
