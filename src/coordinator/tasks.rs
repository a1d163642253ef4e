//! Tasks: long operations with a state and logs that can be read while they grow.
//!
//! Verbs make them, the engine tells what happens in them, faces read them. Their logs are append-only: what was read once
//! never changes, and all of it is there before the state turns final. A task does no work itself.

mod lines;
mod work;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::{info, warn};

use super::refusal::Refusal;
use super::store::{Store, StoreError};
use crate::clock::{self, Clock};
use crate::id::{ClusterId, DeploymentName, TaskId};
use crate::protocol::control::TaskState;
use crate::report;
use crate::shutdown::Shutdown;

use self::work::Stops;

pub use work::{Stop, TaskError, Work};

/// Characters of a task's result, or of a foreign reason in its log.
const TEXT: usize = 4096;
/// Characters of a context's id.
const CONTEXT: usize = 256;
/// Ends that wait to be written; of more, the next start takes care.
const LATE: usize = 4096;
/// Bytes that the logs of all tasks have together: a bundle of thousands of nodes has megabytes of them.
const LOGS: u64 = 2 << 30;
/// How often tasks that are too old are looked for.
const SWEEP: Duration = Duration::from_secs(3600);

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
#[derive(Clone, Debug, Default)]
pub struct NewTask {
    /// What kind it is, one word: `bundle`.
    pub kind: String,
    /// What it does, for people.
    pub description: String,
    /// Who asked.
    pub user: String,
    /// The clusters it is about: whoever may see all of them may see it.
    pub clusters: BTreeSet<ClusterId>,
    /// The deployment it is about.
    pub deployment: Option<DeploymentName>,
    /// The client's own name for the group of calls that this one belongs to.
    pub context_id: Option<String>,
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
    /// The clusters it is about: whoever may see all of them may see it.
    pub clusters: BTreeSet<ClusterId>,
    /// The deployment it is about.
    pub deployment: Option<DeploymentName>,
    /// The client's own name for the group of calls that this one belongs to.
    pub context_id: Option<String>,
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
    /// Not of these kinds.
    pub without_kinds: Vec<String>,
    /// Only this cluster's.
    pub cluster: Option<ClusterId>,
    /// Only this deployment's.
    pub deployment: Option<DeploymentName>,
    /// Only those of this group of calls.
    pub context_id: Option<String>,
    /// Only what somebody with this sight may see; the verbs fill it in.
    pub sight: Option<Sight>,
    /// At most so many; `None` for as many as one answer holds.
    pub limit: Option<u32>,
}

/// What somebody whose scope is limited sees of all tasks: those about some of these clusters alone, and its own that are about
/// none. A credential with a narrower scope than its user's does not see the user's others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// The clusters.
    pub clusters: Vec<ClusterId>,
    /// The user's name.
    pub user: String,
}

/// How long tasks that are over are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// So many at most.
    pub count: u32,
    /// For so long at most after their end.
    pub age: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { count: 2000, age: Duration::from_secs(90 * 24 * 3600) }
    }
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
    shutdown: Shutdown,
    retention: Retention,
    late: Arc<Mutex<Vec<Ending>>>,
    stops: Stops,
}

/// How a task ends. Kept for later when it could not be written, since the disk was full.
#[derive(Clone, Debug)]
struct Ending {
    task: TaskId,
    state: TaskState,
    result: String,
    /// The director's number for what went wrong.
    code: u32,
    /// Whether the result log ends with the result.
    says_result: bool,
}

impl Ending {
    fn new(task: TaskId, state: TaskState, result: &str) -> Self {
        Self { task, state, result: report::brief(result, TEXT), code: lines::UNKNOWN, says_result: false }
    }
}

