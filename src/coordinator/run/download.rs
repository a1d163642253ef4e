//! One download from its begin to its end: starts a lane for each node when its turn comes, seals when all are through, ends its task.
//!
//! It holds together what the lanes share. Whoever asks for the end early (the client by leaving, an operator, the
//! coordinator's stop, a broken output) does it through [`Quit`]; then every lane is dropped, its node told, and everything freed.

use std::io;
use std::sync::{Arc, OnceLock};

use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::counts::Counts;
use super::doors::Doors;
use super::events::{Events, Pump};
use super::lane::Lane;
use super::log::{StepState, TaskEnd, TaskLog};
use super::online::Roll;
use super::purse::Purse;
use super::queue::{Queue, Waiting};
use super::{NodePart, Settings};
use crate::bundle::Format;
use crate::bundle::manifest::{NodeRow, Statement};
use crate::bundle::outcome::Outcome;
use crate::clock::{self, Clock};
use crate::coordinator::deliver::Whole;
use crate::coordinator::merge::{MergeError, Output, Quota};
use crate::coordinator::verify::Bench;
use crate::id::{BundleName, TaskId};
use crate::protocol::agents::Down;
use crate::protocol::redaction::AskedRule;
use crate::report;
use crate::shutdown::Shutdown;
use crate::window::Window;

/// Why a download ended before its seal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Someone asked for it.
    Asked,
    /// The client left.
    ReaderLeft,
    /// The client stopped reading.
    ReaderStill,
    /// The coordinator stops.
    Stopping,
    /// The bundle could not be written.
    Output(String),
}

impl Why {
    fn sentence(&self) -> String {
        match self {
            Self::Asked => "cancelled".to_owned(),
            Self::ReaderLeft => "the client went away".to_owned(),
            Self::ReaderStill => "the client stopped reading".to_owned(),
            Self::Stopping => "the coordinator is stopping".to_owned(),
            Self::Output(error) => format!("the bundle could not be written: {error}"),
        }
    }

    fn end(&self) -> TaskEnd {
        match self {
            Self::Asked | Self::ReaderLeft => TaskEnd::Cancelled,
            Self::ReaderStill | Self::Stopping | Self::Output(_) => TaskEnd::Errored,
        }
    }
}

/// Asks for a download's early end; the first reason counts.
#[derive(Clone, Debug)]
pub(super) struct Quit {
    pub(super) token: CancellationToken,
    why: Arc<OnceLock<Why>>,
}

impl Quit {
    pub(super) fn new(token: CancellationToken) -> Self {
        Self { token, why: Arc::default() }
    }

    pub(super) fn now(&self, why: Why) {
        let _ = self.why.set(why);
        self.token.cancel();
    }

    /// Resolves with the reason once the end was asked for. Cancel safe.
    async fn asked(&self, stopping: &Shutdown) -> Why {
        self.token.cancelled().await;
        // Without a reason of our own it was the task's token, or the coordinator's, which is above it.
        self.why.get().cloned().unwrap_or(if stopping.is_stopping() { Why::Stopping } else { Why::Asked })
    }
}

/// What the lanes of one download share.
pub(super) struct Run {
    pub(super) task: TaskId,
    pub(super) bundle: BundleName,
    pub(super) format: Format,
    pub(super) collectors: Vec<String>,
    pub(super) requested_by: String,
    pub(super) case: Option<String>,
    pub(super) window: Window,
    pub(super) redact: Vec<AskedRule>,
    pub(super) settings: Arc<Settings>,
    pub(super) clock: Clock,
    pub(super) shutdown: Shutdown,
    pub(super) roll: Roll,
    pub(super) began: Instant,
    pub(super) purse: Purse,
    pub(super) slots: Arc<Semaphore>,
    pub(super) doors: Arc<Doors>,
    pub(super) output: Output,
    pub(super) bench: Bench,
    pub(super) quota: Quota,
    pub(super) events: Events,
    pub(super) counts: Arc<Counts>,
}

/// What the thread that writes the bundle answers.
pub(super) type Written = Result<(Whole, Statement), MergeError>;

/// A download that was set up and does not run yet.
pub(super) struct Ready {
    pub(super) run: Arc<Run>,
    pub(super) nodes: Vec<NodePart>,
    pub(super) writer: JoinHandle<Written>,
    pub(super) gone: CancellationToken,
    pub(super) quit: Quit,
    pub(super) log: Arc<dyn TaskLog>,
    pub(super) pump: Pump,
}

