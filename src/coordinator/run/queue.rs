//! The nodes of a download whose turn has not come: connected ones in their order, and those that are away, each for its grace.
//!
//! Nodes come in when the download begins and leave when they are given a place, or given up. It waits, and sends nothing: what is given
//! up is the download's to say.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::NodePart;
use super::doors::{Doors, Opened, Shut};
use super::online::Roll;
use crate::clock;
use crate::id::NodeName;

/// Why a node's turn did not come.
pub(super) const REVOKED: &str = "its secret was revoked, or the node removed";

/// A node that waits, by its place in the download.
pub(super) struct Waiting {
    pub(super) part: NodePart,
    pub(super) index: u64,
}

/// The queue of one download.
pub(super) struct Queue {
    roll: Roll,
    doors: Arc<Doors>,
    grace: Duration,
    connected: VecDeque<Waiting>,
    away: HashMap<NodeName, (Instant, Waiting)>,
    /// The same, in the order in which their grace ends; some came back since.
    ends: VecDeque<(Instant, NodeName)>,
    given_up: Vec<(Waiting, String)>,
}

impl Queue {
    /// Of `nodes`, in their order; who is away now is waited for from `began` on.
    pub(super) fn new(roll: Roll, doors: Arc<Doors>, grace: Duration, began: Instant, nodes: Vec<NodePart>) -> Self {
        let (connected, away, ends, given_up) = (VecDeque::new(), HashMap::new(), VecDeque::new(), Vec::new());
        let mut queue = Self { roll, doors, grace, connected, away, ends, given_up };
        for (index, part) in (1..).zip(nodes) {
            let waiting = Waiting { part, index };
            match queue.roll.instance(&waiting.part.node) {
                Some(_) => queue.connected.push_back(waiting),
                None => queue.is_away(waiting, began),
            }
        }
        queue
    }

    fn is_away(&mut self, waiting: Waiting, since: Instant) {
        let end = since + self.grace;
        let node = waiting.part.node.clone();
        self.ends.push_back((end, node.clone()));
        self.away.insert(node, (end, waiting));
    }

    /// Whether all are gone.
    pub(super) fn is_empty(&self) -> bool {
        self.connected.is_empty() && self.away.is_empty() && self.given_up.is_empty()
    }

    /// Whether a place is wanted.
    pub(super) fn wants_place(&self) -> bool {
        !self.connected.is_empty()
    }

    /// The next node that is connected, with its door open. One that left while it queued is waited for anew: no place is held for it.
    pub(super) fn next(&mut self) -> Option<(Waiting, Opened)> {
        while let Some(waiting) = self.connected.pop_front() {
            let node = &waiting.part.node;
            match self.doors.open(node, || self.roll.instance(node)) {
                Ok(opened) => return Some((waiting, opened)),
                Err(Shut::Away) => self.is_away(waiting, Instant::now()),
                Err(Shut::Revoked) => self.given_up.push((waiting, REVOKED.to_owned())),
            }
        }
        None
    }

    /// Waits until a node that is away comes, or need not be waited for any longer; for ever when none is. Cancel safe.
    pub(super) async fn news(&self) {
        if !self.given_up.is_empty() {
            return;
        }
        if self.away.is_empty() {
            return std::future::pending().await;
        }
        let end = self.ends.front().map_or_else(Instant::now, |(end, _)| *end);
        tokio::select! {
            () = self.doors.news() => {}
            () = tokio::time::sleep_until(end) => {}
        }
    }

    /// Queues those that came, and answers with those that are given up, and why.
    pub(super) fn look(&mut self) -> Vec<(Waiting, String)> {
        let mut given_up = std::mem::take(&mut self.given_up);
        for node in self.doors.came() {
            let Some((_, waiting)) = self.away.remove(&node) else { continue };
            match self.doors.is_revoked(&node) {
                true => given_up.push((waiting, REVOKED.to_owned())),
                false => self.connected.push_back(waiting),
            }
        }
        while let Some((end, node)) = self.ends.pop_front_if(|(end, _)| *end <= Instant::now()) {
            // It may have come and left again since.
            if self.away.get(&node).is_some_and(|(its, _)| *its == end)
                && let Some((_, waiting)) = self.away.remove(&node)
            {
                given_up.push((waiting, self.not_connected(&node)));
            }
        }
        given_up
    }

    fn not_connected(&self, node: &NodeName) -> String {
        match self.roll.last_seen(node) {
            Some(ms) => format!("not connected (last seen {})", clock::rfc3339(ms)),
            None => "not connected (not seen since the coordinator started)".to_owned(),
        }
    }
}
