//! Whether we live, and whether we can serve.

use axum::extract::State;
use axum::http::StatusCode;

use super::metrics::Counts;
use crate::coordinator::verbs::Verbs;

/// `GET /healthz`: the process answers.
pub async fn alive() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: requests can be served.
pub async fn ready(State((verbs, _)): State<(Verbs, Counts)>) -> (StatusCode, &'static str) {
    match verbs.ready().await {
        Ok(()) => (StatusCode::OK, "ready\n"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
    }
}
