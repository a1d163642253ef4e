//! The collectors that a node declares: those compiled in, overridden by name by files on the node.
//!
//! Files come from the folders of the configuration and must be root's (or the agent's own user's) and writable by no other; a file that is
//! refused makes its collector unavailable rather than bring back what it was to replace. It never takes a collector from the wire.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::collector::{Collector, Declared};
use super::plan::{Known, Plan};
use crate::agent::config::AgentConfig;
use crate::bundle::outcome::Outcome;
use crate::bundle::segment::Note;
use crate::id::CollectorName;
use crate::protocol::questions::{BUILT_IN_PACK, Deployment, Job, LOCAL_PACK, Pack};
use crate::report;

/// Bytes of a collector file at most.
const FILE_BYTES: u64 = 256 << 10;
/// Files of one folder at most.
const FOLDER_FILES: usize = 1000;
/// Names of one request at most.
const NAMES: usize = 256;

/// Those compiled in.
const BUILT_IN: &[&str] = &[
    include_str!("../collectors/logs.toml"),
    include_str!("../collectors/network.toml"),
    include_str!("../collectors/processes.toml"),
    include_str!("../collectors/system.toml"),
    include_str!("../collectors/systemd.toml"),
];

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
}

/// All collectors of a node.
#[derive(Clone, Debug)]
pub struct Library {
    collectors: BTreeMap<String, Entry>,
    refused: BTreeMap<String, Refused>,
}

impl Library {
    /// Those compiled in, and those in `folders`; later folders override earlier ones.
    pub fn load(folders: &[PathBuf]) -> Self {
        let mut library = Self { collectors: BTreeMap::new(), refused: BTreeMap::new() };
        for text in BUILT_IN {
            match Declared::read(text) {
                Ok(declared) => library.put(declared, BUILT_IN_PACK, env!("CARGO_PKG_VERSION")),
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

    fn put(&mut self, declared: Declared, pack: &str, version: &str) {
        let name = declared.name.to_string();
        self.refused.remove(&name);
        self.collectors.insert(name, Entry { declared, pack: pack.to_owned(), version: version.to_owned() });
    }

    /// Takes a file's collector in. One without a pack may replace any, and counts to the pack of what it replaces.
    fn join(&mut self, declared: Declared) -> Result<(), String> {
        let former =
            self.collectors.get(declared.name.as_str()).map(|entry| (entry.pack.clone(), entry.version.clone()));
        let Some(pack) = &declared.pack else {
            let (pack, version) = former.unwrap_or_else(|| (LOCAL_PACK.to_owned(), "0".to_owned()));
            self.put(declared, &pack, &version);
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
        self.put(declared, &name, &version);
        Ok(())
    }

    fn refuse(&mut self, file: &Path, reason: String) {
        let name = report::brief(&stem(file), 80);
        self.collectors.remove(&name);
        self.refused.insert(name.clone(), Refused { name, file: file.to_owned(), reason });
    }

    fn add(&mut self, folder: &Path) {
        let files = match list(folder) {
            Ok(files) => files,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => return self.refuse(folder, format!("cannot list {}: {error}", folder.display())),
        };
        // Who can write into the folder can replace what stands in it.
        let trusted = fs::metadata(folder).map_err(|e| e.to_string()).and_then(|folder| trusted(&folder));
        for file in files {
            let taken = trusted.clone().map_err(|e| format!("its folder {e}")).and_then(|()| read(&file));
            match taken.and_then(|declared| self.join(declared)) {
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

fn stem(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn list(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)?.take(FOLDER_FILES) {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "toml") {
            files.push(path);
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Whether nobody but root and the agent's own user can have written it.
fn trusted(found: &fs::Metadata) -> Result<(), String> {
    let own = rustix::process::geteuid().as_raw();
    if found.uid() != 0 && found.uid() != own {
        return Err(format!("belongs to user {}, not to root", found.uid()));
    }
    if found.mode() & 0o022 != 0 {
        return Err(format!("has mode {:04o}: others than its owner may write it", found.mode() & 0o7777));
    }
    Ok(())
}

fn read(path: &Path) -> Result<Declared, String> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let file =
        File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path).map_err(|e| e.to_string())?;
    let found = file.metadata().map_err(|e| e.to_string())?;
    if !found.is_file() {
        return Err("is not a regular file".to_owned());
    }
    trusted(&found)?;
    let mut text = String::new();
    file.take(FILE_BYTES + 1).read_to_string(&mut text).map_err(|e| e.to_string())?;
    if text.len() as u64 > FILE_BYTES {
        return Err(format!("is larger than {FILE_BYTES} bytes"));
    }
    let collector = Declared::read(&text).map_err(|e| e.to_string())?;
    if collector.name.as_str() != stem(path) {
        return Err(format!("says that its name is `{}`; the file must be called {0}.toml", collector.name));
    }
    Ok(collector)
}

#[cfg(test)]
mod tests;
