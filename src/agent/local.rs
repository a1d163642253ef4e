//! A node's own bundle: the same format with one node in it, made with no coordinator.
//!
//! The stages give segments, and they go straight into the bundle's file, or to a writer; nothing is held whole. The seal is by the
//! agent's own key, which is made on first use. Nothing is sent anywhere.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::agent::config::AgentConfig;
use crate::agent::deployments::Deployments;
use crate::agent::host::Host;
use crate::agent::pack::{Packed, Packer, Settings};
use crate::agent::program;
use crate::agent::redact::{Added, SiteRule};
use crate::agent::run::{Pauses, Pipeline, pipeline};
use crate::agent::source::{Library, Plan, inventory};
use crate::bundle::Format;
use crate::bundle::assemble::{Assembler, SealKey};
use crate::bundle::frame::FRAME_RAW;
use crate::bundle::manifest::{Budgets, FORMAT, NodeRow, Request, Statement};
use crate::bundle::outcome::{Outcome, Verdict};
use crate::clock::{Clock, rfc3339};
use crate::floor::Floor;
use crate::id::{BundleName, NodeName};
use crate::protocol::questions::Deployment;
use crate::window::{Asked, WindowError};
use crate::{limits, report, state};
use flowing::Flowing;

mod flowing;

/// Name of the seal key in the state folder.
const KEY: &str = "seal.key";
/// Bytes that are left free on the disk of the bundle: the end of a bundle needs room, and so does the node.
const RESERVE: u64 = 16 << 20;

/// Raw bytes of a segment at most: what is held in memory before it is written.
const SEGMENT: usize = FRAME_RAW;

/// Bytes that are written together; most frames are larger, and are not copied once more.
const BUFFER: usize = 64 << 10;

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The host's root cannot be opened.
    #[error("cannot open the host's root {}", .0.display())]
    Root(PathBuf, #[source] io::Error),
    /// A collector that the node does not declare.
    #[error("this node declares no collector `{0}`; `{called} check` lists them", called = program::called())]
    Collector(String),
    /// A deployment that the node does not keep.
    #[error("this node keeps no deployment `{0}`; `sheaf deployment show` on the coordinator says where it is")]
    Deployment(String),
    /// The time that logs are to be taken from cannot be meant.
    #[error(transparent)]
    Window(#[from] WindowError),
    /// The output cannot be written.
    #[error("cannot write {}", .0.display())]
    Output(PathBuf, #[source] io::Error),
    /// The output's file is there, and may be the only bundle of the incident.
    #[error("{} is there already; name another file, or remove it first", .0.display())]
    Exists(PathBuf),
    /// The budget holds less than what stands in every bundle.
    #[error(
        "a budget of {} is too small: node.json and REDACTION.json alone need room; give 64K at least, or none", report::bytes(*.0)
    )]
    Budget(u64),
    /// The pipeline gave up.
    #[error(transparent)]
    Pipeline(#[from] Pipeline),
}

/// What is wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Collectors by name; none for the node's default.
    pub collectors: Vec<String>,
    /// The deployment whose jobs run, with its properties.
    pub deployment: Option<String>,
    /// The time that logs are taken from.
    pub window: Asked,
    /// Bytes to collect at most, where that is less than the configuration's.
    pub budget: Option<u64>,
    /// What is taken out beyond what the node takes out anyway.
    pub redact: Vec<SiteRule>,
    /// Case id.
    pub case: Option<String>,
    /// Note.
    pub note: Option<String>,
    /// Who asks.
    pub requested_by: String,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Entries that are whole.
    pub entries: u64,
    /// Raw bytes.
    pub raw: u64,
    /// Compressed bytes.
    pub wire: u64,
    /// Sources that gave nothing.
    pub missing: u64,
    /// Entries that are not whole, or not as they should be.
    pub truncated: u64,
    /// Replacements by redaction.
    pub redacted: u64,
}

/// A finished bundle.
#[derive(Clone, Debug)]
pub struct Finished {
    /// What its seal states.
    pub statement: Statement,
    /// What is in it.
    pub progress: Progress,
    /// Where it is, when it is a file.
    pub path: Option<PathBuf>,
}

/// A collection that is ready to begin: everything that can be refused was.
pub struct Collection {
    config: AgentConfig,
    host: Host,
    plan: Plan,
    node: NodeName,
    /// When it was asked for, and the name that comes from it.
    started: i64,
    bundle: BundleName,
    key: SealKey,
    wanted: Wanted,
    clock: Clock,
}

/// A deployment that this node keeps.
///
/// # Errors
/// When it keeps none of that name.
pub fn deployment(config: &AgentConfig, name: &str) -> Result<Arc<Deployment>, LocalError> {
    let kept = Deployments::load(&config.state_dir).find(name);
    kept.ok_or_else(|| LocalError::Deployment(report::brief(name, 80)))
}

