//! Joining: a node's access info becomes an agent secret of its own, and the configuration that goes with it.
//!
//! The access info comes from a file that an administrator brought, or from where a container has it mounted. It is checked, the place for
//! what will be written is taken, and only then is it traded, over mutual TLS: a node that cannot keep an agent secret asks for
//! none. Everything is written by `place`, whole or not at all. The join certificate itself is not kept.

mod place;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use http::{Method, StatusCode};

pub use place::{Home, PlaceError, Settings, Via};

use crate::agent::config::{AgentConfig, ConfigError};
use crate::agent::host::Host;
use crate::agent::send::{Backoff, Dialer, LinkError};
use crate::clock::{Clock, rfc3339};
use crate::id::NodeName;
use crate::net::proxy::Proxy;
use crate::net::tls::{self, Identity, TlsError};
use crate::protocol::join::{AccessError, AccessInfo, JOIN, JoinReply, JoinRequest, MEMBERS, MOST};
use crate::report;
use crate::secret::Secret;
use crate::shutdown::Shutdown;

/// Bytes of access info at most.
const LONGEST: u64 = MOST as u64 + 1;

/// Why a node does not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The file cannot be read.
    #[error("cannot read the access info {}", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// It holds none.
    #[error("{}: {error}", path.display())]
    Access {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: AccessError,
    },
    /// Certificate or key in it cannot be used.
    #[error("the join certificate in the access info cannot be used")]
    Certificate(#[source] TlsError),
    /// Its time is over.
    #[error(
        "the join certificate expired at {0}; ask for new access info (`sheaf cluster access-info CLUSTER --reset`)"
    )]
    Expired(String),
    /// There is nothing by which this machine would be known again.
    #[error("this node has no /etc/machine-id; `systemd-machine-id-setup` makes one")]
    NoMachineId,
    /// The host's root cannot be opened.
    #[error("cannot open the host's root {}", .0.display())]
    Root(PathBuf, #[source] io::Error),
    /// What is to be written cannot be, or something else is in its place.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The configuration that was written cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The connection ended before an answer. With TLS 1.3 that is all a client can count on seeing of a certificate that is turned down.
    #[error(
        "{0} hung up: the join certificate is over or another coordinator's (is this node's clock right?), or the coordinator is stopping"
    )]
    HungUp(String),
    /// The coordinator says no; its own sentence.
    #[error("{0}")]
    Refused(String),
    /// No answer.
    #[error(transparent)]
    Link(LinkError),
    /// It was told to stop before it had joined.
    #[error("stopped before this node had joined")]
    Stopped,
}

/// Reads access info from a file, or from standard input for `-`.
///
/// # Errors
/// When it cannot be read, or holds none.
pub fn read(path: &Path) -> Result<AccessInfo, JoinError> {
    let read = || -> io::Result<String> {
        let source: Box<dyn io::Read> =
            if path == Path::new("-") { Box::new(io::stdin().lock()) } else { Box::new(fs::File::open(path)?) };
        let mut text = String::new();
        io::Read::read_to_string(&mut io::Read::take(source, LONGEST), &mut text)?;
        Ok(text)
    };
    let text = zeroize::Zeroizing::new(read().map_err(|error| JoinError::File(path.to_owned(), error))?);
    AccessInfo::read(&text).map_err(|error| JoinError::Access { path: path.to_owned(), error })
}

/// Reads access info as a container has it mounted: a folder with a file for each member.
///
/// # Errors
/// When one cannot be read.
pub fn read_mounted(folder: &Path) -> Result<AccessInfo, JoinError> {
    let member = |at: usize| {
        let path = folder.join(MEMBERS[at]);
        fs::read_to_string(&path).map_err(|error| JoinError::File(path, error))
    };
    let endpoint = member(3)?.trim().to_owned();
    Ok(AccessInfo { ca: member(0)?, certificate: member(1)?, key: Secret::new(member(2)?), endpoint })
}

/// By what this machine is known again.
///
/// # Errors
/// When there is no such thing.
pub fn machine_id(host_root: &Path) -> Result<String, JoinError> {
    let host = Host::open(host_root).map_err(|error| JoinError::Root(host_root.to_owned(), error))?;
    let text = ["/etc/machine-id", "/var/lib/dbus/machine-id"].iter().find_map(|path| host.text(path));
    // Images are made with `uninitialized` in it, or with nothing.
    text.filter(|id| !id.is_empty() && id != "uninitialized").ok_or(JoinError::NoMachineId)
}

/// What is ready to be traded: everything about the access info that can be checked here was.
pub struct Ticket {
    dialer: Dialer,
    endpoint: String,
}

