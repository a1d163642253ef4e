//! The log management dialect: sessions, and the agent secrets.
//!
//! | call | answer |
//! |---|---|
//! | `POST /api/v2/sessions` | 200 a session's id |
//! | `POST /suite-api/api/auth/token/acquire`, `…/exchange`, `…/release` | 200 a token, the token for this API, nothing |
//! | `POST`, `GET /api/v2/agent/secrets` | 201 the secret, shown once; 200 a page of rows |
//! | `POST /api/v2/agent/secrets/exchange` | 200 an access token, for the secret itself and no other credential |
//! | `POST /api/v2/agent/secrets/{secretName}/revoke` | 200 |
//!
//! Any of the tokens is good in `X-JWT-Token` and in `Authorization: Bearer`. A missing or bad one is a 403 on the secrets, since that
//! is what clients of this dialect read. Requests go to the verbs; this room keeps nothing.

mod fault;
mod paging;
mod secrets;
mod session;

use axum::Router;
use axum::http::Method;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};

use crate::coordinator::verbs::Verbs;
use fault::{Code, Fault};

/// The header of the log management's own token.
const TOKEN_HEADER: &str = "x-jwt-token";

/// The routes of this dialect.
pub fn routes(verbs: Verbs) -> Router {
    Router::new()
        .route("/api/v2/sessions", post(session::create))
        .route("/suite-api/api/auth/token/acquire", post(session::acquire))
        .route("/suite-api/api/auth/token/exchange", post(session::exchange))
        .route("/suite-api/api/auth/token/release", post(session::release))
        .route("/api/v2/agent/secrets", get(secrets::list).post(secrets::create))
        .route("/api/v2/agent/secrets/exchange", post(secrets::exchange))
        .route("/api/v2/agent/secrets/{name}/revoke", post(secrets::revoke))
        .method_not_allowed_fallback(not_allowed)
        .with_state(verbs)
}

/// The exchange alone, for the agents' listener.
pub fn exchange(verbs: Verbs) -> MethodRouter {
    post(secrets::exchange).fallback(not_allowed).with_state(verbs)
}

/// There is no such route.
pub fn unknown() -> Response {
    Fault::new(404, Code::Api, "there is no such operation").into_response()
}

async fn not_allowed(method: Method) -> Fault {
    Fault::new(405, Code::Api, format!("{method} is no operation of this path"))
}
