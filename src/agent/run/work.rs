//! One order after the other: the pipeline on its thread, its segments up to the coordinator, and a word at the end.
//!
//! Orders come from the connection. Each is written to this node's own log, whose records are the node's own and not the coordinator's:
//! `order begun` with who asked, for which case, which collectors, the window, the budget and added redaction rules; `order ended` with how
//! many bytes left and what became of it; or `order refused` and why.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::pipeline::{Pipeline, in_background, pipeline};
use super::pressure::Pauses;
use super::setup::Setup;
use super::told;
use crate::agent::pack::{Packed, Packer, Settings, Totals};
use crate::agent::redact::{Added, SiteRule};
use crate::agent::send::{Link, UploadError, Uploader};
use crate::agent::source::Plan;
use crate::bundle::outcome::Outcome;
use crate::clock::{Clock, rfc3339};
use crate::floor::Floor;
use crate::id::{BundleName, NodeName};
use crate::limits::{LEAST_BUDGET, SEGMENT_RAW};
use crate::protocol::agents::{Finish, Held, Order};
use crate::report;

/// Time that a pipeline has to notice that it was stopped.
const STOP: Duration = Duration::from_secs(5);
/// Time that the next order waits for a pipeline that did not.
const HANGING: Duration = Duration::from_secs(30);

/// An order, and the token that ends it.
pub(super) type Queued = (Order, CancellationToken);

/// What whoever orders or asks is told where the node's administrator wants nothing to be collected.
pub(super) const OFF: &str = "collection is switched off on this node";

/// How an order ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    /// The order makes no sense.
    #[error("the order is malformed: {0}")]
    Order(&'static str),
    /// The node's administrator wants no orders to be followed.
    #[error("{OFF}")]
    Off,
    /// It was ordered often enough.
    #[error(
        "this node has followed the {most} that it may within an hour (orders_per_hour); the next order is allowed at {next}"
    )]
    Often {
        /// So many.
        most: u32,
        /// When there may be another one.
        next: String,
    },
    /// The node does not have what is to be collected.
    #[error("this node keeps no deployment `{0}`")]
    NotDeployed(String),
    /// A task from before, whose source still hangs.
    #[error("an earlier collection still hangs in a source")]
    Hanging,
    /// There is no thread or no memory.
    #[error("cannot start")]
    Start(#[source] std::io::Error),
    /// The pipeline gave up.
    #[error(transparent)]
    Pipeline(#[from] Pipeline),
    /// The pipeline's thread is gone without a word.
    #[error("the collection broke off")]
    Broken,
    /// The coordinator will not have it.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// It was cancelled, or the daemon stops.
    #[error("cancelled")]
    Cancelled,
}

impl Ended {
    /// Whether the node will not, rather than cannot.
    fn is_refusal(&self) -> bool {
        matches!(self, Self::Off | Self::Often { .. } | Self::NotDeployed(_))
    }
}

/// What an order asks for, as this node's log has it.
struct Asked {
    by: String,
    case: String,
    collectors: String,
    deployment: String,
}

impl Asked {
    fn of(order: &Order) -> Self {
        let names = if order.collectors.is_empty() { "default".to_owned() } else { order.collectors.join(",") };
        Self {
            by: report::brief(&order.requested_by, 200),
            case: report::brief(order.case.as_deref().unwrap_or("-"), 200),
            collectors: report::brief(&names, 500),
            deployment: report::brief(order.deployment.as_deref().unwrap_or("-"), 80),
        }
    }
}

/// Writes down that an order is not followed.
pub(super) fn log_refusal(order: &Order, reason: &str) {
    let Asked { by, case, collectors, deployment } = Asked::of(order);
    tracing::warn!(task = %order.task, by, case, collectors, deployment, reason, "order refused");
}

/// Follows orders until the daemon stops.
pub(super) async fn worker(
    shared: Arc<Shared>,
    mut orders: mpsc::Receiver<Queued>,
    links: watch::Receiver<Option<Link>>,
    stale: mpsc::Sender<u64>,
) {
    let mut running: Option<oneshot::Receiver<Result<Totals, Pipeline>>> = None;
    loop {
        let (order, cancel) = tokio::select! {
            order = orders.recv() => match order { Some(order) => order, None => break },
            () = shared.shutdown.stopping() => break,
        };
        let mut uploader = Uploader::new(&order, links.clone(), stale.clone());
        let work = Work { shared: &shared, setup: shared.setup(), order: &order, cancel: &cancel };
        let ended = work.follow(&mut uploader, &mut running).await;
        work.conclude(&mut uploader, ended).await;
        shared.done(&order);
    }
    if let Some(running) = running {
        let _ = tokio::time::timeout(STOP, running).await;
    }
}

struct Work<'a> {
    shared: &'a Arc<Shared>,
    /// What was in force when it began.
    setup: Arc<Setup>,
    order: &'a Order,
    cancel: &'a CancellationToken,
}

