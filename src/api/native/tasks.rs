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
use crate::coordinator::verbs::{Log, TaskFilter, TaskRow, Verbs};
use crate::id::TaskId;
use crate::protocol::control::{LOG_TOTAL_HEADER, Task};

/// Bytes of a log in one answer at most.
const PART: usize = 1 << 20;

/// Query of the list.
#[derive(Deserialize)]
pub struct Limit {
    limit: Option<u32>,
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
    query: Result<Query<Limit>, QueryRejection>,
    caller: Caller,
) -> Result<Json<Vec<Task>>, Fault> {
    let who = principal(&verbs, &caller).await?;
    let filter = TaskFilter { limit: query?.0.limit.map(|limit| limit.max(1)), ..TaskFilter::default() };
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
    let who = principal(&verbs, &caller).await?;
    let part = verbs.task_log(&who, id?.0, Log::Event, query?.0.from, PART).await?;
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
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

fn view(row: TaskRow) -> Task {
    Task {
        id: row.id,
        name: row.id.to_string(),
        state: row.state,
        description: row.description,
        user: row.user,
        started_at: row.started_ms.map(rfc3339),
        finished_at: row.finished_ms.map(rfc3339),
        result: row.result,
    }
}
