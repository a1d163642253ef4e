//! What a request lets its nodes give, shared out while they take their turns.
//!
//! Budgets come from the request, the bound of one node from the coordinator's settings; each lane takes its node's share when its turn
//! comes, and gives back what the node did not use, so that quiet nodes leave their part to those whose turn is later. The shares are told to
//! the nodes, which keep them; that no node goes beyond the coordinator's own bound is the verifier's to see to.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::bundle::manifest::Budgets;

/// The shares of one download.
#[derive(Debug)]
pub(super) struct Purse {
    /// Bytes of one node at most.
    node: u64,
    shared: Mutex<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Bytes that nobody has taken; `None` where the whole has no bound.
    left: Option<u64>,
    /// Nodes that have not had their turn.
    waiting: u64,
}

impl Purse {
    /// For `nodes` nodes, each of which may give `node_bytes` whatever is asked for.
    pub(super) fn new(budgets: Budgets, node_bytes: u64, nodes: u64) -> Self {
        let node = budgets.node.map_or(node_bytes, |asked| asked.min(node_bytes));
        Self { node, shared: Mutex::new(Shared { left: budgets.bundle, waiting: nodes }) }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The share of the node whose turn has come.
    pub(super) fn take(&self) -> u64 {
        let mut shared = self.shared();
        let waiting = std::mem::replace(&mut shared.waiting, 0).max(1);
        shared.waiting = waiting - 1;
        let Some(left) = &mut shared.left else { return self.node };
        let share = (*left / waiting).min(self.node);
        *left -= share;
        share
    }

    /// What a node did not use of its share.
    pub(super) fn give_back(&self, bytes: u64) {
        if let Some(left) = &mut self.shared().left {
            *left = left.saturating_add(bytes);
        }
    }

    /// A node's part is over before its turn came.
    pub(super) fn pass(&self) {
        let mut shared = self.shared();
        shared.waiting = shared.waiting.saturating_sub(1);
    }
}

/// What each node may give where all take their turns in this order: each wants so many bytes, and has a limit of its own.
pub fn shares(budgets: Budgets, node_bytes: u64, nodes: &[(u64, u64)]) -> Vec<u64> {
    let purse = Purse::new(budgets, node_bytes, nodes.len() as u64);
    let share = |(wanted, limit): &(u64, u64)| {
        let share = purse.take();
        purse.give_back(share.saturating_sub((*wanted).min(*limit)));
        share.min(*limit)
    };
    nodes.iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_quiet_and_absent_nodes_leave_is_shared_by_those_that_come_later() {
        let purse = Purse::new(Budgets { node: None, bundle: Some(1000) }, 10_000, 5);
        assert_eq!((purse.take(), purse.take()), (200, 200));
        purse.give_back(150);
        assert_eq!(purse.take(), 250, "three wait, and 750 are left");
        purse.pass();
        assert_eq!(purse.take(), 500, "the last has all that is left");
        assert_eq!(purse.take(), 0, "and never more than all of it");
    }

    #[test]
    fn a_node_has_its_own_bound_whatever_is_left() {
        let shares = |node, bundle| Purse::new(Budgets { node, bundle }, 700, 2).take();
        assert_eq!((shares(None, None), shares(Some(900), None), shares(Some(300), None)), (700, 700, 300));
        assert_eq!((shares(Some(300), Some(10_000)), shares(Some(300), Some(400))), (300, 200));
    }
}
