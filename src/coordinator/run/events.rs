//! The lines that a running download writes into its task's event log.
//!
//! Lanes and the download say what happened; the lines go through one bounded channel to the [`TaskLog`], so that they keep
//! their order and a slow log never holds up data: progress that finds no room is left out, beginnings and ends wait.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;

use super::log::{Event, Step, StepState, TaskLog};
use crate::bundle::manifest::NodeRow;
use crate::bundle::outcome::Outcome;
use crate::id::{NodeName, TaskId};
use crate::report;

/// Lines that wait for the log at most.
const WAITING: usize = 256;
const COLLECTING: &str = "Collecting";
/// Nodes that one line names.
const NAMED: usize = 5;

/// Writes one download's lines; cheap to clone.
#[derive(Clone)]
pub(super) struct Events {
    lines: mpsc::Sender<Event>,
    nodes: u64,
}

/// The lines on their way; [`Pump::run`] brings them to the log.
pub(super) struct Pump {
    lines: mpsc::Receiver<Event>,
    log: Arc<dyn TaskLog>,
    task: TaskId,
}

impl Pump {
    /// Brings lines to the log until everyone who writes is gone.
    pub(super) async fn run(mut self) {
        let mut events = Vec::new();
        // Many nodes begin and end at once: what waits together is written together.
        while self.lines.recv_many(&mut events, WAITING).await > 0 {
            self.log.events(self.task, std::mem::take(&mut events)).await;
        }
    }
}

impl Events {
    pub(super) fn new(log: Arc<dyn TaskLog>, task: TaskId, nodes: u64) -> (Self, Pump) {
        let (sender, lines) = mpsc::channel(WAITING);
        (Self { lines: sender, nodes }, Pump { lines, log, task })
    }

    async fn line(&self, event: Event) {
        // The pump lives as long as its writers.
        let _ = self.lines.send(event).await;
    }

    fn node(&self, node: &str, index: u64, state: StepState) -> Step {
        Step {
            stage: COLLECTING,
            tags: vec![node.to_owned()],
            total: self.nodes,
            task: node.to_owned(),
            index,
            state,
            progress: 0,
            data: None,
        }
    }

    /// A node's part begins.
    pub(super) async fn started(&self, node: &NodeName, index: u64) {
        self.line(Event::Step(self.node(node.as_str(), index, StepState::Started))).await;
    }

    /// A node goes on: the bytes so far, and what part they are of those it expects. Nothing is whole before its end.
    pub(super) fn progress(&self, node: &NodeName, index: u64, bytes: u64, expected: Option<u64>) {
        let step = self.node(node.as_str(), index, StepState::InProgress);
        let _ = self.lines.try_send(Event::Step(Step {
            progress: percent(bytes, expected),
            data: Some(json!({"bytes": bytes})),
            ..step
        }));
    }

    /// A node pauses, for so long at most.
    pub(super) fn paused(
        &self,
        node: &NodeName,
        index: u64,
        (bytes, expected): (u64, Option<u64>),
        why: &str,
        most: Duration,
    ) {
        let step = self.node(node.as_str(), index, StepState::InProgress);
        let _ = self.lines.try_send(Event::Step(Step {
            progress: percent(bytes, expected),
            data: Some(json!({"bytes": bytes, "paused": why, "paused_at_most_ms": most.as_millis() as u64})),
            ..step
        }));
    }

    /// A node's part is over.
    pub(super) async fn ended(&self, row: &NodeRow, index: u64, hostile: bool, bytes: u64) {
        if row.attempts == 0 {
            // Its part never began; readers of the log pair beginnings and ends.
            self.line(Event::Step(self.node(&row.name, index, StepState::Started))).await;
        }
        if hostile {
            self.line(Event::Warning(format!("node {} is out: it {}", row.name, row.reason))).await;
        }
        let whole = row.outcome == Outcome::Collected;
        let data = if whole {
            json!({"bytes": bytes, "outcome": row.outcome})
        } else {
            json!({"bytes": bytes, "outcome": row.outcome, "error": row.reason})
        };
        let state = if whole { StepState::Finished } else { StepState::Failed };
        let step = self.node(&row.name, index, state);
        self.line(Event::Step(Step { progress: 100, data: Some(data), ..step })).await;
    }

    /// These nodes have said that they give nothing: known before anybody waits for them.
    pub(super) async fn refusing(&self, nodes: &[NodeName]) {
        let named: Vec<&str> = nodes.iter().take(NAMED).map(NodeName::as_str).collect();
        let more = if nodes.len() > NAMED { format!(" … and {} more", nodes.len() - NAMED) } else { String::new() };
        let (nodes, named) = (report::counted(nodes.len(), "node"), named.join(", "));
        self.line(Event::Warning(format!("collection is switched off on {nodes}: {named}{more}"))).await;
    }

    /// A stage of one step, of the coordinator's own work.
    pub(super) async fn own(&self, stage: &'static str, task: &str, state: StepState) {
        let progress = if state == StepState::Finished { 100 } else { 0 };
        let task = task.to_owned();
        let step = Step { stage, tags: Vec::new(), total: 1, task, index: 1, state, progress, data: None };
        self.line(Event::Step(step)).await;
    }
}

/// The part of what is expected, at most 99; 0 where nothing is known.
fn percent(bytes: u64, expected: Option<u64>) -> u8 {
    let Some(expected) = expected else { return 0 };
    let part = u128::from(bytes) * 100 / u128::from(expected.max(1));
    u8::try_from(part.min(99)).unwrap_or(99)
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn nothing_is_whole_before_its_end() {
        let cases = [(0, Some(10), 0), (5, Some(10), 50), (10, Some(10), 99), (99, Some(0), 99), (9, None, 0)];
        for (bytes, expected, wanted) in cases {
            assert_eq!(percent(bytes, expected), wanted, "{bytes} of {expected:?}");
        }
        assert_eq!(percent(u64::MAX, Some(u64::MAX)), 99);
    }
}
