//! The audit log: who did what, through which door, from where, and what came of it.
//!
//! Records come from wherever a verb acts or a door refuses, one call each, and go as lines of JSON to a file in the state folder
//! and to the process's own log under the target `audit`. The file is only ever appended to; it is readable for its owner
//! alone, and replaced by a new one at a certain size, of which a certain number is kept. A record is with the kernel when the
//! call that it tells of is answered, so the end of this process loses none; it is on disk within a second, which a power cut may
//! cost. No secret comes here: names that strangers give are written only when a user has them.

use std::borrow::Cow;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tracing::{error, info, warn};

use super::attempts::{Allowance, Debts, Source};
use super::principal::Principal;
use super::refusal::Refusal;
use crate::clock::{Clock, rfc3339};
use crate::protocol::control::AuditRecord;
use crate::report;
use crate::shutdown::Shutdown;

use files::Files;
pub use files::{Page, Query};

mod files;

/// The folder below the state's.
const FOLDER: &str = "audit";
/// How often what was written is made sure to be on disk.
const SYNC: Duration = Duration::from_secs(1);
/// Characters of one field that came from outside.
const FIELD: usize = 256;
/// Records of strangers from one source: enough to tell of an attack, not enough to push everything else out of the files.
const STRANGER: Allowance = Allowance { burst: 30, each_ms: 5_000 };
/// The same, of all strangers together.
const STRANGERS: Allowance = Allowance { burst: 1_000, each_ms: 250 };
/// Sources of strangers that are remembered.
const SOURCES: usize = 4_096;

/// Log-ins by the same credential from the same address: one record in five minutes.
const ENTRY: Allowance = Allowance { burst: 1, each_ms: 300_000 };
/// Credentials whose last record is remembered.
const ENTRIES: usize = 16_384;

/// How much is kept.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditSettings {
    /// MiB of one file.
    pub file_mib: u64,
    /// Files, the current one among them.
    pub files: usize,
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self { file_mib: 32, files: 16 }
    }
}

/// Who is told of.
#[derive(Clone, Debug)]
pub struct Actor<'a> {
    who: Cow<'a, str>,
    door: &'static str,
    from: Option<IpAddr>,
}

impl<'a> Actor<'a> {
    /// Somebody without a good credential. `named` is a user whom the credential names, if there is one of that name.
    pub fn stranger(named: Option<&'a str>, door: &'static str, from: Option<IpAddr>) -> Self {
        Self { who: named.unwrap_or_default().into(), door, from }
    }

    /// An agent, by its node's name.
    pub fn node(name: &'a str) -> Self {
        Self { who: format!("node:{name}").into(), door: "agent-secret", from: None }
    }

    /// The same, with where the connection came from.
    #[must_use]
    pub fn at(self, from: Option<IpAddr>) -> Self {
        Self { from, ..self }
    }

    /// Whoever runs commands on the coordinator's own host.
    pub fn console() -> Self {
        Self { who: "root".into(), door: "console", from: None }
    }
}

impl<'a> From<&'a Principal> for Actor<'a> {
    fn from(who: &'a Principal) -> Self {
        Self { who: who.name.as_str().into(), door: who.door.as_str(), from: who.from }
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// It was done.
    Done,
    /// It was done, and there is more to say.
    Noted(Cow<'a, str>),
    /// It was not allowed; why.
    Refused(Cow<'a, str>),
    /// It was allowed and could not be done; why.
    Failed(Cow<'a, str>),
}

impl Outcome<'_> {
    /// The outcome of a verb.
    pub fn of<T>(result: &Result<T, Refusal>) -> Self {
        match result {
            Ok(_) => Self::Done,
            Err(refusal) if refusal.is_denial() => Self::Refused(refusal.to_string().into()),
            Err(refusal) => Self::Failed(refusal.to_string().into()),
        }
    }

    fn words(&self) -> (&'static str, &str) {
        match self {
            Self::Done => ("done", ""),
            Self::Noted(note) => ("done", note),
            Self::Refused(why) => ("refused", why),
            Self::Failed(why) => ("failed", why),
        }
    }
}

/// The audit log; cheap to clone.
#[derive(Clone)]
pub struct Audit {
    clock: Clock,
    files: Arc<Mutex<Files>>,
    strangers: Arc<Mutex<Strangers>>,
    entries: Arc<Mutex<Debts<[u8; 32]>>>,
    unsynced: Arc<AtomicBool>,
}

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Audit")
    }
}

impl Audit {
    /// Opens the log below the state's folder.
    ///
    /// # Errors
    /// When the folder or the file cannot be made or opened.
    pub fn open(state: &Path, settings: AuditSettings, clock: Clock) -> io::Result<Self> {
        let files = Files::open(state.join(FOLDER), settings)?;
        Ok(Self {
            clock,
            files: Arc::new(Mutex::new(files)),
            strangers: Arc::new(Mutex::new(Strangers::default())),
            entries: Arc::new(Mutex::new(Debts::new(ENTRY, ENTRIES))),
            unsynced: Arc::default(),
        })
    }

