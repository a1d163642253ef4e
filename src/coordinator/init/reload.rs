//! What of a running coordinator a new configuration changes, and what waits for a restart.
//!
//! Certificates, names and the limits of downloads are taken while listeners and connections stand; downloads that run keep the limits
//! that they began with. A configuration that cannot be used changes nothing.

use std::fmt::Debug;
use std::sync::Arc;

use super::certificates::Certificates;
use super::{SetupError, trusted_ca};
use crate::coordinator::config::{CoordinatorConfig, Limits};
use crate::coordinator::pki::Pki;
use crate::coordinator::run::Engine;

/// Puts new configurations in force.
pub struct Reloader {
    pub(super) config: CoordinatorConfig,
    pub(super) engine: Engine,
    pub(super) certificates: Arc<Certificates>,
    pub(super) pki: Arc<Pki>,
}

impl Reloader {
    /// Takes what of `new` can be taken, and names what needs a restart.
    ///
    /// # Errors
    /// When it cannot be used; nothing has changed then.
    pub fn take(&mut self, new: &CoordinatorConfig) -> Result<Vec<&'static str>, SetupError> {
        if let Some(fault) = new.fault() {
            return Err(SetupError::Config(fault));
        }
        let (next, mut needs_restart) = settle(&self.config, new);
        let ca = trusted_ca(&next, &self.pki)?;
        if ca != self.pki.told_ca().as_bytes() {
            needs_restart.push("tls.ca");
        }
        self.certificates.take(&next)?;
        self.engine.set(next.engine());
        self.config = next;
        Ok(needs_restart)
    }
}

/// What is in force after a reload, and the keys of `new` that are not.
fn settle(old: &CoordinatorConfig, new: &CoordinatorConfig) -> (CoordinatorConfig, Vec<&'static str>) {
    let (was, will) = (&old.limits, &new.limits);
    let next = CoordinatorConfig {
        tls: new.tls.clone(),
        names: new.names.clone(),
        log: new.log.clone(),
        limits: Limits {
            memory_mib: was.memory_mib,
            spool_mib: was.spool_mib,
            waiting_bundles: was.waiting_bundles,
            connections: was.connections,
            ..will.clone()
        },
        ..old.clone()
    };
    // Nothing in a configuration is a secret, and all of it prints.
    let differs = |one: &dyn Debug, other: &dyn Debug| format!("{one:?}") != format!("{other:?}");
    let keys: [(&'static str, &dyn Debug, &dyn Debug); 15] = [
        ("public", &old.public, &new.public),
        ("agents", &old.agents, &new.agents),
        ("state_dir", &old.state_dir, &new.state_dir),
        ("master_key", &old.master_key, &new.master_key),
        ("external_url", &old.external_url, &new.external_url),
        ("access", &old.access, &new.access),
        ("federation", &old.federation, &new.federation),
        ("audit", &old.audit, &new.audit),
        ("window", &old.window, &new.window),
        ("bundle", &old.bundle, &new.bundle),
        ("tasks", &old.tasks, &new.tasks),
        ("stored", &old.stored, &new.stored),
        ("limits.memory_mib, limits.spool_mib", &(was.memory_mib, was.spool_mib), &(will.memory_mib, will.spool_mib)),
        ("limits.waiting_bundles", &was.waiting_bundles, &will.waiting_bundles),
        ("limits.connections", &was.connections, &will.connections),
    ];
    let mut waiting: Vec<_> =
        keys.into_iter().filter(|(_, one, other)| differs(*one, *other)).map(|(key, ..)| key).collect();
    if waiting.is_empty() && differs(&next, new) {
        waiting.push("other keys");
    }
    (next, waiting)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> CoordinatorConfig {
        toml::from_str(text).expect("a configuration")
    }

    #[test]
    fn what_needs_a_restart_is_named_and_stays() {
        let old = config("");
        let new = config(
            "public = '127.0.0.1:9'\nnames = ['x.example']\n[limits]\nactive_nodes = 3\nmemory_mib = 99\nconnections = 7\n[access]\njoin_days = 2\n[stored]\nkeep = 5",
        );
        let (next, waiting) = settle(&old, &new);
        assert_eq!(
            waiting,
            ["public", "access", "stored", "limits.memory_mib, limits.spool_mib", "limits.connections"]
        );
        assert_eq!((next.public, next.limits.connections, next.limits.memory_mib), {
            (old.public, old.limits.connections, old.limits.memory_mib)
        });
        assert_eq!((next.limits.active_nodes, next.names), (3, vec!["x.example".to_owned()]));
        let (_, waiting) = settle(&old, &config("names = ['y.example']\n[limits]\nstall_secs = 9"));
        assert!(waiting.is_empty(), "{waiting:?}");
    }
}
