//! The director's dialect, at the root: tasks, what nodes run, deployments, their instances and logs.
//!
//! | call | answer |
//! |---|---|
//! | `GET /info` | 200, also without credentials |
//! | `GET /tasks`, `/tasks/{id}`, `/tasks/{id}/output`; `DELETE /task/{id}`, `POST /tasks/cancel` | 200; 206, 416, 204; 204 |
//! | `GET /stemcells`, `/releases`, `/configs`, `/locks` | 200 |
//! | `GET /deployments`, `/deployments/{name}`, `/deployments/{name}/vms`, `…/instances` | 200 |
//! | `POST /deployments`, `DELETE /deployments/{name}`, `GET …/vms?format=full`, `…/instances?format=full` | 302 to a task |
//! | `POST /deployments/{name}/diff` | 200 |
//! | `GET /deployments/{name}/jobs/{group}/{id}/logs`, then `GET /resources/{id}` | 302 to a task, 200 a .tgz |
//!
//! All but the first need credentials. What takes long is a task. Requests go to the verbs; this room keeps nothing.

mod deployments;
mod fault;
mod info;
mod instances;
mod line;
mod logs;
mod output;
mod software;
mod tasks;
mod tgz;

use axum::Router;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};

use crate::api::door::{self, Caller};
use crate::coordinator::verbs::{Principal, Verbs};
use crate::id::TaskId;
use fault::Fault;

/// The header by which a client names a group of its calls.
const CONTEXT: &str = "x-bosh-context-id";

/// The routes of this dialect.
pub fn routes(verbs: Verbs) -> Router {
    Router::new()
        .route("/info", get(info::show))
        .route("/tasks", get(tasks::list))
        .route("/tasks/cancel", post(tasks::cancel_many))
        .route("/tasks/{id}", get(tasks::show))
        .route("/tasks/{id}/output", get(output::show))
        .route("/task/{id}", delete(tasks::cancel))
        .route("/stemcells", get(software::stemcells))
        .route("/releases", get(software::releases))
        .route("/configs", get(software::nothing))
        .route("/locks", get(software::nothing))
        .route("/deployments", get(deployments::list).post(deployments::create))
        .route("/deployments/{name}", get(deployments::show).delete(deployments::delete))
        .route("/deployments/{name}/diff", post(deployments::diff))
        .route("/deployments/{name}/vms", get(instances::vms))
        .route("/deployments/{name}/instances", get(instances::instances))
        .route("/deployments/{name}/jobs/{group}/{id}/logs", get(logs::fetch))
        .route("/resources/{id}", get(logs::resource))
        .method_not_allowed_fallback(no_route)
        .with_state(verbs)
}

/// There is no such route.
pub fn unknown(path: &str) -> Response {
    Fault::no_route(path).into_response()
}

async fn no_route(uri: Uri) -> Fault {
    Fault::no_route(uri.path())
}

/// Whoever calls.
async fn principal(verbs: &Verbs, caller: &Caller) -> Result<Principal, Fault> {
    door::principal(verbs, caller, &[]).await.map_err(|refusal| Fault::of(&refusal, caller.uri.path()))
}

/// The client's name for the group of its calls, if it gives one.
fn context(caller: &Caller) -> Option<String> {
    caller.headers.get(CONTEXT).and_then(|value| value.to_str().ok()).filter(|id| !id.is_empty()).map(str::to_owned)
}

/// The answer to what became a task.
fn redirect(verbs: &Verbs, caller: &Caller, task: TaskId) -> Result<Response, Fault> {
    let origin = caller.origin(verbs);
    let origin = origin.ok_or_else(|| Fault::bad("the request names no host in its Host header"))?;
    Ok((StatusCode::FOUND, [(header::LOCATION, format!("{origin}/tasks/{task}"))]).into_response())
}

/// The last value of a name in a query.
fn value<'a>(query: &'a [(String, String)], name: &str) -> Option<&'a str> {
    query.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// Whether a name stands for yes in a query.
fn is_true(query: &[(String, String)], name: &str) -> bool {
    value(query, name) == Some("true")
}

/// The pieces of a list in a query.
fn pieces<'a>(query: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    value(query, name).into_iter().flat_map(|list| list.split(',')).filter(|piece| !piece.is_empty()).collect()
}
