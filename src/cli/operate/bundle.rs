//! `sheaf bundle create`: asks for a bundle, takes it in while it is made, verifies it on the way; or has it kept.
//!
//! The exit code is `verify`'s. A download that was cut, or whose bundle is not what it says, stays `<file>.partial` and is said to
//! be so; only a sealed bundle gets its name.

use std::cell::RefCell;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body_util::BodyExt as _;
use tokio_util::sync::CancellationToken;

use super::connect::{Connection, Coordinator};
use super::delivery::{Destination, Opened, Written};
use super::progress::{Position, Progress, catch_up, follow};
use super::tally::{FEW, Groups};
use super::{stored, wait_for};
use crate::agent::source::measure;
use crate::bundle::Format;
use crate::bundle::manifest::Budgets;
use crate::bundle::outcome::Verdict;
use crate::bundle::seal::PublicKey;
use crate::bundle::verify::{Finding, Matter, Report, verify};
use crate::cli::window::WindowOptions;
use crate::cli::{is_cut_off, output, remark};
use crate::id::{BundleId, BundleName, CollectorName, TaskId};
use crate::net::client::Answer;
use crate::protocol::control::{BUNDLE_HEADER, KEY_HEADER, NewBundle, TASK_HEADER};
use crate::protocol::redaction::AskedRule;
use crate::report;
use crate::shutdown::Shutdown;

/// Time that a bundle may wait for its turn, and after which we say that it does.
const TURN: Duration = Duration::from_secs(12 * 3600);
const NOTICE: Duration = Duration::from_secs(3);
/// Findings that are shown at most, of nodes and of entries.
const FINDINGS: usize = 100;
/// Pieces of the download between network and disk.
const PIECES: usize = 16;

/// `sheaf bundle create`
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sheaf bundle create --cluster default
  sheaf bundle create --cluster prod --node 'web-*' --collector logs --collector system --case 4711 --output case-4711.tar.zst
  sheaf bundle create --cluster prod --budget-node 500M --budget 20G
  sheaf bundle create --cluster prod --since 2h
  sheaf bundle create --cluster prod --redact customer='customer (\\w+)'
  sheaf bundle create --cluster prod --since 2026-11-21T14:00:00Z --until 2026-11-21T15:30:00Z
  sheaf bundle create --cluster prod --output - | sheaf bundle verify -
  sheaf bundle create --cluster prod --store       kept by the coordinator; `sheaf bundle stored` lists and downloads

Exit codes: 0 complete, 3 partial (a node or an entry is missing, the bundle says which), 4 truncated, 5 corrupt, 6 wrong
signer, 7 aborted, 1 no bundle at all.")]
pub struct CreateCommand {
    /// How to reach the coordinator.
    #[command(flatten)]
    pub connection: Connection,
    /// Of whom, and of what.
    #[command(flatten)]
    pub choice: ChoiceOptions,
    /// The time that logs are taken from.
    #[command(flatten)]
    pub window: WindowOptions,
    /// What it may hold at most.
    #[command(flatten)]
    pub budgets: BudgetOptions,
    /// Take out more than the nodes do anyway: what PATTERN matches in a line, or its first group; may be given more than once
    #[arg(long, value_name = "NAME=PATTERN", value_parser = AskedRule::parse)]
    pub redact: Vec<AskedRule>,
    /// Case id, kept in the bundle
    #[arg(long, value_name = "ID")]
    pub case: Option<String>,
    /// Note, kept in the bundle
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// How the bundle is laid out
    #[arg(long, value_name = "tar.zst|tar", value_parser = format, default_value = "tar.zst")]
    pub format: Format,
    /// File to write, `-` for standard output; the bundle's own name in the current folder when not given. One that is there already is
    /// not written over
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Let the coordinator keep the bundle; interrupting this command does not stop it
    #[arg(long, conflicts_with = "output")]
    pub store: bool,
    /// Print one JSON object at the end
    #[arg(long)]
    pub json: bool,
    /// Show no progress
    #[arg(long, short)]
    pub quiet: bool,
}

