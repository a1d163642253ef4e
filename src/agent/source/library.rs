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
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use super::*;

    const OWN: &str = "name = \"own\"\nversion = \"1\"\nwhy = \"A test.\"\ndefault = false\n";

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        mode(folder.path(), 0o755);
        folder
    }

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    }

    fn put(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, text).expect("written");
        mode(&path, 0o644);
        path
    }

    fn reason(library: &Library, name: &str) -> String {
        assert!(!library.declared().contains_key(name), "{name} must not be there");
        library.refused().find(|r| r.name == name).map(|r| r.reason.clone()).unwrap_or_default()
    }

    #[test]
    fn the_built_in_ones_are_whole_and_say_why() {
        let library = Library::load(&[]);
        let names: Vec<_> = library.declared().into_keys().collect();
        assert_eq!(names, ["logs", "network", "processes", "system", "systemd"]);
        assert!(library.collectors().all(|collector| collector.why.len() > 20));
    }

    #[test]
    fn files_override_by_name_and_later_folders_win() {
        let (vendor, local) = (folder(), folder());
        put(vendor.path(), "own.toml", &OWN.replace("\"1\"", "\"2\""));
        put(local.path(), "own.toml", &OWN.replace("\"1\"", "\"3\""));
        put(local.path(), "logs.toml", &OWN.replace("own", "logs"));
        put(local.path(), "notes.txt", "not a collector");
        let library = Library::load(&[vendor.path().into(), "/nonexistent".into(), local.path().into()]);
        let own = library.collectors().find(|c| c.name.as_str() == "own").expect("own");
        assert_eq!(own.version, "3");
        assert!(!library.declared()["logs"], "the built-in one is replaced");
        assert_eq!(library.refused().count(), 0);
    }

    #[test]
    fn a_file_that_others_may_write_is_refused_and_replaces_nothing_by_the_built_in() {
        let folder = folder();
        mode(&put(folder.path(), "logs.toml", &OWN.replace("own", "logs")), 0o664);
        let library = Library::load(&[folder.path().into()]);
        assert!(reason(&library, "logs").contains("mode 0664"), "{:?}", library.refused);
        let plan = library.plan(&["logs".to_owned()], &AgentConfig::default());
        assert!(plan.collectors.is_empty());
        assert_eq!(plan.notes[0].outcome, Outcome::Failed);
    }

    #[test]
    fn a_folder_that_others_may_write_is_refused() {
        let folder = folder();
        put(folder.path(), "own.toml", OWN);
        mode(folder.path(), 0o777);
        assert!(reason(&Library::load(&[folder.path().into()]), "own").contains("its folder has mode 0777"));
    }

    #[test]
    fn a_file_of_another_user_is_refused() {
        let folder = folder();
        let path = put(folder.path(), "own.toml", OWN);
        // Only root can give files away; as another user the owner check is covered by root's run.
        if chown(&path, Some(12_345), None).is_ok() {
            assert!(reason(&Library::load(&[folder.path().into()]), "own").contains("belongs to user 12345"));
        }
    }

    #[test]
    fn broken_files_are_refused_by_name() {
        let folder = folder();
        put(folder.path(), "own.toml", &format!("{OWN}comands = []\n"));
        put(folder.path(), "other.toml", OWN);
        rustix::fs::mkfifoat(rustix::fs::CWD, folder.path().join("fifo.toml"), rustix::fs::Mode::RUSR).expect("a FIFO");
        put(folder.path(), "huge.toml", &format!("{OWN}#{}", " ".repeat(FILE_BYTES as usize)));
        let library = Library::load(&[folder.path().into()]);
        assert!(reason(&library, "own").contains("unknown key `comands`; did you mean `commands`?"));
        assert!(reason(&library, "other").contains("its name is `own`"));
        assert!(reason(&library, "fifo").contains("not a regular file"));
        assert!(reason(&library, "huge").contains("larger than"));
    }

    #[test]
    fn an_order_can_only_name_what_is_declared() {
        let library = Library::load(&[]);
        let config = AgentConfig::default();
        let plan = library.plan(&["system".into(), "system".into(), "../etc\n".into()], &config);
        assert_eq!(plan.collectors.len(), 1);
        assert_eq!(plan.notes.len(), 1);
        assert_eq!(plan.notes[0].path, "collectors/*");
        assert!(plan.notes[0].reason.ends_with("`../etc\\n`"), "{}", plan.notes[0].reason);
        assert_eq!(plan.notes[0].outcome, Outcome::Skipped);
        let all = library.plan(&[], &config);
        assert_eq!(all.collectors.len(), library.collectors().filter(|c| c.default).count());
    }

    #[test]
    fn packs_are_those_of_the_files_and_what_replaces_counts_to_the_replaced() {
        let folder = folder();
        let packed = |name: &str, pack: &str| OWN.replace("own", name).replace("default = false", pack);
        put(folder.path(), "web.toml", &packed("web", "pack = { name = \"web-pack\", version = \"1.4.0\" }"));
        put(folder.path(), "logs.toml", &packed("logs", ""));
        put(folder.path(), "own.toml", OWN);
        let library = Library::load(&[folder.path().into()]);
        assert_eq!(library.refused().count(), 0);
        let packs = library.packs();
        let shown: Vec<_> = packs.iter().map(|p| (p.name.as_str(), p.version.as_str(), p.jobs.len())).collect();
        let built_in = (BUILT_IN_PACK, env!("CARGO_PKG_VERSION"), BUILT_IN.len());
        assert_eq!(shown, [(LOCAL_PACK, "0", 1), built_in, ("web-pack", "1.4.0", 1)]);
        assert_eq!(library.pack_of("logs"), Some((BUILT_IN_PACK, env!("CARGO_PKG_VERSION"))));
    }

    #[test]
    fn a_collector_of_two_packs_is_refused_in_clear_words() {
        let (vendor, local) = (folder(), folder());
        let packed = |name: &str, pack: &str| {
            OWN.replace("own", name)
                .replace("default = false", &format!("pack = {{ name = \"{pack}\", version = \"1\" }}"))
        };
        put(vendor.path(), "web.toml", &packed("web", "one"));
        put(local.path(), "web.toml", &packed("web", "two"));
        put(local.path(), "own.toml", &packed("own", BUILT_IN_PACK));
        let library = Library::load(&[vendor.path().into(), local.path().into()]);
        assert!(reason(&library, "web").contains("collector `web` is of the pack `one` already"));
        assert!(reason(&library, "own").contains("is sheaf's own"));
    }

    #[test]
    fn a_deployment_runs_its_jobs_with_its_properties() {
        let folder = folder();
        let properties = "[properties.site]\npattern = \"[a-z]+\"\n[[files]]\nroots = [\"/var/log\"]\npaths = [\"/var/log/{{site}}/*\"]\n";
        put(folder.path(), "own.toml", &format!("{OWN}{properties}"));
        let (library, config) = (Library::load(&[folder.path().into()]), AgentConfig::default());
        let job = |site: serde_json::Value| Job {
            collector: "own".to_owned(),
            properties: [("site".to_owned(), site)].into(),
            ..Job::default()
        };
        let deployment = |job| Deployment { name: "d".to_owned(), jobs: vec![job] };
        let plan = library.plan_of(&deployment(job("main".into())), &[], &config);
        assert_eq!(plan.collectors[0].files[0].paths[0].to_string(), "/var/log/main/*");
        // The file's pattern may have changed since.
        let plan = library.plan_of(&deployment(job("../x".into())), &["own".to_owned(), "absent".to_owned()], &config);
        assert!(plan.collectors.is_empty());
        assert_eq!((plan.notes[0].outcome, plan.notes[1].outcome), (Outcome::Failed, Outcome::Skipped));
        assert!(plan.notes[1].reason.contains("`d` has no such job"), "{}", plan.notes[1].reason);
        let plan = library.plan_of(&deployment(job("main".into())), &["logs".to_owned()], &config);
        assert_eq!((plan.collectors.len(), plan.notes.len()), (1, 0), "the node's own, without the job");
        let other = Job { pack: Some(BUILT_IN_PACK.to_owned()), ..job("main".into()) };
        assert!(library.filled(&other).expect_err("refused").contains("belongs to the pack `local`"));
        // Without a deployment there is no value to run it with.
        let plan = library.plan(&["own".to_owned()], &config);
        assert_eq!((plan.collectors.len(), plan.notes[0].outcome), (0, Outcome::Skipped));
    }
}
