//! Tasks: listed with filters, shown, cancelled.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};

use super::fault::Fault;
use super::{pieces, principal, value};
use crate::api::door::{self, Caller};
use crate::coordinator::verbs::{Principal, Refusal, TaskFilter, TaskRow, Verbs};
use crate::id::TaskId;
use crate::protocol::control::TaskState;

/// What a list leaves out unless all is asked for: looking at something is no event.
const UNIMPORTANT: [&str; 3] = ["vms", "instances", "logs"];
/// Rows of a list without a limit.
const ROWS: u32 = 1_000;

/// A task as clients decode it.
#[derive(Serialize)]
pub struct Task {
    id: u64,
    state: &'static str,
    description: String,
    timestamp: Option<i64>,
    started_at: Option<i64>,
    result: Option<String>,
    user: String,
    deployment: Option<String>,
    context_id: String,
}

impl From<TaskRow> for Task {
    fn from(row: TaskRow) -> Self {
        Self {
            id: row.id.0,
            state: row.state.as_str(),
            description: row.description,
            timestamp: row.finished_ms.map(|ms| ms / 1000),
            started_at: row.started_ms.map(|ms| ms / 1000),
            result: row.result,
            user: row.user,
            deployment: row.deployment.map(String::from),
            context_id: row.context_id.unwrap_or_default(),
        }
    }
}

/// `GET /tasks`.
pub async fn list(
    State(verbs): State<Verbs>,
    caller: Caller,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<Vec<Task>>, Fault> {
    let who = principal(&verbs, &caller).await?;
    let limit = match value(&query, "limit") {
        None => ROWS,
        Some(text) => {
            let limit: i64 = text.parse().map_err(|_| Fault::bad("`limit` is a number"))?;
            u32::try_from(limit.max(1)).unwrap_or(u32::MAX)
        }
    };
    let states: Vec<_> = pieces(&query, "state");
    let known: Vec<_> = states.iter().filter_map(|word| state(word)).collect();
    let unimportant = value(&query, "verbose").unwrap_or("1") != "2";
    // A name that cannot be a deployment's is that of none; so is a list of states that are none.
    let deployment = value(&query, "deployment").filter(|name| !name.is_empty()).map(str::parse).transpose();
    let Ok(deployment) = deployment else { return Ok(Json(Vec::new())) };
    if known.is_empty() && !states.is_empty() {
        return Ok(Json(Vec::new()));
    }
    let filter = TaskFilter {
        states: known,
        without_kinds: if unimportant { UNIMPORTANT.map(str::to_owned).to_vec() } else { Vec::new() },
        deployment,
        context_id: value(&query, "context_id").filter(|id| !id.is_empty()).map(str::to_owned),
        limit: Some(limit),
        ..TaskFilter::default()
    };
    let rows = verbs.tasks(&who, filter).await.map_err(|refusal| Fault::of(&refusal, "/tasks"))?;
    Ok(Json(rows.into_iter().map(Task::from).collect()))
}

/// Our word for a state, also where another director has another one for it.
fn state(word: &str) -> Option<TaskState> {
    use TaskState::{Cancelled, Cancelling, Done, Errored, Processing, Queued};
    let word = if word == "error" { "errored" } else { word };
    [Queued, Processing, Cancelling, Cancelled, Done, Errored].into_iter().find(|state| state.as_str() == word)
}

/// The task of a path.
pub async fn find(verbs: &Verbs, who: &Principal, id: &str) -> Result<TaskRow, Fault> {
    let number: TaskId = id.parse().map_err(|_| Fault::no_task(id))?;
    verbs.task(who, number).await.map_err(|refusal| unfound(&refusal, id))
}

fn unfound(refusal: &Refusal, id: &str) -> Fault {
    match refusal {
        Refusal::NotFound(_) => Fault::no_task(id),
        other => Fault::of(other, "/tasks"),
    }
}

/// `GET /tasks/{id}`.
pub async fn show(State(verbs): State<Verbs>, caller: Caller, Path(id): Path<String>) -> Result<Json<Task>, Fault> {
    let who = principal(&verbs, &caller).await?;
    Ok(Json(find(&verbs, &who, &id).await?.into()))
}

/// `DELETE /task/{id}`.
pub async fn cancel(State(verbs): State<Verbs>, caller: Caller, Path(id): Path<String>) -> Result<Response, Fault> {
    let who = principal(&verbs, &caller).await?;
    let task = find(&verbs, &who, &id).await?;
    match verbs.cancel_task(&who, task.id).await {
        Ok(_) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(Refusal::Conflict(_)) => {
            let said = format!("Cannot cancel task {id}: invalid state ({})", find(&verbs, &who, &id).await?.state);
            Err(Fault::Text(StatusCode::BAD_REQUEST, said))
        }
        Err(refusal) => Err(unfound(&refusal, &id)),
    }
}

/// Body of `POST /tasks/cancel`.
#[derive(Default, Deserialize)]
struct Which {
    #[serde(default)]
    deployment: Option<String>,
    #[serde(default)]
    types: Vec<String>,
    #[serde(default)]
    states: Vec<String>,
}

/// `POST /tasks/cancel`: all that run, or those of a deployment, of some kinds, in some states.
pub async fn cancel_many(
    State(verbs): State<Verbs>,
    caller: Caller,
    uri: Uri,
    body: Body,
) -> Result<StatusCode, Fault> {
    let who = principal(&verbs, &caller).await?;
    let bytes = door::bytes(body).await?;
    let which: Which = if bytes.is_empty() { Which::default() } else { door::json(Body::from(bytes)).await? };
    let refused = |refusal: Refusal| Fault::of(&refusal, uri.path());
    let running = [TaskState::Queued, TaskState::Processing];
    let mut states: Vec<_> =
        which.states.iter().filter_map(|word| state(word)).filter(|s| running.contains(s)).collect();
    if which.states.is_empty() {
        states = running.to_vec();
    }
    let deployment = which.deployment.as_deref().map(str::parse).transpose();
    let deployment = deployment.map_err(|_| Fault::no_deployment(which.deployment.as_deref().unwrap_or_default()))?;
    if states.is_empty() {
        return Ok(StatusCode::NO_CONTENT);
    }
    let filter = TaskFilter { states, kinds: which.types, deployment, ..TaskFilter::default() };
    for row in verbs.tasks(&who, filter).await.map_err(refused)? {
        match verbs.cancel_task(&who, row.id).await {
            // It ended in this moment.
            Ok(_) | Err(Refusal::Conflict(_) | Refusal::NotFound(_)) => {}
            Err(refusal) => return Err(refused(refusal)),
        }
    }
    Ok(StatusCode::NO_CONTENT)
}
