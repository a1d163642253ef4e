//! For tests: a whole coordinator in a temporary folder, with a clock that is turned by hand.

use jiff::Timestamp;
use tempfile::TempDir;

use super::audit::Audit;
use super::config::CoordinatorConfig;
use super::init::{self, Bound};
use super::roster::About;
use super::store::Store;
use super::store::vault::Vault;
use super::verbs::{Door, Principal, Role, Scope, Verbs};
use crate::clock::Clock;
use crate::secret::Secret;
use crate::shutdown::Shutdown;

/// The admin's password.
pub const PASSWORD: &str = "correct horse";

/// A coordinator. Its ports are taken and not served.
pub struct Kit {
    /// Its door.
    pub verbs: Verbs,
    /// Its clock.
    pub clock: Clock,
    /// Its settings.
    pub config: CoordinatorConfig,
    /// Its folder, and the rest of it.
    pub folder: TempDir,
    /// Its stop.
    pub shutdown: Shutdown,
    bound: Option<Bound>,
}

impl Kit {
    /// A new one, initialised.
    pub async fn new() -> Self {
        Self::configured(|_| ()).await
    }

    /// The same, with what `change` makes of the configuration.
    pub async fn configured(change: impl FnOnce(&mut CoordinatorConfig)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut config = config(&folder);
        change(&mut config);
        let clock = Clock::manual(Timestamp::now());
        init::init(&config, clock.clone(), "admin", Some(Secret::new(PASSWORD)), false).await.expect("initialised");
        Self::start(folder, config, clock).await
    }

    async fn start(folder: TempDir, config: CoordinatorConfig, clock: Clock) -> Self {
        let shutdown = Shutdown::new();
        let bound = init::start(&config, clock.clone(), shutdown.clone()).await.expect("started");
        Self { verbs: bound.verbs.clone(), clock, config, folder, shutdown, bound: Some(bound) }
    }

    /// The same state in a new process's place.
    pub async fn restarted(mut self) -> Self {
        self.shutdown.stop();
        self.bound = None;
        Self::start(self.folder, self.config, self.clock).await
    }

    /// The admin.
    pub fn admin(&self) -> Principal {
        Principal::new("admin", Role::Admin, Scope::All, Door::Password)
    }

    /// A node of the cluster `default` that is known and not connected.
    pub async fn absent_node(&self, name: &str) {
        self.verbs.create_secret(&self.admin(), name, None).await.expect("a secret");
        let node = name.parse().expect("a name");
        self.store().node_seen(&node, &About::default(), self.clock.now_ms()).await.expect("noted");
    }

    /// The coordinator itself.
    pub fn into_bound(mut self) -> (Bound, TempDir, Shutdown) {
        (self.bound.take().expect("not taken before"), self.folder, self.shutdown)
    }

    /// The state, opened beside the coordinator's own hand.
    pub fn store(&self) -> Store {
        Store::open(&self.config.state_dir).expect("the state opens")
    }

    /// The audit log, opened beside the coordinator's own hand.
    pub fn audit(&self) -> Audit {
        Audit::open(&self.config.state_dir, self.config.audit, self.clock.clone()).expect("the log opens")
    }

    /// The master key.
    pub fn vault(&self) -> Vault {
        Vault::open(&self.config.master_key(), false).expect("the key opens")
    }
}

/// Settings with free ports and a state of their own.
pub fn config(folder: &TempDir) -> CoordinatorConfig {
    CoordinatorConfig {
        public: ([127, 0, 0, 1], 0).into(),
        agents: ([127, 0, 0, 1], 0).into(),
        state_dir: folder.path().join("state"),
        ..CoordinatorConfig::default()
    }
}
