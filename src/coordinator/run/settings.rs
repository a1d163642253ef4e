//! What may be set of the engine. Values only; the coordinator's configuration makes them.

use std::time::Duration;

use crate::floor::Floor;
use crate::limits;

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
    /// Declared bytes from which an entry may go live before it is whole in the spool. Smaller ones lose nothing when their
    /// agent restarts.
    pub live_from: u64,
    /// Bytes of segments in memory, all downloads together.
    pub memory: usize,
    /// Bytes of unlinked spool, all downloads together.
    pub spool: u64,
    /// Where the spool's unlinked files are made.
    pub spool_dir: std::path::PathBuf,
    /// What stays free on the spool's disk.
    pub floor: Floor,
    /// Declared bytes of one node.
    pub node_bytes: u64,
    /// Entries of one node.
    pub node_entries: u64,
    /// Silence of a node that is connected, heartbeats included, after which it is given up.
    pub silence: Duration,
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
            live_from: limits::LIVE_FROM,
            memory: limits::MERGE_MEMORY,
            spool: limits::MERGE_SPOOL,
            spool_dir: std::env::temp_dir(),
            floor: Floor::default(),
            node_bytes: limits::NODE_BYTES,
            node_entries: limits::NODE_ENTRIES,
            silence: limits::NODE_GONE,
            patience: Duration::from_secs(600),
            reader_idle: limits::DOWNLOAD_IDLE,
        }
    }
}
