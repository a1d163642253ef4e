//! Every cap and time limit, named, with its reason.
//!
//! Values only: who uses one says so where it is used. Configuration may tighten or widen some; these are the defaults.

use std::time::Duration;

/// Raw bytes of one zstd frame at most: random access costs one frame, and size against 4 MiB frames is +0.3 %.
pub const FRAME_RAW: usize = 1 << 20;
/// Raw bytes of one segment at most; it is checked whole in memory.
pub const SEGMENT_RAW: usize = 4 << 20;
/// Bytes of a segment's frames on the wire at most: what zstd makes of incompressible [`SEGMENT_RAW`], and headers.
pub const SEGMENT_WIRE: usize = SEGMENT_RAW + (64 << 10);
/// Bytes of a segment's JSON head at most: notes on the 4,096 smallest entries that fit into it.
pub const SEGMENT_HEAD: usize = 2 << 20;
/// Frames of one segment at most: small frames are legal, a flood of them is not.
pub const SEGMENT_FRAMES: usize = 64;
/// Bytes of a path in the bundle at most, below the bundle's folder.
pub const PATH_BYTES: usize = 1024;
/// Bytes of one component of a path, which is what file systems take.
pub const COMPONENT_BYTES: usize = 255;
/// Bytes of a pax record block at most: a path and a time.
pub const PAX_BYTES: usize = 8 << 10;
/// Entries of one node at most, unless configured.
pub const NODE_ENTRIES: u64 = 1_000_000;
/// Declared bytes of one node at most, unless configured.
pub const NODE_BYTES: u64 = 64 << 30;
/// Least bytes of one node that a budget or a limit may say: node.json and REDACTION.json find room in it, whatever else does not.
pub const LEAST_BUDGET: u64 = 64 << 10;
/// Nodes that send at the same time; the rest queue.
pub const ACTIVE_NODES: usize = 16;
/// Bytes of segments the coordinator holds in memory for all tasks together.
pub const MERGE_MEMORY: usize = 64 << 20;
/// Bytes of unlinked spool the coordinator may use for all tasks together.
pub const MERGE_SPOOL: u64 = 16 << 30;

/// Percent of a disk that spools and kept bundles leave free, and bytes of that at most.
pub const DISK_FLOOR: (u64, u64) = (5, 1 << 30);

/// Bundles that wait behind the running one of the same cluster and requester, unless configured.
pub const WAITING_BUNDLES: usize = 4;

/// Body of a JSON request at most.
pub const JSON_BODY: usize = 64 << 10;
/// Body of an agent's hello, heartbeat or report at most.
pub const AGENT_BODY: usize = 1 << 20;
/// Bytes of request headers at most.
pub const HEADERS: usize = 32 << 10;
/// Connections one listener holds at most, unless configured.
pub const CONNECTIONS: usize = 20_000;
/// Time for a TLS handshake.
pub const HANDSHAKE: Duration = Duration::from_secs(10);
/// TLS handshakes of one listener at the same time, each a signature and tens of KiB: a fleet of thousands that comes back is taken in turn.
pub const HANDSHAKES: usize = 256;
/// Time for the request's headers to arrive: slow-loris ends here.
pub const HEADER_WAIT: Duration = Duration::from_secs(15);
/// Time a body may stand still.
pub const BODY_IDLE: Duration = Duration::from_secs(30);
/// Time a download's reader may stand still before the task ends.
pub const DOWNLOAD_IDLE: Duration = Duration::from_secs(120);

/// How often an agent reports its vitals.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// Silence after which a node counts as gone.
pub const NODE_GONE: Duration = Duration::from_secs(45);
/// Silence after which a node that should be sending is a stall.
pub const STALL: Duration = Duration::from_secs(30);
/// Declared bytes from which an entry may go through the coordinator while it comes, without being whole in the spool first.
pub const LIVE_FROM: u64 = 256 << 20;
/// Bytes a second (raw) below which an entry does not hold the output's turn.
pub const TURN_RATE: u64 = 64 << 10;
/// First and longest wait between two attempts to reach the coordinator.
pub const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
/// Time a stop may take before it is forced.
pub const STOP: Duration = Duration::from_secs(20);

/// How long a download token of the vCenter API is good.
pub const DOWNLOAD_TOKEN: Duration = Duration::from_secs(300);
/// How long a Keystone token is good.
pub const USER_TOKEN: Duration = Duration::from_secs(24 * 3600);
/// How long a session is good without being used.
pub const SESSION: Duration = Duration::from_secs(1800);
/// Default, least and most life of an agent's access token, in milliseconds.
pub const AGENT_TTL_MS: (u64, u64, u64) = (1_800_000, 60_000, 15_552_000_000);

/// A command's time and output, unless its collector says otherwise.
pub const COMMAND: (Duration, u64) = (Duration::from_secs(30), 16 << 20);
/// Bytes of the journal at most, unless its collector says otherwise.
pub const JOURNAL_BYTES: u64 = 256 << 20;
/// Bytes of one file at most, unless its collector says otherwise.
pub const FILE_BYTES: u64 = 4 << 30;
