//! The agent's configuration: one TOML file, every key with a default that works.
//!
//! It comes from a file that the administrator owns; unknown keys are refused by name. The node's cluster is not in it:
//! that comes with the agent secret. Nothing here opens a connection or reads a secret.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::agent::history::{Extent, ring};
use crate::agent::redact::{self, RedactConfig};
use crate::agent::run::PressureLimits;
use crate::agent::source::measure::{self, TextError};
use crate::id::NodeName;
use crate::limits;
use crate::net::proxy::{Proxy, ProxyError};
use crate::secret::Secret;
use crate::window::Lookback;

/// Orders an hour that a bound may name: each is remembered for that long.
const ORDERS: u32 = 3600;

/// Why a configuration is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The text is not a configuration.
    #[error("{}: {error}", path.display())]
    Text {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        error: TextError,
    },
    /// A value cannot be meant.
    #[error("{key}: {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The proxy's user and password cannot be had.
    #[error("proxy_auth_file: cannot read {}", .0.display())]
    ProxyFile(PathBuf, #[source] std::io::Error),
    /// The proxy cannot be used.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
}

/// What the agent's configuration file says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgentConfig {
    /// The coordinator's agents' listener, `https://host:25556`. Needed to run, not to collect locally.
    pub url: Option<String>,
    /// PEM file with the coordinator's server CA.
    pub ca_file: Option<PathBuf>,
    /// HTTP proxy by which the coordinator is reached, `http://host:port`; TLS goes through it from end to end.
    pub proxy: Option<String>,
    /// File with the proxy's `USER:PASSWORD`, where it wants them.
    pub proxy_auth_file: Option<PathBuf>,
    /// Hosts, domains, addresses and networks that are reached without the proxy.
    pub no_proxy: Vec<String>,
    /// File that holds the agent secret, unless systemd hands over a credential `agent-secret`. Rotated ones are kept in the state folder; another secret put here wins over them.
    pub secret_file: PathBuf,
    /// Folder for what the agent keeps: its seal key, its instance's state.
    pub state_dir: PathBuf,
    /// Folder for unlinked spool files; the state folder when not given.
    pub spool_dir: Option<PathBuf>,
    /// What is logged, unless `--log` or `SHEAF_LOG` says so: a level, or rules such as `info,sheaf::agent=debug`.
    pub log: Option<String>,
    /// The root that is read: `/`, or where a container sees the host's.
    pub host_root: PathBuf,
    /// Whether the collectors that are compiled in are there; `off` leaves those of the folders alone.
    #[serde(deserialize_with = "measure::de_switch")]
    pub builtin_collectors: bool,
    /// Folders with collector files; later ones override earlier ones by name.
    pub collectors_dirs: Vec<PathBuf>,
    /// Whether orders to collect are followed; `off` refuses them with that reason. `sheaf agent collect` works all the same.
    #[serde(deserialize_with = "measure::de_switch")]
    pub collect: bool,
    /// Orders to collect that are followed within any hour; without it there is no such bound.
    pub orders_per_hour: Option<u32>,
    /// Whether network and FUSE file systems are read too.
    #[serde(deserialize_with = "measure::de_switch")]
    pub network_file_systems: bool,
    /// The node's name in bundles it makes for itself; the host name when not given.
    pub node: Option<NodeName>,
    /// Labels, sent to the coordinator and put into node.json.
    pub labels: BTreeMap<String, String>,
    /// How far back the logs of this node's own bundles go when nobody says: `48h`, or `all`. A coordinator has a setting of its own.
    pub window: Lookback,
    /// What is taken out beyond what the built-in rules do, which cannot be switched off here.
    pub redact: RedactConfig,
    /// Bounds; collectors may set tighter or wider ones for their own sources, save for the whole.
    pub limits: AgentLimits,
    /// Vitals over time, kept in the state folder.
    pub history: HistoryConfig,
    /// When a collection pauses since the node has too much to do.
    pub pressure: PressureLimits,
}

