//! Whole collections over fixture trees: every bad thing that a disk can hold, and what must come out of it.

mod budget;
mod files;
mod hung;
mod programs;
mod windows;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::collector::Collector;
use super::{Found, Kind, Plan, Record, collect};
use crate::agent::config::AgentConfig;
use crate::agent::host::Host;
use crate::bundle::outcome::{Cut, Outcome};
use crate::bundle::segment::Note;
use crate::bundle::slice::Slice;

/// A host's root in a temporary folder.
struct Fixture {
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // Other users of a test may have to come in.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        Self { folder }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path.trim_start_matches('/'))
    }

    fn put(&self, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(&path, content).expect("written");
        path
    }

    fn host(&self) -> Host {
        Host::open(self.folder.path()).expect("opened")
    }

    /// Collects what a collector of these lines declares.
    fn collect(&self, lines: &str) -> Taken {
        take(&self.host(), &plan(lines), &mut |_| {})
    }
}

/// A plan with one collector, whose TOML ends in `lines`.
fn plan(lines: &str) -> Plan {
    let text = format!("name = \"test\"\nversion = \"1\"\nwhy = \"A test.\"\n{lines}");
    let mut plan = Plan::new(&AgentConfig::default());
    plan.collectors.push(Collector::parse(&text).expect("a collector"));
    plan
}

/// One record, read to its end.
#[derive(Debug, PartialEq)]
struct Read {
    content: Vec<u8>,
    kind: Kind,
    link: Option<String>,
    original: Option<String>,
    mode: Option<u32>,
    trouble: Option<(Outcome, String)>,
    slice: Option<Slice>,
    cut: Option<Cut>,
    /// Whether lines are yet to be left out of it.
    lens: bool,
}

/// What a collection gave, node.json left out.
#[derive(Debug, Default, PartialEq)]
struct Taken {
    records: BTreeMap<String, Read>,
    notes: Vec<Note>,
    order: Vec<String>,
    estimate: Option<u64>,
}

impl Taken {
    fn content(&self, path: &str) -> Option<&[u8]> {
        self.records.get(path).map(|read| read.content.as_slice())
    }

    /// The note on a path: what became of it, and why.
    fn note(&self, path: &str) -> Option<(Outcome, &str)> {
        self.notes.iter().find(|note| note.path == path).map(|note| (note.outcome, note.reason.as_str()))
    }

    #[track_caller]
    fn skipped(&self, path: &str, reason: &str) {
        let (outcome, why) = self.note(path).unwrap_or_else(|| panic!("no note on {path}: {self:?}"));
        assert!(outcome == Outcome::Skipped && why.contains(reason), "{path}: {outcome}, {why}");
        assert!(!self.records.contains_key(path), "{path} was collected too");
    }
}

/// Runs a collection; `disturb` sees each record before it is read.
fn take(host: &Host, plan: &Plan, disturb: &mut dyn FnMut(&mut Record)) -> Taken {
    let mut taken = Taken::default();
    let ended = collect(plan, host, &CancellationToken::new(), &mut |found| {
        match found {
            Found::Missing(note) => taken.notes.push(note),
            Found::Estimate(bytes) => taken.estimate = Some(bytes),
            Found::Record(record) if record.path.as_str() == "node.json" => {}
            Found::Record(record) => read(record, disturb, &mut taken),
        }
        ControlFlow::Continue(())
    });
    assert_eq!(ended, ControlFlow::Continue(()));
    taken
}

fn read(mut record: Record, disturb: &mut dyn FnMut(&mut Record), taken: &mut Taken) {
    disturb(&mut record);
    let mut content = Vec::new();
    if record.content.open().is_ok() {
        record.content.read_to_end(&mut content).expect("read");
    }
    let path = record.path.to_string();
    taken.order.push(path.clone());
    let Record { kind, link, original, mode, lens, .. } = record;
    let lens = lens.is_some();
    let (slice, cut, trouble) = (record.content.slice(), record.content.cut(), record.content.after());
    let read = Read { content, kind, link, original, mode, trouble, slice, cut, lens };
    let before = taken.records.insert(path.clone(), read);
    assert!(before.is_none(), "{path} came twice");
}

/// Runs `work` as a user who is not root, on a thread of its own; as the user who runs the test when that one is not root already.
fn without_root<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(|| {
        if nix::unistd::geteuid().is_root() {
            nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65_534));
            nix::unistd::setfsgid(nix::unistd::Gid::from_raw(65_534));
        }
        work()
    });
    thread.join().expect("joined")
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}
