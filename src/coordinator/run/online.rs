//! Which nodes are connected: sessions, last vitals, clocks. In memory only; lost with the process on purpose.
//!
//! Sessions come from the agents' listener, orders go down through them. It knows nothing of tasks, and never keeps more
//! of a node than one hello and one heartbeat.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::questions::AskError;
use crate::clock::Clock;
use crate::id::NodeName;
use crate::limits;
use crate::protocol::agents::{Down, Heartbeat, Hello, Order, Vitals};
use crate::protocol::questions::{Kept, Question, Reply};
use crate::report;

/// Orders that wait for a session's reader at most; a reader that leaves more unread is cut off.
const ORDERS: usize = 32;
/// Of these, what questions leave free: they are many, and must never be what a session is cut off for.
const FOR_ORDERS: usize = 16;

/// What is known of a connected node.
#[derive(Clone, Debug)]
pub struct Online {
    /// When the session began, milliseconds since 1970.
    pub since_ms: i64,
    /// When it was last heard of.
    pub last_seen_ms: i64,
    /// What the agent said first.
    pub hello: Arc<Hello>,
    /// Its last vitals.
    pub last_vitals: Option<Arc<Vitals>>,
    /// The node's clock minus ours, milliseconds.
    pub clock_offset_ms: Option<i64>,
    /// Round trip of a heartbeat, milliseconds.
    pub round_trip_ms: Option<u64>,
}

/// One session's end at the listener.
pub struct Session {
    /// Orders, for the agent to read; boxed, since a channel sets aside room for many and is mostly empty.
    pub orders: mpsc::Receiver<Box<Down>>,
    /// Ends when the session must.
    pub end: CancellationToken,
    /// Tells this session from another of the same node.
    pub id: Uuid,
}

/// The session that a question went down.
pub(super) struct Sent {
    /// Which.
    pub(super) id: Uuid,
    /// Of which process of the agent.
    pub(super) instance: Uuid,
    /// Ends with it.
    pub(super) end: CancellationToken,
}

struct Seat {
    id: Uuid,
    heard: Instant,
    online: Online,
    orders: mpsc::Sender<Box<Down>>,
    end: CancellationToken,
}

#[derive(Default)]
struct Table {
    seats: HashMap<NodeName, Seat>,
    /// Nodes that left: when they were last heard of.
    last_seen: HashMap<NodeName, (i64, Instant)>,
}

/// The table of connected nodes; cheap to clone.
#[derive(Clone)]
pub struct Roll {
    table: Arc<Mutex<Table>>,
    clock: Clock,
}

