//! Tasks: long operations with a state and logs that can be read while they grow.
//!
//! Verbs make them, the engine tells what happens in them, faces read them. Their logs are append-only: what was read once
//! never changes, and all of it is there before the state turns final. A task does no work itself.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tracing::{info, warn};

use super::refusal::Refusal;
use super::run::{Event, TaskEnd, TaskLog};
use super::store::{Store, StoreError};
use crate::clock::{self, Clock};
use crate::id::{ClusterId, TaskId};
use crate::protocol::control::TaskState;
use crate::report;

/// Characters of a task's result, or of a foreign reason in its log.
const TEXT: usize = 4096;
/// Ends that wait to be written; of more, the next start takes care.
const LATE: usize = 4096;
/// The director's code for what went wrong inside.
const UNKNOWN_ERROR: u32 = 100;

/// Which of a task's logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    /// Steps and warnings, one JSON object a line.
    Event,
    /// For those who look for a fault, plain lines.
    Debug,
    /// What came of it.
    Result,
}

impl Log {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Debug => "debug",
            Self::Result => "result",
        }
    }
}

/// A task that is wanted.
#[derive(Clone, Debug)]
pub struct NewTask {
    /// What kind it is, one word: `bundle`.
    pub kind: String,
    /// What it does, for people.
    pub description: String,
    /// Who asked.
    pub user: String,
    /// The cluster it is about.
    pub cluster: Option<ClusterId>,
}

/// A task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRow {
    /// Its number.
    pub id: TaskId,
    /// What kind it is, one word: `bundle`.
    pub kind: String,
    /// What it does, for people.
    pub description: String,
    /// Where it stands.
    pub state: TaskState,
    /// Who asked.
    pub user: String,
    /// The cluster it is about.
    pub cluster: Option<ClusterId>,
    /// When it was made, milliseconds since 1970.
    pub created_ms: i64,
    /// When it began to run.
    pub started_ms: Option<i64>,
    /// When it ended.
    pub finished_ms: Option<i64>,
    /// A line on how it ended.
    pub result: Option<String>,
}

/// Which tasks are wanted.
#[derive(Clone, Debug, Default)]
pub struct TaskFilter {
    /// Only in these states; empty for all.
    pub states: Vec<TaskState>,
    /// Only of these kinds; empty for all.
    pub kinds: Vec<String>,
    /// Only this cluster's.
    pub cluster: Option<ClusterId>,
    /// At most so many; `None` for as many as one answer holds.
    pub limit: Option<u32>,
}

/// A part of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPart {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Where they begin.
    pub from: u64,
    /// Length of the whole log so far.
    pub total: u64,
}

/// The states from which a task may come to `state`.
pub fn legal_before(state: TaskState) -> &'static [TaskState] {
    use TaskState::{Cancelled, Cancelling, Done, Errored, Processing, Queued};
    match state {
        Queued => &[],
        Processing => &[Queued],
        Cancelling => &[Queued, Processing],
        // A client that goes away cancels without asking first.
        Cancelled => &[Queued, Processing, Cancelling],
        // What was sealed before the request to stop arrived is done all the same.
        Done => &[Processing, Cancelling],
        Errored => &[Queued, Processing, Cancelling],
    }
}

/// The state of a word.
pub fn state_word(word: &str) -> Option<TaskState> {
    use TaskState::{Cancelled, Cancelling, Done, Errored, Processing, Queued};
    [Queued, Processing, Cancelling, Cancelled, Done, Errored].into_iter().find(|state| state.as_str() == word)
}

/// Keeps tasks; cheap to clone.
#[derive(Clone)]
pub struct Tasks {
    store: Store,
    clock: Clock,
    late: Arc<Mutex<Vec<Late>>>,
}

/// An end that could not be written when it came, since the disk was full.
#[derive(Clone, Debug)]
struct Late {
    task: TaskId,
    state: TaskState,
    result: String,
}

