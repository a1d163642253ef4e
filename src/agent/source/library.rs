//! The collectors that a node declares: those compiled in, overridden by name by files on the node.
//!
//! Files come from the folders of the configuration and must be root's (or the agent's own user's) and writable by no other; a file that is
//! refused makes its collector unavailable rather than bring back what it was to replace. It never takes a collector from the wire.

pub(super) mod files;

mod built_in;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use built_in::BUILT_IN;

use super::collector::{Collector, Declared};
use super::plan::{Known, Plan};
use crate::agent::config::AgentConfig;
use crate::bundle::outcome::Outcome;
use crate::bundle::segment::Note;
use crate::id::CollectorName;
use crate::protocol::questions::{BUILT_IN_PACK, Deployment, Job, LOCAL_PACK, Pack};
use crate::report;

/// Names of one request at most.
const NAMES: usize = 256;

/// A collector file that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The name it would have.
    pub name: String,
    /// The file.
    pub file: PathBuf,
    /// Why.
    pub reason: String,
}

/// A collector, and the pack that it counts to.
#[derive(Clone, Debug)]
struct Entry {
    declared: Declared,
    pack: String,
    version: String,
    /// Where it stands; nowhere if it is compiled in.
    file: Option<PathBuf>,
    /// Where what it replaces stands.
    replaces: Option<Option<PathBuf>>,
}

/// All collectors of a node.
#[derive(Clone, Debug)]
pub struct Library {
    collectors: BTreeMap<String, Entry>,
    refused: BTreeMap<String, Refused>,
}

impl Library {
    /// Those that a node of this configuration has: what is compiled in, unless it is switched off, and the files of its folders.
    pub fn of(config: &AgentConfig) -> Self {
        let built_in = if config.builtin_collectors { BUILT_IN } else { &[] };
        Self::with(built_in, &config.collectors_dirs)
    }

    /// Those compiled in, and those in `folders`; later folders override earlier ones.
    pub fn load(folders: &[PathBuf]) -> Self {
        Self::with(BUILT_IN, folders)
    }

    fn with(built_in: &[&str], folders: &[PathBuf]) -> Self {
        let mut library = Self { collectors: BTreeMap::new(), refused: BTreeMap::new() };
        for text in built_in {
            match Declared::read(text) {
                Ok(declared) => library.put(declared, None, BUILT_IN_PACK, env!("CARGO_PKG_VERSION")),
                Err(error) => unreachable!("a test parses every collector that is compiled in: {error}"),
            }
        }
        for folder in folders {
            library.add(folder);
        }
        library
    }

    /// All collectors, by name.
    pub fn collectors(&self) -> impl Iterator<Item = &Declared> {
        self.collectors.values().map(|entry| &entry.declared)
    }

    /// The pack that a collector counts to, and its version.
    pub fn pack_of(&self, collector: &str) -> Option<(&str, &str)> {
        self.collectors.get(collector).map(|entry| (entry.pack.as_str(), entry.version.as_str()))
    }

    /// Collectors that stand in place of others: name, file, and the file of what is replaced, if that was not compiled in.
    pub fn replacing(&self) -> impl Iterator<Item = (&str, &Path, Option<&Path>)> {
        self.collectors.iter().filter_map(|(name, entry)| {
            let replaced = entry.replaces.as_ref()?;
            Some((name.as_str(), entry.file.as_deref()?, replaced.as_deref()))
        })
    }

    /// All packs with their collectors, by name and version.
    pub fn packs(&self) -> Vec<Pack> {
        let mut packs: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
        for (name, entry) in &self.collectors {
            packs.entry((&entry.pack, &entry.version)).or_default().push(name.clone());
        }
        let pack =
            |((name, version), jobs): ((&str, &str), _)| Pack { name: name.into(), version: version.into(), jobs };
        packs.into_iter().map(pack).collect()
    }

    /// Files that were not taken, and why; for the log and for `sheaf agent check`.
    pub fn refused(&self) -> impl Iterator<Item = &Refused> {
        self.refused.values()
    }

    /// What the node declares to the coordinator: names, and whether each is on by default.
    pub fn declared(&self) -> BTreeMap<String, bool> {
        self.collectors.iter().map(|(name, entry)| (name.clone(), entry.declared.default)).collect()
    }

    /// What to read for a request that names `names`; for none, the node's default.
    pub fn plan(&self, names: &[String], config: &AgentConfig) -> Plan {
        let mut plan = Plan::new(config);
        plan.known = self.known(config);
        if names.is_empty() {
            plan.notes =
                self.refused.values().map(|refused| note(&refused.name, Outcome::Failed, &refused.reason)).collect();
            for entry in self.collectors.values().filter(|entry| entry.declared.default) {
                put_filled(&mut plan, &entry.declared, &BTreeMap::new());
            }
            return plan;
        }
        let mut wanted: Vec<&String> = names.iter().take(NAMES).collect();
        wanted.sort_unstable();
        wanted.dedup();
        for name in wanted {
            match (self.collectors.get(name), self.refused.get(name)) {
                (Some(entry), _) => put_filled(&mut plan, &entry.declared, &BTreeMap::new()),
                (None, Some(refused)) => plan.notes.push(note(name, Outcome::Failed, &refused.reason)),
                (None, None) => plan.notes.push(note(name, Outcome::Skipped, "this node declares no such collector")),
            }
        }
        if names.len() > NAMES {
            let reason = format!("only the first {NAMES} names of a request are read");
            plan.notes.push(note("*", Outcome::Skipped, &reason));
        }
        plan
    }

