//! One at a time for each name: whoever asks later waits for whoever came before.
//!
//! Deployments of one name take turns, and so do the questions to one node, so that the later decision is also the one that
//! its agent hears last. A name that nobody waits for costs nothing.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

type Table<K> = HashMap<K, Arc<tokio::sync::Mutex<()>>>;

/// Turns by name; cheap to clone.
#[derive(Clone, Debug)]
pub struct Turns<K> {
    table: Arc<Mutex<Table<K>>>,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self { table: Arc::default() }
    }
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub struct Turn<K: Eq + Hash> {
    turns: Turns<K>,
    name: K,
    held: Option<OwnedMutexGuard<()>>,
}

impl<K: Eq + Hash + Clone> Turns<K> {
    fn table(&self) -> MutexGuard<'_, Table<K>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the turn. Cancel safe: who stops waiting gives up its place.
    pub async fn take(&self, name: &K) -> Turn<K> {
        let lock = Arc::clone(self.table().entry(name.clone()).or_default());
        // Made before the wait, so that a wait which is given up is tidied away too.
        let mut turn = Turn { turns: self.clone(), name: name.clone(), held: None };
        turn.held = Some(lock.lock_owned().await);
        turn
    }
}

impl<K: Eq + Hash> Turn<K> {
    /// Whose turn it is.
    pub fn name(&self) -> &K {
        &self.name
    }
}

impl<K: Eq + Hash> Drop for Turn<K> {
    fn drop(&mut self) {
        let mut table = self.turns.table.lock().unwrap_or_else(PoisonError::into_inner);
        self.held = None;
        // Whoever waits or holds has a share of the lock; shares are only taken under the table's own lock.
        if table.get(&self.name).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            table.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_at_a_time_and_nothing_is_left() {
        let turns = Turns::<&str>::default();
        let first = turns.take(&"a").await;
        let other = turns.take(&"b").await;
        let waiting = tokio::spawn({
            let turns = turns.clone();
            async move { drop(turns.take(&"a").await) }
        });
        let given_up = tokio::time::timeout(std::time::Duration::from_millis(5), turns.take(&"a")).await;
        assert!(given_up.is_err());
        assert!(!waiting.is_finished());
        drop(first);
        waiting.await.expect("its turn came");
        drop(other);
        assert!(turns.table().is_empty());
    }
}
