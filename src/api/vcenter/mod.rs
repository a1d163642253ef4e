//! The vCenter dialect: sessions, the list of clusters, and the support bundle in two steps.
//!
//! | call | answer |
//! |---|---|
//! | `POST`, `GET`, `DELETE /api/session` | 201 the id as a JSON string, 200, 204 |
//! | `POST /rest/com/vmware/cis/session`, `?~action=get`, `DELETE` | 200 |
//! | `GET /api/vcenter/namespace-management/clusters`, `…/supervisors/summaries` | 200 |
//! | `POST /api/vcenter/namespace-management/clusters/{cluster}/support-bundle` | 201: a URL and a token |
//! | `POST /api/vcenter/namespace-management/supervisors/{supervisor}/support-bundles` | the same, named as in 9.1 |
//! | `GET` with a header, or `POST` with a body, at that URL | 200, the bundle as it is made; 401 without the token |
//!
//! The same below `/rest`, where every answer is wrapped in `{"value": …}`. `{cluster}` and `{supervisor}` are a cluster's id.
//! Requests go to the verbs; this room keeps nothing.

mod bundle;
mod clusters;
mod fault;
mod session;

use axum::Router;
use axum::http::Method;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};

use crate::coordinator::verbs::Verbs;
use fault::{Fault, Style};

/// The header that carries a session's id.
const SESSION_HEADER: &str = "vmware-api-session-id";

/// The routes of this dialect.
pub fn routes(verbs: Verbs) -> Router {
    let mut router = Router::new()
        .route("/api/session", post(session::create).get(session::show).delete(session::delete))
        .route("/rest/com/vmware/cis/session", post(session::rest_post).delete(session::delete));
    for prefix in ["/api", "/rest"] {
        let management = format!("{prefix}/vcenter/namespace-management");
        router = router
            .route(&format!("{management}/clusters"), get(clusters::list))
            .route(&format!("{management}/supervisors/summaries"), get(clusters::summaries))
            .route(&format!("{management}/clusters/{{cluster}}/support-bundle"), post(bundle::provision))
            .route(&format!("{management}/supervisors/{{cluster}}/support-bundles"), post(bundle::provision_9_1));
    }
    // HEAD is named apart: axum would answer it with GET's handler, which uses the token up.
    let download = get(bundle::get).post(bundle::post).head(not_allowed);
    router.route(bundle::DOWNLOAD, download).method_not_allowed_fallback(not_allowed).with_state(verbs)
}

/// There is no such route.
pub fn unknown(path: &str) -> Response {
    Fault::new(Style::of(path), 404, "NOT_FOUND", "there is no such operation").into_response()
}

async fn not_allowed(style: Style, method: Method) -> Fault {
    Fault::new(style, 405, "OPERATION_NOT_FOUND", &format!("{method} is no operation of this path"))
}