/// Of whom a bundle is, and of what.
#[derive(Clone, Debug, clap::Args)]
pub struct ChoiceOptions {
    /// Cluster, by id or name
    #[arg(long, value_name = "C")]
    pub cluster: String,
    /// Only nodes whose names match; may be given more than once
    #[arg(long = "node", value_name = "GLOB")]
    pub nodes: Vec<String>,
    /// Only these collectors; may be given more than once
    #[arg(long = "collector", value_name = "NAME")]
    pub collectors: Vec<CollectorName>,
}

/// Bytes that a bundle may hold at most.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct BudgetOptions {
    /// Bytes at most of each node, before compression, such as 500M (64K at least); oldest logs are left out first
    #[arg(long, value_name = "SIZE", value_parser = measure::size)]
    pub budget_node: Option<u64>,
    /// Bytes at most of all nodes together, before compression, such as 20G
    #[arg(long, value_name = "SIZE", value_parser = measure::size)]
    pub budget: Option<u64>,
}

impl From<BudgetOptions> for Budgets {
    fn from(options: BudgetOptions) -> Self {
        Self { node: options.budget_node, bundle: options.budget }
    }
}

impl CreateCommand {
    /// Runs it to its end.
    ///
    /// # Errors
    /// When there is no bundle at all.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let destination = self.output.as_deref().map(Destination::parse);
        destination.as_ref().map_or(Ok(()), |destination| destination.check(self.json))?;
        let wanted = NewBundle {
            cluster: self.choice.cluster,
            nodes: self.choice.nodes,
            collectors: self.choice.collectors,
            redact: self.redact,
            budgets: self.budgets.into(),
            window: self.window.into(),
            case: self.case,
            note: self.note,
            format: self.format,
        };
        let coordinator = self.connection.open()?;
        if self.store {
            return wait_for(stored::keep(&coordinator, &wanted, self.quiet, self.json));
        }
        let to_stdout = destination == Some(Destination::Stdout);
        let created = wait_for(async { create(&coordinator, &wanted, destination, self.quiet, &interrupted()?).await });
        let made = match created {
            Err(error) if to_stdout && is_cut_off(&error) => {
                return Ok(ExitCode::from(Verdict::Truncated.exit_code()));
            }
            made => made?,
        };
        made.say();
        if self.json {
            made.print()?;
        }
        Ok(ExitCode::from(made.verdict().exit_code()))
    }
}

/// A bundle that was downloaded.
pub struct Made {
    /// Its task.
    pub task: TaskId,
    /// Its id, where the coordinator keeps it.
    pub stored: Option<BundleId>,
    /// Its name.
    pub name: BundleName,
    /// The file that it is in: under its own name only if it is sealed.
    pub path: Option<PathBuf>,
    /// Bytes that came.
    pub bytes: u64,
    /// What the verifier saw.
    pub seen: Seen,
    /// Why the download broke off, if it did.
    pub broken: Option<String>,
    /// What to do then.
    pub advice: String,
}

/// What the verifier saw.
pub struct Seen {
    /// Its report.
    pub report: Report,
    /// What is cut, wrong or failed, and which nodes were skipped; the first of them.
    pub findings: Vec<Finding>,
    /// Nodes that are missing or cut, by reason.
    pub lost: Groups,
    /// How many more of those there are, nodes not counted.
    pub more: u64,
    /// Sources that a node skipped, which is what nodes do that lack one tool or another.
    pub skipped: u64,
}

impl Seen {
    fn inspect(bytes: &mut dyn Read, key: &PublicKey) -> io::Result<Self> {
        let (mut findings, mut lost, mut skipped) = (Vec::new(), Groups::default(), 0);
        let (mut nodes, mut entries) = (0, 0);
        let report = verify(bytes, Some(key), &std::env::temp_dir(), &mut |finding| {
            let shown = match (&finding.node, &finding.path) {
                (Some(node), None) => {
                    lost.add(finding.matter, &finding.reason, node);
                    &mut nodes
                }
                (_, Some(_)) if finding.matter == Matter::Skipped => return skipped += 1,
                _ => &mut entries,
            };
            *shown += 1;
            if *shown <= FINDINGS {
                findings.push(finding.clone());
            }
        })?;
        let more = u64::try_from(entries.saturating_sub(FINDINGS)).unwrap_or(u64::MAX);
        Ok(Self { report, findings, lost, more, skipped })
    }
}