type Running = Option<oneshot::Receiver<Result<Totals, Pipeline>>>;

impl Work<'_> {
    async fn follow(&self, uploader: &mut Uploader, running: &mut Running) -> Result<Totals, Ended> {
        let order = self.order;
        self.admit().await?;
        let Asked { by, case, collectors, deployment } = Asked::of(order);
        let (window, budget, redact) = (order.window, told::budget(order), told::rules(order));
        tracing::info!(
            task = %order.task, attempt = order.attempt, by, case, collectors, deployment, %window, budget, redact, "order begun"
        );
        if let Some(earlier) = running.take() {
            self.wait_for(earlier, running).await?;
        }
        if order.next > 0 {
            return Err(Ended::Order("it goes on with segments that this process never made"));
        }
        let stop = self.cancel.child_token();
        // Dropped with this future, whichever way it ends.
        let _guard = stop.clone().drop_guard();
        tokio::select! {
            done = self.collect(uploader, running, stop) => done,
            () = self.cancel.cancelled() => Err(Ended::Cancelled),
        }
    }

    /// Whether this node follows the order at all.
    async fn admit(&self) -> Result<(), Ended> {
        let config = &self.setup.config;
        if !config.collect {
            return Err(Ended::Off);
        }
        if let Some(name) = self.order.deployment.as_ref().filter(|name| self.shared.deployments.find(name).is_none()) {
            return Err(Ended::NotDeployed(report::brief(name, 80)));
        }
        let Some(most) = config.orders_per_hour else { return Ok(()) };
        let (shared, task) = (Arc::clone(self.shared), self.order.task);
        let now_ms = Clock::system().now_ms();
        let admitted = tokio::task::spawn_blocking(move || shared.hourly.admit(task, most, now_ms)).await;
        let admitted = admitted.map_err(|_| Ended::Broken)?;
        admitted.map_err(|next_ms| Ended::Often { most, next: rfc3339(next_ms) })
    }

    /// Gives a pipeline that was stopped its time to end.
    async fn wait_for(
        &self,
        mut earlier: oneshot::Receiver<Result<Totals, Pipeline>>,
        running: &mut Running,
    ) -> Result<(), Ended> {
        if tokio::time::timeout(HANGING, &mut earlier).await.is_ok() {
            return Ok(());
        }
        *running = Some(earlier);
        Err(Ended::Hanging)
    }

    async fn collect(
        &self,
        uploader: &mut Uploader,
        running: &mut Running,
        stop: CancellationToken,
    ) -> Result<Totals, Ended> {
        let mut held: Vec<Held> = Vec::new();
        if self.order.attempt > 1 {
            uploader.held(|path| held.push(path)).await?;
        }
        let (segments, mut segments_out) = mpsc::channel(1);
        let (pauses, mut pauses_out) = mpsc::channel(1);
        let done = running.insert(self.start(held, (segments, pauses), stop)?);
        loop {
            tokio::select! {
                biased;
                packed = segments_out.recv() => match packed {
                    Some(packed) => uploader.segment(packed).await?,
                    None => break,
                },
                Some((why, most)) = pauses_out.recv() => uploader.pause(&why, most).await,
            }
        }
        let done = done.await;
        *running = None;
        Ok(done.map_err(|_| Ended::Broken)??)
    }

    /// What the order comes to by this node's own files, and the deployment that it names.
    fn plan(&self) -> Result<Plan, Ended> {
        let (library, config) = (self.setup.library(), &self.setup.config);
        let mut plan = match &self.order.deployment {
            None => library.plan(&self.order.collectors, config),
            Some(name) => {
                let kept = self.shared.deployments.find(name);
                let kept = kept.ok_or_else(|| Ended::NotDeployed(report::brief(name, 80)))?;
                library.plan_of(&kept, &self.order.collectors, config)
            }
        };
        plan.pick(&self.order.picks).map_err(|_| Ended::Order("globs"))?;
        plan.known = self.shared.known(&library, config);
        plan.window = self.order.window;
        if let Some(budget) = self.order.budget {
            // A part of a bundle's budget may come to next to nothing: what stands in every bundle has its room all the same.
            plan.bounds.total_bytes = plan.bounds.total_bytes.min(budget.bytes.max(LEAST_BUDGET));
            plan.bounds.entries = plan.bounds.entries.min(budget.entries);
        }
        Ok(plan)
    }

    /// Starts the pipeline on its thread; segments come out of the channel, and how it ended out of the answer.
    fn start(
        &self,
        held: Vec<Held>,
        (segments, paused): (mpsc::Sender<Packed>, mpsc::Sender<(String, Duration)>),
        stop: CancellationToken,
    ) -> Result<oneshot::Receiver<Result<Totals, Pipeline>>, Ended> {
        let config = &self.setup.config;
        let bundle = BundleName::try_from(self.order.bundle.clone()).map_err(|_| Ended::Order("bundle's name"))?;
        let node: NodeName = self.order.node.parse().map_err(|_| Ended::Order("node's name"))?;
        let mut plan = self.plan()?;
        let spent = self.order.budget.map_or((0, 0), |budget| (budget.spent_bytes, budget.spent_entries));
        let limits = &plan.bounds;
        let settings = Settings {
            bundle,
            node,
            spool: Some(config.spool().to_owned()),
            spool_bytes: config.limits.spool_bytes,
            floor: Floor::of(config.limits.disk_free),
            entries: limits.entries.saturating_sub(spent.1),
            bytes: limits.total_bytes.saturating_sub(spent.0),
            segment: SEGMENT_RAW,
            rows: false,
            stop: stop.clone(),
        };
        plan.estimate = true;
        self.shared.collects(self.order, plan.collectors.iter().map(|collector| collector.name.to_string()).collect());
        if let Some(clock) = self.shared.offset() {
            (plan.known.clock_offset_ms, plan.known.round_trip_ms) = (Some(clock.offset_ms), Some(clock.round_trip_ms));
        }
        let (done, done_out) = oneshot::channel();
        let (setup, open) = (Arc::clone(&self.setup), self.order.open.clone());
        let asked: Vec<SiteRule> =
            self.order.redact.iter().map(|rule| SiteRule::asked(&rule.name, &rule.pattern)).collect();
        let body = move || {
            let added = Added { site: &setup.config.redact.rules, asked: &asked };
            let sink = |packed| match segments.blocking_send(packed) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            };
            let result = Packer::new(settings, sink).map_err(Pipeline::from).and_then(|mut packer| {
                for one in held {
                    match one {
                        Held::Entry(path) => packer.hold(&path),
                        Held::Noted { noted, redacted } => {
                            if let Some(row) = redacted {
                                packer.hold_redacted(&row);
                            }
                            packer.hold_note(noted);
                        }
                    }
                }
                if let Some(open) = open {
                    packer.resume(open);
                }
                // One that finds no room is not worth waiting for.
                let mut tell = |why: &str, most| drop(paused.try_send((why.to_owned(), most)));
                let pauses = Pauses::new(&setup.host, setup.config.pressure, &mut tell);
                pipeline(&plan, added, &setup.host, &stop, packer, pauses)
            });
            let _ = done.send(result);
        };
        in_background(body).map_err(Ended::Start)?;
        Ok(done_out)
    }

    /// Tells the coordinator how it ended, where there is something to tell, and this node's log.
    async fn conclude(&self, uploader: &mut Uploader, ended: Result<Totals, Ended>) {
        let task = self.order.task;
        let (segments, bytes) = (uploader.sent(), uploader.bytes());
        let (outcome, reason) = match &ended {
            Ok(_) => (Outcome::Collected, String::new()),
            Err(error) if error.is_refusal() => (Outcome::Skipped, error.to_string()),
            Err(error) => (Outcome::Failed, report::chain(error)),
        };
        let Asked { by, case, .. } = Asked::of(self.order);
        let collectors = report::brief(&self.shared.collectors_of(self.order).join(","), 500);
        match &ended {
            Ok(totals) => tracing::info!(
                %task, by, case, collectors, %outcome, segments, bytes_sent = bytes, entries = totals.entries,
                missing = totals.missing, redacted = totals.redacted, "order ended"
            ),
            Err(error) if error.is_refusal() => log_refusal(self.order, &reason),
            Err(Ended::Upload(UploadError::Refused(_))) => {
                tracing::error!(%task, by, case, collectors, %outcome, reason, segments, bytes_sent = bytes, "order ended");
            }
            Err(_) => {
                tracing::warn!(%task, by, case, collectors, %outcome, reason, segments, bytes_sent = bytes, "order ended")
            }
        }
        if matches!(ended, Err(Ended::Cancelled | Ended::Upload(UploadError::Over | UploadError::Stopped))) {
            return;
        }
        let paused_ms = ended.as_ref().map_or(0, |totals| totals.paused_ms);
        let finish = Finish { attempt: self.order.attempt, segments, outcome, reason, paused_ms };
        let told = tokio::select! {
            told = uploader.finish(&finish) => told,
            () = self.cancel.cancelled() => return,
        };
        if let Err(error) = told {
            tracing::debug!(%task, error = %report::chain(&error), "the end of the collection was not taken");
        }
    }
}
