//! The public APIs, a room each; every room turns its dialect into calls of `coordinator::verbs` and sees no other room.
//!
//! [`mount`] joins the rooms on one listener. [`door`] is the frame around each: it reads credentials, bodies and the name by
//! which the caller knows us, and speaks no dialect.

pub mod director;
pub mod door;
pub mod logs;
pub mod native;
pub mod ucs;
pub mod vcenter;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::Uri;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::MethodRouter;

use crate::coordinator::verbs::Verbs;

/// What the paths of the agents' listener begin with, of which nothing is here.
const AGENTS: &str = "/agent/";

/// All routes of the public listener.
pub fn mount(verbs: Verbs) -> Router {
    let counts = native::Counts::default();
    Router::new()
        .merge(vcenter::routes(verbs.clone()))
        .merge(logs::routes(verbs.clone()))
        .merge(ucs::routes(verbs.clone()))
        .merge(director::routes(verbs.clone()))
        .merge(native::routes(verbs, counts.clone()))
        .fallback(unknown)
        .layer(middleware::from_fn(door::digest_signed))
        .layer(middleware::from_fn_with_state(counts, count))
}

/// The exchange of an agent secret for an access token, for the agents' listener: the same call as on the public one.
pub fn exchange(verbs: Verbs) -> MethodRouter {
    logs::exchange(verbs)
}

/// Each dialect says in its own words that there is no such route.
async fn unknown(uri: Uri) -> Response {
    if uri.path().starts_with(AGENTS) {
        return native::agents_listener();
    }
    match room(uri.path()) {
        "logs" => logs::unknown(),
        "ucs" => ucs::unknown(),
        "vcenter" => vcenter::unknown(uri.path()),
        "native" => native::unknown(),
        _ => director::unknown(uri.path()),
    }
}

async fn count(State(counts): State<native::Counts>, request: Request, next: Next) -> Response {
    let room = room(request.uri().path());
    let answer = next.run(request).await;
    counts.answered(room, answer.status());
    answer
}

/// The room that a path belongs to.
fn room(path: &str) -> &'static str {
    let below = |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if below("/api/v2") || below("/suite-api") {
        "logs"
    } else if below("/api") || below("/rest") {
        "vcenter"
    } else if below("/v1") || below("/v3") {
        "ucs"
    } else if ["/sheaf", "/healthz", "/readyz", "/metrics"].into_iter().any(below) {
        "native"
    } else {
        // What stands at the root is the director's.
        "director"
    }
}

#[cfg(test)]
mod tests {
    use super::{room, unknown};

    #[tokio::test]
    async fn an_agent_at_the_wrong_listener_hears_of_the_other() {
        let answer = unknown("/agent/v1/session".parse().expect("a URI")).await;
        assert_eq!(answer.status(), 404);
        let body = axum::body::to_bytes(answer.into_body(), 9999).await.expect("a body");
        let problem: crate::protocol::problem::Problem = serde_json::from_slice(&body).expect("a problem");
        assert!(problem.message.contains("port 25556"), "{}", problem.message);
    }

    #[test]
    fn a_path_belongs_to_one_room() {
        for (path, expected) in [
            ("/api/v2/agent/secrets", "logs"),
            ("/suite-api/api/auth/token/acquire", "logs"),
            ("/api/v2x", "vcenter"),
            ("/api/session", "vcenter"),
            ("/rest", "vcenter"),
            ("/v1/clusters/x/accessinfo", "ucs"),
            ("/v3/auth/tokens", "ucs"),
            ("/v1x", "director"),
            ("/restful", "director"),
            ("/sheaf/v1/tasks", "native"),
            ("/metrics", "native"),
            ("/info", "director"),
            ("/", "director"),
        ] {
            assert_eq!(room(path), expected, "{path}");
        }
    }
}
