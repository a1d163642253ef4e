//! Thousands of nodes in a few lines: what goes well is counted, and what does not is grouped by its reason.
//!
//! Events of a task and findings of the verifier come in, lines for people and objects for programs go out. It prints nothing itself.

use std::collections::BTreeMap;

use serde::Serialize;

use super::progress;
use crate::bundle::verify::{Finding, Matter};
use crate::clock::rfc3339;
use crate::protocol::control::Event;
use crate::report;

/// Nodes of which each has lines of its own; of more than these, numbers are told.
pub const FEW: u64 = 24;
/// Nodes whose names a group's line gives.
const NAMED: usize = 5;
/// Names that all groups together keep.
const NAMES: usize = 20_000;
/// Groups at most: what comes later belongs to the last.
const GROUPS: usize = 32;
/// What stands for all reasons beyond those.
const OTHER: &str = "other reasons";
/// Lines of numbers between the first node and the last, and seconds between two of them at most.
const STEPS: u64 = 20;
const SECONDS: i64 = 30;

/// Nodes that are missing or cut for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Skipped, failed or cut.
    pub matter: Matter,
    /// The reason, without what differs from node to node.
    pub reason: String,
    /// How many nodes.
    pub count: u64,
    /// Their names; of very many, the first.
    pub nodes: Vec<String>,
}

/// Nodes by what is the matter with them.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    groups: Vec<Group>,
    names: usize,
}

impl Groups {
    /// Counts a node.
    pub fn add(&mut self, matter: Matter, reason: &str, node: &str) {
        // `not connected (last seen …)`: when is each node's own.
        let reason = reason.split_once(" (").map_or(reason, |(reason, _)| reason);
        let known = self.groups.iter().position(|group| group.matter == matter && group.reason == reason);
        let at = known.unwrap_or_else(|| {
            let reason = if self.groups.len() + 1 < GROUPS { reason } else { OTHER };
            if self.groups.len() < GROUPS {
                self.groups.push(Group { matter, reason: reason.to_owned(), count: 0, nodes: Vec::new() });
            }
            self.groups.len() - 1
        });
        let group = &mut self.groups[at];
        group.count += 1;
        if self.names < NAMES {
            self.names += 1;
            group.nodes.push(node.to_owned());
        }
    }

    /// Nodes in all.
    pub fn count(&self) -> u64 {
        self.groups.iter().map(|group| group.count).sum()
    }

    /// The largest first.
    pub fn sorted(&self) -> Vec<&Group> {
        let mut groups: Vec<&Group> = self.groups.iter().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        groups
    }
}

impl std::fmt::Display for Group {
    /// `skipped: 312 nodes: not connected: node-3, node-7 … and 310 more`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let named = &self.nodes[..self.nodes.len().min(NAMED)];
        let matter = Finding { matter: self.matter, node: None, path: None, reason: String::new() }.to_string();
        let matter = matter.trim_end();
        write!(f, "{matter} {}: ", report::counted(usize::try_from(self.count).unwrap_or(usize::MAX), "node"))?;
        write!(f, "{}: {}", report::escape(&self.reason), report::escape(&named.join(", ")))?;
        match self.count - named.len() as u64 {
            0 => Ok(()),
            more => write!(f, " … and {more} more"),
        }
    }
}

/// A task's steps of many nodes, as lines for people: of few nodes each has its own, of many the numbers.
#[derive(Debug, Default)]
pub struct Tally {
    total: u64,
    well: u64,
    lost: Groups,
    /// Raw bytes of nodes that are done, and of each that goes on.
    bytes: u64,
    going: BTreeMap<String, u64>,
    said: (u64, i64),
}

impl Tally {
    /// Whether nodes are too many for a line each.
    pub fn is_many(&self) -> bool {
        self.total > FEW
    }

    /// Takes an event in.
    pub fn take(&mut self, event: &Event) {
        if event.stage != "Collecting" {
            return;
        }
        let node = progress::node(event);
        self.total = event.total;
        let bytes = event.data.bytes.unwrap_or(0);
        match event.state.as_str() {
            "finished" | "failed" => {
                self.going.remove(&node);
                self.bytes += bytes;
                if event.state == "finished" {
                    self.well += 1;
                } else {
                    let reason = event.data.error.as_deref().unwrap_or_default();
                    self.lost.add(if bytes > 0 { Matter::Cut } else { Matter::Skipped }, reason, &node);
                }
            }
            _ => {
                self.going.insert(node, bytes);
            }
        }
    }