impl Made {
    /// The verdict. A download that broke off is cut, even where its seal had come already.
    pub fn verdict(&self) -> Verdict {
        match self.seen.report.verdict {
            Verdict::Complete | Verdict::Partial if self.broken.is_some() => Verdict::Truncated,
            verdict => verdict,
        }
    }

    /// Tells people on standard error.
    pub fn say(&self) {
        let seen = &self.seen;
        // Of many nodes each reason has a line; the list of them is in the bundle.
        let grouped = seen.lost.count() > FEW;
        let own = |finding: &&Finding| !grouped || finding.node.is_none() || finding.path.is_some();
        seen.findings.iter().filter(own).for_each(remark);
        if seen.more > 0 {
            remark(format_args!("… and {} more", seen.more));
        }
        if grouped {
            seen.lost.sorted().into_iter().for_each(remark);
            let file = self.path.as_ref().map_or_else(|| "FILE".to_owned(), |path| path.display().to_string());
            remark(format_args!("`sheaf bundle cat {file} WARNINGS.txt` names each node"));
        }
        if seen.skipped > 0 {
            let sources = output::counted(seen.skipped, "source");
            remark(format_args!("{sources} skipped; `sheaf bundle verify` names them"));
        }
        if let Some(why) = &self.broken {
            remark(format_args!("the download was cut: {why}; {}", self.advice));
        }
        let place = self.path.as_ref().map(|path| format!("  {}", path.display())).unwrap_or_default();
        remark(format_args!("{}: {}{place}", self.verdict(), output::bytes(self.bytes)));
    }

    /// Tells programs on standard output.
    pub fn print(&self) -> io::Result<()> {
        output::json(&serde_json::json!({
            "id": self.stored.map_or_else(|| serde_json::json!(self.task), |id| serde_json::json!(id)),
            "task": self.task,
            "name": self.name,
            "file": self.path,
            "bytes": self.bytes,
            "verdict": self.verdict(),
            "findings": self.seen.findings,
            "nodes_lost": self.seen.lost.sorted(),
            "sources_skipped": self.seen.skipped,
        }))
    }
}

/// Asks for a bundle and takes it in.
///
/// # Errors
/// When it is refused, or cannot be written. A download that breaks off is no error but a [`Made`] that says so.
pub async fn create(
    coordinator: &Coordinator,
    wanted: &NewBundle,
    destination: Option<Destination>,
    quiet: bool,
    stop: &CancellationToken,
) -> anyhow::Result<Made> {
    // A named file is opened first: nobody is asked for a bundle that there is no place for.
    let opened = destination.map(Destination::open).transpose()?;
    let body = Bytes::from(serde_json::to_vec(wanted)?);
    let answer = tokio::select! {
        answer = ask(coordinator, body, quiet) => answer?,
        () = stop.cancelled() => bail!("interrupted before there was anything of a bundle"),
    };
    let head = Head::read(answer.headers())?;
    let opened = match opened {
        Some(opened) => opened,
        None => Destination::File(head.file(wanted.format)).open()?,
    };
    let progress = RefCell::new(Progress::new(quiet));
    let mut from = Position::default();
    let taken = tokio::select! {
        taken = take_in(Some(answer), opened, head.key, &progress, stop) => taken,
        never = follow(coordinator, head.task, &mut from, &progress) => match never {},
    };
    if !stop.is_cancelled() {
        catch_up(coordinator, head.task, &mut from, &progress).await;
    }
    progress.borrow().end();
    let (seen, written, broken) = taken?;
    let bytes = written.bytes;
    let sealed = broken.is_none() && matches!(seen.report.verdict, Verdict::Complete | Verdict::Partial);
    let path = if sealed { written.keep()? } else { written.leave() };
    let advice = format!("`sheaf task show {}` may say more", head.task);
    Ok(Made { task: head.task, stored: None, name: head.name, path, bytes, seen, broken, advice })
}