/// How often vitals are kept, and for how long. The file takes 512 bytes for each.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HistoryConfig {
    /// Whether they are; `off` leaves what is there as it is.
    #[serde(deserialize_with = "measure::de_switch")]
    pub record: bool,
    /// Time between two samples.
    #[serde(deserialize_with = "measure::de_wait")]
    pub short: Duration,
    /// How long samples are kept.
    #[serde(deserialize_with = "measure::de_wait")]
    pub short_keep: Duration,
    /// Time that an average is about.
    #[serde(deserialize_with = "measure::de_wait")]
    pub long: Duration,
    /// How long averages are kept.
    #[serde(deserialize_with = "measure::de_wait")]
    pub long_keep: Duration,
}

impl Default for HistoryConfig {
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(n * 60);
        Self {
            record: true,
            short: Duration::from_secs(10),
            short_keep: minutes(60),
            long: minutes(1),
            long_keep: minutes(2 * 24 * 60),
        }
    }
}

impl HistoryConfig {
    /// The same as counts of samples.
    pub fn extent(&self) -> Extent {
        let slots = |keep: Duration, every: Duration| {
            let slots = keep.as_millis().div_ceil(every.as_millis().max(1));
            u32::try_from(slots).unwrap_or(u32::MAX).max(1)
        };
        let (short_slots, long_slots) = (slots(self.short_keep, self.short), slots(self.long_keep, self.long));
        Extent { short: self.short, short_slots, long: self.long, long_slots }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let fail = |key, problem: String| Err(ConfigError::Value { key, problem });
        if self.short < Duration::from_millis(100) {
            return fail("history.short", "must be 100ms at least".into());
        }
        if self.long < self.short {
            return fail("history.long", "must not be less than `history.short`".into());
        }
        let most = ring::SLOTS;
        let extent = self.extent();
        for (key, slots) in [("history.short_keep", extent.short_slots), ("history.long_keep", extent.long_slots)] {
            if slots > most {
                return fail(key, format!("comes to {slots} samples; there may be at most {most}"));
            }
        }
        Ok(())
    }
}

/// Bounds of one collection.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgentLimits {
    /// Bytes of one file, unless its collector says otherwise.
    #[serde(deserialize_with = "measure::de_size")]
    pub file_bytes: u64,
    /// Bytes of one journal export, unless its collector says otherwise.
    #[serde(deserialize_with = "measure::de_size")]
    pub journal_bytes: u64,
    /// Bytes of one command's output, unless its collector says otherwise.
    #[serde(deserialize_with = "measure::de_size")]
    pub command_bytes: u64,
    /// Time of one command, unless its collector says otherwise.
    #[serde(deserialize_with = "measure::de_wait")]
    pub command_time: Duration,
    /// Bytes read from all sources of one collection together.
    #[serde(deserialize_with = "measure::de_size")]
    pub total_bytes: u64,
    /// Entries of one collection.
    pub entries: u64,
    /// Bytes of unlinked spool.
    #[serde(deserialize_with = "measure::de_size")]
    pub spool_bytes: u64,
    /// Bytes that the spool leaves free on its disk, or 5 % of the disk where that is less; 0 for none.
    #[serde(deserialize_with = "measure::de_size")]
    pub disk_free: u64,
    /// Time a file system may take to answer before it is left out.
    #[serde(deserialize_with = "measure::de_wait")]
    pub mount_wait: Duration,
}

impl Default for AgentLimits {
    fn default() -> Self {
        Self {
            file_bytes: limits::FILE_BYTES,
            journal_bytes: limits::JOURNAL_BYTES,
            command_bytes: limits::COMMAND.1,
            command_time: limits::COMMAND.0,
            total_bytes: limits::NODE_BYTES,
            entries: limits::NODE_ENTRIES,
            spool_bytes: 4 << 30,
            disk_free: limits::DISK_FLOOR.1,
            mount_wait: Duration::from_secs(5),
        }
    }
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            url: None,
            ca_file: None,
            proxy: None,
            proxy_auth_file: None,
            no_proxy: Vec::new(),
            secret_file: "/etc/sheaf/agent.secret".into(),
            state_dir: "/var/lib/sheaf-agent".into(),
            spool_dir: None,
            log: None,
            host_root: "/".into(),
            builtin_collectors: true,
            collectors_dirs: vec!["/usr/lib/sheaf/collectors.d".into(), "/etc/sheaf/collectors.d".into()],
            collect: true,
            orders_per_hour: None,
            network_file_systems: false,
            node: None,
            labels: BTreeMap::new(),
            window: Lookback::default(),
            redact: RedactConfig::default(),
            limits: AgentLimits::default(),
            history: HistoryConfig::default(),
            pressure: PressureLimits::default(),
        }
    }
}

