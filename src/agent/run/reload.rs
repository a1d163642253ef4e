//! Reloading: a new configuration takes the place of the old one while everything goes on.
//!
//! Asked for by SIGHUP, which `systemctl reload` sends. The new configuration and all files that it names are read and checked first;
//! one that cannot be used changes nothing, and the log says why. What runs keeps what it began with. Collectors and their rules are
//! read for each order anyway; the coordinator is told of them anew.

use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::setup::Setup;
use super::{Shared, service};
use crate::agent::config::AgentConfig;
use crate::report;
use crate::shutdown::Shutdown;

/// Reads the configuration again, or says why it cannot be used.
type Load = dyn Fn() -> Result<AgentConfig, String> + Send + Sync;
/// What else follows a configuration that was taken.
type Taken = dyn Fn(&AgentConfig) + Send + Sync;

/// When a new configuration is to be taken, and where it comes from.
pub struct Reload {
    asked: mpsc::Receiver<()>,
    load: Arc<Load>,
    taken: Box<Taken>,
}

impl Reload {
    /// At each message of `asked`, from `load`.
    pub fn when(
        asked: mpsc::Receiver<()>,
        load: impl Fn() -> Result<AgentConfig, String> + Send + Sync + 'static,
    ) -> Self {
        Self { asked, load: Arc::new(load), taken: Box::new(|_| ()) }
    }

    /// Has something outside of the agent follow each configuration that is taken.
    #[must_use]
    pub fn then(self, taken: impl Fn(&AgentConfig) + Send + Sync + 'static) -> Self {
        Self { taken: Box::new(taken), ..self }
    }

    /// At each SIGHUP.
    ///
    /// # Errors
    /// When the signal cannot be watched.
    pub fn on_hangup(
        shutdown: &Shutdown,
        load: impl Fn() -> Result<AgentConfig, String> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Ok(Self::when(shutdown.on_hangup()?, load))
    }
}

/// Reloads whenever it is asked for, until the daemon stops.
pub(super) async fn follow(shared: Arc<Shared>, mut reload: Reload) {
    loop {
        tokio::select! {
            asked = reload.asked.recv() => if asked.is_none() { return },
            () = shared.shutdown.stopping() => return,
        }
        service::reloading();
        let (load, earlier) = (Arc::clone(&reload.load), shared.setup());
        // The files may lie on a disk that does not answer.
        let read = tokio::task::spawn_blocking(move || read(&*load, &earlier)).await;
        match read.unwrap_or_else(|_| Err("reading it broke off".to_owned())) {
            Ok((setup, needs_restart)) => {
                say_refused_collectors(&setup);
                // What a node no longer does is nowhere else to be seen before an order is refused.
                let collects = setup.config.collect;
                (reload.taken)(&setup.config);
                shared.take(setup);
                tracing::info!(needs_restart, collects, "configuration reloaded");
                service::reloaded(None);
            }
            Err(reason) => {
                tracing::error!(reason, "the new configuration is refused; the one before stays in force");
                service::reloaded(Some(&reason));
            }
        }
    }
}

/// The new setup, and what of it does not count before a restart.
fn read(load: &Load, earlier: &Setup) -> Result<(Setup, String), String> {
    let mut config = load()?;
    let mut needs_restart = String::new();
    if config.state_dir != earlier.config.state_dir {
        needs_restart.push_str("state_dir");
        config.state_dir.clone_from(&earlier.config.state_dir);
    }
    let setup = Setup::new(config).map_err(|error| report::chain(&error))?;
    Ok((setup, needs_restart))
}

/// A broken collector file costs itself alone, in a reload as at the start.
pub(super) fn say_refused_collectors(setup: &Setup) {
    for refused in setup.library().refused() {
        tracing::warn!(file = %refused.file.display(), reason = %report::escape(&refused.reason), "collector file is not used");
    }
}
