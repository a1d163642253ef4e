//! The UCS dialect: access info of a cluster, a kubeconfig for a fleet, and the tokens that let one ask.
//!
//! | call | answer |
//! |---|---|
//! | `POST /v3/auth/tokens`, a Keystone v3 password body | 201, the token in `X-Subject-Token` |
//! | `GET /v1/clusters/{clusterid}/accessinfo?vpcendpoint=&region=` | 200 an array of manifests as strings, once; then `["Downloaded"]` |
//! | `POST /v1/clustergroups/{clustergroupid}/cert` | 201 a kubeconfig in JSON |
//!
//! A token comes in `X-Auth-Token`; a request that carries none is signed (`SDK-HMAC-SHA256`), or shows any other credential of the public
//! listener. A good token is enough, whatever signature stands beside it: the SDK signs always. Requests go to the verbs; this
//! room keeps nothing.

mod access;
mod cert;
mod fault;
mod tokens;

use axum::Router;
use axum::http::Method;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};

use crate::coordinator::verbs::Verbs;
use fault::{Code, Fault};

/// The header that carries a token.
const TOKEN_HEADER: &str = "x-auth-token";

/// The routes of this dialect.
pub fn routes(verbs: Verbs) -> Router {
    // HEAD is named apart: axum would answer it with GET's handler, which uses the access info up.
    let access = get(access::info).head(not_allowed);
    Router::new()
        .route("/v1/clusters/{cluster}/accessinfo", access)
        .route("/v1/clustergroups/{fleet}/cert", post(cert::create))
        .route("/v3/auth/tokens", post(tokens::create))
        .method_not_allowed_fallback(not_allowed)
        .with_state(verbs)
}

/// There is no such route.
pub fn unknown() -> Response {
    Fault::new(Code::NotFound).into_response()
}

async fn not_allowed(method: Method) -> Fault {
    Fault::new(Code::NotFound).because(&format!("{method} is no operation of this path")).status(405)
}
