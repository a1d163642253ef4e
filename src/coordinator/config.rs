//! The coordinator's section of the configuration: every key has a default that works, an unknown one is refused.
//!
//! Values come from the administrator's file and go to the rooms that they are for. Nothing here opens a file or a socket.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::audit::AuditSettings;
use super::endpoints::{AccessConfig, Endpoints, FederationConfig};
use super::run::Settings;
use super::stored::Bounds;
use super::tasks::Retention;
use crate::bundle::manifest::Budgets;
use crate::floor::Floor;
use crate::limits;
use crate::window::Lookback;

const MIB: u64 = 1 << 20;
const DAY: u64 = 24 * 3600;

/// The coordinator's settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CoordinatorConfig {
    /// Where people and the public APIs are served.
    pub public: SocketAddr,
    /// Where agents connect to.
    pub agents: SocketAddr,
    /// Folder of the state; must be the coordinator's own.
    pub state_dir: PathBuf,
    /// File of the master key; `master.key` in `state_dir` unless set. Made at the first start.
    pub master_key: Option<PathBuf>,
    /// Names and addresses by which this host is reached, besides those it knows itself; for the server certificate.
    pub names: Vec<String>,
    /// URL that is handed out in place of the one that a request came by, such as `https://sheaf.example.org`.
    pub external_url: Option<String>,
    /// A brought server certificate, in place of one of our own CA.
    pub tls: Option<BroughtTls>,
    /// Access info.
    pub access: AccessConfig,
    /// Kubeconfigs.
    pub federation: FederationConfig,
    /// How much of the audit log is kept.
    pub audit: AuditSettings,
    /// What is logged, unless `--log` or `SHEAF_LOG` says so: a level, or rules such as `info,sheaf::coordinator=debug`.
    pub log: Option<String>,
    /// How far back logs go when a request does not say: `48h`, or `all`.
    pub window: Lookback,
    /// What a bundle may hold when its request does not say.
    pub bundle: BundleBudgets,
    /// Bounds.
    pub limits: Limits,
    /// How long tasks are kept.
    pub tasks: KeptTasks,
    /// Which bundles are kept, and where.
    pub stored: KeptBundles,
}

impl Default for CoordinatorConfig {
    fn default() -> Self {
        Self {
            public: (Ipv4Addr::UNSPECIFIED, 25555).into(),
            agents: (Ipv4Addr::UNSPECIFIED, 25556).into(),
            state_dir: PathBuf::from("/var/lib/sheaf-coordinator"),
            master_key: None,
            names: Vec::new(),
            external_url: None,
            tls: None,
            access: AccessConfig::default(),
            federation: FederationConfig::default(),
            audit: AuditSettings::default(),
            log: None,
            window: Lookback::default(),
            bundle: BundleBudgets::default(),
            limits: Limits::default(),
            tasks: KeptTasks::default(),
            stored: KeptBundles::default(),
        }
    }
}

/// Files of a brought server certificate (PEM); both listeners use it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BroughtTls {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The leaf's private key.
    pub key: PathBuf,
    /// The CA that people and agents are to trust; the last certificate of the chain unless set.
    pub ca: Option<PathBuf>,
}

/// Bytes that a bundle may hold when its request does not say, as those of most public APIs cannot.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BundleBudgets {
    /// MiB of each node; none unless set.
    pub node_budget_mib: Option<u64>,
    /// MiB of all nodes together; none unless set.
    pub budget_mib: Option<u64>,
}

impl BundleBudgets {
    /// The same in bytes.
    pub fn budgets(&self) -> Budgets {
        let bytes = |mib: Option<u64>| mib.map(|mib| mib.saturating_mul(MIB));
        Budgets { node: bytes(self.node_budget_mib), bundle: bytes(self.budget_mib) }
    }
}

/// How long tasks that are over are kept, with their logs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeptTasks {
    /// So many at most.
    pub keep: u32,
    /// Days at most.
    pub keep_days: u32,
}

impl Default for KeptTasks {
    fn default() -> Self {
        let retention = Retention::default();
        Self { keep: retention.count, keep_days: (retention.age.as_secs() / DAY) as u32 }
    }
}

impl KeptTasks {
    /// What the tasks take of it.
    pub fn retention(&self) -> Retention {
        Retention { count: self.keep, age: Duration::from_secs(u64::from(self.keep_days) * DAY) }
    }
}

