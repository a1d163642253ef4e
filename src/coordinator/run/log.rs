//! What a running download tells its task: steps, warnings, and how it ended.
//!
//! The lines follow the director's event log, which every task of this coordinator has. Whoever keeps tasks implements
//! [`TaskLog`]; nothing here stores or prints anything.

use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::id::TaskId;

/// Keeps the events of tasks. Calls for one task come one after the other, in order, and [`TaskLog::finish`] comes last and once.
pub trait TaskLog: Send + Sync + 'static {
    /// Adds lines to the task's event log.
    fn events(&self, task: TaskId, events: Vec<Event>) -> BoxFuture<'_, ()>;

    /// Adds one.
    fn event(&self, task: TaskId, event: Event) -> BoxFuture<'_, ()> {
        self.events(task, vec![event])
    }

    /// Ends the task; `result` is a line for people, or JSON where that serves.
    fn finish(&self, task: TaskId, end: TaskEnd, result: String) -> BoxFuture<'_, ()>;
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskEnd {
    /// The bundle was sealed and sent whole; it may be partial.
    Done,
    /// The bundle was given up.
    Errored,
    /// Someone asked for the end, or the client went away.
    Cancelled,
}

/// A line of a task's event log.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A step of a stage.
    Step(Step),
    /// Something that people should know, and that ends nothing.
    Warning(String),
}

/// One of a stage's steps: a node, or a part of the coordinator's own work.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// `Preparing`, `Collecting` or `Sealing`.
    pub stage: &'static str,
    /// The node, where it is one.
    pub tags: Vec<String>,
    /// Steps of this stage.
    pub total: u64,
    /// What is done, for people.
    pub task: String,
    /// Counts the steps of the stage, from 1.
    pub index: u64,
    /// How far it is.
    pub state: StepState,
    /// 0 to 100.
    pub progress: u8,
    /// `{"error": …}` of a failed step, `{"bytes": …}` of one in progress.
    pub data: Option<Value>,
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepState {
    /// Begun.
    Started,
    /// Goes on.
    InProgress,
    /// Ended well.
    Finished,
    /// Ended badly; the task goes on.
    Failed,
}

impl StepState {
    /// The word in the event log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::InProgress => "in_progress",
            Self::Finished => "finished",
            Self::Failed => "failed",
        }
    }
}
