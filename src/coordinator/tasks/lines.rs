//! What tasks say: a running download's events as lines of the log that the director's clients read.
//!
//! Events come from the engine and from work that runs as a task; lines go to the store. One compact object a line: a record over
//! several lines breaks the director's clients.

use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tracing::warn;

use super::{Ending, Log, TEXT, Tasks};
use crate::coordinator::run::{Event, TaskEnd, TaskLog};
use crate::id::TaskId;
use crate::protocol::control::TaskState;
use crate::report;

/// The director's number for what went wrong inside.
pub(super) const UNKNOWN: u32 = 100;

impl Tasks {
    /// Adds events; those that cannot be written are missed by the log alone.
    pub(super) async fn say(&self, task: TaskId, events: Vec<Event>) {
        let now = self.clock.now_ms() / 1000;
        let bytes = events.into_iter().flat_map(|event| line(&value(event, now))).collect();
        if let Err(error) = self.store.append_log(task, Log::Event, bytes).await {
            warn!(task = task.0, error = report::chain(&error), "an event could not be written");
        }
    }
}

impl TaskLog for Tasks {
    fn events(&self, task: TaskId, events: Vec<Event>) -> BoxFuture<'_, ()> {
        Box::pin(self.say(task, events))
    }

    fn finish(&self, task: TaskId, end: TaskEnd, result: String) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let state = match end {
                TaskEnd::Done => TaskState::Done,
                TaskEnd::Errored => TaskState::Errored,
                TaskEnd::Cancelled => TaskState::Cancelled,
            };
            self.end_or_keep(Ending { says_result: true, ..Ending::new(task, state, &result) }).await;
        })
    }
}

/// The line that says what ended a task.
pub(super) fn error(code: u32, message: &str, now_ms: i64) -> Vec<u8> {
    line(&json!({"time": now_ms / 1000, "error": {"code": code, "message": report::brief(message, TEXT)}}))
}

/// An event as the director's clients read it.
fn value(event: Event, time: i64) -> Value {
    match event {
        Event::Warning(message) => {
            json!({"time": time, "type": "warning", "message": report::brief(&message, TEXT)})
        }
        Event::Step(step) => {
            let mut value = json!({
                "time": time,
                "stage": step.stage,
                "tags": step.tags,
                "total": step.total,
                "task": step.task,
                "index": step.index,
                "state": step.state.as_str(),
                "progress": step.progress.min(100),
            });
            if let Some(data) = step.data {
                value["data"] = data;
            }
            value
        }
    }
}

fn line(value: &Value) -> Vec<u8> {
    let mut bytes = value.to_string().into_bytes();
    bytes.push(b'\n');
    bytes
}
