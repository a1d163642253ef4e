//! Turns: of bundles of the same cluster for the same requester one runs, a few wait behind it, the rest is refused.
//!
//! Whoever wants to run asks for a [`Place`], waits for its [`Turn`], and frees both by dropping them. In memory only: what waited
//! when the coordinator stopped is over.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::id::TaskId;

/// Whose turn is meant: a cluster, or what else a bundle is of, and the requester.
pub(super) type Key = (String, String);

/// One running and those behind it.
struct Lane {
    gate: Arc<Semaphore>,
    /// Who is in it, in the order of arrival.
    members: BTreeMap<u64, TaskId>,
}

#[derive(Default)]
struct Lanes {
    lanes: HashMap<Key, Lane>,
    tickets: u64,
}

/// All turns; cheap to clone.
#[derive(Clone)]
pub(super) struct Turns {
    lanes: Arc<Mutex<Lanes>>,
    waiting: usize,
}

/// A place in a lane, running or waiting; dropped, it is free.
pub(super) struct Place {
    turns: Turns,
    key: Key,
    ticket: u64,
    gate: Arc<Semaphore>,
}

/// The turn; dropped, it is the next one's.
pub(super) struct Turn {
    // Freed in this order: who comes next finds the place gone.
    _place: Place,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Turns {
    /// With `waiting` places behind each that runs.
    pub(super) fn new(waiting: usize) -> Self {
        Self { lanes: Arc::default(), waiting }
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place; without one left, answers which task runs.
    pub(super) fn enter(&self, key: Key) -> Result<Place, TaskId> {
        let mut all = self.lanes();
        all.tickets += 1;
        let ticket = all.tickets;
        let new = || Lane { gate: Arc::new(Semaphore::new(1)), members: BTreeMap::new() };
        let lane = all.lanes.entry(key.clone()).or_insert_with(new);
        if lane.members.len() > self.waiting {
            return Err(lane.members.values().next().copied().unwrap_or(TaskId(0)));
        }
        lane.members.insert(ticket, TaskId(0));
        let gate = Arc::clone(&lane.gate);
        drop(all);
        Ok(Place { turns: self.clone(), key, ticket, gate })
    }
}

impl Place {
    /// Says which task has this place; answers those before it, the one that runs first.
    pub(super) fn name(&self, task: TaskId) -> Vec<TaskId> {
        let mut all = self.turns.lanes();
        let Some(lane) = all.lanes.get_mut(&self.key) else { return Vec::new() };
        lane.members.insert(self.ticket, task);
        lane.members.range(..self.ticket).map(|(_, task)| *task).collect()
    }

    /// Waits for the turn. Dropped before, the place is given up.
    pub(super) async fn turn(self) -> Turn {
        // The gate is never closed.
        let permit = Arc::clone(&self.gate).acquire_owned().await.ok();
        Turn { _place: self, _permit: permit }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.turns.lanes();
        if let Some(lane) = all.lanes.get_mut(&self.key) {
            lane.members.remove(&self.ticket);
            if lane.members.is_empty() {
                all.lanes.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn key(user: &str) -> Key {
        ("default".to_owned(), user.to_owned())
    }

    #[tokio::test]
    async fn one_runs_a_few_wait_and_the_rest_is_refused() {
        let turns = Turns::new(1);
        let first = turns.enter(key("a")).expect("free");
        assert_eq!(first.name(TaskId(1)), []);
        let first = first.turn().await;
        let second = turns.enter(key("a")).expect("a place to wait");
        assert_eq!(second.name(TaskId(2)), [TaskId(1)]);
        assert_eq!(turns.enter(key("a")).map(|_| ()).expect_err("full"), TaskId(1));
        assert!(turns.enter(key("b")).is_ok(), "another requester has a lane of its own");
        let mut second = Box::pin(second.turn());
        assert!((&mut second).now_or_never().is_none(), "the first still runs");
        drop(first);
        let second = second.await;
        assert_eq!(turns.enter(key("a")).expect("a place again").name(TaskId(3)), [TaskId(2)]);
        drop(second);
        assert!(turns.lanes().lanes.is_empty(), "nothing is kept of lanes that nobody is in");
    }

    #[tokio::test]
    async fn who_leaves_while_waiting_frees_the_place() {
        let turns = Turns::new(1);
        let running = turns.enter(key("a")).expect("free").turn().await;
        let mut leaver = Box::pin(turns.enter(key("a")).expect("a place").turn());
        assert!((&mut leaver).now_or_never().is_none());
        drop(leaver);
        let mut next = Box::pin(turns.enter(key("a")).expect("the place is free again").turn());
        assert!((&mut next).now_or_never().is_none());
        drop(running);
        next.await;
    }
}