    /// What to read for a deployment: its jobs with their properties. Where `names` are given, only those: of its jobs, or else of the
    /// node's own collectors as they run without a deployment.
    pub fn plan_of(&self, deployment: &Deployment, names: &[String], config: &AgentConfig) -> Plan {
        let mut plan = Plan::new(config);
        plan.known = self.known(config);
        for job in &deployment.jobs {
            if names.is_empty() || names.contains(&job.collector) {
                // The file may have changed since the deployment was accepted.
                match self.filled(job) {
                    Ok(collector) => plan.collectors.push(collector),
                    Err(reason) => plan.notes.push(note(&job.collector, Outcome::Failed, &reason)),
                }
            }
        }
        for name in names.iter().take(NAMES) {
            if deployment.jobs.iter().any(|job| job.collector == *name) {
                continue;
            }
            match self.collectors.get(name) {
                Some(entry) => put_filled(&mut plan, &entry.declared, &BTreeMap::new()),
                None => {
                    let reason =
                        format!("deployment `{}` has no such job on this node, nor has the node", deployment.name);
                    plan.notes.push(note(name, Outcome::Skipped, &reason));
                }
            }
        }
        plan
    }

    /// A job's collector with the job's properties, as this node would run it now.
    ///
    /// # Errors
    /// With what is wrong with the job, in words for whoever wrote it.
    pub fn filled(&self, job: &Job) -> Result<Collector, String> {
        let Some(entry) = self.collectors.get(&job.collector) else {
            return Err(match self.refused.get(&job.collector) {
                Some(refused) => refused.reason.clone(),
                None => "this node declares no such collector".to_owned(),
            });
        };
        if let Some(pack) = job.pack.as_ref().filter(|pack| **pack != entry.pack) {
            let pack = report::brief(pack, 80);
            return Err(format!("on this node it belongs to the pack `{}`, not to `{pack}`", entry.pack));
        }
        entry.declared.fill(&job.properties).map_err(|error| error.to_string())
    }

    /// What node.json and the hello say of this library.
    pub fn known(&self, config: &AgentConfig) -> Known {
        Known { labels: config.labels.clone(), declared: self.declared(), packs: self.packs(), ..Known::default() }
    }

    fn put(&mut self, declared: Declared, file: Option<&Path>, pack: &str, version: &str) {
        let name = declared.name.to_string();
        self.refused.remove(&name);
        let replaces = self.collectors.get(&name).map(|former| former.file.clone());
        let (pack, version, file) = (pack.to_owned(), version.to_owned(), file.map(Path::to_owned));
        self.collectors.insert(name, Entry { declared, pack, version, file, replaces });
    }

    /// Takes a file's collector in. One without a pack may replace any, and counts to the pack of what it replaces.
    fn join(&mut self, declared: Declared, file: &Path) -> Result<(), String> {
        let former =
            self.collectors.get(declared.name.as_str()).map(|entry| (entry.pack.clone(), entry.version.clone()));
        let Some(pack) = &declared.pack else {
            let (pack, version) = former.unwrap_or_else(|| (LOCAL_PACK.to_owned(), "0".to_owned()));
            self.put(declared, Some(file), &pack, &version);
            return Ok(());
        };
        let (name, version) = (pack.name.to_string(), pack.version.clone());
        if name == BUILT_IN_PACK || name == LOCAL_PACK {
            return Err(format!(
                "the pack name `{name}` is sheaf's own; a file that replaces a collector names no pack"
            ));
        }
        if let Some((former, _)) = former.filter(|(former, _)| *former != name) {
            let collector = &declared.name;
            return Err(format!(
                "collector `{collector}` is of the pack `{former}` already, and cannot be of `{name}` too; rename one of them"
            ));
        }
        self.put(declared, Some(file), &name, &version);
        Ok(())
    }

    fn refuse(&mut self, file: &Path, reason: String) {
        let name = report::brief(&files::stem(file), 80);
        self.collectors.remove(&name);
        self.refused.insert(name.clone(), Refused { name, file: file.to_owned(), reason });
    }

    fn add(&mut self, folder: &Path) {
        let files = match files::list(folder, &mut |_| {}) {
            Ok(files) => files,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => return self.refuse(folder, format!("cannot list {}: {error}", folder.display())),
        };
        // Who can write into the folder can replace what stands in it.
        let trusted = fs::metadata(folder).map_err(|e| e.to_string()).and_then(|folder| files::trusted(&folder));
        for file in files {
            let taken = trusted.clone().map_err(|e| format!("its folder {e}")).and_then(|()| files::read(&file));
            match taken.and_then(|declared| self.join(declared, &file)) {
                Ok(()) => {}
                Err(reason) => self.refuse(&file, format!("{}: {reason}", file.display())),
            }
        }
    }
}

/// Adds a collector to a plan, or why it cannot run.
fn put_filled(plan: &mut Plan, declared: &Declared, given: &BTreeMap<String, serde_json::Value>) {
    match declared.fill(given) {
        Ok(collector) => plan.collectors.push(collector),
        Err(error) => plan.notes.push(note(declared.name.as_str(), Outcome::Skipped, &error.to_string())),
    }
}

fn note(name: &str, outcome: Outcome, reason: &str) -> Note {
    if name.parse::<CollectorName>().is_err() {
        let reason = format!("{reason}: `{}`", report::brief(name, 80));
        return Note { path: "collectors/*".to_owned(), outcome, reason, ..Note::default() };
    }
    let path = format!("collectors/{name}");
    Note { path, collector: name.to_owned(), outcome, reason: reason.to_owned(), ..Note::default() }
}

#[cfg(test)]
mod tests;
