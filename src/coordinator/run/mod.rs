//! The engine: runs downloads, and is the only file that knows all four stages.
//!
//! `coordinator::receive` → `coordinator::verify` → `coordinator::merge` → `coordinator::deliver`.

mod counts;
mod door;
mod doors;
mod download;
mod events;
mod lane;
mod log;
mod online;
mod purse;
mod questions;
mod queue;
mod settings;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::bundle::Format;
use crate::bundle::assemble::{Assembler, SealKey};
use crate::bundle::manifest::{Budgets, FORMAT, Request};
use crate::clock::{self, Clock};
use crate::coordinator::deliver;
use crate::coordinator::merge::{self, MergeError, Quota};
use crate::coordinator::receive::{Memory, Share};
use crate::coordinator::verify::Bench;
use crate::id::{BundleName, NodeName, TaskId};
use crate::protocol::agents::{Down, Finish, Hello};
use crate::shutdown::Shutdown;
use crate::window::Window;

use self::counts::Counts;
use self::door::Link;
use self::doors::Doors;
use self::download::{Quit, Ready, Run};
use self::events::Events;
use self::purse::Purse;

pub use super::deliver::Body;
pub use counts::Figures;
pub use door::{Answer, Door};
pub use log::{Event, Step, StepState, TaskEnd, TaskLog};
pub use online::{Online, Roll, Session};
pub use purse::shares;
pub use questions::AskError;
pub use settings::Settings;

/// Tasks of a hello that are looked at: more than an agent takes on, and fewer than a session's orders hold.
const WORKING: usize = 16;

/// What the engine is made of.
pub struct Parts {
    /// Settings.
    pub settings: Settings,
    /// The time.
    pub clock: Clock,
    /// The stop.
    pub shutdown: Shutdown,
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
    /// The nodes expected, each once.
    pub nodes: Vec<NodePart>,
    /// Node globs as given, for REQUEST.json.
    pub node_filter: Vec<String>,
    /// Collectors to run; empty for each node's default.
    pub collectors: Vec<String>,
    /// What is to be taken out beyond what nodes take out anyway.
    pub redact: Vec<crate::protocol::redaction::AskedRule>,
    /// Bytes at most.
    pub budgets: Budgets,
    /// The time that logs are taken from.
    pub window: Window,
    /// Plain or compressed.
    pub format: Format,
    /// Case id as given.
    pub case: Option<String>,
    /// Note as given.
    pub note: Option<String>,
    /// The principal's name.
    pub requested_by: String,
}

/// What is wanted of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePart {
    /// The node.
    pub node: NodeName,
    /// Collectors to run on it, in place of the download's.
    pub collectors: Option<Vec<String>>,
    /// Globs of what is wanted of a collector; all of it where there are none.
    pub picks: BTreeMap<String, Vec<String>>,
    /// The deployment whose jobs and properties count there.
    pub deployment: Option<String>,
}

impl From<NodeName> for NodePart {
    fn from(node: NodeName) -> Self {
        Self { node, collectors: None, picks: BTreeMap::new(), deployment: None }
    }
}

/// Who watches a download, and may end it.
pub struct Watch {
    /// Where its events and its end go.
    pub log: Arc<dyn TaskLog>,
    /// Cancelled to give it up; a child of the coordinator's own stop.
    pub stop: CancellationToken,
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

/// A download that runs.
struct Running {
    doors: Arc<Doors>,
}

struct Inner {
    settings: RwLock<Arc<Settings>>,
    clock: Clock,
    shutdown: Shutdown,
    key: Arc<SealKey>,
    roll: Roll,
    memory: Memory,
    quota: Quota,
    bench: Bench,
    counts: Arc<Counts>,
    running: Mutex<HashMap<TaskId, Running>>,
    questions: questions::Questions,
}

/// Runs downloads; cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

impl Engine {
    /// A new one; nothing runs yet.
    pub fn new(parts: Parts) -> Self {
        let Parts { settings, clock, shutdown, key } = parts;
        Self(Arc::new(Inner {
            roll: Roll::new(clock.clone()),
            memory: Memory::new(settings.memory),
            quota: Quota::new(settings.spool, settings.floor),
            bench: Bench::default(),
            counts: Arc::default(),
            running: Mutex::default(),
            questions: questions::Questions::default(),
            settings: RwLock::new(Arc::new(settings)),
            clock,
            shutdown,
            key,
        }))
    }

