//! Segments, the list of what is held, and the end of a node's part: requests that belong to a download.
//!
//! The task in the URL only says which door to knock at; whether there is one for this node is the engine's to say.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::{Stream, stream};
use http::{HeaderMap, StatusCode, header};
use tracing::debug;

use super::{Desk, json, problem, read, unread};
use crate::coordinator::receive::{self, Address, ReceiveError};
use crate::coordinator::run::{Answer, Door};
use crate::id::TaskId;
use crate::protocol::agents::{Ack, Finish, Paused};
use crate::report;

/// `PUT /agent/v1/tasks/{task}/attempts/{attempt}/segments/{number}`.
pub(super) async fn put(
    State(desk): State<Desk>,
    Path((task, attempt, number)): Path<(u64, u32, u64)>,
    request: Request,
) -> Result<Response, Response> {
    let identity = desk.node(request.headers()).await?;
    let address = Address { task: TaskId(task), attempt, number };
    let door = desk.engine.door(address.task, &identity.node).ok_or_else(over)?;
    // What is not wanted is answered without reading it.
    if let Some(answer) = door.look(address) {
        return Ok(answered(answer));
    }
    let inbound = tokio::select! {
        () = door.closed() => return Err(over()),
        inbound = receive::read(request.into_body(), address, &door.share, &door.pace) => inbound,
    };
    match inbound {
        Ok(inbound) => Ok(answered(door.segment(inbound).await)),
        Err(error) => {
            debug!(node = %identity.node, task, error = report::chain(&error), "segment not taken");
            Err(not_taken(&door, error).await)
        }
    }
}

async fn not_taken(door: &Door, error: ReceiveError) -> Response {
    match error {
        ReceiveError::Body(error) if ReceiveError::honest_body(&error) => unread(&error),
        error => {
            let rule = report::brief(&report::chain(&error), 200);
            door.hostile(rule.clone()).await;
            refused(&rule)
        }
    }
}

/// The caller's part in a task.
async fn door(desk: &Desk, task: u64, headers: &HeaderMap) -> Result<Arc<Door>, Response> {
    let identity = desk.node(headers).await?;
    desk.engine.door(TaskId(task), &identity.node).ok_or_else(over)
}

fn answered(answer: Answer) -> Response {
    match answer {
        Answer::Held(next) => json(StatusCode::OK, &Ack { next }),
        Answer::Elsewhere(next) => json(StatusCode::CONFLICT, &Ack { next }),
        Answer::Over => over(),
        Answer::Refused(rule) => refused(&rule),
    }
}

fn over() -> Response {
    problem(StatusCode::GONE, "task_over", "the node has no part in this task, or no more")
}

fn refused(rule: &str) -> Response {
    problem(
        StatusCode::UNPROCESSABLE_ENTITY,
        "rule_broken",
        format!("the segment is refused, and the node is out: {rule}"),
    )
}

/// `POST /agent/v1/tasks/{task}/finish`.
pub(super) async fn finish(
    State(desk): State<Desk>,
    Path(task): Path<u64>,
    request: Request,
) -> Result<Response, Response> {
    let identity = desk.node(request.headers()).await?;
    let finish: Finish = read(request.into_body()).await?;
    let answer = match desk.engine.door(TaskId(task), &identity.node) {
        Some(door) => door.finish(finish).await,
        None => desk.engine.finished(TaskId(task), &identity.node, &finish),
    };
    Ok(match answer {
        Answer::Held(_) => StatusCode::NO_CONTENT.into_response(),
        other => answered(other),
    })
}

/// `POST /agent/v1/tasks/{task}/pause`.
pub(super) async fn pause(
    State(desk): State<Desk>,
    Path(task): Path<u64>,
    request: Request,
) -> Result<Response, Response> {
    let door = door(&desk, task, request.headers()).await?;
    let paused: Paused = read(request.into_body()).await?;
    door.pause(paused).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `GET /agent/v1/tasks/{task}/held`.
pub(super) async fn held(
    State(desk): State<Desk>,
    Path(task): Path<u64>,
    request: Request,
) -> Result<Response, Response> {
    let door = door(&desk, task, request.headers()).await?;
    let body = Body::from_stream(list(door));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

/// The list, piece by piece, so that a million paths are never in memory.
fn list(door: Arc<Door>) -> impl Stream<Item = io::Result<Bytes>> {
    stream::try_unfold((door, 0), |(door, at)| async move {
        let (door, piece) = tokio::task::spawn_blocking(move || {
            let piece = door.held(at);
            (door, piece)
        })
        .await
        .map_err(io::Error::other)?;
        Ok(piece?.map(|piece| {
            let next = at + piece.len() as u64;
            (Bytes::from(piece), (door, next))
        }))
    })
}