impl Collection {
    /// Resolves what is wanted against what the node declares.
    ///
    /// # Errors
    /// When the root cannot be read, or a collector is not declared.
    pub fn prepare(config: AgentConfig, wanted: Wanted) -> Result<Self, LocalError> {
        if let Some(budget) = wanted.budget.filter(|bytes| *bytes < limits::LEAST_BUDGET) {
            return Err(LocalError::Budget(budget));
        }
        let host = Host::open(&config.host_root).map_err(|error| LocalError::Root(config.host_root.clone(), error))?;
        let library = Library::of(&config);
        let declared = library.declared();
        let refused = |name: &String| library.refused().any(|refused| refused.name == *name);
        if let Some(name) = wanted.collectors.iter().find(|name| !declared.contains_key(*name) && !refused(name)) {
            return Err(LocalError::Collector(report::brief(name, 80)));
        }
        let mut plan = match &wanted.deployment {
            Some(name) => library.plan_of(&*deployment(&config, name)?, &wanted.collectors, &config),
            None => library.plan(&wanted.collectors, &config),
        };
        plan.bounds.total_bytes = plan.bounds.total_bytes.min(wanted.budget.unwrap_or(u64::MAX));
        let (clock, node) = (Clock::system(), node_name(&config, &host));
        let started = clock.now_ms();
        plan.window = wanted.window.resolve(config.window, started)?;
        let key = seal_key(&config.state_dir);
        let bundle = BundleName::new(node.as_str(), started);
        Ok(Self { config, host, plan, node, started, bundle, key, wanted, clock })
    }

    /// The bundle's name.
    pub fn name(&self) -> &BundleName {
        &self.bundle
    }

    /// Collects into `path`, by way of `<path>.partial`, which becomes `path` once it is sealed. A collection that is stopped leaves its
    /// start under the partial name, sealed as aborted.
    ///
    /// # Errors
    /// When the file cannot be written, or the collection breaks.
    pub fn into_file(
        self,
        path: &Path,
        stop: &CancellationToken,
        show: &mut dyn FnMut(Progress),
    ) -> Result<Finished, LocalError> {
        if path.is_file() {
            return Err(LocalError::Exists(path.to_owned()));
        }
        let partial = partial_name(path);
        let wrong = |error| LocalError::Output(path.to_owned(), error);
        let file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial).map_err(wrong)?;
        let format = if path.extension().is_some_and(|e| e == "tar") { Format::Tar } else { Format::TarZst };
        let room = file.try_clone().map_err(wrong)?;
        let enough = |wire: u64| free(&room).is_none_or(|free| free >= RESERVE + wire);
        let done = self.assemble(io::BufWriter::with_capacity(BUFFER, Flowing::new(file)), format, stop, show, &enough);
        let (writer, mut finished) = match done {
            Ok(done) => done,
            Err(Broken::Pipeline(error)) => {
                let _ = fs::remove_file(&partial);
                return Err(error.into());
            }
            Err(Broken::Output(error)) => {
                // A torn file helps nobody, and on a full disk its room is needed most.
                let _ = fs::remove_file(&partial);
                return Err(wrong(error));
            }
        };
        let file = writer.into_inner().map_err(|error| wrong(error.into_error()))?.into_file();
        file.sync_all().map_err(wrong)?;
        if finished.statement.verdict == Verdict::Aborted {
            finished.path = Some(partial);
            return Ok(finished);
        }
        fs::rename(&partial, path).map_err(wrong)?;
        finished.path = Some(path.to_owned());
        Ok(finished)
    }

    /// Collects into a writer, such as standard output.
    ///
    /// # Errors
    /// As [`Collection::into_file`].
    pub fn into_writer<W: Write>(
        self,
        out: W,
        stop: &CancellationToken,
        show: &mut dyn FnMut(Progress),
    ) -> Result<Finished, LocalError> {
        match self.assemble(out, Format::TarZst, stop, show, &|_| true) {
            Ok((mut out, finished)) => {
                out.flush().map_err(|error| LocalError::Output("-".into(), error))?;
                Ok(finished)
            }
            Err(Broken::Output(error)) => Err(LocalError::Output("-".into(), error)),
            Err(Broken::Pipeline(error)) => Err(error.into()),
        }
    }

    fn assemble<W: Write>(
        self,
        out: W,
        format: Format,
        stop: &CancellationToken,
        show: &mut dyn FnMut(Progress),
        enough: &dyn Fn(u64) -> bool,
    ) -> Result<(W, Finished), Broken> {
        let request = self.request();
        let spool = self.spool();
        let mut assembler = Assembler::new_in(out, format, &request, &self.key, &spool)?;
        let mut progress = Progress::default();
        let (mut written, mut full) = (Ok(()), false);
        let ended = CancellationToken::child_token(stop);
        let sink = |packed: Packed| {
            progress.add(&packed);
            show(progress);
            if !enough(packed.wire()) {
                // What is being read ends here, and there is room for a proper end.
                full = true;
                ended.cancel();
            }
            written = assembler.append(&self.node, &packed.frames, None, &packed.rows, &packed.notes);
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let settings = Settings {
            bundle: self.bundle.clone(),
            node: self.node.clone(),
            spool: Some(spool.clone()),
            spool_bytes: self.config.limits.spool_bytes,
            floor: Floor::of(self.config.limits.disk_free),
            entries: self.plan.bounds.entries,
            bytes: self.plan.bounds.total_bytes,
            segment: SEGMENT,
            rows: true,
            stop: ended.clone(),
        };
        let mut tell = |_: &str, _: std::time::Duration| {};
        let pauses = Pauses::new(&self.host, self.config.pressure, &mut tell);
        let packed = Packer::new(settings, sink)
            .map_err(Pipeline::from)
            .and_then(|packer| pipeline(&self.plan, self.added(), &self.host, &ended, packer, pauses));
        written?;
        let totals = packed.map_err(Broken::Pipeline)?;
        let now = self.clock.now_ms();
        let reason = if full { Some("the disk is nearly full") } else { stop.is_cancelled().then_some("interrupted") };
        assembler.node(NodeRow { paused_ms: totals.paused_ms, ..self.row(now, &progress, reason) })?;
        let (out, statement) = match reason {
            Some(reason) => assembler.abort(reason, now)?,
            None => assembler.seal(now)?,
        };
        Ok((out, Finished { statement, progress, path: None }))
    }

    /// What is redacted beyond the built-in rules.
    fn added(&self) -> Added<'_> {
        Added { site: &self.config.redact.rules, asked: &self.wanted.redact }
    }

    fn request(&self) -> Request {
        Request {
            format: FORMAT.to_owned(),
            bundle: self.bundle.to_string(),
            generator: format!("sheaf {}", env!("CARGO_PKG_VERSION")),
            requested_at: rfc3339(self.started),
            requested_by: self.wanted.requested_by.clone(),
            cluster: self.node.to_string(),
            task: 0,
            case: self.wanted.case.clone(),
            note: self.wanted.note.clone(),
            node_filter: Vec::new(),
            collectors: self.wanted.collectors.clone(),
            budgets: Budgets { node: self.wanted.budget, bundle: None },
            window: self.plan.window,
            redaction: "secrets".to_owned(),
            redact: self.wanted.redact.iter().map(|rule| rule.name.clone()).collect(),
            nodes: vec![self.node.to_string()],
        }
    }

    fn row(&self, now: i64, progress: &Progress, reason: Option<&str>) -> NodeRow {
        NodeRow {
            name: self.node.to_string(),
            outcome: if reason.is_some() { Outcome::Truncated } else { Outcome::Collected },
            reason: reason.unwrap_or_default().to_owned(),
            started_at: Some(rfc3339(self.started)),
            finished_at: Some(rfc3339(now)),
            wire_bytes: progress.wire,
            attempts: 1,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..NodeRow::default()
        }
    }

    /// Where unlinked files go: the configured folder, or the system's where that cannot be written.
    fn spool(&self) -> PathBuf {
        let folder = self.config.spool();
        if tempfile::tempfile_in(folder).is_ok() { folder.to_owned() } else { std::env::temp_dir() }
    }
}

