//! Tasks: long operations with a state and logs that can be read while they grow.

use crate::id::{ClusterId, TaskId};
use crate::protocol::control::TaskState;

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