impl AgentConfig {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// When the file cannot be read, holds an unknown key, or a value cannot be meant.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
        Self::parse(&text, path)
    }

    /// Reads and checks a configuration; `path` only names it in errors.
    ///
    /// # Errors
    /// When it holds an unknown key, or a value cannot be meant.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Self = measure::parse(text).map_err(|error| ConfigError::Text { path: path.into(), error })?;
        config.check()?;
        config.check_rules()?;
        Ok(config)
    }

    /// Reads a configuration file to look it over, with what is wrong with its values. Rules of redaction have findings of their own.
    ///
    /// # Errors
    /// When the file cannot be read, or holds an unknown key.
    pub fn look_over(path: &Path) -> Result<(Self, Option<ConfigError>), ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
        let config: Self = measure::parse(&text).map_err(|error| ConfigError::Text { path: path.into(), error })?;
        let fault = config.check().err();
        Ok((config, fault))
    }

    /// Where spool files go.
    pub fn spool(&self) -> &Path {
        self.spool_dir.as_deref().unwrap_or(&self.state_dir)
    }

    /// The proxy by which the coordinator is reached, if there is one; reads its user and password.
    ///
    /// # Errors
    /// When it cannot be meant, or user and password cannot be read.
    pub fn proxy(&self) -> Result<Option<Proxy>, ConfigError> {
        let Some(url) = &self.proxy else { return Ok(None) };
        let credentials = match &self.proxy_auth_file {
            None => None,
            Some(file) => match fs::read_to_string(file) {
                Ok(text) => Some(Secret::new(text)),
                Err(error) => return Err(ConfigError::ProxyFile(file.clone(), error)),
            },
        };
        Ok(Some(Proxy::new(url, credentials, &self.no_proxy)?))
    }

    fn check_rules(&self) -> Result<(), ConfigError> {
        match redact::lint(&self.redact.rules).into_iter().find(|finding| finding.refused) {
            Some(finding) => {
                let problem = format!("`{}`: {}", finding.rule, finding.problem);
                Err(ConfigError::Value { key: "redact.rules", problem })
            }
            None => Ok(()),
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let fail = |key, problem: String| Err(ConfigError::Value { key, problem });
        if !self.host_root.is_absolute() {
            return fail("host_root", "must be an absolute path".into());
        }
        if let Some(folder) = self.collectors_dirs.iter().find(|folder| !folder.is_absolute()) {
            return fail("collectors_dirs", format!("`{}` must be an absolute path", folder.display()));
        }
        if let Some(url) = &self.url {
            let parsed: Result<http::Uri, _> = url.parse();
            if !parsed.is_ok_and(|uri| uri.scheme_str() == Some("https") && uri.host().is_some()) {
                return fail("url", format!("`{}` must be https://HOST:PORT", crate::report::brief(url, 200)));
            }
        }
        match &self.proxy {
            Some(url) => match Proxy::new(url, None, &self.no_proxy) {
                Err(error @ ProxyError::Except(_)) => return fail("no_proxy", error.to_string()),
                Err(error) => return fail("proxy", error.to_string()),
                Ok(_) => {}
            },
            None if self.proxy_auth_file.is_some() => return fail("proxy_auth_file", "there is no `proxy`".into()),
            None => {}
        }
        if self.orders_per_hour.is_some_and(|most| !(1..=ORDERS).contains(&most)) {
            return fail("orders_per_hour", format!("must be 1 to {ORDERS}; `collect = \"off\"` follows none"));
        }
        let long = |(key, value): &(&String, &String)| key.is_empty() || key.len() > 63 || value.len() > 255;
        if let Some((key, _)) = self.labels.iter().find(long) {
            return fail(
                "labels",
                format!("`{}` must be at most 63 bytes, its value 255", crate::report::brief(key, 80)),
            );
        }
        if self.labels.len() > 64 {
            return fail("labels", "there may be at most 64".into());
        }
        if self.limits.entries == 0 {
            return fail("limits", "entries must not be 0".into());
        }
        if self.limits.total_bytes < limits::LEAST_BUDGET {
            return fail(
                "limits",
                "total_bytes must be 64KiB at least, in which what stands in every bundle has room".into(),
            );
        }
        self.history.check()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<AgentConfig, String> {
        AgentConfig::parse(text, Path::new("agent.toml")).map_err(|e| e.to_string())
    }

    #[test]
    fn an_empty_file_is_the_default() {
        let config = parse("").expect("parsed");
        assert_eq!(config.host_root, Path::new("/"));
        assert!(config.collect && !config.network_file_systems);
        assert_eq!(config.limits, AgentLimits::default());
        assert_eq!(config.spool(), Path::new("/var/lib/sheaf-agent"));
    }

    #[test]
    fn everything_can_be_set() {
        let text = r#"
            url = "https://coordinator.example:25556"
            collect = "off"
            node = "web-1"
            host_root = "/host"
            [labels]
            rack = "7"
            [limits]
            file_bytes = "64MiB"
            command_time = "10s"
            [history]
            short = "500ms"
            long_keep = "7d"
        "#;
        let config = parse(text).expect("parsed");
        assert!(!config.collect);
        assert_eq!(config.labels["rack"], "7");
        assert_eq!(config.limits.file_bytes, 64 << 20);
        assert_eq!(config.limits.command_time, Duration::from_secs(10));
        assert_eq!(config.limits.entries, limits::NODE_ENTRIES);
        let extent = config.history.extent();
        assert_eq!((extent.short.as_millis(), extent.short_slots, extent.long_slots), (500, 7200, 10_080));
        let usual = AgentConfig::default().history.extent();
        assert_eq!((usual.short_slots, usual.long_slots), (360, 2880));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        for (text, expected) in [
            ("host_rooot = \"/\"", "agent.toml: line 1: unknown key `host_rooot`; did you mean `host_root`?"),
            ("[limits]\nfile_byte = 1", "agent.toml: line 2: unknown key `file_byte`; did you mean `file_bytes`?"),
            ("host_root = \"host\"", "host_root: must be an absolute path"),
            ("url = \"http://x:1\"", "url: `http://x:1` must be https://HOST:PORT"),
            ("proxy = \"proxy:3128\"", "proxy: `proxy:3128` is no proxy of the form http://HOST:PORT"),
            (
                "proxy = \"http://p:1\"\nno_proxy = [\"a b\"]",
                "no_proxy: `a b` is no host, domain, address or network such as 10.0.0.0/8",
            ),
            ("proxy_auth_file = \"/x\"", "proxy_auth_file: there is no `proxy`"),
            ("orders_per_hour = 0", "orders_per_hour: must be 1 to 3600; `collect = \"off\"` follows none"),
            (
                "[[redact.rules]]\nname = \"case\"\npattern = \"(case\"",
                "redact.rules: `case`: its pattern is no usable regular expression: unclosed group",
            ),
            (
                "[[redact.rules]]\nname = \"case\"\npatern = \"x\"",
                "agent.toml: line 3: unknown key `patern`; did you mean `pattern`?",
            ),
            ("[redact]\noff = true", "agent.toml: line 2: unknown key `off`, expected `rules`"),
            ("[limits]\nentries = 0", "limits: entries must not be 0"),
            (
                "[limits]\ntotal_bytes = \"63KiB\"",
                "limits: total_bytes must be 64KiB at least, in which what stands in every bundle has room",
            ),
            ("[history]\nshort = \"1ms\"", "history.short: must be 100ms at least"),
            ("[history]\nlong = \"5s\"", "history.long: must not be less than `history.short`"),
            ("[history]\nlong_keep = \"60d\"", "history.long_keep: comes to 86400 samples; there may be at most 20000"),
        ] {
            assert_eq!(parse(text).expect_err(text), expected);
        }
    }
}