/// Which bundles are kept (`sheaf bundle create --store`), and where.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeptBundles {
    /// Folder for them; `bundles` in the state folder unless set.
    pub dir: Option<PathBuf>,
    /// So many at most; the oldest go first.
    pub keep: u32,
    /// Days at most.
    pub keep_days: u32,
    /// MiB of all at most; the oldest go first.
    pub keep_mib: u64,
}

impl Default for KeptBundles {
    fn default() -> Self {
        let bounds = Bounds::default();
        Self {
            dir: None,
            keep: bounds.count,
            keep_days: (bounds.age.as_secs() / DAY) as u32,
            keep_mib: bounds.bytes / MIB,
        }
    }
}

impl KeptBundles {
    /// What the store of bundles takes of it.
    pub fn bounds(&self) -> Bounds {
        Bounds {
            age: Duration::from_secs(u64::from(self.keep_days) * DAY),
            bytes: self.keep_mib.saturating_mul(MIB),
            count: self.keep,
            ..Bounds::default()
        }
    }
}

/// Bounds of the coordinator's work.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Nodes of one bundle that send at the same time.
    pub active_nodes: usize,
    /// Seconds that a node which is not connected is waited for.
    pub grace_secs: u64,
    /// Seconds of silence after which a node that should be sending is given up.
    pub stall_secs: u64,
    /// Seconds of silence, heartbeats included, after which a connected node is given up.
    pub silence_secs: u64,
    /// Seconds that a connected node may take between two entries.
    pub patience_secs: u64,
    /// MiB of an entry from which it may go into the bundle while it comes; smaller ones wait in the spool until they are whole.
    pub live_mib: u64,
    /// KiB a second below which an entry does not hold the bundle's turn.
    pub turn_kib_per_sec: u64,
    /// MiB of segments in memory, all bundles together.
    pub memory_mib: u64,
    /// Where spool files are made, unlinked at once; `spool` in the state folder unless set.
    pub spool_dir: Option<PathBuf>,
    /// MiB of spool, all bundles together.
    pub spool_mib: u64,
    /// MiB that spool and kept bundles leave free on their disks, or 5 % of the disk where that is less; 0 for none.
    pub disk_free_mib: u64,
    /// MiB that one node may declare.
    pub node_mib: u64,
    /// Entries that one node may send.
    pub node_entries: u64,
    /// Seconds that the reader of a download may stand still.
    pub reader_idle_secs: u64,
    /// Bundles that may wait behind the running one of the same cluster and requester.
    pub waiting_bundles: usize,
    /// Connections of each listener.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let engine = Settings::default();
        Self {
            active_nodes: engine.active_nodes,
            grace_secs: engine.grace.as_secs(),
            stall_secs: engine.stall.as_secs(),
            silence_secs: engine.silence.as_secs(),
            patience_secs: engine.patience.as_secs(),
            live_mib: engine.live_from / MIB,
            turn_kib_per_sec: engine.turn_rate >> 10,
            memory_mib: engine.memory as u64 / MIB,
            spool_dir: None,
            spool_mib: engine.spool / MIB,
            disk_free_mib: limits::DISK_FLOOR.1 / MIB,
            node_mib: engine.node_bytes / MIB,
            node_entries: engine.node_entries,
            reader_idle_secs: engine.reader_idle.as_secs(),
            waiting_bundles: limits::WAITING_BUNDLES,
            connections: limits::CONNECTIONS,
        }
    }
}

impl CoordinatorConfig {
    /// What cannot be right, in words; `None` when all is well.
    pub fn fault(&self) -> Option<String> {
        let l = &self.limits;
        let positive = [
            ("limits.active_nodes", l.active_nodes as u64),
            ("limits.stall_secs", l.stall_secs),
            ("limits.silence_secs", l.silence_secs),
            ("limits.patience_secs", l.patience_secs),
            ("limits.node_mib", l.node_mib),
            ("bundle.node_budget_mib", self.bundle.node_budget_mib.unwrap_or(1)),
            ("bundle.budget_mib", self.bundle.budget_mib.unwrap_or(1)),
            ("limits.node_entries", l.node_entries),
            ("limits.reader_idle_secs", l.reader_idle_secs),
            ("limits.connections", l.connections as u64),
            ("audit.file_mib", self.audit.file_mib),
            ("audit.files", self.audit.files as u64),
            ("federation.certificates", self.federation.certificates.into()),
            ("tasks.keep_days", self.tasks.keep_days.into()),
            ("stored.keep", self.stored.keep.into()),
            ("stored.keep_days", self.stored.keep_days.into()),
            ("stored.keep_mib", self.stored.keep_mib),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Some(format!("{key} must be more than 0"));
        }
        if l.memory_mib < 16 {
            return Some("limits.memory_mib must be at least 16".into());
        }
        if l.connections > tokio::sync::Semaphore::MAX_PERMITS {
            return Some("limits.connections is too large".into());
        }
        if self.public == self.agents && self.public.port() != 0 {
            return Some("`public` and `agents` must not be the same address".into());
        }
        if !(1..=3650).contains(&self.access.join_days) {
            return Some("access.join_days must be 1 to 3650".into());
        }
        if let Some(url) = Endpoints::urls(&self.access, &self.federation).find(|url| !is_origin(url)) {
            let url = crate::report::brief(url, 200);
            return Some(format!("`{url}` under [access] or [federation] must be of the form https://host[:port]"));
        }
        let url = self.external_url.as_ref()?;
        (!is_origin(url)).then(|| "external_url must be of the form https://host[:port]".into())
    }

