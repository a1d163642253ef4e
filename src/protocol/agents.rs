//! The agents' conversation, over one outbound TLS connection (HTTP/2) to the agents' listener.
//!
//! 1. `POST /api/v2/agent/secrets/exchange`: agent secret → access token (the same call as on the public listener).
//! 2. `POST /agent/v1/session`, body [`Hello`]: answers 200 with lines of JSON, each a [`Down`], for as long as it lasts;
//!    the first is [`Down::Welcome`]. A newer session of the same node ends the older one. Either side gives up one whose other side is
//!    silent for too long: an agent hears the coordinator by its lines and its answers to heartbeats.
//! 3. `POST /agent/v1/heartbeat`, body [`Heartbeat`], every 15 s: answers [`HeartbeatReply`].
//! 4. `PUT /agent/v1/tasks/{task}/attempts/{attempt}/segments/{number}`, body a [`crate::bundle::segment::Segment`]: answers
//!    [`Ack`] once it is held. The same number again answers the same. 409 with an [`Ack`] when another number is next;
//!    410 when the task is over; 422 with a `Problem` when the segment breaks a rule, and the node is out of that task.
//! 5. `GET /agent/v1/tasks/{task}/held`: lines of JSON, each a [`Held`], so that a restarted agent does not send again what
//!    is held whole.
//! 6. `POST /agent/v1/tasks/{task}/finish`, body [`Finish`]: after the last segment is acknowledged, or to refuse.
//! 7. `POST /agent/v1/tasks/{task}/pause`, body [`Paused`]: the node collects nothing for a while, and lives; 204. Its next segment ends the pause.
//! 8. `POST /agent/v1/answers/{id}`: the answer to a [`Down::Ask`]; see [`super::questions`].
//!
//! After a restart (another [`Hello::instance`]) the order comes with the next attempt, and its segments count from 0. Where the
//! last attempt ended inside a large entry, [`Order::open`] says which: an agent whose source still begins with what is held
//! of it sends the rest, and marks the first segment with `continues`. A first segment without the mark, or the end, gives
//! that entry up: it is forgotten, or, where some of it is in the bundle already, completed with zeros under its name.
//!
//! All but the first carry `Authorization: Bearer <access token>`; the node is the token's, never one named in a body.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::questions::{Ask, Kept, Pack};
use super::redaction::AskedRule;
use crate::bundle::manifest::RedactedRow;
use crate::bundle::outcome::Outcome;
use crate::bundle::path::EntryPath;
use crate::bundle::segment::OpenEntry;
use crate::id::TaskId;
use crate::window::Window;

/// What the paths of this conversation begin with; the exchange is shared with the public listener.
pub const OWN: &str = "/agent/";

/// What an agent says first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// Versions of this conversation that it speaks.
    pub versions: Vec<u16>,
    /// One random id per agent process: tells a cut connection from a restart.
    pub instance: Uuid,
    /// The agent's own version.
    pub agent_version: String,
    /// `/etc/machine-id`.
    #[serde(default)]
    pub machine_id: String,
    /// The boot's id.
    #[serde(default)]
    pub boot_id: String,
    /// Host name as the node knows it.
    #[serde(default)]
    pub hostname: String,
    /// Operating system, pretty name.
    #[serde(default)]
    pub os: String,
    /// Operating system id and version (`debian`, `12`).
    #[serde(default)]
    pub os_id: String,
    /// Operating system's version.
    #[serde(default)]
    pub os_version: String,
    /// Kernel release.
    #[serde(default)]
    pub kernel: String,
    /// The node's own addresses, without those that mean something only on the node itself.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// Labels from the agent's configuration.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Collectors that the node declares, and whether each is on by default.
    #[serde(default)]
    pub collectors: BTreeMap<String, bool>,
    /// Packs that the collectors belong to.
    #[serde(default)]
    pub packs: Vec<Pack>,
    /// Deployments that the node keeps.
    #[serde(default)]
    pub deployments: Vec<Kept>,
    /// Whether it takes out what a request asks for in [`Order::redact`]: an agent from before that would give it away.
    #[serde(default)]
    pub redacts_asked: bool,
    /// Whether its configuration refuses every order to collect (`collect = "off"`). A reload says it anew.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refuses: bool,
    /// The node's clock, milliseconds since 1970.
    pub clock_ms: i64,
    /// Tasks this process is still working on, with the attempt.
    #[serde(default)]
    pub working: Vec<(TaskId, u32)>,
}

