//! Tasks and their event logs.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::fault::Fault;
use super::session::principal;
use crate::api::door::Caller;
use crate::clock::rfc3339;
use crate::coordinator::verbs::{Log, TaskFilter, TaskRow, Verbs, state_word};
use crate::id::TaskId;
use crate::protocol::control::{LOG_TOTAL_HEADER, Task};

/// Bytes of a log in one answer at most.
const PART: usize = 1 << 20;

/// Query of the list.
#[derive(Deserialize)]
pub struct Filter {
    limit: Option<u32>,
    /// States, with commas between.
    #[serde(default)]
    state: String,
}

/// Query of the events.
#[derive(Deserialize)]
pub struct From {
    #[serde(default)]
    from: u64,
}

/// `GET tasks`.
pub async fn list(
    State(verbs): State<Verbs>,
    query: Result<Query<Filter>, QueryRejection>,
    caller: Caller,
) -> Result<Json<Vec<Task>>, Fault> {
    let who = principal(&verbs, &caller).await?;
    let query = query?.0;
    let words = query.state.split(',').filter(|word| !word.is_empty());
    let state = |word| state_word(word).ok_or_else(|| Fault::new(400, "invalid", unknown_state(word)));
    let states = words.map(state).collect::<Result<_, _>>()?;
    let filter = TaskFilter { limit: query.limit.map(|limit| limit.max(1)), states, ..TaskFilter::default() };
    Ok(Json(verbs.tasks(&who, filter).await?.into_iter().map(view).collect()))
}

/// `GET tasks/{id}`.
pub async fn show(
    State(verbs): State<Verbs>,
    id: Result<Path<TaskId>, PathRejection>,
    caller: Caller,
) -> Result<Json<Task>, Fault> {
    let who = principal(&verbs, &caller).await?;
    Ok(Json(view(verbs.task(&who, id?.0).await?)))
}

/// `GET tasks/{id}/events`.
pub async fn events(
    State(verbs): State<Verbs>,
    id: Result<Path<TaskId>, PathRejection>,
    query: Result<Query<From>, QueryRejection>,
    caller: Caller,
) -> Result<Response, Fault> {
    log(&verbs, Log::Event, id?.0, query?.0, &caller).await
}

/// `GET tasks/{id}/debug`.
pub async fn debug(
    State(verbs): State<Verbs>,
    id: Result<Path<TaskId>, PathRejection>,
    query: Result<Query<From>, QueryRejection>,
    caller: Caller,
) -> Result<Response, Fault> {
    log(&verbs, Log::Debug, id?.0, query?.0, &caller).await
}

/// `GET tasks/{id}/result`.
pub async fn result(
    State(verbs): State<Verbs>,
    id: Result<Path<TaskId>, PathRejection>,
    query: Result<Query<From>, QueryRejection>,
    caller: Caller,
) -> Result<Response, Fault> {
    log(&verbs, Log::Result, id?.0, query?.0, &caller).await
}

async fn log(verbs: &Verbs, log: Log, id: TaskId, query: From, caller: &Caller) -> Result<Response, Fault> {
    let who = principal(verbs, caller).await?;
    let part = verbs.task_log(&who, id, log, query.from, PART).await?;
    let kind = if log == Log::Event { "application/x-ndjson" } else { "text/plain; charset=utf-8" };
    let kind = [(header::CONTENT_TYPE, kind)];
    Ok((kind, [(LOG_TOTAL_HEADER, part.total.to_string())], part.bytes).into_response())
}

/// `POST tasks/{id}/cancel`.
pub async fn cancel(
    State(verbs): State<Verbs>,
    id: Result<Path<TaskId>, PathRejection>,
    caller: Caller,
) -> Result<(StatusCode, Json<Task>), Fault> {
    let who = principal(&verbs, &caller).await?;
    Ok((StatusCode::ACCEPTED, Json(view(verbs.cancel_task(&who, id?.0).await?))))
}

fn unknown_state(word: &str) -> String {
    format!(
        "`{}` is no state; there are queued, processing, cancelling, cancelled, done and errored",
        crate::report::brief(word, 40)
    )
}

/// A task as it is shown.
pub(super) fn view(row: TaskRow) -> Task {
    Task {
        id: row.id,
        name: row.id.to_string(),
        kind: row.kind,
        state: row.state,
        description: row.description,
        user: row.user,
        deployment: row.deployment,
        created_at: Some(rfc3339(row.created_ms)),
        started_at: row.started_ms.map(rfc3339),
        finished_at: row.finished_ms.map(rfc3339),
        result: row.result,
    }
}
