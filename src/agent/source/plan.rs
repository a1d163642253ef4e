//! A plan: the collectors of one request, resolved, with the bounds that hold for it.
//!
//! It is made by [`super::library::Library::plan`] from names and the node's own files, and read by [`super::collect()`] and
//! [`super::check()`]. Nothing of it comes from the wire but the choice among declared names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::collector::Collector;
use crate::agent::config::{AgentConfig, AgentLimits};
use crate::agent::history;
use crate::bundle::segment::Note;
use crate::protocol::questions::{Kept, Pack};
use crate::window::Window;

/// Time that is taken before and after a window: clocks differ, and so do the moments when something happens and when it is written.
const PAD: Duration = Duration::from_secs(300);

/// Collectors of which only a part is wanted, and globs of one, at most.
const PICKS: usize = 256;

/// What to read.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The collectors, by name.
    pub collectors: Vec<Collector>,
    /// What of a collector is wanted, where it is not all.
    pub picks: BTreeMap<String, GlobSet>,
    /// What the request named and the node does not have.
    pub notes: Vec<Note>,
    /// Bounds of this collection.
    pub bounds: AgentLimits,
    /// Whether network file systems are read.
    pub remote: bool,
    /// The time that logs are taken from, by the clock of whoever asks.
    pub window: Window,
    /// Whether somebody waits for a percentage: it takes a walk more over all files.
    pub estimate: bool,
    /// What is never read, whatever a collector says: the agent's own secret and state, as the agent's process sees them.
    pub never: Vec<PathBuf>,
    /// Where the node's history lies.
    pub history: PathBuf,
    /// What node.json says beside what the node itself tells.
    pub known: Known,
}

/// What the agent knows of its node and the node does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Labels of the configuration.
    pub labels: BTreeMap<String, String>,
    /// Collectors that the node declares, and whether each is on by default.
    pub declared: BTreeMap<String, bool>,
    /// The packs that they belong to.
    pub packs: Vec<Pack>,
    /// Deployments that the node keeps.
    pub deployments: Vec<Kept>,
    /// The node's clock minus the coordinator's, milliseconds, as last measured.
    pub clock_offset_ms: Option<i64>,
    /// Round trip to the coordinator, milliseconds, as last measured.
    pub round_trip_ms: Option<u64>,
}

impl Plan {
    /// The window by this node's clock, padded so that nothing is lost to what clocks are wrong by.
    pub fn window_here(&self) -> Window {
        self.window.padded(PAD, self.known.clock_offset_ms.unwrap_or(0))
    }

    /// A plan without collectors, under a configuration's bounds.
    pub fn new(config: &AgentConfig) -> Self {
        let own = [Some(&config.secret_file), Some(&config.state_dir), config.spool_dir.as_ref()];
        let real = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
        Self {
            collectors: Vec::new(),
            picks: BTreeMap::new(),
            notes: Vec::new(),
            bounds: config.limits.clone(),
            remote: config.network_file_systems,
            window: Window::ALL,
            estimate: false,
            never: own.into_iter().flatten().map(real).collect(),
            history: history::file(&config.state_dir),
            known: Known::default(),
        }
    }

    /// The same plan with so many entries and bytes less to give: somebody else needs them.
    pub fn leaving(&self, entries: u64, bytes: u64) -> Self {
        let mut plan = self.clone();
        plan.bounds.entries = plan.bounds.entries.saturating_sub(entries);
        plan.bounds.total_bytes = plan.bounds.total_bytes.saturating_sub(bytes);
        plan
    }

    /// Leaves out of some collectors what none of their globs matches. A glob stands for the end of a path on the host; one that begins
    /// with `/` for all of it.
    ///
    /// # Errors
    /// For a glob that is none.
    pub fn pick(&mut self, globs: &BTreeMap<String, Vec<String>>) -> Result<(), globset::Error> {
        for (collector, globs) in globs.iter().take(PICKS).filter(|(_, globs)| !globs.is_empty()) {
            let mut set = GlobSetBuilder::new();
            for glob in globs.iter().take(PICKS) {
                let glob = glob.strip_prefix('/').map_or_else(|| format!("**/{glob}"), str::to_owned);
                set.add(GlobBuilder::new(&glob).literal_separator(true).build()?);
            }
            self.picks.insert(collector.clone(), set.build()?);
        }
        Ok(())
    }

    /// Whether something of a collector is wanted: a host path, or `commands/…` and `journal/…`.
    pub fn wants(&self, collector: &str, path: &Path) -> bool {
        let picked = self.picks.get(collector);
        picked.is_none_or(|globs| globs.is_match(path.strip_prefix("/").unwrap_or(path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_pick_by_the_ends_of_paths() {
        let mut plan = Plan::new(&AgentConfig::default());
        let wanted = ["access.log", "nginx/*.err", "/srv/*/x", "commands/*.txt"].map(str::to_owned).to_vec();
        plan.pick(&[("web".to_owned(), wanted), ("all".to_owned(), Vec::new())].into()).expect("globs");
        for path in ["/var/log/nginx/access.log", "/var/log/nginx/a.err", "/srv/a/x", "commands/uptime.txt"] {
            assert!(plan.wants("web", Path::new(path)), "{path}");
        }
        for path in ["/var/log/nginx/access.log.1", "/var/log/a.err", "/srv/a/b/x", "/a/srv/a/x", "journal/web.export"]
        {
            assert!(!plan.wants("web", Path::new(path)), "{path}");
        }
        assert!(plan.wants("all", Path::new("/x")) && plan.wants("other", Path::new("/x")));
        assert!(plan.pick(&[("web".to_owned(), vec!["[".to_owned()])].into()).is_err());
    }
}