    /// Where the master key is.
    pub fn master_key(&self) -> PathBuf {
        self.master_key.clone().unwrap_or_else(|| self.state_dir.join("master.key"))
    }

    /// Where spool files are made.
    pub fn spool_dir(&self) -> PathBuf {
        self.limits.spool_dir.clone().unwrap_or_else(|| self.state_dir.join("spool"))
    }

    /// Where kept bundles are.
    pub fn stored_dir(&self) -> PathBuf {
        self.stored.dir.clone().unwrap_or_else(|| self.state_dir.join("bundles"))
    }

    /// What may be kept, and for how long.
    pub fn kept(&self) -> Bounds {
        Bounds { floor: self.floor(), ..self.stored.bounds() }
    }

    /// What stays free on disks.
    pub fn floor(&self) -> Floor {
        Floor::of(self.limits.disk_free_mib.saturating_mul(MIB))
    }

    /// What the engine takes of it.
    pub fn engine(&self) -> Settings {
        let l = &self.limits;
        Settings {
            active_nodes: l.active_nodes,
            grace: Duration::from_secs(l.grace_secs),
            stall: Duration::from_secs(l.stall_secs),
            silence: Duration::from_secs(l.silence_secs),
            patience: Duration::from_secs(l.patience_secs),
            live_from: l.live_mib.saturating_mul(MIB),
            turn_rate: l.turn_kib_per_sec << 10,
            memory: usize::try_from(l.memory_mib.saturating_mul(MIB)).unwrap_or(usize::MAX),
            spool: l.spool_mib.saturating_mul(MIB),
            spool_dir: self.spool_dir(),
            floor: self.floor(),
            node_bytes: l.node_mib.saturating_mul(MIB),
            node_entries: l.node_entries,
            reader_idle: Duration::from_secs(l.reader_idle_secs),
        }
    }
}

fn is_origin(url: &str) -> bool {
    url.parse::<http::Uri>().is_ok_and(|uri| {
        uri.scheme_str() == Some("https")
            && uri.host().is_some()
            && matches!(uri.path(), "" | "/")
            && uri.query().is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_the_default_and_the_default_is_sound() {
        let config: CoordinatorConfig = toml::from_str("").expect("all keys have defaults");
        assert_eq!(config.public.port(), 25555);
        assert_eq!(config.agents.port(), 25556);
        assert_eq!(config.fault(), None);
        assert_eq!(config.engine().memory, limits::MERGE_MEMORY);
        assert_eq!(config.engine().node_bytes, limits::NODE_BYTES);
    }

    #[test]
    fn unknown_keys_are_refused_at_every_depth() {
        for text in ["publik = '0.0.0.0:1'", "[limits]\nactive = 1", "[tls]\ncertificate='a'\nkey='b'\npassword='c'"] {
            assert!(toml::from_str::<CoordinatorConfig>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn values_that_cannot_work_are_named() {
        for (text, word) in [
            ("[limits]\nactive_nodes = 0", "active_nodes"),
            ("[limits]\nmemory_mib = 1", "memory_mib"),
            ("external_url = 'http://x'", "external_url"),
            ("external_url = 'https://x/path'", "external_url"),
            ("[access]\nagents_url = 'http://x'", "[access]"),
            ("[access]\njoin_days = 0", "join_days"),
            ("[[federation.endpoints]]\nproject='p'\nvpc='v'\nsubnet='s'\nserver='x'", "[federation]"),
            ("public = '127.0.0.1:1'\nagents = '127.0.0.1:1'", "agents"),
        ] {
            let config: CoordinatorConfig = toml::from_str(text).expect("it parses");
            assert!(config.fault().is_some_and(|fault| fault.contains(word)), "{text}");
        }
    }
}
