//! What the coordinator asks of a live agent besides bundles, and what the agent answers.
//!
//! A question goes down the agent's session as [`Down::Ask`](super::agents::Down::Ask); its answer is the body of
//! `POST /agent/v1/answers/{id}`, which answers 204 where somebody still waits for it, and 404 otherwise: it came late or twice, or from
//! another node than the one that was asked. An agent that does not know the line ignores it, and the question times out.
//!
//! No question carries a path or a command: a deployment names collectors that the node's own files declare, and values for
//! properties, which the node takes only where they match the patterns of those files.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::agents::Vitals;
use super::history::History;
use crate::window::Window;

/// A question to one node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// Tells it from others; stands in the answer's URL.
    pub id: Uuid,
    /// Who asks, for the node's own journal.
    #[serde(default)]
    pub requested_by: String,
    /// Milliseconds for which an answer is waited for.
    #[serde(default)]
    pub wait_ms: u64,
    /// What is asked.
    pub question: Question,
}

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Question {
    /// How is the node now? Read anew, not what the last heartbeat said.
    Vitals,
    /// How was the node before? From its ring buffer.
    History(Wanted),
    /// Keep this deployment, in place of the one of the same name.
    Apply(Apply),
    /// Keep the deployment no more.
    Forget {
        /// Its name.
        deployment: String,
    },
    /// How much would a collection read? Nothing is collected for it.
    Estimate(EstimateOf),
    /// A kind that this version does not know; refused.
    #[serde(other)]
    Unknown,
}

/// Which part of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// The last milliseconds of it.
    pub since_ms: u64,
    /// Points at most; never more than [`super::history::POINTS`].
    pub points: usize,
}

/// The collection whose size is asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EstimateOf {
    /// Collectors; empty for the node's default.
    #[serde(default)]
    pub collectors: Vec<String>,
    /// The time that logs would be taken from.
    #[serde(default, skip_serializing_if = "Window::is_all")]
    pub window: Window,
}

/// What a collection would read on one node, by what the file system says of its files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimate {
    /// Its collectors.
    #[serde(default)]
    pub collectors: Vec<CollectorSize>,
    /// Bytes that the node gives at most, by its own configuration.
    #[serde(default)]
    pub limit: u64,
    /// Whether there was more to look at than time for it.
    #[serde(default)]
    pub cut_short: bool,
}

/// One collector's part of an estimate. Journals, commands and requests have no size before they are read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectorSize {
    /// Its name.
    pub collector: String,
    /// Files.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Bytes that its exports of the journal may have at most; how many they have shows when they are read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub journal_most: u64,
    /// What else it would take, or why it would take nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A deployment to keep, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Apply {
    /// The node's part of the deployment.
    pub deployment: Deployment,
    /// Applied anew even when nothing changed.
    #[serde(default)]
    pub recreate: bool,
    /// A running collection of the named jobs is not waited for.
    #[serde(default)]
    pub skip_drain: bool,
}

/// A node's part of a deployment: which collectors it runs there, with which properties.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// Its name, a [`crate::id::DeploymentName`].
    pub name: String,
    /// Its jobs on this node.
    #[serde(default)]
    pub jobs: Vec<Job>,
}

impl Deployment {
    /// BLAKE3 of the name and the jobs in their order: the same on both ends for the same content.
    pub fn digest(&self) -> String {
        let text = serde_json::to_vec(self).expect("plain values with text for keys serialise");
        blake3::hash(&text).to_hex().to_string()
    }
}

/// One collector of a deployment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The collector, by name.
    pub collector: String,
    /// The pack that it must belong to, if that matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pack: Option<String>,
    /// Values of its properties: text, integer, boolean, or a list of texts. What is not given has the default of the node's file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, Value>,
}

/// A deployment that a node keeps, as its hello lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The deployment's name.
    pub name: String,
    /// [`Deployment::digest`] of what is kept.
    pub digest: String,
}

/// A pack of collectors that a node has: a release, in the director's words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pack {
    /// Its name; [`BUILT_IN_PACK`] is compiled in.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its collectors, by name.
    #[serde(default)]
    pub jobs: Vec<String>,
}

/// The pack that is compiled into every agent, with the agent's version.
pub const BUILT_IN_PACK: &str = "sheaf-collectors";

/// The pack of collectors whose files name none.
pub const LOCAL_PACK: &str = "local";

/// The body of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// What was asked for.
    Reply(Reply),
    /// Nothing was done.
    Refused {
        /// Why, in one sentence that says what to change.
        reason: String,
    },
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// To [`Question::Vitals`].
    Vitals(Box<Vitals>),
    /// To [`Question::History`].
    History(Box<History>),
    /// To [`Question::Estimate`].
    Estimate(Estimate),
    /// To [`Question::Apply`]: it is kept.
    Applied(Applied),
    /// To [`Question::Forget`]: it is not kept.
    Forgotten {
        /// Whether it was.
        was_kept: bool,
    },
}

/// How a deployment was applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// [`Deployment::digest`] of what is kept now.
    pub digest: String,
    /// Whether anything was written: not, when the same is kept already and nothing was to be made anew.
    pub changed: bool,
}

impl Question {
    /// Whether this is an answer to it.
    pub fn fits(&self, reply: &Reply) -> bool {
        matches!(
            (self, reply),
            (Self::Vitals, Reply::Vitals(_))
                | (Self::History(_), Reply::History(_))
                | (Self::Estimate(_), Reply::Estimate(_))
                | (Self::Apply(_), Reply::Applied(_))
                | (Self::Forget { .. }, Reply::Forgotten { .. })
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_of_a_later_version_is_unknown_and_no_error() {
        let line = r#"{"id":"67e55044-10b1-426f-9247-bb680e5fe0c8","question":{"kind":"sing","song":[1,2]},"more":1}"#;
        let ask: Ask = serde_json::from_str(line).expect("read");
        assert_eq!(ask.question, Question::Unknown);
    }

    #[test]
    fn a_digest_is_of_the_content() {
        let job = |value: Value| Job { properties: [("level".to_owned(), value)].into(), ..Job::default() };
        let of = |value| Deployment { name: "web".to_owned(), jobs: vec![job(value)] }.digest();
        assert_eq!(of("info".into()), of("info".into()));
        assert_ne!(of("info".into()), of("debug".into()));
        assert_ne!(of("7".into()), of(7.into()));
    }
}
