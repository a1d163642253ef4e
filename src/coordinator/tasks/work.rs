//! Work that runs as a task: started, watched, stopped when asked, and its end written whatever becomes of it.
//!
//! Verbs bring a future; what it says goes into the task's logs through [`Work`], what it answers becomes the task's end. A task
//! that is asked to stop and does not is dropped after a short time. Nothing here knows what the work is.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Ending, Log, NewTask, TEXT, Tasks, lines};
use crate::coordinator::refusal::Refusal;
use crate::coordinator::run::{Event, Step};
use crate::id::TaskId;
use crate::protocol::control::TaskState;
use crate::report;

/// Tasks that run or wait at the same time.
const RUNNING: usize = 256;
/// Time that work has to end by itself once it is asked to stop.
const GRACE: Duration = Duration::from_secs(3);

/// Why work did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// It was asked to stop, and did.
    #[error("cancelled")]
    Cancelled,
    /// Something went wrong; says what.
    #[error("{message}")]
    Failed {
        /// The director's number for it.
        code: u32,
        /// A sentence.
        message: String,
    },
}

impl TaskError {
    /// A failure with the director's number for it.
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        Self::Failed { code, message: message.into() }
    }
}

impl From<Refusal> for TaskError {
    fn from(refusal: Refusal) -> Self {
        Self::new(lines::UNKNOWN, refusal.to_string())
    }
}

/// The tokens of all tasks that can be asked to stop.
#[derive(Clone, Debug, Default)]
pub(super) struct Stops(Arc<Mutex<HashMap<TaskId, CancellationToken>>>);

impl Stops {
    fn all(&self) -> MutexGuard<'_, HashMap<TaskId, CancellationToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task's own stop: cancelled when somebody asks for it or the coordinator stops. The task can be asked for as long as this lives.
#[derive(Debug)]
pub struct Stop {
    id: TaskId,
    /// Cancelled when the task is to stop.
    pub token: CancellationToken,
    stops: Stops,
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.stops.all().remove(&self.id);
    }
}

/// A task from the inside.
#[derive(Clone)]
pub struct Work {
    /// The task.
    pub id: TaskId,
    /// Cancelled when the work is to stop; it has a moment then.
    pub cancelled: CancellationToken,
    tasks: Tasks,
}

impl Work {
    /// Adds a step to the event log.
    pub async fn step(&self, step: Step) {
        self.tasks.say(self.id, vec![Event::Step(step)]).await;
    }

    /// Adds a warning to the event log.
    pub async fn warning(&self, message: impl Into<String>) {
        self.tasks.say(self.id, vec![Event::Warning(message.into())]).await;
    }

    /// Adds a line to the debug log.
    pub async fn debug(&self, text: &str) {
        if let Err(error) = self.tasks.debug(self.id, text).await {
            warn!(task = self.id.0, error = report::chain(&error), "a debug line could not be written");
        }
    }

    /// Adds bytes to the result log.
    ///
    /// # Errors
    /// When they cannot be written, or the log is full.
    pub async fn append_result(&self, bytes: Vec<u8>) -> Result<(), TaskError> {
        if bytes.is_empty() || self.tasks.store.append_log(self.id, Log::Result, bytes).await.map_err(Refusal::from)? {
            return Ok(());
        }
        Err(TaskError::new(lines::UNKNOWN, "the result is larger than a task's log may be"))
    }

    /// Waits for `what`, but no longer than until the work is to stop.
    ///
    /// # Errors
    /// [`TaskError::Cancelled`].
    pub async fn unless_cancelled<T>(&self, what: impl Future<Output = T>) -> Result<T, TaskError> {
        tokio::select! {
            biased;
            () = self.cancelled.cancelled() => Err(TaskError::Cancelled),
            output = what => Ok(output),
        }
    }
}

impl Tasks {
    /// Makes a task and runs `work` as it, in the background. What it answers becomes the task's line of result.
    ///
    /// # Errors
    /// When too many run, or the state cannot be written; nothing was begun then.
    pub async fn spawn<F, W>(&self, task: NewTask, work: F) -> Result<TaskId, Refusal>
    where
        F: FnOnce(Work) -> W + Send + 'static,
        W: Future<Output = Result<String, TaskError>> + Send + 'static,
    {
        if self.shutdown.is_stopping() || self.stops.all().len() >= RUNNING {
            return Err(Refusal::Busy);
        }
        let (tasks, (told, made)) = (self.clone(), oneshot::channel());
        // Made in there: a caller who goes away in this moment must not leave a task that nobody runs.
        self.shutdown.spawn(async move {
            let created = tasks.create(task).await;
            let id = created.as_ref().ok().copied();
            let stop = id.map(|id| tasks.stoppable(id));
            let _ = told.send(created);
            let (Some(id), Some(stop)) = (id, stop) else { return };
            let ending = match tasks.begin(id).await {
                Ok(()) => tasks.follow(&stop, work).await,
                // It was cancelled before its turn, which nobody else writes down.
                Err(refusal) => Ending::new(id, TaskState::Cancelled, &refusal.to_string()),
            };
            tasks.end_or_keep(ending).await;
        });
        made.await.map_err(|_| Refusal::Busy)?
    }

    /// Lets a task be asked to stop until what this returns is dropped.
    pub fn stoppable(&self, id: TaskId) -> Stop {
        let token = self.shutdown.token().child_token();
        self.stops.all().insert(id, token.clone());
        Stop { id, token, stops: self.stops.clone() }
    }

    /// Asks a task of this process to stop; `false` when there is none of that number.
    pub fn stop(&self, id: TaskId) -> bool {
        self.stops.all().get(&id).map(CancellationToken::cancel).is_some()
    }

    async fn follow<F, W>(&self, stop: &Stop, work: F) -> Ending
    where
        F: FnOnce(Work) -> W,
        W: Future<Output = Result<String, TaskError>> + Send + 'static,
    {
        let work = work(Work { id: stop.id, cancelled: stop.token.clone(), tasks: self.clone() });
        // On a task of its own, so that a panic ends nothing else; this one waits for it and is waited for.
        let mut running = tokio::spawn(work);
        let ended = tokio::select! {
            ended = &mut running => ended,
            () = async { stop.token.cancelled().await; tokio::time::sleep(GRACE).await } => {
                running.abort();
                running.await
            }
        };
        let (state, code, result) = match ended {
            Ok(Ok(result)) => (TaskState::Done, lines::UNKNOWN, result),
            Ok(Err(_)) | Err(_) if self.shutdown.is_stopping() => {
                (TaskState::Errored, lines::UNKNOWN, "the coordinator is stopping".to_owned())
            }
            Ok(Err(error)) if stop.token.is_cancelled() => (TaskState::Cancelled, lines::UNKNOWN, error.to_string()),
            Ok(Err(TaskError::Failed { code, message })) => (TaskState::Errored, code, message),
            Ok(Err(TaskError::Cancelled)) => (TaskState::Cancelled, lines::UNKNOWN, TaskError::Cancelled.to_string()),
            Err(error) if error.is_cancelled() => {
                (TaskState::Cancelled, lines::UNKNOWN, TaskError::Cancelled.to_string())
            }
            Err(error) => {
                warn!(task = stop.id.0, error = report::chain(&error), "a task broke off");
                (TaskState::Errored, lines::UNKNOWN, "an error inside the coordinator; its log says more".to_owned())
            }
        };
        Ending { task: stop.id, state, code, result: report::brief(&result, TEXT), says_result: false }
    }
}