    fn running(&self) -> MutexGuard<'_, HashMap<TaskId, Running>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What holds for downloads that begin now.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.0.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes other settings for what begins from now on. What all downloads share stays as it is: bytes in memory, bytes of spool.
    pub fn set(&self, settings: Settings) {
        *self.0.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    /// The table of connected nodes.
    pub fn roll(&self) -> &Roll {
        &self.0.roll
    }

    /// Bytes that one node may give, whatever is asked for.
    pub fn node_bytes(&self) -> u64 {
        self.settings().node_bytes
    }

    /// The time, as the engine knows it.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// The stop that everything of the engine watches.
    pub fn shutdown(&self) -> &Shutdown {
        &self.0.shutdown
    }

    /// What is known of a node, if it is connected.
    pub fn online(&self, node: &NodeName) -> Option<Online> {
        self.0.roll.online(node)
    }

    /// Begins a download. Its task ends with it. Must be called within the runtime.
    ///
    /// # Errors
    /// When there is nothing to do, or no room to do it in; the caller ends the task then.
    pub fn start(&self, spec: BundleSpec, watch: Watch) -> Result<Download, StartError> {
        if self.0.shutdown.is_stopping() {
            return Err(StartError::Stopping);
        }
        if spec.nodes.is_empty() {
            return Err(StartError::NoNodes);
        }
        let share = self.0.memory.share().ok_or(StartError::Busy)?;
        let task = spec.task;
        let (download, ready) = self.set_up(spec, watch, &share);
        // Sessions that begin from here on are told to it; those that began before it finds itself.
        self.running().insert(task, Running { doors: Arc::clone(&ready.run.doors) });
        self.0.counts.download();
        let engine = self.clone();
        self.0.shutdown.spawn(async move {
            ready.run().await;
            engine.running().remove(&task);
        });
        Ok(download)
    }

    fn set_up(&self, spec: BundleSpec, watch: Watch, share: &Share) -> (Download, Ready) {
        let (inner, settings) = (&self.0, self.settings());
        let now = inner.clock.now_ms();
        let bundle = BundleName::new(&spec.cluster, now);
        let request = request(&spec, &bundle, now);
        let quit = Quit::new(watch.stop.child_token());
        let gone = CancellationToken::new();
        let sent = Arc::clone(&inner.counts.sent);
        let (outlet, body) = deliver::open(settings.reader_idle, gone.clone(), quit.token.clone(), sent);
        let (output, work) = merge::open();
        let writer = {
            let (clock, key, format) = (inner.clock.clone(), Arc::clone(&inner.key), spec.format);
            let settings = Arc::clone(&settings);
            tokio::task::spawn_blocking(move || {
                let begin = || Assembler::new_in(outlet, format, &request, &key, &settings.spool_dir);
                let (outlet, statement) = merge::write(begin, work, &clock)?;
                Ok((outlet.close().map_err(MergeError::Output)?, statement))
            })
        };
        let (events, pump) = Events::new(Arc::clone(&watch.log), spec.task, spec.nodes.len() as u64);
        let run = Arc::new(Run {
            task: spec.task,
            bundle: bundle.clone(),
            format: spec.format,
            collectors: spec.collectors,
            requested_by: spec.requested_by,
            window: spec.window,
            redact: spec.redact,
            case: spec.case,
            settings: Arc::clone(&settings),
            clock: inner.clock.clone(),
            shutdown: inner.shutdown.clone(),
            roll: inner.roll.clone(),
            began: Instant::now(),
            purse: Purse::new(spec.budgets, settings.node_bytes, spec.nodes.len() as u64),
            slots: Arc::new(Semaphore::new(settings.active_nodes.max(1))),
            doors: Arc::new(Doors::new(spec.nodes.iter().map(|part| &part.node), share.clone())),
            output,
            bench: inner.bench.clone(),
            quota: inner.quota.clone(),
            events,
            counts: Arc::clone(&inner.counts),
        });
        let ready = Ready { run, nodes: spec.nodes, writer, gone, quit, log: watch.log, pump };
        (Download { name: bundle, task: spec.task, body }, ready)
    }

    /// Ends a node's session now, and its part in every download: for a revoked secret or a removed node. `false` when it had no
    /// session.
    pub fn disconnect(&self, node: &NodeName) -> bool {
        let had = self.0.roll.disconnect(node);
        self.link(node, Link::Revoked);
        had
    }

    /// Seats a node's new session.
    pub fn join(&self, node: &NodeName, hello: Hello) -> Session {
        let (instance, working) = (hello.instance, hello.working.clone());
        let session = self.0.roll.join(node, hello);
        self.link(node, Link::Up(instance));
        for (task, _) in working.into_iter().take(WORKING) {
            // It ended while the node was away, or with the process that ran it: nobody else tells the node.
            if self.door(task, node).is_none_or(|door| door.is_closed()) {
                self.0.roll.send(node, Down::Cancel { task, reason: "the task is over".to_owned() });
            }
        }
        session
    }

    /// A node's session is over; `false` when a newer one took its place.
    pub fn leave(&self, node: &NodeName, session: Uuid) -> bool {
        let left = self.0.roll.leave(node, session);
        if left {
            self.link(node, Link::Down);
        }
        left
    }

    fn link(&self, node: &NodeName, link: Link) {
        for running in self.running().values() {
            running.doors.link(node, link);
        }
    }

    /// The node's door into a download that runs; `None` when it has no part in it, not yet, or no more.
    pub fn door(&self, task: TaskId, node: &NodeName) -> Option<Arc<Door>> {
        self.running().get(&task).and_then(|running| running.doors.door(node))
    }

    /// The answer to an end that comes from a node without a door: it may have been taken, and the answer lost on its way.
    pub fn finished(&self, task: TaskId, node: &NodeName, finish: &Finish) -> Answer {
        self.running().get(&task).map_or(Answer::Over, |running| running.doors.again(node, finish))
    }

    /// Figures for the metrics.
    pub fn figures(&self) -> Figures {
        Figures {
            nodes_connected: self.0.roll.count() as u64,
            downloads_running: self.running().len() as u64,
            memory_used: self.0.memory.used() as u64,
            spool_used: self.0.quota.used(),
            ..self.0.counts.figures()
        }
    }
}

fn request(spec: &BundleSpec, bundle: &BundleName, now_ms: i64) -> Request {
    Request {
        format: FORMAT.to_owned(),
        bundle: bundle.to_string(),
        generator: concat!("sheaf ", env!("CARGO_PKG_VERSION")).to_owned(),
        requested_at: clock::rfc3339(now_ms),
        requested_by: spec.requested_by.clone(),
        cluster: spec.cluster.clone(),
        task: spec.task.0,
        case: spec.case.clone(),
        note: spec.note.clone(),
        node_filter: spec.node_filter.clone(),
        collectors: spec.collectors.clone(),
        budgets: spec.budgets,
        window: spec.window,
        redaction: "secrets".to_owned(),
        redact: spec.redact.iter().map(|rule| rule.name.clone()).collect(),
        nodes: spec.nodes.iter().map(|part| part.node.to_string()).collect(),
    }
}