/// Asks for the bundle. The answer begins when its turn has come, which may take as long as another bundle does.
async fn ask(coordinator: &Coordinator, body: Bytes, quiet: bool) -> anyhow::Result<Answer> {
    let patient = coordinator.patient(TURN);
    let mut asking = std::pin::pin!(patient.stream(Method::POST, "/bundles", body));
    tokio::select! {
        answer = &mut asking => return answer,
        () = tokio::time::sleep(NOTICE) => {}
    }
    if !quiet {
        remark("waiting: another bundle of the same is being collected for you; `sheaf task list` shows it");
    }
    asking.await
}

/// Writes and inspects what comes, until all is there or `stop` says so; nothing more comes without an answer.
pub async fn take_in(
    answer: Option<Answer>,
    opened: Opened,
    key: PublicKey,
    progress: &RefCell<Progress>,
    stop: &CancellationToken,
) -> anyhow::Result<(Seen, Written, Option<String>)> {
    let (sender, pieces) = tokio::sync::mpsc::channel(PIECES);
    let taking = tokio::task::spawn_blocking(move || opened.take(pieces, |bytes| Seen::inspect(bytes, &key)));
    let (mut body, mut broken) = (answer.map(Answer::into_body), None);
    while let Some(body) = &mut body {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            () = stop.cancelled() => {
                broken = Some("interrupted".to_owned());
                break;
            }
        };
        let Some(frame) = frame else { break };
        let data = match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(data)) => data,
            Ok(Err(_)) => continue,
            Err(error) => {
                broken = Some(match error.went_away() {
                    true => "the coordinator went away before the end of the bundle".to_owned(),
                    false => report::chain(&error),
                });
                break;
            }
        };
        progress.borrow().received(data.len() as u64);
        // Nobody takes it any more: what went wrong there is the better explanation.
        if sender.send(data).await.is_err() {
            break;
        }
    }
    drop(sender);
    let (seen, written) = taking.await.context("writing the bundle")??;
    match seen {
        Ok(seen) => Ok((seen, written, broken)),
        // The bundle may well be good; it was only not looked at.
        Err(error) => {
            let place = written.leave().map(|path| format!("; it is in {}", path.display())).unwrap_or_default();
            Err(error).with_context(|| format!("the bundle could not be verified{place}"))
        }
    }
}

/// Cancelled at the first SIGINT or SIGTERM, so that what came is closed and named; the second ends the process.
///
/// # Errors
/// When the signal handlers cannot be set.
pub fn interrupted() -> anyhow::Result<CancellationToken> {
    let shutdown = Shutdown::new();
    shutdown.on_signals().context("cannot watch for signals")?;
    Ok(shutdown.token().clone())
}

/// What the headers of the answer say.
struct Head {
    task: TaskId,
    name: BundleName,
    key: PublicKey,
}

impl Head {
    fn read(headers: &HeaderMap) -> anyhow::Result<Self> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let read = || {
            let name = BundleName::try_from(text(BUNDLE_HEADER)?.to_owned()).ok()?;
            Some(Self { task: text(TASK_HEADER)?.parse().ok()?, name, key: PublicKey::parse(text(KEY_HEADER)?).ok()? })
        };
        read().context("the answer is not what a coordinator says: it names no task, bundle or key")
    }

    fn file(&self, format: Format) -> PathBuf {
        format!("{}.{}", self.name, format.ending()).into()
    }
}

fn format(text: &str) -> Result<Format, String> {
    match text {
        "tar" => Ok(Format::Tar),
        "tar.zst" => Ok(Format::TarZst),
        _ => Err("it is tar or tar.zst".to_owned()),
    }
}
