//! The native API below `/sheaf/v1`, which the CLI uses, and the pages for machines that watch us.
//!
//! The conversation stands in [`crate::protocol::control`]; here it meets the verbs. `/healthz`, `/readyz` and `/metrics` need no
//! credential and name nobody. This room keeps nothing but counts of answers.

mod access;
mod audit;
mod bundle;
mod certificates;
mod clusters;
mod deployments;
mod fault;
mod fleets;
mod health;
mod metrics;
mod nodes;
mod secrets;
mod session;
mod stored;
mod tasks;
mod users;

use axum::Router;
use axum::http::Method;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post, put};

use crate::coordinator::verbs::Verbs;
use crate::protocol::control::PREFIX;
use fault::Fault;
pub use metrics::Counts;

/// The routes of this dialect.
pub fn routes(verbs: Verbs, counts: Counts) -> Router {
    let api = Router::new()
        .route("/session", post(session::create).get(session::show).delete(session::delete))
        .route("/clusters", get(clusters::list).post(clusters::create))
        .route("/clusters/{cluster}", get(clusters::show).delete(clusters::delete))
        .route("/clusters/{cluster}/access-info", post(access::take))
        .route("/clusters/{cluster}/access-info/reset", post(access::reset))
        .route("/fleets", get(fleets::list).post(fleets::create))
        .route("/fleets/{fleet}", get(fleets::show).delete(fleets::delete))
        .route("/fleets/{fleet}/clusters/{cluster}", put(fleets::hold).delete(fleets::hold))
        .route("/fleets/{fleet}/kubeconfig", post(fleets::kubeconfig))
        .route("/certificates", get(certificates::list))
        .route("/certificates/{serial}/revoke", post(certificates::revoke))
        .route("/nodes", get(nodes::list))
        .route("/nodes/{name}", get(nodes::show).merge(delete(nodes::remove)))
        .route("/nodes/{name}/history", get(nodes::history))
        .route("/secrets", get(secrets::list).post(secrets::create))
        .route("/secrets/{name}/revoke", post(secrets::revoke))
        .route("/users", get(users::list).post(users::create))
        .route("/users/{name}", get(users::show).patch(users::change).delete(users::delete))
        .route("/users/{name}/password", post(users::password))
        .route("/users/{name}/keys", post(users::create_key))
        .route("/keys", get(users::keys))
        .route("/keys/{id}", delete(users::revoke_key))
        .route("/audit", get(audit::list))
        .route("/deployments", get(deployments::list).post(deployments::apply))
        .route("/deployments/{name}", get(deployments::show).delete(deployments::delete))
        .route("/tasks", get(tasks::list))
        .route("/tasks/{id}", get(tasks::show))
        .route("/tasks/{id}/events", get(tasks::events))
        .route("/tasks/{id}/debug", get(tasks::debug))
        .route("/tasks/{id}/result", get(tasks::result))
        .route("/tasks/{id}/cancel", post(tasks::cancel))
        .route("/bundles", post(bundle::create))
        .route("/bundles/estimate", post(bundle::estimate))
        .route("/stored", get(stored::list).post(stored::create))
        .route("/stored/{id}", get(stored::show).delete(stored::delete))
        .route("/stored/{id}/content", get(stored::content))
        .fallback(unknown_operation)
        .method_not_allowed_fallback(not_allowed)
        .with_state(verbs.clone());
    let watched = Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::page))
        .method_not_allowed_fallback(not_allowed)
        .with_state((verbs, counts));
    Router::new().nest(PREFIX, api).merge(watched)
}

/// There is no such route.
pub fn unknown() -> Response {
    Fault::new(404, "unknown_route", "there is nothing here; the operators' API stands below /sheaf/v1").into_response()
}

/// What an agent hears that was sent to this listener.
pub fn agents_listener() -> Response {
    let message = "this is the coordinator's listener for people; agents have the other one, on port 25556 unless `agents` says \
                   otherwise: it belongs into `url` of the agent's configuration";
    Fault::new(404, "wrong_listener", message).into_response()
}

async fn unknown_operation() -> Response {
    unknown()
}

async fn not_allowed(method: Method) -> Fault {
    Fault::new(405, "method_not_allowed", format!("{method} is no operation of this path"))
}