/// A line that comes down the session.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Down {
    /// First: what was agreed.
    Welcome {
        /// The version spoken.
        version: u16,
        /// The node's name, as its secret gives it.
        node: String,
        /// The cluster's name.
        cluster: String,
        /// The coordinator's clock, milliseconds since 1970.
        clock_ms: i64,
    },
    /// Collect, or go on collecting.
    Collect(Box<Order>),
    /// Stop working on a task.
    Cancel {
        /// Which.
        task: TaskId,
        /// Why, for the node's own journal.
        reason: String,
    },
    /// Answer a question.
    Ask(Ask),
    /// Nothing to do; proves that the session lives. Now and then.
    Ping,
    /// A kind that this version does not know; ignored.
    #[serde(other)]
    Unknown,
}

/// An order to collect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The task.
    pub task: TaskId,
    /// Attempt to use in segments; greater than 1 after a restart of the agent.
    pub attempt: u32,
    /// Number of the segment that is next in this attempt: greater than 0 after a cut connection.
    pub next: u64,
    /// The bundle's name, the first component of every path.
    pub bundle: String,
    /// The node's name, for paths `<bundle>/nodes/<node>/…`.
    pub node: String,
    /// Collectors to run; empty for the node's default, or for all jobs of the deployment.
    #[serde(default)]
    pub collectors: Vec<String>,
    /// Globs of what is wanted of a collector, by its name: ends of paths, such as `access.log` or `nginx/*.log`. All of it where
    /// there are none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub picks: BTreeMap<String, Vec<String>>,
    /// The deployment whose jobs run, with its properties; it must be kept on the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<String>,
    /// The time that logs are taken from, by the coordinator's clock.
    #[serde(default, skip_serializing_if = "Window::is_all")]
    pub window: Window,
    /// What is to be taken out beyond what the node takes out anyway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redact: Vec<AskedRule>,
    /// Who asked.
    pub requested_by: String,
    /// Case id, for the node's own journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<String>,
    /// What the node may give; it cuts and leaves out what is beyond. None for what its own configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<NodeBudget>,
    /// The entry that the last attempt left open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<OpenEntry>,
}

/// What one node may give in one task, counted as tar: content, headers and padding. Where its own configuration allows less, that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeBudget {
    /// Bytes of all its entries, in all attempts together.
    pub bytes: u64,
    /// Entries, folders included, in all attempts together.
    pub entries: u64,
    /// Bytes of those that earlier attempts have used.
    #[serde(default)]
    pub spent_bytes: u64,
    /// Entries of those that earlier attempts have used.
    #[serde(default)]
    pub spent_entries: u64,
}

/// What need not be sent again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Held {
    /// An entry, by its path below `nodes/<node>/`.
    Entry(EntryPath),
    /// What was said of a source without an entry, or of one of which something was taken out.
    Noted {
        /// [`crate::bundle::segment::Note::key`].
        noted: String,
        /// Of an entry that is held: what redaction did to it, for the account that the node gives at its end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        redacted: Option<Box<RedactedRow>>,
    },
}

/// Sent every 15 s.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The node's clock when sent, milliseconds since 1970.
    pub clock_ms: i64,
    /// Round trip as the node has measured it, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip_ms: Option<u64>,
    /// Its clock minus the coordinator's as it has measured it, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_offset_ms: Option<i64>,
    /// The node's vitals.
    pub vitals: Vitals,
}

