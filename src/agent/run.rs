//! The agent's daemon: one connection to the coordinator, orders from it, and the line of stages that follows them.
//!
//! The only place that knows all four stages. Orders come down the session and wait in a short queue; one at a time runs on a
//! thread of low priority, and its segments go up. Heartbeats carry vitals meanwhile. Losing the connection loses nothing:
//! the daemon comes back for ever.

mod answers;
mod connection;
mod hourly;
mod offset;
mod pipeline;
mod pressure;
mod record;
mod reload;
mod service;
mod setup;
mod told;
mod work;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::hourly::Hourly;
use self::offset::{Offset, Sample};
use self::setup::Setup;
use crate::agent::config::{AgentConfig, ConfigError};
use crate::agent::deployments::Deployments;
use crate::agent::program;
use crate::agent::send::{Backoff, Keys, Link, LinkError, LoginError};
use crate::agent::source::Library;
use crate::agent::source::plan::Known;
use crate::id::TaskId;
use crate::protocol::agents::Order;
use crate::report;
use crate::shutdown::Shutdown;
use crate::state;

pub(in crate::agent) use pipeline::pipeline;
pub use pipeline::{Pipeline, in_background};
pub(in crate::agent) use pressure::Pauses;
pub use pressure::PressureLimits;
pub use reload::Reload;
pub use service::refused;

/// Orders that may wait.
const QUEUE: usize = 8;

/// Why the daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A key of the configuration that only the daemon needs.
    #[error(
        "the configuration has no `{0}`, which the daemon needs; `{called} join FILE` with a cluster's access info sets the node up",
        called = program::called()
    )]
    Missing(&'static str),
    /// There is nothing to log in with.
    #[error(transparent)]
    Secret(LoginError),
    /// The proxy cannot be used.
    #[error(transparent)]
    Config(ConfigError),
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
    /// What is in force; a reload replaces it.
    setup: watch::Sender<Arc<Setup>>,
    /// One per process: tells a cut connection from a restart.
    instance: Uuid,
    deployments: Deployments,
    working: Mutex<BTreeMap<TaskId, Working>>,
    /// Told whenever a task ends.
    ended: Notify,
    hourly: Hourly,
    offset: Mutex<Offset>,
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

    /// What is in force now.
    fn setup(&self) -> Arc<Setup> {
        Arc::clone(&self.setup.borrow())
    }

    /// Puts another one in force.
    fn take(&self, setup: Setup) {
        self.setup.send_replace(Arc::new(setup));
    }

    /// How far this node's clock is from the coordinator's.
    fn offset(&self) -> Option<Sample> {
        self.offset.lock().unwrap_or_else(PoisonError::into_inner).best()
    }

    /// What the hello and node.json say of this node beside what it says itself.
    fn known(&self, library: &Library, config: &AgentConfig) -> Known {
        Known { deployments: self.deployments.list(), ..library.known(config) }
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

    /// The collectors that an order runs.
    fn collectors_of(&self, order: &Order) -> Vec<String> {
        self.working().get(&order.task).map(|known| known.collectors.clone()).unwrap_or_default()
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
    run_reloading(config, None, shutdown).await
}

/// The same, and takes a new configuration whenever that is asked for.
///
/// # Errors
/// Only when the first configuration cannot work.
pub async fn run_reloading(config: AgentConfig, reload: Option<Reload>, shutdown: Shutdown) -> Result<(), AgentError> {
    let setup = Setup::new(config)?;
    let state_dir = setup.config.state_dir.clone();
    if let Err(error) = state::folder(&state_dir) {
        tracing::warn!(folder = %state_dir.display(), error = %report::chain(&error), "the state folder cannot be made");
    }
    reload::say_refused_collectors(&setup);
    let shared = Arc::new(Shared {
        setup: watch::Sender::new(Arc::new(setup)),
        deployments: Deployments::load(&state_dir),
        ended: Notify::new(),
        instance: Uuid::new_v4(),
        working: Mutex::default(),
        hourly: Hourly::load(&state_dir),
        offset: Mutex::default(),
        shutdown: shutdown.clone(),
    });
    service::watch(&shutdown);
    shutdown.spawn(record::record(Arc::clone(&shared)));
    let (links, links_out) = watch::channel::<Option<Link>>(None);
    let stale = mpsc::channel(4);
    let (orders, orders_out) = mpsc::channel(QUEUE);
    shutdown.spawn(work::worker(Arc::clone(&shared), orders_out, links_out, stale.0.clone()));
    if let Some(reload) = reload {
        shutdown.spawn(reload::follow(Arc::clone(&shared), reload));
    }
    let begun = shared.setup();
    let coordinator = report::escape(begun.config.url.as_deref().unwrap_or_default());
    tracing::info!(%coordinator, collects = begun.config.collect, "agent started");
    let mut changes = shared.setup.subscribe();
    let connection = connection::Connection::new(shared, links, stale, orders);
    stay_connected(connection, &mut changes, &shutdown).await;
    service::stopping();
    Ok(())
}

/// Connects again whenever the connection ends.
async fn stay_connected(
    mut connection: connection::Connection,
    changes: &mut watch::Receiver<Arc<Setup>>,
    shutdown: &Shutdown,
) {
    let mut backoff = Backoff::default();
    let mut last = String::new();
    loop {
        changes.mark_unchanged();
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
            connection::Lost::Elsewhere => {
                tracing::info!("the way to the coordinator has changed; connecting anew");
                continue;
            }
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
            // Somebody may have mended it.
            Ok(()) = changes.changed() => backoff.reset(),
            () = shutdown.stopping() => break,
        }
    }
}