impl Ticket {
    /// Checks access info.
    ///
    /// # Errors
    /// When CA, certificate and key cannot be used, do not belong together, or the certificate's time is over.
    pub fn check(info: &AccessInfo, clock: &Clock) -> Result<Self, JoinError> {
        let identity = Identity::from_pem(info.certificate.as_bytes(), info.key.expose().as_bytes())
            .map_err(JoinError::Certificate)?;
        let (_, end_ms) = identity
            .chain
            .first()
            .and_then(tls::validity)
            .ok_or(JoinError::Certificate(TlsError::Certificate(None)))?;
        if end_ms <= clock.now_ms() {
            return Err(JoinError::Expired(rfc3339(end_ms)));
        }
        let dialer =
            Dialer::with_identity(&info.endpoint, info.ca.as_bytes(), identity).map_err(|error| match error {
                LinkError::Ca(error) => JoinError::Certificate(error),
                other => JoinError::Link(other),
            })?;
        Ok(Self { dialer, endpoint: info.endpoint.clone() })
    }

    /// The same by way of a proxy.
    #[must_use]
    pub fn through(self, proxy: Option<Proxy>) -> Self {
        Self { dialer: self.dialer.through(proxy), ..self }
    }

    /// Trades it for an agent secret.
    ///
    /// # Errors
    /// When the coordinator refuses, or does not answer.
    pub async fn trade(&self, name: &NodeName, machine_id: &str, shutdown: &Shutdown) -> Result<JoinReply, JoinError> {
        let body = JoinRequest { name: name.clone(), machine_id: machine_id.to_owned() };
        let traded = async {
            let link = self.dialer.connect(shutdown).await?;
            let reply = link.json(Method::POST, JOIN, &body).await;
            link.close();
            reply
        };
        traded.await.map_err(|error| match error {
            LinkError::Status { status, message }
                if status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT =>
            {
                JoinError::Refused(message)
            }
            LinkError::Http(_) => JoinError::HungUp(self.endpoint.clone()),
            error => JoinError::Link(error),
        })
    }
}

/// Where a container that is to join has its things.
#[derive(Clone, Debug)]
pub struct Mounted {
    /// Folder with the access info.
    pub access: PathBuf,
    /// The node's name.
    pub node: NodeName,
    /// Folder on the host that outlives the container.
    pub state_dir: PathBuf,
    /// The host's root.
    pub host_root: PathBuf,
    /// The proxy by which the coordinator is reached.
    pub via: Via,
}

impl Mounted {
    /// The configuration of a container that has joined.
    pub fn config(&self) -> PathBuf {
        Home::new(&self.state_dir, &self.state_dir).config
    }
}

/// Joins at the start of a container, unless the host's folder says that it was done; tries until it works. A restart finds its
/// identity there, also when the join certificate is long over.
///
/// # Errors
/// Only what time does not mend: nowhere to read from or to write to.
pub async fn at_start(mounted: &Mounted, shutdown: &Shutdown) -> Result<AgentConfig, JoinError> {
    let home = Home::new(&mounted.state_dir, &mounted.state_dir);
    let info = read_mounted(&mounted.access)?;
    let known = home.is_of(&mounted.node)?;
    let settings = Settings { labels: &BTreeMap::new(), host_root: &mounted.host_root, via: &mounted.via, force: true };
    let plan = home.plan(&mounted.node, &info, &settings)?;
    if known {
        plan.commit(None)?;
        return Ok(AgentConfig::load(&home.config)?);
    }
    let machine_id = machine_id(&mounted.host_root)?;
    let mut backoff = Backoff::default();
    let reply = loop {
        let tried = match Ticket::check(&info, &Clock::system()) {
            Ok(ticket) => ticket.through(plan.settings().proxy()?).trade(&mounted.node, &machine_id, shutdown).await,
            Err(error) => Err(error),
        };
        let error = match tried {
            Ok(reply) => break reply,
            Err(error) => error,
        };
        let wait =
            if matches!(error, JoinError::Link(_) | JoinError::HungUp(_)) { backoff.wait() } else { backoff.longest() };
        let reason = report::chain(&error);
        tracing::warn!(reason, wait_ms = wait.as_millis() as u64, "not joined yet; trying again");
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shutdown.stopping() => return Err(JoinError::Stopped),
        }
    };
    plan.commit(Some(&reply.secret))?;
    tracing::info!(node = reply.name.as_str(), cluster = report::escape(&reply.cluster), "joined");
    Ok(AgentConfig::load(&home.config)?)
}
