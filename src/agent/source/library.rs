//! The collectors that a node declares: those compiled in, overridden by name by files on the node.
//!
//! Files come from the folders of the configuration and must be root's (or the agent's own user's) and writable by no other; a file that is
//! refused makes its collector unavailable rather than bring back what it was to replace. It never takes a collector from the wire.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::collector::Collector;
use super::plan::{Known, Plan};
use crate::agent::config::AgentConfig;
use crate::bundle::outcome::Outcome;
use crate::bundle::segment::Note;
use crate::id::CollectorName;
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

/// All collectors of a node.
#[derive(Clone, Debug)]
pub struct Library {
    collectors: BTreeMap<String, Collector>,
    refused: BTreeMap<String, Refused>,
}

impl Library {
    /// Those compiled in, and those in `folders`; later folders override earlier ones.
    pub fn load(folders: &[PathBuf]) -> Self {
        let mut library = Self { collectors: BTreeMap::new(), refused: BTreeMap::new() };
        for text in BUILT_IN {
            match Collector::parse(text) {
                Ok(collector) => library.put(collector),
                Err(error) => unreachable!("a test parses every collector that is compiled in: {error}"),
            }
        }
        for folder in folders {
            library.add(folder);
        }
        library
    }

    /// All collectors, by name.
    pub fn collectors(&self) -> impl Iterator<Item = &Collector> {
        self.collectors.values()
    }

    /// Files that were not taken, and why; for the log and for `sheaf agent check`.
    pub fn refused(&self) -> impl Iterator<Item = &Refused> {
        self.refused.values()
    }

    /// What the node declares to the coordinator: names, and whether each is on by default.
    pub fn declared(&self) -> BTreeMap<String, bool> {
        self.collectors.iter().map(|(name, collector)| (name.clone(), collector.default)).collect()
    }

    /// What to read for a request that names `names`; for none, the node's default.
    pub fn plan(&self, names: &[String], config: &AgentConfig) -> Plan {
        let mut plan = Plan::new(config);
        plan.known = Known { labels: config.labels.clone(), declared: self.declared(), ..Known::default() };
        if names.is_empty() {
            plan.collectors = self.collectors.values().filter(|collector| collector.default).cloned().collect();
            plan.notes =
                self.refused.values().map(|refused| note(&refused.name, Outcome::Failed, &refused.reason)).collect();
            return plan;
        }
        let mut wanted: Vec<&String> = names.iter().take(NAMES).collect();
        wanted.sort_unstable();
        wanted.dedup();
        for name in wanted {
            match (self.collectors.get(name), self.refused.get(name)) {
                (Some(collector), _) => plan.collectors.push(collector.clone()),
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

    fn put(&mut self, collector: Collector) {
        let name = collector.name.to_string();
        self.refused.remove(&name);
        self.collectors.insert(name, collector);
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
            match trusted.clone().map_err(|e| format!("its folder {e}")).and_then(|()| read(&file)) {
                Ok(collector) => self.put(collector),
                Err(reason) => self.refuse(&file, format!("{}: {reason}", file.display())),
            }
        }
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

fn read(path: &Path) -> Result<Collector, String> {
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
    let collector = Collector::parse(&text).map_err(|e| e.to_string())?;
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
}
