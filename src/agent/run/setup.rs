//! What the configuration comes to: one value that is made and checked whole, and replaced whole by a reload.
//!
//! It comes from a configuration and the files that it names. A collection, a reading, a connection each take the one that is in
//! force when they begin, and keep it to their end. Nothing here connects.

use std::fs;

use super::AgentError;
use crate::agent::config::AgentConfig;
use crate::agent::host::Host;
use crate::agent::send::{Dialer, Keys};
use crate::agent::source::Library;
use crate::net::proxy::Proxy;

/// What is in force.
pub(super) struct Setup {
    pub(super) config: AgentConfig,
    pub(super) host: Host,
    pub(super) dialer: Dialer,
    pub(super) keys: Keys,
    way: Way,
    /// Digests of the administrator's secrets.
    secrets: Vec<String>,
}

/// What the way to the coordinator is made of.
#[derive(PartialEq)]
struct Way {
    url: String,
    ca: Vec<u8>,
    proxy: Option<Proxy>,
}

impl Setup {
    /// Reads what the configuration names. Waits for disks.
    ///
    /// # Errors
    /// When something of it cannot be used.
    pub(super) fn new(config: AgentConfig) -> Result<Self, AgentError> {
        let url = config.url.clone().ok_or(AgentError::Missing("url"))?;
        let ca_file = config.ca_file.clone().ok_or(AgentError::Missing("ca_file"))?;
        let ca = fs::read(&ca_file).map_err(|error| AgentError::CaFile(ca_file, error))?;
        let proxy = config.proxy().map_err(AgentError::Config)?;
        let dialer = Dialer::new(&url, &ca)?.through(proxy.clone());
        let host = Host::open(&config.host_root).map_err(|error| AgentError::Root(config.host_root.clone(), error))?;
        let keys = super::keys(&config);
        let secrets = keys.check().map_err(AgentError::Secret)?;
        Ok(Self { config, host, dialer, keys, way: Way { url, ca, proxy }, secrets })
    }

    /// Whether a connection made by the other would be the same.
    pub(super) fn same_way(&self, other: &Self) -> bool {
        self.way == other.way
    }

    /// Whether an administrator has put another secret in place.
    pub(super) fn same_secret(&self, other: &Self) -> bool {
        self.secrets == other.secrets
    }

    /// The collectors, as the node's files declare them now.
    pub(super) fn library(&self) -> Library {
        Library::of(&self.config)
    }
}
