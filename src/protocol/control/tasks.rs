//! Long-running operations: their state and the events that they tell.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{DeploymentName, TaskId};

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// Waits for its turn.
    Queued,
    /// Runs.
    Processing,
    /// Was asked to stop.
    Cancelling,
    /// Stopped when asked.
    Cancelled,
    /// Came to its end.
    Done,
    /// Did not.
    Errored,
}

impl TaskState {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Processing => "processing",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
            Self::Done => "done",
            Self::Errored => "errored",
        }
    }

    /// Whether nothing more will happen.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Cancelled | Self::Done | Self::Errored)
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its number.
    pub id: TaskId,
    /// A short name for lists: its number as text.
    pub name: String,
    /// What kind it is, one word: `bundle`.
    #[serde(default)]
    pub kind: String,
    /// Where it stands.
    pub state: TaskState,
    /// What it does.
    pub description: String,
    /// Who asked.
    pub user: String,
    /// The deployment it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentName>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
}

/// A line of a task's event log, in the director's shape: within a stage each task goes from started to finished or failed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Seconds since 1970.
    pub time: i64,
    /// The stage.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stage: String,
    /// Tags of the stage.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Tasks in the stage.
    #[serde(default)]
    pub total: u64,
    /// The task within the stage: in a bundle's `Collecting` stage, the node's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub task: String,
    /// Its number, from 1.
    #[serde(default)]
    pub index: u64,
    /// `started`, `in_progress`, `finished`, `failed`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// Percent.
    #[serde(default)]
    pub progress: u64,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "EventData::is_empty")]
    pub data: EventData,
    /// `warning` for a line that belongs to no stage.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What it warns of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What ended the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<EventError>,
}

/// What ended a task, as its event log says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventError {
    /// The director's number for it.
    pub code: i64,
    /// A sentence.
    pub message: String,
}

/// What an event says besides: of a node in a bundle, its state and what came so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventData {
    /// A word or two for people: `waiting`, `sending`, `collected`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Raw bytes so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Entries so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// Why a node has too much to do to go on now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
}

impl EventData {
    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