/// Why assembling ended.
enum Broken {
    Output(io::Error),
    Pipeline(Pipeline),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl Progress {
    fn add(&mut self, packed: &Packed) {
        self.raw += packed.raw;
        self.wire += packed.wire();
        for note in &packed.notes {
            self.entries += u64::from(note.entry);
            self.missing += u64::from(!note.entry);
            self.truncated += u64::from(note.entry && note.outcome != Outcome::Collected);
            self.redacted += note.redacted.values().sum::<u64>();
        }
    }
}

fn partial_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

/// Bytes free for us where a file lies.
fn free(file: &File) -> Option<u64> {
    let at = rustix::fs::fstatvfs(file).ok()?;
    Some(at.f_bavail.saturating_mul(at.f_frsize))
}

/// The configured name, else the host's, with what no name may have left out.
fn node_name(config: &AgentConfig, host: &Host) -> NodeName {
    if let Some(name) = &config.node {
        return name.clone();
    }
    let name: String = inventory::hostname(host)
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' })
        .skip_while(|c| !c.is_ascii_alphanumeric())
        .take(63)
        .collect();
    name.parse().unwrap_or_else(|_| "localhost".parse().expect("a name"))
}

/// The agent's own seal key, made on first use. Where it cannot be kept, one for this bundle alone.
fn seal_key(state_dir: &Path) -> SealKey {
    let path = state_dir.join(KEY);
    // What it cannot make is said when the key cannot be kept.
    let _ = state::folder(state_dir);
    match fs::read(&path).map(|bytes| SealKey::from_pkcs8(&bytes)) {
        Ok(Ok(key)) => return key,
        Ok(Err(_)) => {
            tracing::warn!(file = %path.display(), "the seal key is damaged; this bundle is sealed with a key of its own")
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = SealKey::generate();
            if let Err(error) = state::write(&path, key.pkcs8(), 0o600) {
                tracing::warn!(
                    file = %path.display(), error = %report::chain(&error),
                    "the seal key cannot be kept; this bundle is sealed with a key of its own"
                );
            }
            return key;
        }
        Err(error) => tracing::warn!(
            file = %path.display(), error = %report::chain(&error),
            "the seal key cannot be read; this bundle is sealed with a key of its own"
        ),
    }
    SealKey::generate()
}

#[cfg(test)]
mod tests;