impl Roll {
    /// An empty one.
    pub fn new(clock: Clock) -> Self {
        Self { table: Arc::default(), clock }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seats a new session; an older one of the same node ends.
    pub fn join(&self, node: &NodeName, hello: Hello) -> Session {
        let now = self.clock.now_ms();
        let (sender, orders) = mpsc::channel(ORDERS);
        let (id, end) = (Uuid::new_v4(), CancellationToken::new());
        let online = Online {
            since_ms: now,
            last_seen_ms: now,
            clock_offset_ms: Some(hello.clock_ms - now),
            hello: Arc::new(hello),
            last_vitals: None,
            round_trip_ms: None,
        };
        let seat = Seat { id, heard: Instant::now(), online, orders: sender, end: end.clone() };
        if let Some(older) = self.table().seats.insert(node.clone(), seat) {
            older.end.cancel();
        }
        Session { orders, end, id }
    }

    /// Takes a session away; `false` when a newer one has its seat.
    pub fn leave(&self, node: &NodeName, id: Uuid) -> bool {
        let mut table = self.table();
        if table.seats.get(node).is_none_or(|seat| seat.id != id) {
            return false;
        }
        if let Some(seat) = table.seats.remove(node) {
            seat.end.cancel();
            table.last_seen.insert(node.clone(), (seat.online.last_seen_ms, seat.heard));
        }
        true
    }

    /// Ends a node's session now and forgets the node; `false` when it has none.
    pub fn disconnect(&self, node: &NodeName) -> bool {
        let mut table = self.table();
        table.last_seen.remove(node);
        table.seats.remove(node).inspect(|seat| seat.end.cancel()).is_some()
    }

    /// Takes a heartbeat in; `false` when the node has no session.
    pub fn beat(&self, node: &NodeName, heartbeat: Heartbeat) -> bool {
        let now = self.clock.now_ms();
        let mut table = self.table();
        let Some(seat) = table.seats.get_mut(node) else { return false };
        seat.heard = Instant::now();
        let online = &mut seat.online;
        online.last_seen_ms = now;
        // An agent that measures says it best. Of another, the clock was read half a round trip ago.
        let half = heartbeat.round_trip_ms.map_or(0, |trip| i64::try_from(trip / 2).unwrap_or(0));
        let seen = heartbeat.clock_ms.saturating_add(half).saturating_sub(now);
        online.clock_offset_ms = Some(heartbeat.clock_offset_ms.unwrap_or(seen));
        online.round_trip_ms = heartbeat.round_trip_ms.or(online.round_trip_ms);
        online.last_vitals = Some(Arc::new(bounded(heartbeat.vitals)));
        true
    }

    /// The node, if it is connected and was heard of lately.
    pub fn online(&self, node: &NodeName) -> Option<Online> {
        let now = self.clock.now_ms();
        let gone = i64::try_from(limits::NODE_GONE.as_millis()).unwrap_or(i64::MAX);
        let table = self.table();
        let seat = table.seats.get(node)?;
        (now - seat.online.last_seen_ms < gone).then(|| seat.online.clone())
    }

    /// When the node was last heard of in this process's life, milliseconds since 1970.
    pub fn last_seen(&self, node: &NodeName) -> Option<i64> {
        let table = self.table();
        let left = || table.last_seen.get(node).map(|(ms, _)| *ms);
        table.seats.get(node).map(|seat| seat.online.last_seen_ms).or_else(left)
    }

    /// How long ago the node was last heard of.
    pub fn silence(&self, node: &NodeName) -> Option<Duration> {
        let table = self.table();
        let left = || table.last_seen.get(node).map(|(_, heard)| heard.elapsed());
        table.seats.get(node).map(|seat| seat.heard.elapsed()).or_else(left)
    }

    /// The agent process behind the node's session.
    pub fn instance(&self, node: &NodeName) -> Option<Uuid> {
        self.table().seats.get(node).map(|seat| seat.online.hello.instance)
    }

    /// Whether the node is connected and has said that it refuses every order to collect.
    pub(super) fn refuses(&self, node: &NodeName) -> bool {
        self.table().seats.get(node).is_some_and(|seat| seat.online.hello.refuses)
    }

    /// Sends an order to the node; `false` when it is not connected, or does not read.
    pub fn send(&self, node: &NodeName, order: Down) -> bool {
        let table = self.table();
        let Some(seat) = table.seats.get(node) else { return false };
        let sent = seat.orders.try_send(Box::new(order)).is_ok();
        if !sent {
            // An agent that does not read its orders comes back by a new session, and gets them then.
            seat.end.cancel();
        }
        sent
    }

    /// Sends a question to the node.
    pub(super) fn ask(&self, node: &NodeName, ask: Down) -> Result<Sent, AskError> {
        let table = self.table();
        let seat = table.seats.get(node).ok_or(AskError::NotConnected)?;
        if seat.orders.capacity() <= FOR_ORDERS || seat.orders.try_send(Box::new(ask)).is_err() {
            return Err(AskError::Refused("too many questions to this node wait already".to_owned()));
        }
        Ok(Sent { id: seat.id, instance: seat.online.hello.instance, end: seat.end.clone() })
    }

    /// Keeps the list of the node's deployments true after an answer.
    pub(super) fn learn(&self, node: &NodeName, session: Uuid, question: &Question, reply: &Reply) {
        let (name, digest) = match (question, reply) {
            (Question::Apply(apply), Reply::Applied(applied)) => (&apply.deployment.name, Some(&applied.digest)),
            (Question::Forget { deployment }, Reply::Forgotten { .. }) => (deployment, None),
            _ => return,
        };
        let mut table = self.table();
        // A newer session's hello says it better.
        let Some(seat) = table.seats.get_mut(node).filter(|seat| seat.id == session) else { return };
        let kept = &mut Arc::make_mut(&mut seat.online.hello).deployments;
        kept.retain(|kept| kept.name != *name);
        kept.extend(digest.map(|digest| Kept { name: name.clone(), digest: report::brief(digest, 64) }));
        kept.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    }

    /// Sends an order to collect.
    pub fn dispatch(&self, node: &NodeName, order: Order) -> bool {
        self.send(node, Down::Collect(Box::new(order)))
    }

    /// Connected nodes.
    pub fn count(&self) -> usize {
        self.table().seats.len()
    }
}

/// Vitals come from outside: keep what a screen can show.
pub(super) fn bounded(mut vitals: Vitals) -> Vitals {
    few(&mut vitals.disks, 128);
    few(&mut vitals.processes, 64);
    few(&mut vitals.failed_units, 128);
    few(&mut vitals.units, 256);
    // One with a long name is none of the kernel's.
    vitals.pressure.retain(|name, _| name.len() <= 64);
    while vitals.pressure.len() > 8 {
        vitals.pressure.pop_last();
    }
    vitals.failed_units.iter_mut().for_each(|unit| short(unit, 256));
    for process in &mut vitals.processes {
        short(&mut process.name, 256);
        short(&mut process.state, 64);
    }
    for unit in &mut vitals.units {
        [&mut unit.name, &mut unit.state, &mut unit.sub_state].into_iter().for_each(|text| short(text, 256));
    }
    for disk in &mut vitals.disks {
        short(&mut disk.mount, 1024);
        short(&mut disk.kind, 64);
    }
    vitals
}

/// Gives back the room of what is cut off: a value is kept from one heartbeat to the next.
fn few<T>(list: &mut Vec<T>, most: usize) {
    list.truncate(most);
    list.shrink_to_fit();
}

fn short(text: &mut String, most: usize) {
    text.truncate(text.floor_char_boundary(most));
    text.shrink_to_fit();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::agents::{Disk, Pressure, Process};

    #[test]
    fn vitals_that_are_kept_are_small_whatever_was_sent() {
        let long = "x".repeat(300_000);
        let disk = Disk { mount: long.clone(), kind: long.clone(), ..Disk::default() };
        let process = Process { name: long.clone(), state: long.clone(), ..Process::default() };
        let sent = Vitals {
            disks: vec![disk; 3],
            processes: vec![process; 300],
            failed_units: vec![long.clone(); 300],
            pressure: (0..20)
                .map(|n| (format!("{n}"), Pressure::default()))
                .chain([(long, Pressure::default())])
                .collect(),
            ..Vitals::default()
        };
        let kept = bounded(sent);
        let texts = kept.failed_units.iter().chain(kept.processes.iter().flat_map(|p| [&p.name, &p.state]));
        let texts = texts.chain(kept.disks.iter().flat_map(|d| [&d.mount, &d.kind]));
        assert!(texts.map(String::capacity).sum::<usize>() < 128 << 10);
        assert!(kept.processes.capacity() <= 64 && kept.failed_units.capacity() <= 128);
        assert_eq!(kept.pressure.len(), 8);
        assert!(kept.pressure.keys().all(|name| name.len() <= 2));
    }
}