    /// Records a log-in, once in a while for each credential and address: some clients show their credential with every request.
    /// `key` tells the credential from others.
    pub fn entered(&self, who: &Principal, key: &str) {
        let known = blake3::hash(format!("{}\0{key}\0{:?}", who.door.as_str(), who.from).as_bytes());
        let now = self.clock.now_ms();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.wait(known.as_bytes(), now).is_some() {
            return;
        }
        entries.charge(*known.as_bytes(), now);
        drop(entries);
        self.record(who, "login", "", Outcome::Done);
    }

    /// Syncs what is written, once a second, until the stop, and then once more.
    pub async fn keep_synced(self, stop: Shutdown) {
        loop {
            let stopping = tokio::select! {
                () = stop.stopping() => true,
                () = tokio::time::sleep(SYNC) => false,
            };
            if self.unsynced.swap(false, Ordering::SeqCst) {
                let files = Arc::clone(&self.files);
                // The lock is not held meanwhile: nobody who acts waits for the disk.
                let file = files.lock().unwrap_or_else(PoisonError::into_inner).current.try_clone();
                let synced = tokio::task::spawn_blocking(move || file.and_then(|file| file.sync_data())).await;
                if let Ok(Err(error)) = synced {
                    error!(error = report::chain(&error), "the audit log cannot be synced");
                }
            }
            if stopping {
                return;
            }
        }
    }

    /// Writes one record. `what` is a noun and a verb, such as `cluster.create`; `target` is what it was done to.
    pub fn record<'a>(&self, actor: impl Into<Actor<'a>>, what: &'static str, target: &str, outcome: Outcome<'_>) {
        let (actor, (word, detail)) = (actor.into(), outcome.words());
        let Some(repeated) = self.admitted(&actor) else { return };
        let record = AuditRecord {
            time: rfc3339(self.clock.now_ms()),
            who: report::brief(&actor.who, FIELD),
            door: actor.door.to_owned(),
            from: actor.from.map(|from| from.to_canonical().to_string()),
            what: what.to_owned(),
            target: report::brief(target, FIELD),
            outcome: word.to_owned(),
            detail: report::brief(detail, FIELD),
            unwritten: repeated,
        };
        self.tell(&record);
        let written = self.files.lock().unwrap_or_else(PoisonError::into_inner).append(&record);
        self.unsynced.store(true, Ordering::SeqCst);
        if let Err(error) = written {
            error!(
                error = report::chain(&error),
                "the audit log cannot be written; this record stands only here: {what}"
            );
        }
    }

    /// A page of what is kept, oldest first.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for a place that no page named; when the files cannot be read.
    pub async fn read(&self, query: Query) -> Result<Page, Refusal> {
        let folder = self.files.lock().unwrap_or_else(PoisonError::into_inner).folder.clone();
        let read = tokio::task::spawn_blocking(move || files::read(&folder, &query)).await;
        let read = read.map_err(|e| Refusal::internal("reading the audit log stopped", &e))?;
        read.map_err(|e| match e.kind() {
            io::ErrorKind::InvalidInput => Refusal::Invalid("`after` is no place in the audit log".into()),
            _ => Refusal::internal("the audit log cannot be read", &e),
        })
    }

    fn tell(&self, record: &AuditRecord) {
        let from = record.from.as_deref().unwrap_or_default();
        let (who, door, target, detail) = (&record.who, &record.door, &record.target, &record.detail);
        if record.outcome == "done" {
            info!(target: "audit", who, door, from, target, detail, "{}", record.what);
        } else {
            warn!(target: "audit", who, door, from, target, detail, "{} {}", record.what, record.outcome);
        }
    }

    /// Whether it is written, and how many of strangers were not since the last that was.
    fn admitted(&self, actor: &Actor<'_>) -> Option<u64> {
        if !actor.who.is_empty() {
            return Some(0);
        }
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner).admit(actor.from, self.clock.now_ms())
    }
}

/// Keeps strangers from flooding the log.
struct Strangers {
    sources: Debts<Option<Source>>,
    all: Debts<()>,
    unwritten: u64,
}

impl Default for Strangers {
    fn default() -> Self {
        Self { sources: Debts::new(STRANGER, SOURCES), all: Debts::new(STRANGERS, 1), unwritten: 0 }
    }
}

impl Strangers {
    fn admit(&mut self, from: Option<IpAddr>, now_ms: i64) -> Option<u64> {
        let source = from.map(Source::of);
        if self.sources.wait(&source, now_ms).is_some() || self.all.wait(&(), now_ms).is_some() {
            self.unwritten += 1;
            return None;
        }
        self.sources.charge(source, now_ms);
        self.all.charge((), now_ms);
        Some(std::mem::take(&mut self.unwritten))
    }
}

#[cfg(test)]
mod tests;