impl Ready {
    /// Runs the download to its end.
    pub(super) async fn run(self) {
        let Self { run, nodes, writer, gone, quit, log, pump } = self;
        let (task, bundle, doors) = (run.task, run.bundle.clone(), Arc::clone(&run.doors));
        let idle = run.settings.reader_idle;
        let (roll, counts, stopping) = (run.roll.clone(), Arc::clone(&run.counts), run.shutdown.clone());
        let mut pumping = JoinSet::new();
        pumping.spawn(pump.run());
        info!(%task, %bundle, nodes = nodes.len(), "download begins");
        let ended = tokio::select! {
            biased;
            () = gone.cancelled() => { quit.now(Why::ReaderLeft); Err(Why::ReaderLeft) }
            why = quit.asked(&stopping) => Err(why),
            ended = collect(run, nodes, writer, idle, &counts) => ended,
        };
        // Lanes and the run are dropped by now, so the events end; all lines stand in the log before the task's end does.
        while pumping.join_next().await.is_some() {}
        match ended {
            Ok((whole, statement)) => {
                let result = json!({"bundle": bundle, "verdict": statement.verdict, "nodes": statement.nodes,
                    "nodes_collected": statement.nodes_collected, "bytes": statement.bytes});
                info!(%task, %bundle, verdict = %statement.verdict, "download ends");
                log.finish(task, TaskEnd::Done, result.to_string()).await;
                whole.end().await;
            }
            Err(why) => {
                quit.now(why.clone());
                let sentence = why.sentence();
                warn!(%task, %bundle, reason = report::escape(&sentence), "download is given up");
                for node in doors.close() {
                    roll.send(&node, Down::Cancel { task, reason: sentence.clone() });
                }
                log.finish(task, why.end(), sentence).await;
            }
        }
    }
}

/// All nodes, then the seal, until the reader has every byte.
async fn collect(
    run: Arc<Run>,
    nodes: Vec<NodePart>,
    mut writer: JoinHandle<Written>,
    idle: std::time::Duration,
    counts: &Counts,
) -> Result<(Whole, Statement), Why> {
    let counted = report::counted(nodes.len(), "node");
    // They are ordered to collect all the same, so that each has it in its own journal who asked.
    let names = nodes.iter().map(|part| &part.node);
    let refusing: Vec<_> = names.filter(|node| run.roll.refuses(node)).cloned().collect();
    run.events.own("Preparing", &counted, StepState::Started).await;
    let mut queue = Queue::new(run.roll.clone(), Arc::clone(&run.doors), run.settings.grace, run.began, nodes);
    let mut running: JoinSet<NodeRow> = JoinSet::new();
    run.events.own("Preparing", &counted, StepState::Finished).await;
    if !refusing.is_empty() {
        run.events.refusing(&refusing).await;
    }
    while !(queue.is_empty() && running.is_empty()) {
        tokio::select! {
            biased;
            // A writer that ends before it was asked to has failed, and nobody else would notice while all nodes are silent.
            written = &mut writer => return Err(failed(written)),
            Some(row) = running.join_next() => match row {
                Ok(row) => through(&run, row, counts).await,
                Err(error) => return Err(Why::Output(report::chain(&error))),
            },
            Ok(slot) = Arc::clone(&run.slots).acquire_owned(), if queue.wants_place() => {
                if let Some((waiting, opened)) = queue.next() {
                    running.spawn(Lane::new(Arc::clone(&run), waiting, opened, slot).run());
                }
            }
            () = queue.news() => for (waiting, reason) in queue.look() {
                let row = absent(&run, waiting, reason).await;
                through(&run, row, counts).await;
            },
        }
    }
    run.events.own("Sealing", "bundle", StepState::Started).await;
    let _ = run.output.seal().await;
    let (whole, statement) = match (&mut writer).await {
        Ok(Ok(sealed)) => sealed,
        written => return Err(failed(written)),
    };
    match whole.taken(idle).await {
        Ok(()) => {}
        Err(io::ErrorKind::TimedOut) => return Err(Why::ReaderStill),
        Err(_) => return Err(Why::ReaderLeft),
    }
    run.events.own("Sealing", "bundle", StepState::Finished).await;
    Ok((whole, statement))
}

async fn through(run: &Run, row: NodeRow, counts: &Counts) {
    counts.node(row.outcome);
    // When the output is over, the writer says why.
    let _ = run.output.node(row).await;
}

/// The row of a node whose turn did not come.
async fn absent(run: &Run, Waiting { part, index }: Waiting, reason: String) -> NodeRow {
    run.purse.pass();
    run.doors.through(&part.node, None);
    let finished_at = Some(clock::rfc3339(run.clock.now_ms()));
    let name = part.node.to_string();
    let row = NodeRow { name, outcome: Outcome::Skipped, reason, finished_at, ..NodeRow::default() };
    run.events.ended(&row, index, false, 0).await;
    row
}

fn failed(written: Result<Written, tokio::task::JoinError>) -> Why {
    match written {
        Ok(Err(MergeError::Output(error))) => match error.kind() {
            io::ErrorKind::BrokenPipe => Why::ReaderLeft,
            io::ErrorKind::TimedOut => Why::ReaderStill,
            _ => Why::Output(report::chain(&error)),
        },
        Ok(Err(MergeError::GivenUp) | Ok(_)) => Why::Output("it ended early".to_owned()),
        Err(error) => Why::Output(report::chain(&error)),
    }
}