impl Tasks {
    /// The tasks of a store. Those that another process left unfinished end as errored, and those that are too old are forgotten,
    /// now and from time to time until `shutdown`.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn open(
        store: Store,
        clock: Clock,
        retention: Retention,
        shutdown: Shutdown,
    ) -> Result<Self, StoreError> {
        let reason = "the coordinator was restarted";
        let now = clock.now_ms();
        let ended = store.end_unfinished(reason, lines::error(lines::UNKNOWN, reason, now), now).await?;
        if ended > 0 {
            warn!(tasks = ended, "ended tasks that the last run left unfinished");
        }
        let tasks = Self { store, clock, shutdown, retention, late: Arc::default(), stops: Stops::default() };
        tasks.forget_old().await?;
        let sweeping = tasks.clone();
        tasks.shutdown.spawn(async move { sweeping.sweep().await });
        Ok(tasks)
    }

    async fn sweep(&self) {
        loop {
            tokio::select! {
                () = self.shutdown.stopping() => return,
                () = tokio::time::sleep(SWEEP) => {}
            }
            if let Err(error) = self.forget_old().await {
                warn!(error = report::chain(&error), "old tasks could not be forgotten");
            }
        }
    }

    /// Forgets tasks that are over and too old, or too many.
    async fn forget_old(&self) -> Result<(), StoreError> {
        let age = i64::try_from(self.retention.age.as_millis()).unwrap_or(i64::MAX);
        let before = self.clock.now_ms().saturating_sub(age);
        let forgotten =
            self.store.forget_tasks(before, self.retention.count).await? + self.store.forget_logs(LOGS).await?;
        if forgotten > 0 {
            info!(tasks = forgotten, "forgot old tasks");
        }
        Ok(())
    }

    /// Makes a task, queued.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn create(&self, mut task: NewTask) -> Result<TaskId, Refusal> {
        self.catch_up().await;
        task.description = report::brief(&task.description, TEXT);
        let (kind, user) = (task.kind.clone(), task.user.clone());
        task.context_id = task.context_id.map(|id| report::brief(&id, CONTEXT));
        let id = self.store.add_task(task, self.retention.count, self.clock.now_ms()).await?;
        info!(task = id.0, kind, user, "task made");
        Ok(id)
    }

    /// A task begins to run.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] when it was cancelled meanwhile.
    pub async fn begin(&self, id: TaskId) -> Result<(), Refusal> {
        self.to(id, TaskState::Processing).await
    }

    /// Somebody asks a task to stop.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] when it is over, or was asked before.
    pub async fn cancelling(&self, id: TaskId) -> Result<(), Refusal> {
        self.to(id, TaskState::Cancelling).await
    }

    /// Ends a task, with a line on how.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] when it is over already.
    pub async fn end(&self, id: TaskId, state: TaskState, result: &str) -> Result<(), Refusal> {
        self.conclude(Ending::new(id, state, result)).await
    }

    /// The last lines and the end, in one step: whoever sees the final state finds all that was said.
    async fn conclude(&self, ending: Ending) -> Result<(), Refusal> {
        let (now, id, state) = (self.clock.now_ms(), ending.task, ending.state);
        let mut last = Vec::new();
        if state == TaskState::Errored {
            last.push((Log::Event, lines::error(ending.code, &ending.result, now)));
        }
        if ending.says_result {
            last.push((Log::Result, format!("{}\n", ending.result).into_bytes()));
        }
        if !self.store.end_task(id, state, ending.result, last, now).await? {
            return Err(self.illegal(id, state).await?);
        }
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

    async fn end_or_keep(&self, ending: Ending) {
        match self.conclude(ending.clone()).await {
            Err(refusal @ (Refusal::Full | Refusal::Internal)) => {
                warn!(task = ending.task.0, error = report::chain(&refusal), "a task's end is written later");
                let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
                if late.len() < LATE {
                    late.push(ending);
                }
            }
            Err(refusal) => warn!(task = ending.task.0, error = report::chain(&refusal), "a task could not be ended"),
            Ok(()) => {}
        }
    }

    async fn to(&self, id: TaskId, state: TaskState) -> Result<(), Refusal> {
        if self.store.move_task(id, state, self.clock.now_ms()).await? {
            return Ok(());
        }
        Err(self.illegal(id, state).await?)
    }

    /// Why a task cannot come to a state.
    async fn illegal(&self, id: TaskId, state: TaskState) -> Result<Refusal, Refusal> {
        let found = self.store.task(id).await?;
        let is = found.ok_or_else(|| Refusal::not_found("task", &id.to_string()))?.state;
        Ok(Refusal::Conflict(match is.is_final() {
            true => format!("task {id} is over: it is {is}"),
            false => format!("task {id} is {is} and cannot become {state}"),
        }))
    }
}

#[cfg(test)]
mod tests;