/// Answer to a heartbeat.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HeartbeatReply {
    /// The coordinator's clock when it answered, milliseconds since 1970.
    pub clock_ms: i64,
    /// Its clock when the heartbeat had come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_ms: Option<i64>,
}

/// A node's vitals at one time. Percentages are 0 to 100.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Vitals {
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// Seconds since boot.
    pub uptime_secs: u64,
    /// User, system and waiting share of all processors since the last reading.
    pub cpu: Cpu,
    /// 1, 5 and 15 minutes.
    pub load: [f64; 3],
    /// Memory, without caches.
    pub memory: Share,
    /// Swap.
    pub swap: Share,
    /// Mounted local disks.
    #[serde(default)]
    pub disks: Vec<Disk>,
    /// Pressure stall information, where the kernel has it: `cpu`, `io`, `memory`.
    #[serde(default)]
    pub pressure: BTreeMap<String, Pressure>,
    /// The busiest processes, where somebody asked for vitals; none at a heartbeat.
    #[serde(default)]
    pub processes: Vec<Process>,
    /// systemd units that failed, if systemd answers.
    #[serde(default)]
    pub failed_units: Vec<String>,
    /// systemd's services that run, change or failed; only read for a question, and only where systemd answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<Unit>,
}

/// Shares of the processors, percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cpu {
    /// User and nice.
    pub user: f64,
    /// System and interrupts.
    pub sys: f64,
    /// Waiting for disks.
    pub wait: f64,
}

/// Used out of a total, in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// KiB used.
    pub used_kb: u64,
    /// KiB in all.
    pub total_kb: u64,
    /// Used, percent.
    pub percent: f64,
}

/// A mounted disk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Disk {
    /// Where it is mounted.
    pub mount: String,
    /// File system.
    pub kind: String,
    /// Space.
    pub space: Share,
    /// Inodes used, percent.
    pub inode_percent: f64,
}

/// Pressure stall information of one resource: `avg10` and `avg60`, percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pressure {
    /// Some task waited, last 10 s.
    pub some10: f64,
    /// Some task waited, last 60 s.
    pub some60: f64,
    /// All tasks waited, last 10 s.
    pub full10: f64,
}

/// One process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Name.
    pub name: String,
    /// Run state, one word.
    pub state: String,
    /// Seconds since it started.
    pub uptime_secs: u64,
    /// Resident KiB.
    pub mem_kb: u64,
    /// Of the node's memory, percent.
    pub mem_percent: f64,
    /// Of one processor, percent.
    pub cpu_percent: f64,
}

/// One service of systemd.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Unit {
    /// Name, `ssh.service`.
    pub name: String,
    /// systemd's `ActiveState`: `active`, `failed`, `activating` …
    pub state: String,
    /// systemd's `SubState`: `running`, `exited`, `auto-restart` …
    pub sub_state: String,
    /// Seconds since it was started; 0 for one that does not run.
    pub uptime_secs: u64,
    /// KiB of its control group, as far as the kernel counts them.
    pub mem_kb: u64,
    /// Of the node's memory, percent.
    pub mem_percent: f64,
    /// Of one processor, percent.
    pub cpu_percent: f64,
    /// Jobs of deployments whose unit it is: `<deployment>/<collector>`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<String>,
}

/// Answer to a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The number that is next.
    pub next: u64,
}

/// The end of a node's part in a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finish {
    /// Attempt it belongs to.
    pub attempt: u32,
    /// Segments sent in this attempt.
    pub segments: u64,
    /// Collected; or skipped, when the node refuses; or failed.
    pub outcome: Outcome,
    /// Why, when not collected.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Milliseconds that it paused under pressure.
    #[serde(default)]
    pub paused_ms: u64,
}

/// A node that has too much to do pauses between two entries; it is no stall.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// Attempt it belongs to.
    pub attempt: u32,
    /// Why.
    pub reason: String,
    /// Milliseconds after which it goes on at the latest.
    pub most_ms: u64,
}
