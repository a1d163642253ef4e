//! Where each node of a download stands: it waits for its turn, has a door, or is through.
//!
//! The engine says which nodes come and go, the download opens doors when it is a node's turn, and lanes close them. A node that waits
//! or is through is a name and a word, so that memory follows the nodes in work and not those of the cluster. It decides nothing.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc, watch};
use uuid::Uuid;

use super::door::{Answer, Door, Link, Message};
use crate::coordinator::receive::Share;
use crate::id::NodeName;
use crate::protocol::agents::Finish;

enum Place {
    Waiting,
    /// It waits, and its turn will not come.
    Revoked,
    Open(Arc<Door>),
    /// With the end that it was answered for, if it came to one.
    Through(Option<Box<Finish>>),
}

#[derive(Default)]
struct Table {
    places: HashMap<NodeName, Place>,
    /// Nodes of which there is news while they wait.
    came: HashSet<NodeName>,
}

/// The doors of one download.
pub(super) struct Doors {
    table: Mutex<Table>,
    news: Notify,
    /// The memory that the download may take.
    share: Share,
}

/// An open door, and what its lane holds of it.
pub(super) struct Opened {
    pub(super) door: Arc<Door>,
    pub(super) inbox: mpsc::Receiver<Box<Message>>,
    pub(super) has_turn: watch::Sender<bool>,
}

/// Why a door stays shut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shut {
    /// The node is not connected.
    Away,
    /// It may not come again.
    Revoked,
}

impl Doors {
    /// All `nodes` wait.
    pub(super) fn new<'a>(nodes: impl Iterator<Item = &'a NodeName>, share: Share) -> Self {
        let places = nodes.map(|node| (node.clone(), Place::Waiting)).collect();
        Self { table: Mutex::new(Table { places, came: HashSet::new() }), news: Notify::new(), share }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says how a node is connected now, if it has a part in the download.
    pub(super) fn link(&self, node: &NodeName, link: Link) {
        let mut table = self.table();
        match (table.places.get_mut(node), link) {
            (Some(Place::Open(door)), _) => door.link(link),
            (Some(place @ (Place::Waiting | Place::Revoked)), Link::Revoked) => *place = Place::Revoked,
            (Some(Place::Waiting), Link::Up(_)) => {}
            _ => return,
        }
        if !matches!(table.places.get(node), Some(Place::Open(_))) {
            table.came.insert(node.clone());
            self.news.notify_one();
        }
    }

    /// Opens a waiting node's door, where `instance` says that it is connected. Nothing that the engine says of the node meanwhile is lost.
    pub(super) fn open(&self, node: &NodeName, instance: impl FnOnce() -> Option<Uuid>) -> Result<Opened, Shut> {
        let mut table = self.table();
        let Some(place @ Place::Waiting) = table.places.get_mut(node) else { return Err(Shut::Revoked) };
        let instance = instance().ok_or(Shut::Away)?;
        let has_turn = watch::Sender::new(false);
        let (door, inbox) = Door::new(self.share.of_node(has_turn.subscribe()));
        door.link(Link::Up(instance));
        let door = Arc::new(door);
        *place = Place::Open(Arc::clone(&door));
        Ok(Opened { door, inbox, has_turn })
    }

    /// Whether the node waits and may not come again.
    pub(super) fn is_revoked(&self, node: &NodeName) -> bool {
        matches!(self.table().places.get(node), Some(Place::Revoked))
    }

    /// The nodes of which there was news while they waited, since this was asked last.
    pub(super) fn came(&self) -> HashSet<NodeName> {
        std::mem::take(&mut self.table().came)
    }

    /// Resolves when there is such news. Cancel safe.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// The node's door, if it is open.
    pub(super) fn door(&self, node: &NodeName) -> Option<Arc<Door>> {
        match self.table().places.get(node) {
            Some(Place::Open(door)) => Some(Arc::clone(door)),
            _ => None,
        }
    }

    /// The answer to an end that comes once more from a node that is through.
    pub(super) fn again(&self, node: &NodeName, finish: &Finish) -> Answer {
        match self.table().places.get(node) {
            Some(Place::Through(Some(taken))) if **taken == *finish => Answer::Held(finish.segments),
            _ => Answer::Over,
        }
    }

    /// The node is through, by this end if it came to one. Its door is closed.
    pub(super) fn through(&self, node: &NodeName, finish: Option<Finish>) {
        let place = Place::Through(finish.map(Box::new));
        if let Some(Place::Open(door)) = self.table().places.insert(node.clone(), place) {
            door.close();
        }
    }

    /// Closes all that are open, and answers with those whose node was at work.
    pub(super) fn close(&self) -> Vec<NodeName> {
        let mut at_work = Vec::new();
        for (node, place) in &mut self.table().places {
            if let Place::Open(door) = place {
                at_work.extend(door.at_work().then(|| node.clone()));
                door.close();
            }
            *place = Place::Through(None);
        }
        at_work
    }
}
