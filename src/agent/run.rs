//! The agent's daemon: one connection to the coordinator, orders from it, and the line of stages that follows them.
//!
//! The only place that knows all four stages. Orders come down the session and wait in a short queue; one at a time runs on a
//! thread of low priority, and its segments go up. Heartbeats carry vitals meanwhile. Losing the connection loses nothing:
//! the daemon comes back for ever.

mod answers;
mod connection;
mod pipeline;
mod service;
mod work;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::agent::config::AgentConfig;
use crate::agent::deployments::Deployments;
use crate::agent::host::Host;
use crate::agent::send::{Backoff, Dialer, Keys, Link, LinkError, LoginError};
use crate::agent::source::Library;
use crate::agent::source::plan::Known;
use crate::id::TaskId;
use crate::protocol::agents::Order;
use crate::report;
use crate::shutdown::Shutdown;
use crate::state;

pub(in crate::agent) use pipeline::pipeline;
pub use pipeline::{Pipeline, in_background};
pub use service::refused;

/// Orders that may wait.
const QUEUE: usize = 8;

/// Why the daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A key of the configuration that only the daemon needs.
    #[error(
        "the configuration has no `{0}`, which `agent run` needs; `sheaf agent join FILE` with a cluster's access info sets the node up"
    )]
    Missing(&'static str),
    /// There is nothing to log in with.
    #[error(transparent)]
    Secret(LoginError),
    /// The CA file cannot be read.
    #[error("cannot read the CA file {}", .0.display())]
    CaFile(PathBuf, #[source] std::io::Error),
    /// The host's root cannot be opened.
    #[error("cannot open the host's root {}", .0.display())]
    Root(PathBuf, #[source] std::io::Error),
    /// The URL or the CA is of no use.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// What all parts of the daemon share.
struct Shared {
    config: AgentConfig,
    host: Host,
    /// One per process: tells a cut connection from a restart.
    instance: Uuid,
    deployments: Deployments,
    working: Mutex<BTreeMap<TaskId, Working>>,
    /// Told whenever a task ends.
    ended: Notify,
    /// The node's clock minus the coordinator's, and the round trip, milliseconds.
    offset: Mutex<Option<(i64, u64)>>,
    shutdown: Shutdown,
}

/// A task at hand or in the queue.
#[derive(Clone)]
struct Working {
    attempt: u32,
    cancel: CancellationToken,
    /// The collectors that run; none while it waits.
    collectors: Vec<String>,
}

impl AgentError {
    /// Whether only an administrator can mend it: neither time nor another start does.
    pub fn is_setup(&self) -> bool {
        !matches!(self, Self::Root(..))
    }
}

impl Shared {
    fn working(&self) -> std::sync::MutexGuard<'_, BTreeMap<TaskId, Working>> {
        self.working.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn offset(&self) -> Option<(i64, u64)> {
        *self.offset.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn library(&self) -> Library {
        Library::load(&self.config.collectors_dirs)
    }

    /// What the hello and node.json say of this node beside what it says itself.
    fn known(&self, library: &Library) -> Known {
        Known { deployments: self.deployments.list(), ..library.known(&self.config) }
    }

    /// Takes an order over, unless it is at hand already.
    fn accept(&self, order: &Order) -> Option<CancellationToken> {
        let mut working = self.working();
        if let Some(known) = working.get(&order.task) {
            if known.attempt == order.attempt {
                return None;
            }
            known.cancel.cancel();
        }
        let cancel = self.shutdown.token().child_token();
        working.insert(order.task, Working { attempt: order.attempt, cancel: cancel.clone(), collectors: Vec::new() });
        Some(cancel)
    }

    fn done(&self, order: &Order) {
        let mut working = self.working();
        if working.get(&order.task).is_some_and(|known| known.attempt == order.attempt) {
            working.remove(&order.task);
            self.ended.notify_waiters();
        }
    }

    /// An order is followed now, by these collectors.
    fn collects(&self, order: &Order, collectors: Vec<String>) {
        if let Some(known) = self.working().get_mut(&order.task).filter(|known| known.attempt == order.attempt) {
            known.collectors = collectors;
        }
    }

    /// A task that runs one of these collectors now.
    fn collecting(&self, collectors: &[String]) -> Option<(TaskId, String)> {
        let working = self.working();
        working.iter().find_map(|(task, known)| {
            known.collectors.iter().find(|runs| collectors.contains(runs)).map(|runs| (*task, runs.clone()))
        })
    }
}

/// What a node lacks that nobody has joined to a cluster yet. One that is set up wrongly is for [`run`] to refuse.
pub fn not_joined(config: &AgentConfig) -> Option<AgentError> {
    if config.url.is_none() {
        return Some(AgentError::Missing("url"));
    }
    let missing = keys(config).check().err().filter(|error| matches!(error, LoginError::Missing(_)));
    missing.map(AgentError::Secret)
}

fn keys(config: &AgentConfig) -> Keys {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    Keys::new(&config.secret_file, &config.state_dir).with_credentials(credentials.as_deref())
}

/// Runs the daemon until `shutdown` is asked for. It sets no signal handler and no log up.
///
/// # Errors
/// Only when the configuration cannot work; what time may mend is tried for ever.
pub async fn run(config: AgentConfig, shutdown: Shutdown) -> Result<(), AgentError> {
    let url = config.url.clone().ok_or(AgentError::Missing("url"))?;
    let ca_file = config.ca_file.clone().ok_or(AgentError::Missing("ca_file"))?;
    let ca = fs::read(&ca_file).map_err(|error| AgentError::CaFile(ca_file, error))?;
    let dialer = Dialer::new(&url, &ca)?;
    let host = Host::open(&config.host_root).map_err(|error| AgentError::Root(config.host_root.clone(), error))?;
    if let Err(error) = state::folder(&config.state_dir) {
        tracing::warn!(folder = %config.state_dir.display(), error = %report::chain(&error), "the state folder cannot be made");
    }
    let keys = keys(&config);
    keys.check().map_err(AgentError::Secret)?;
    let deployments = Deployments::load(&config.state_dir);
    let shared = Arc::new(Shared {
        config,
        host,
        deployments,
        ended: Notify::new(),
        instance: Uuid::new_v4(),
        working: Mutex::default(),
        offset: Mutex::default(),
        shutdown: shutdown.clone(),
    });
    for refused in shared.library().refused() {
        tracing::warn!(file = %refused.file.display(), reason = %report::escape(&refused.reason), "collector file is not used");
    }
    service::watch(&shutdown);
    let (links, links_out) = watch::channel::<Option<Link>>(None);
    let stale = mpsc::channel(4);
    let (orders, orders_out) = mpsc::channel(QUEUE);
    shutdown.spawn(work::worker(Arc::clone(&shared), orders_out, links_out, stale.0.clone()));
    let connection = connection::Connection::new(shared, dialer, keys, links, stale, orders);
    tracing::info!(coordinator = %report::escape(&url), "agent started");
    stay_connected(connection, &shutdown).await;
    service::stopping();
    Ok(())
}

/// Connects again whenever the connection ends.
async fn stay_connected(mut connection: connection::Connection, shutdown: &Shutdown) {
    let mut backoff = Backoff::default();
    let mut last = String::new();
    loop {
        let ended = tokio::select! {
            ended = connection.live() => ended,
            () = shutdown.stopping() => break,
        };
        if ended.lived {
            backoff.reset();
            last.clear();
        }
        let wait = match &ended.error {
            // Time alone does not mend a secret; the file is read again all the same.
            connection::Lost::Login(error) if !matches!(error, LoginError::Link(_)) => backoff.longest(),
            _ => backoff.wait(),
        };
        let reason = report::chain(&ended.error);
        // The same reason again and again is for whoever looks closely.
        if reason == last {
            tracing::debug!(reason, wait_ms = wait.as_millis() as u64, "still not connected");
        } else {
            tracing::warn!(reason, wait_ms = wait.as_millis() as u64, "not connected to the coordinator; trying again");
        }
        service::status(&format!("not connected: {reason}"));
        last = reason;
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shutdown.stopping() => break,
        }
    }
}