    /// Raw bytes that came from nodes.
    pub fn bytes(&self) -> u64 {
        self.bytes + self.going.values().sum::<u64>()
    }

    /// `4711 of 10000 nodes, 12 not whole`, or `4711/10000, 12 not whole`.
    pub fn numbers(&self, short: bool) -> String {
        let (lost, total) = (self.lost.count(), self.total);
        let done = self.well + lost;
        let lost = if lost > 0 { format!(", {lost} not whole") } else { String::new() };
        if short { format!("{done}/{total}{lost}") } else { format!("{done} of {total} nodes{lost}") }
    }

    /// What is to be said once `event` was taken: its own line, or the numbers, once in a while.
    pub fn line(&mut self, event: &Event) -> Option<String> {
        if event.stage != "Collecting" || !self.is_many() {
            return progress::line(event).filter(|_| event.state != "in_progress" || event.data.paused.is_some());
        }
        let done = self.well + self.lost.count();
        let (said, at) = self.said;
        let step = (self.total / STEPS).max(1);
        let due = done == self.total || done / step > said / step || (event.time - at >= SECONDS && at > 0);
        if self.said.1 == 0 {
            self.said.1 = event.time;
        }
        due.then(|| {
            self.said = (done, event.time);
            format!("{} Collecting: {}\n", rfc3339(event.time.saturating_mul(1000)), self.numbers(false))
        })
    }

    /// Nodes that are missing or cut, a line for each reason; none where each node had its own line.
    pub fn reasons(&self) -> Vec<String> {
        if self.is_many() { self.lost.sorted().into_iter().map(ToString::to_string).collect() } else { Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::control::EventData;

    fn event(node: u64, total: u64, state: &str, error: Option<&str>) -> Event {
        let data =
            EventData { error: error.map(str::to_owned), bytes: error.is_none().then_some(10), ..EventData::default() };
        let task = format!("n{node}");
        let tags = vec![task.clone()];
        let (time, stage, state) = (1_000 + node as i64 / 1_000, "Collecting".to_owned(), state.to_owned());
        Event { time, stage, tags, total, task, index: node, state, data, ..Event::default() }
    }

    fn told(total: u64) -> (Tally, Vec<String>) {
        let (mut tally, mut lines) = (Tally::default(), Vec::new());
        for node in 0..total {
            let (state, error) = match node % 100 {
                7 => ("failed", Some(format!("not connected (last seen {node})"))),
                8 => ("failed", Some("the node\u{1b}[2J refuses".to_owned())),
                _ => ("finished", None),
            };
            for event in [event(node, total, "started", None), event(node, total, state, error.as_deref())] {
                tally.take(&event);
                lines.extend(tally.line(&event));
            }
        }
        (tally, lines)
    }

    #[test]
    fn ten_thousand_nodes_are_a_screenful() {
        let (tally, lines) = told(10_000);
        assert!((5..=30).contains(&lines.len()), "{lines:#?}");
        assert!(lines.last().expect("a line").ends_with("Collecting: 10000 of 10000 nodes, 200 not whole\n"));
        assert_eq!(
            tally.reasons(),
            [
                "skipped: 100 nodes: not connected: n7, n107, n207, n307, n407 … and 95 more",
                "skipped: 100 nodes: the node\\u{1b}[2J refuses: n8, n108, n208, n308, n408 … and 95 more",
            ]
        );
        assert_eq!(tally.bytes(), 9_800 * 10);
    }

    #[test]
    fn few_nodes_have_a_line_each() {
        let (tally, lines) = told(FEW);
        assert_eq!(lines.len() as u64, FEW * 2);
        assert!(tally.reasons().is_empty());
    }

    #[test]
    fn reasons_without_end_are_one_group() {
        let mut groups = Groups::default();
        for n in 0..1_000 {
            groups.add(Matter::Failed, &format!("reason {n}"), "n");
        }
        assert_eq!((groups.count(), groups.sorted().len()), (1_000, GROUPS));
        assert_eq!(groups.sorted()[0].reason, OTHER);
    }
}