impl Tasks {
    /// The tasks of a store. Those that another process left unfinished end as errored.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn open(store: Store, clock: Clock) -> Result<Self, StoreError> {
        let reason = "the coordinator was restarted";
        let now = clock.now_ms();
        let event = line(&json!({"time": now / 1000, "error": {"code": UNKNOWN_ERROR, "message": reason}}));
        let ended = store.end_unfinished(reason, event, now).await?;
        if ended > 0 {
            warn!(tasks = ended, "ended tasks that the last run left unfinished");
        }
        Ok(Self { store, clock, late: Arc::default() })
    }

    /// Makes a task, queued.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn create(&self, mut task: NewTask) -> Result<TaskId, Refusal> {
        self.catch_up().await;
        task.description = report::brief(&task.description, TEXT);
        let (kind, user) = (task.kind.clone(), task.user.clone());
        let id = self.store.add_task(task, self.clock.now_ms()).await?;
        info!(target: "audit", task = id.0, kind, user, "task made");
        Ok(id)
    }

    /// A task begins to run.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] when it was cancelled meanwhile.
    pub async fn begin(&self, id: TaskId) -> Result<(), Refusal> {
        self.to(id, TaskState::Processing, None).await
    }

    /// Somebody asks a task to stop.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] when it is over, or was asked before.
    pub async fn cancelling(&self, id: TaskId) -> Result<(), Refusal> {
        self.to(id, TaskState::Cancelling, None).await
    }

    /// Ends a task, with a line on how.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] when it is over already.
    pub async fn end(&self, id: TaskId, state: TaskState, result: &str) -> Result<(), Refusal> {
        let result = report::brief(result, TEXT);
        let mut bytes = result.clone().into_bytes();
        bytes.push(b'\n');
        self.store.append_log(id, Log::Result, bytes).await?;
        self.to(id, state, Some(result)).await?;
        info!(task = id.0, state = state.as_str(), "task ended");
        Ok(())
    }

    /// Adds a line to a task's debug log; one that does not fit any more is left out.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn debug(&self, id: TaskId, text: &str) -> Result<(), Refusal> {
        let text = format!("{} {}\n", clock::rfc3339(self.clock.now_ms()), report::brief(text, TEXT));
        self.store.append_log(id, Log::Debug, text.into_bytes()).await?;
        Ok(())
    }

    /// One task.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub async fn find(&self, id: TaskId) -> Result<TaskRow, Refusal> {
        self.catch_up().await;
        self.store.task(id).await?.ok_or_else(|| Refusal::not_found("task", &id.to_string()))
    }

    /// Tasks, newest first.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn list(&self, filter: TaskFilter) -> Result<Vec<TaskRow>, Refusal> {
        self.catch_up().await;
        Ok(self.store.tasks(filter).await?)
    }

    /// A part of a log.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub async fn read(&self, id: TaskId, log: Log, from: u64, most: usize) -> Result<LogPart, Refusal> {
        let part = self.store.read_log(id, log, from, most).await?;
        part.ok_or_else(|| Refusal::not_found("task", &id.to_string()))
    }

    /// Writes ends that could not be written before.
    async fn catch_up(&self) {
        let late = std::mem::take(&mut *self.late.lock().unwrap_or_else(PoisonError::into_inner));
        for end in late {
            self.end_or_keep(end).await;
        }
    }

    async fn end_or_keep(&self, end: Late) {
        match self.end(end.task, end.state, &end.result).await {
            Err(refusal @ (Refusal::Full | Refusal::Internal)) => {
                warn!(task = end.task.0, error = report::chain(&refusal), "a task's end is written later");
                let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
                if late.len() < LATE {
                    late.push(end);
                }
            }
            Err(refusal) => warn!(task = end.task.0, error = report::chain(&refusal), "a task could not be ended"),
            Ok(()) => {}
        }
    }

    async fn to(&self, id: TaskId, state: TaskState, result: Option<String>) -> Result<(), Refusal> {
        if self.store.move_task(id, state, result, self.clock.now_ms()).await? {
            return Ok(());
        }
        let found = self.store.task(id).await?;
        let is = found.ok_or_else(|| Refusal::not_found("task", &id.to_string()))?.state;
        Err(Refusal::Conflict(format!("task {id} is {is} and cannot become {state}")))
    }
}

impl TaskLog for Tasks {
    fn event(&self, task: TaskId, event: Event) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let bytes = line(&value(event, self.clock.now_ms() / 1000));
            if let Err(error) = self.store.append_log(task, Log::Event, bytes).await {
                warn!(task = task.0, error = report::chain(&error), "an event could not be written");
            }
        })
    }

    fn finish(&self, task: TaskId, end: TaskEnd, result: String) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let state = match end {
                TaskEnd::Done => TaskState::Done,
                TaskEnd::Errored => TaskState::Errored,
                TaskEnd::Cancelled => TaskState::Cancelled,
            };
            if end == TaskEnd::Errored {
                let failure = json!({
                    "time": self.clock.now_ms() / 1000,
                    "error": {"code": UNKNOWN_ERROR, "message": report::brief(&result, TEXT)},
                });
                // The line is worth having, and its loss is no reason to leave the task open.
                let _ = self.store.append_log(task, Log::Event, line(&failure)).await;
            }
            self.end_or_keep(Late { task, state, result }).await;
        })
    }
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

/// One compact object and a line end: a record over several lines breaks the director's clients.
fn line(value: &Value) -> Vec<u8> {
    let mut bytes = value.to_string().into_bytes();
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests;
