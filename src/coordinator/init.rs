//! How a coordinator comes to be: its state prepared, its first admin made, its listeners bound.
//!
//! The configuration comes from the roof; what is built goes back as [`Bound`], with real addresses and the verbs to mount APIs
//! on. It opens no API itself: the roof brings the routers.

mod certificates;
mod reload;

use std::fs::{File, OpenOptions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::MethodRouter;
use rustix::fs::{FlockOperation, flock};
use tracing::{info, warn};

use self::certificates::Certificates;
pub use self::reload::Reloader;
use super::audit::{Actor, Audit, Outcome};
use super::bundles::Bundles;
use super::config::CoordinatorConfig;
use super::deployments::Deployments;
use super::endpoints::Endpoints;
use super::keys::Keys;
use super::pki::{Pki, PkiError};
use super::principal::Role;
use super::refusal::Refusal;
use super::roster::{ClusterKind, ClusterRow, DEFAULT_CLUSTER};
use super::run::{Engine, Parts};
use super::secrets::Secrets;
use super::session;
use super::store::vault::{Vault, VaultError};
use super::store::{Store, StoreError};
use super::stored::{Stored, StoredError};
use super::tasks::Tasks;
use super::users::Users;
use super::verbs::{Rooms, Verbs};
use crate::clock::Clock;
use crate::id::ClusterId;
use crate::net::serve::{Listener, ServeLimits, serve};
use crate::net::tls::TlsError;
use crate::secret::Secret;
use crate::shutdown::Shutdown;
use crate::state;

/// How often certificates are looked at.
const LOOK: Duration = Duration::from_secs(3600);
/// Under this name a known text is sealed, so that a wrong master key shows at once.
const CHECK: &str = "master.check";

/// Why a coordinator cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The configuration makes no sense.
    #[error("configuration: {0}")]
    Config(String),
    /// An address cannot be had.
    #[error("cannot listen on {addr} (`{key}` in the configuration){}", unheard(*addr, source.kind()))]
    Bind {
        /// Its key in the configuration.
        key: &'static str,
        /// The address.
        addr: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another coordinator has the state.
    #[error("another coordinator is running with the state in {}", .0.display())]
    Running(PathBuf),
    /// A file cannot be read or written.
    #[error("cannot use {}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Kept bundles.
    #[error(transparent)]
    Stored(#[from] StoredError),
    /// The master key.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// Keys and certificates.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The brought certificate, or the settings made of it.
    #[error("the server certificate cannot be used")]
    Tls(#[from] TlsError),
    /// The server certificate is over, or not yet good.
    #[error("the server certificate is good from {from} to {end}, and not now")]
    OutOfTime {
        /// From when.
        from: String,
        /// Until when.
        end: String,
    },
    /// There is an admin already.
    #[error("there is an admin already; --reset gives `{0}` a new password")]
    Initialised(String),
    /// A room refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// What keeps a listener from an address, and what to do about it.
fn unheard(addr: SocketAddr, why: io::ErrorKind) -> String {
    let port = addr.port();
    match why {
        io::ErrorKind::AddrInUse => {
            format!(": another program has it, and `ss -ltnp 'sport = :{port}'`, as root, says which")
        }
        io::ErrorKind::AddrNotAvailable => ": it is no address of this host now".to_owned(),
        io::ErrorKind::PermissionDenied => ": this user may not; ports below 1024 need CAP_NET_BIND_SERVICE".to_owned(),
        _ => String::new(),
    }
}

impl SetupError {
    /// Whether something else has what is needed, and the next try may find it free.
    pub fn is_taken(&self) -> bool {
        match self {
            Self::Bind { source, .. } => {
                matches!(source.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable)
            }
            Self::Running(_) => true,
            _ => false,
        }
    }

    /// Whether only an administrator can mend it: what the next try would find is the same.
    pub fn is_setup(&self) -> bool {
        match self {
            Self::Config(_) | Self::Vault(_) | Self::Tls(_) | Self::OutOfTime { .. } => true,
            Self::Store(StoreError::Exposed(_)) => true,
            Self::Bind { source, .. } => source.kind() == io::ErrorKind::PermissionDenied,
            Self::File { source, .. } => {
                matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
            }
            _ => false,
        }
    }
}

/// State, keys and files, as every start finds or makes them.
struct Ground {
    store: Store,
    vault: Vault,
    pki: Arc<Pki>,
    ca_file: PathBuf,
}

/// What `init` made.
#[derive(Debug)]
pub struct Initialised {
    /// The admin's name.
    pub user: String,
    /// The admin's password, if it was made here: the only time that it is shown.
    pub password: Option<Secret>,
    /// The cluster `default`.
    pub cluster: ClusterId,
    /// The CA that people and agents trust.
    pub ca_file: PathBuf,
    /// The public key that bundles are sealed with.
    pub seal_file: PathBuf,
}

/// Prepares the state: keys, CAs, the cluster `default`, and an admin. Without a password one is made.
///
/// # Errors
/// When something cannot be made; [`SetupError::Initialised`] when there is an admin already, unless `reset`.
pub async fn init(
    config: &CoordinatorConfig,
    clock: Clock,
    user: &str,
    password: Option<Secret>,
    reset: bool,
) -> Result<Initialised, SetupError> {
    let ground = ground(config, &clock).await?;
    if !reset && ground.store.has_role(Role::Admin).await? {
        return Err(SetupError::Initialised(user.to_owned()));
    }
    let audit = open_audit(config, &clock)?;
    let made = if password.is_none() { Some(Secret::random()) } else { None };
    let users = Users::new(ground.store.clone(), clock.clone());
    if let Some(password) = password.as_ref().or(made.as_ref())
        && !users.add(user, password, Role::Admin, None).await?
    {
        users.change_password(user, password, false).await?;
        users.change(user, Some(Role::Admin), Some(None), Some(false)).await?;
    }
    audit.record(Actor::console(), "admin.init", user, Outcome::Done);
    let row = ClusterRow {
        id: ClusterId::random(),
        name: DEFAULT_CLUSTER.into(),
        kind: ClusterKind::Managed,
        created_ms: clock.now_ms(),
    };
    ground.store.add_cluster(row.clone()).await?;
    let cluster = ground.store.find_cluster(DEFAULT_CLUSTER).await?.map_or(row.id, |(row, _)| row.id);
    let seal_file = config.state_dir.join("seal.pub");
    Ok(Initialised { user: user.to_owned(), password: made, cluster, ca_file: ground.ca_file, seal_file })
}

/// A coordinator with its ports taken, that does not serve yet.
pub struct Bound {
    /// The door for the APIs.
    pub verbs: Verbs,
    /// The public listener's real address.
    pub public_addr: SocketAddr,
    /// The agents' listener's real address.
    pub agents_addr: SocketAddr,
    /// The CA that people and agents trust.
    pub ca_file: PathBuf,
    public: Listener,
    agents: Listener,
    audit: Audit,
    users: Users,
    reloader: Reloader,
    look_every: Duration,
    shutdown: Shutdown,
    // Released when the process or the last part of the coordinator ends.
    lock: File,
}

/// Builds a coordinator. Ports are taken first, so that their real numbers are known and a taken one fails before anything else.
///
/// # Errors
/// When a port, the state or a key cannot be had.
pub async fn start(config: &CoordinatorConfig, clock: Clock, shutdown: Shutdown) -> Result<Bound, SetupError> {
    if let Some(fault) = config.fault() {
        return Err(SetupError::Config(fault));
    }
    let (public, agents) = (bind("public", config.public).await?, bind("agents", config.agents).await?);
    let (public_addr, agents_addr) = (public.addr(), agents.addr());
    let ground = ground(config, &clock).await?;
    let lock = lock(&config.state_dir)?;
    make_folder(&config.spool_dir())?;
    let audit = open_audit(config, &clock)?;
    let tasks = Tasks::open(ground.store.clone(), clock.clone(), config.tasks.retention(), shutdown.clone()).await?;
    let seal = ground.pki.seal();
    let engine = Engine::new(Parts {
        settings: config.engine(),
        clock: clock.clone(),
        shutdown: shutdown.clone(),
        key: Arc::clone(&seal),
    });
    let stored =
        Stored::open(ground.store.clone(), &config.stored_dir(), config.kept(), clock.clone(), &shutdown).await?;
    let bundles = Bundles::new(tasks.clone(), engine.clone(), stored, config.limits.waiting_bundles);
    if !ground.store.has_role(Role::Admin).await? {
        warn!("there is no admin yet: run `sheaf coordinator init` with this configuration");
    }
    let users = Users::new(ground.store.clone(), clock.clone());
    let verbs = Verbs::new(Rooms {
        users: users.clone(),
        keys: Keys::new(ground.store.clone(), ground.vault.clone(), clock.clone()),
        audit: audit.clone(),
        secrets: Secrets::open(ground.store.clone(), ground.vault.clone(), clock.clone(), audit.clone()).await?,
        deployments: Deployments::new(ground.store.clone(), engine.clone(), clock.clone()),
        store: ground.store,
        vault: ground.vault,
        tasks,
        bundles,
        engine: engine.clone(),
        seal: seal.public(),
        pki: Arc::clone(&ground.pki),
        endpoints: Endpoints {
            access: config.access.clone(),
            federation: config.federation.clone(),
            agents_port: agents_addr.port(),
        },
        external_url: config.external_url.as_deref().map(|url| url.trim_end_matches('/').to_owned()),
        lookback: config.window,
        budgets: config.bundle.budgets(),
        clock: clock.clone(),
        shutdown: shutdown.clone(),
    });
    let at = [public_addr, agents_addr];
    let certificates = Certificates::new(config, Arc::clone(&ground.pki), clock, at, ground.ca_file.clone())?;
    let certificates = Arc::new(certificates);
    let reloader = Reloader { config: config.clone(), engine, certificates, pki: ground.pki };
    Ok(Bound {
        verbs,
        public_addr,
        agents_addr,
        ca_file: ground.ca_file,
        public,
        agents,
        audit,
        users,
        reloader,
        look_every: LOOK,
        shutdown,
        lock,
    })
}

impl Bound {
    /// The engine below the verbs, for whoever embeds a coordinator and asks its agents itself.
    pub fn engine(&self) -> &Engine {
        &self.reloader.engine
    }

    /// Has certificates looked at more often than every hour.
    #[must_use]
    pub fn look_every(self, every: Duration) -> Self {
        Self { look_every: every, ..self }
    }

    /// Serves until the stop is asked for: `public` on the public listener; on the agents' its own routes, and `exchange` for
    /// agents to log in by. What it starts takes part in the shutdown that [`start`] was given. What comes back takes new
    /// configurations.
    pub fn serve(self, public: Router, exchange: MethodRouter) -> Reloader {
        let agents = session::router(self.reloader.engine.clone(), Arc::new(self.verbs), exchange);
        let at = [self.public_addr, self.agents_addr];
        info!(public = %at[0], agents = %at[1], "serving");
        let certificates = Arc::clone(&self.reloader.certificates);
        let connections = self.reloader.config.limits.connections;
        let public_limits = ServeLimits { connections, ..ServeLimits::public() };
        let agent_limits = ServeLimits { connections, ..ServeLimits::agents() };
        let stop = &self.shutdown;
        stop.spawn(self.audit.keep_synced(stop.clone()));
        stop.spawn(self.users.sweep(stop.clone()));
        stop.spawn(serve(self.public, certificates.public(), public, public_limits, stop.clone()));
        stop.spawn(serve(self.agents, certificates.agents(), agents, agent_limits, stop.clone()));
        let (every, until, lock) = (self.look_every, stop.clone(), self.lock);
        stop.spawn(async move {
            certificates.watch(every, until).await;
            drop(lock);
        });
        self.reloader
    }
}

async fn bind(key: &'static str, addr: SocketAddr) -> Result<Listener, SetupError> {
    Listener::bind(addr).await.map_err(|source| SetupError::Bind { key, addr, source })
}

async fn ground(config: &CoordinatorConfig, clock: &Clock) -> Result<Ground, SetupError> {
    let folder = config.state_dir.clone();
    let (store, _alone) = tokio::task::spawn_blocking(move || {
        let store = Store::open(&folder)?;
        // Two first starts at the same time must not make two master keys.
        let file = lock_file(&folder.join("setup.lock"))?;
        flock(&file, FlockOperation::LockExclusive)
            .map_err(|e| SetupError::File { path: folder.join("setup.lock"), source: e.into() })?;
        Ok::<_, SetupError>((store, file))
    })
    .await
    .map_err(|e| Refusal::internal("setting up stopped", &e))??;
    let check = store.meta(CHECK).await?;
    let vault = Vault::open(&config.master_key(), check.is_none())?;
    let check = match check {
        Some(check) => check,
        None => store.meta_once(CHECK, vault.seal(CHECK, CHECK.as_bytes())).await?,
    };
    vault.open_sealed(CHECK, &check)?;
    let pki = Pki::open(&store, &vault, clock.clone()).await?;
    let ca_file = config.state_dir.join("ca.pem");
    let ca = trusted_ca(config, &pki)?;
    publish(&ca_file, &ca)?;
    publish(&config.state_dir.join("seal.pub"), pki.seal().public().to_pem().as_bytes())?;
    pki.tell(String::from_utf8_lossy(&ca).into_owned());
    Ok(Ground { store, vault, pki: Arc::new(pki), ca_file })
}

/// What people and agents are to trust.
fn trusted_ca(config: &CoordinatorConfig, pki: &Pki) -> Result<Vec<u8>, SetupError> {
    match &config.tls {
        None => Ok(pki.servers_ca().into_bytes()),
        Some(brought) => match &brought.ca {
            Some(ca) => read(ca),
            None => {
                let chain = read(&brought.certificate)?;
                let text = String::from_utf8_lossy(&chain);
                let last = text.rfind("-----BEGIN CERTIFICATE-----").unwrap_or(0);
                Ok(text[last..].as_bytes().to_vec())
            }
        },
    }
}

fn open_audit(config: &CoordinatorConfig, clock: &Clock) -> Result<Audit, SetupError> {
    let opened = Audit::open(&config.state_dir, config.audit, clock.clone());
    opened.map_err(|source| SetupError::File { path: config.state_dir.join("audit"), source })
}

fn publish(path: &Path, content: &[u8]) -> Result<(), SetupError> {
    if std::fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    state::write(path, content, 0o644).map_err(|source| SetupError::File { path: path.to_owned(), source })
}

fn read(path: &Path) -> Result<Vec<u8>, SetupError> {
    std::fs::read(path).map_err(|source| SetupError::File { path: path.to_owned(), source })
}

fn make_folder(path: &Path) -> Result<(), SetupError> {
    state::folder(path).map_err(|source| SetupError::File { path: path.to_owned(), source })
}

fn lock_file(path: &Path) -> Result<File, SetupError> {
    let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    opened.map_err(|source| SetupError::File { path: path.to_owned(), source })
}

/// One coordinator at a time: tasks that another one runs must not be ended as left over.
fn lock(folder: &Path) -> Result<File, SetupError> {
    let file = lock_file(&folder.join("lock"))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(SetupError::Running(folder.to_owned())),
        Err(e) => Err(SetupError::File { path: folder.join("lock"), source: e.into() }),
    }
}

#[cfg(test)]
mod tests;
