//! The engine: runs downloads, and is the only file that knows all four stages.
//!
//! `coordinator::receive` → `coordinator::verify` → `coordinator::merge` → `coordinator::deliver`.

mod log;
mod online;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::bundle::Format;
use crate::bundle::assemble::SealKey;
use crate::clock::Clock;
use crate::id::{BundleName, NodeName, TaskId};
use crate::limits;
use crate::protocol::agents::Order;
use crate::shutdown::Shutdown;

pub use super::deliver::Body;
pub use log::{Event, Step, StepState, TaskEnd, TaskLog};
pub use online::{Online, Roll, Session};

/// What may be set of the engine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Nodes of one download that send at the same time.
    pub active_nodes: usize,
    /// Time a node that is not connected is waited for.
    pub grace: Duration,
    /// Silence after which a node that should be sending is given up.
    pub stall: Duration,
    /// Raw bytes a second below which an entry does not hold the output's turn.
    pub turn_rate: u64,
    /// Bytes of segments in memory, all downloads together.
    pub memory: usize,
    /// Bytes of unlinked spool, all downloads together.
    pub spool: u64,
    /// Where the spool's unlinked files are made.
    pub spool_dir: std::path::PathBuf,
    /// Declared bytes of one node.
    pub node_bytes: u64,
    /// Entries of one node.
    pub node_entries: u64,
    /// Silence of a node that is connected and between entries after which it is given up: a slow source takes its time.
    pub patience: Duration,
    /// Time the download's reader may stand still.
    pub reader_idle: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            active_nodes: limits::ACTIVE_NODES,
            grace: Duration::from_secs(5),
            stall: limits::STALL,
            turn_rate: limits::TURN_RATE,
            memory: limits::MERGE_MEMORY,
            spool: limits::MERGE_SPOOL,
            spool_dir: std::env::temp_dir(),
            node_bytes: limits::NODE_BYTES,
            node_entries: limits::NODE_ENTRIES,
            patience: Duration::from_secs(600),
            reader_idle: limits::DOWNLOAD_IDLE,
        }
    }
}

/// What the engine is made of.
pub struct Parts {
    /// Settings.
    pub settings: Settings,
    /// The time.
    pub clock: Clock,
    /// The stop.
    pub shutdown: Shutdown,
    /// Where events go.
    pub log: Arc<dyn TaskLog>,
    /// The key that seals bundles.
    pub key: Arc<SealKey>,
}

/// What is wanted of a download. Who may ask, and which nodes match, was settled before.
#[derive(Clone, Debug)]
pub struct BundleSpec {
    /// The task that stands for it, already there.
    pub task: TaskId,
    /// The cluster's name.
    pub cluster: String,
    /// The nodes expected.
    pub nodes: Vec<NodeName>,
    /// Node globs as given, for REQUEST.json.
    pub node_filter: Vec<String>,
    /// Collectors to run; empty for each node's default.
    pub collectors: Vec<String>,
    /// Plain or compressed.
    pub format: Format,
    /// Case id as given.
    pub case: Option<String>,
    /// Note as given.
    pub note: Option<String>,
    /// The principal's name.
    pub requested_by: String,
}

/// A download that has begun.
pub struct Download {
    /// The bundle's name, without an ending.
    pub name: BundleName,
    /// The task.
    pub task: TaskId,
    /// The bundle's bytes.
    pub body: Body,
}

/// Why a download did not begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Too many run already.
    #[error("too many downloads are running; try again when one has ended")]
    Busy,
    /// No node matches.
    #[error("no node to collect from")]
    NoNodes,
    /// The coordinator stops.
    #[error("the coordinator is stopping")]
    Stopping,
    /// The spool or another resource is not to be had.
    #[error("the download cannot begin")]
    Resource(#[source] io::Error),
}

/// Figures for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Nodes connected now.
    pub nodes_connected: u64,
    /// Downloads that run now.
    pub downloads_running: u64,
    /// Downloads begun.
    pub downloads_started: u64,
    /// Segments accepted.
    pub segments: u64,
    /// Segments refused for breaking a rule.
    pub segments_refused: u64,
    /// Compressed bytes accepted.
    pub wire_bytes: u64,
    /// Bytes sent to readers.
    pub sent_bytes: u64,
    /// Nodes skipped, failed or cut.
    pub nodes_lost: u64,
    /// Bytes of segments in memory now.
    pub memory_used: u64,
    /// Bytes of spool in use now.
    pub spool_used: u64,
}

/// Runs downloads; cheap to clone.
#[derive(Clone)]
pub struct Engine {
    roll: Roll,
}

impl Engine {
    /// A new one; nothing runs yet.
    pub fn new(parts: Parts) -> Self {
        Self { roll: Roll::new(parts.clock) }
    }

    /// The table of connected nodes.
    pub fn roll(&self) -> &Roll {
        &self.roll
    }

    /// Sends an order to a node, wherever its session is; `false` when it is not connected.
    pub fn dispatch(&self, node: &NodeName, order: Order) -> bool {
        self.roll.dispatch(node, order)
    }

    /// What is known of a node, if it is connected.
    pub fn online(&self, node: &NodeName) -> Option<Online> {
        self.roll.online(node)
    }

    /// Begins a download. Its task ends with it.
    ///
    /// # Errors
    /// When there is nothing to do, or no room to do it in; the caller ends the task then.
    pub fn start(&self, spec: BundleSpec) -> Result<Download, StartError> {
        let _ = spec;
        Err(StartError::Busy)
    }

    /// Gives a download up; `false` when there is none of that task.
    pub fn cancel(&self, task: TaskId) -> bool {
        let _ = task;
        false
    }

    /// Ends a node's session now, and its part in every download: for a revoked secret or a removed node.
    pub fn disconnect(&self, node: &NodeName) -> bool {
        self.roll.disconnect(node)
    }

    /// Figures for the metrics.
    pub fn figures(&self) -> Figures {
        Figures { nodes_connected: self.roll.count() as u64, ..Figures::default() }
    }
}
