//! Bundles as tasks: each waits for its turn, runs in the engine, and is streamed to its client or kept in the store.
//!
//! Verbs bring what was checked and settled: who asks, which nodes, which collectors. Here stand the task's states around the
//! engine's run: queued behind another bundle, processing, and its end, which for a kept bundle comes after it was published.

mod claims;
mod turns;

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use serde::Deserialize;
use tokio::sync::oneshot;
use tracing::warn;

use self::turns::{Key, Place, Turn, Turns};
use super::refusal::Refusal;
use super::run::{BundleSpec, Download, Engine, Event, NodePart, StartError, Step, StepState, TaskEnd, TaskLog, Watch};
use super::stored::{Stored, StoredRow};
use super::tasks::{NewTask, Stop, Tasks};
use crate::bundle::Format;
use crate::bundle::manifest::Budgets;
use crate::bundle::outcome::Verdict;
use crate::clock::Clock;
use crate::id::{BundleId, ClusterId, TaskId};
use crate::report;
use crate::shutdown::Shutdown;
use crate::window::Window;

pub use claims::{Claim, Claims};

/// A bundle that is wanted, by somebody who may have it.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The task to make of it.
    pub task: NewTask,
    /// What it is of: the cluster's name, or the deployment's. The bundle is named after it.
    pub of: String,
    /// All clusters that its nodes are of: whoever may see them all may see it once it is kept.
    pub clusters: Vec<ClusterId>,
    /// Its nodes, each once.
    pub nodes: Vec<NodePart>,
    /// Node globs as given, for REQUEST.json.
    pub node_filter: Vec<String>,
    /// Collectors to run where a node's part names none; empty for each node's default.
    pub collectors: Vec<String>,
    /// How it is laid out.
    pub format: Format,
    /// What is to be taken out beyond what nodes take out anyway.
    pub redact: Vec<crate::protocol::redaction::AskedRule>,
    /// Bytes at most.
    pub budgets: Budgets,
    /// The time that logs are taken from.
    pub window: Window,
    /// Case id.
    pub case: Option<String>,
    /// Note.
    pub note: Option<String>,
}

impl Wanted {
    fn key(&self) -> Key {
        (self.of.clone(), self.task.user.clone())
    }

    fn spec(&self, task: TaskId) -> BundleSpec {
        BundleSpec {
            task,
            cluster: self.of.clone(),
            nodes: self.nodes.clone(),
            node_filter: self.node_filter.clone(),
            collectors: self.collectors.clone(),
            redact: self.redact.clone(),
            budgets: self.budgets,
            window: self.window,
            format: self.format,
            case: self.case.clone(),
            note: self.note.clone(),
            requested_by: self.task.user.clone(),
        }
    }
}

/// What bundles stand on.
#[derive(Clone)]
pub struct Bundles {
    /// Their tasks.
    pub tasks: Tasks,
    /// What runs them.
    pub engine: Engine,
    /// Where they are kept.
    pub stored: Stored,
    /// The time.
    pub clock: Clock,
    /// The stop.
    pub shutdown: Shutdown,
    /// Download tokens that wait with somebody.
    pub claims: Claims,
    turns: Turns,
}

/// Why a bundle did not begin: what its task ends with, and what the caller hears.
struct Unbegun {
    end: TaskEnd,
    refusal: Refusal,
}

impl Unbegun {
    fn errored(refusal: Refusal) -> Self {
        Self { end: TaskEnd::Errored, refusal }
    }
}

impl Bundles {
    /// With `waiting` bundles that may wait behind the running one of the same cluster and requester.
    pub fn new(tasks: Tasks, engine: Engine, stored: Stored, waiting: usize) -> Self {
        let (clock, shutdown) = (engine.clock().clone(), engine.shutdown().clone());
        Self { tasks, engine, stored, clock, shutdown, claims: Claims::default(), turns: Turns::new(waiting) }
    }

    /// Streams a bundle: answers when its turn has come and `admit` lets it begin. Dropped before that, it leaves the queue.
    ///
    /// # Errors
    /// [`Refusal::TooMany`] when too many wait already; whatever `admit` says; what keeps a download from beginning.
    pub async fn stream(
        &self,
        wanted: Wanted,
        admit: impl Future<Output = Result<(), Refusal>>,
    ) -> Result<Download, Refusal> {
        let place = self.enter(&wanted)?;
        let mut waiter = self.made(&wanted).await?;
        let id = waiter.id;
        let stop = self.tasks.stoppable(id);
        let begun = match self.turn(id, place, &stop).await {
            Err(unbegun) => Err(unbegun),
            Ok(turn) => match admit.await {
                Err(refusal) => Err(Unbegun::errored(refusal)),
                Ok(()) => self.begin(id, &wanted, Streamed::new(self.tasks.clone(), turn, stop)).await,
            },
        };
        waiter.waits = false;
        match begun {
            Ok(download) => Ok(download),
            Err(unbegun) => {
                self.tasks.finish(id, unbegun.end, unbegun.refusal.to_string()).await;
                Err(unbegun.refusal)
            }
        }
    }

    /// Makes a bundle and keeps it, in the background. The task's result is the kept bundle's id.
    ///
    /// # Errors
    /// [`Refusal::TooMany`] when too many wait already.
    pub async fn keep(&self, wanted: Wanted) -> Result<TaskId, Refusal> {
        let place = self.enter(&wanted)?;
        let mut waiter = self.made(&wanted).await?;
        let id = waiter.id;
        waiter.waits = false;
        let (bundles, stop) = (self.clone(), self.tasks.stoppable(id));
        self.shutdown.spawn(async move {
            let (end, result) = match bundles.kept(id, place, &stop, wanted).await {
                Ok(kept) => (TaskEnd::Done, kept.to_string()),
                Err((end, reason)) => (end, reason),
            };
            bundles.tasks.finish(id, end, result).await;
        });
        Ok(id)
    }

    fn enter(&self, wanted: &Wanted) -> Result<Place, Refusal> {
        self.turns.enter(wanted.key()).map_err(|running| {
            Refusal::TooMany(format!(
                "task {running} collects a bundle of {} for {} already, and as many as may wait do; \
                 try again when one has ended, or cancel one",
                wanted.of, wanted.task.user
            ))
        })
    }

    /// Makes the task. On a task of our own, so that a caller who goes away in this moment leaves none behind that nobody ends.
    async fn made(&self, wanted: &Wanted) -> Result<Waiter, Refusal> {
        let (tasks, shutdown, new) = (self.tasks.clone(), self.shutdown.clone(), wanted.task.clone());
        let (nodes, filter, collectors) = (wanted.nodes.len(), &wanted.node_filter, &wanted.collectors);
        let line = format!("{}, filter {filter:?}, collectors {collectors:?}", report::counted(nodes, "node"));
        let making = self.shutdown.spawn(async move {
            let id = tasks.create(new).await?;
            let waiter = Waiter { tasks: tasks.clone(), shutdown, id, waits: true };
            tasks.debug(id, &line).await?;
            Ok(waiter)
        });
        making.await.map_err(|error| Refusal::internal("a task could not be made", &error))?
    }

    /// Waits for the turn, and says for what.
    async fn turn(&self, id: TaskId, place: Place, stop: &Stop) -> Result<Turn, Unbegun> {
        let ahead = place.name(id);
        let step = |state| Event::Step(waiting(&ahead, state));
        if !ahead.is_empty() {
            self.tasks.event(id, step(StepState::Started)).await;
        }
        let turn = tokio::select! {
            biased;
            () = stop.token.cancelled() => {
                return Err(if self.shutdown.is_stopping() {
                    Unbegun::errored(Refusal::Busy)
                } else {
                    let refusal = Refusal::Conflict(format!("task {id} was cancelled while it waited for its turn"));
                    Unbegun { end: TaskEnd::Cancelled, refusal }
                });
            }
            turn = place.turn() => turn,
        };
        if !ahead.is_empty() {
            self.tasks.event(id, step(StepState::Finished)).await;
        }
        Ok(turn)
    }

    async fn begin(&self, id: TaskId, wanted: &Wanted, log: Streamed) -> Result<Download, Unbegun> {
        self.tasks.begin(id).await.map_err(|refusal| Unbegun { end: TaskEnd::Cancelled, refusal })?;
        let stop = log.stop();
        self.engine
            .start(wanted.spec(id), Watch { log: Arc::new(log), stop })
            .map_err(|error| Unbegun::errored(refused(&error)))
    }

    /// A kept bundle from its turn to its publication.
    async fn kept(&self, id: TaskId, place: Place, stop: &Stop, wanted: Wanted) -> Result<BundleId, (TaskEnd, String)> {
        let unbegun = |unbegun: Unbegun| (unbegun.end, unbegun.refusal.to_string());
        let errored = |reason: String| (TaskEnd::Errored, reason);
        let _turn = self.turn(id, place, stop).await.map_err(unbegun)?;
        self.tasks.begin(id).await.map_err(|refusal| (TaskEnd::Cancelled, refusal.to_string()))?;
        let (log, end) = Held::new(self.tasks.clone());
        let watch = Watch { log: Arc::new(log), stop: stop.token.clone() };
        let download = self.engine.start(wanted.spec(id), watch);
        let download = download.map_err(|error| errored(refused(&error).to_string()))?;
        let kept = BundleId::random();
        let written = self.stored.write(kept, wanted.format, download.body).await;
        // The engine says how it ended once its body has, or was dropped.
        let (end, result) = end.await.unwrap_or_else(|_| errored("the collection broke off".to_owned()));
        let written = match (written, end) {
            (Err(error), _) if !error.is_the_bundle() => return Err(errored(report::chain(&error))),
            (Ok(written), TaskEnd::Done) => written,
            (Ok(written), _) => {
                written.abandon().await;
                return Err((end, result));
            }
            (Err(_), _) => return Err((end, result)),
        };
        let sealed: Sealed = serde_json::from_str(&result).map_err(|error| errored(report::chain(&error)))?;
        let row = StoredRow {
            id: kept,
            name: download.name,
            of: wanted.of,
            clusters: wanted.clusters,
            user: wanted.task.user,
            task: id,
            format: wanted.format,
            bytes: written.bytes(),
            verdict: sealed.verdict,
            nodes: sealed.nodes,
            nodes_collected: sealed.nodes_collected,
            created_ms: self.clock.now_ms(),
        };
        self.stored.publish(written, row).await.map_err(|error| errored(report::chain(&error)))?;
        Ok(kept)
    }
}

/// What the engine's line of result says of a sealed bundle.
#[derive(Deserialize)]
struct Sealed {
    verdict: Verdict,
    nodes: u64,
    nodes_collected: u64,
}

fn waiting(ahead: &[TaskId], state: StepState) -> Step {
    let list: Vec<String> = ahead.iter().map(ToString::to_string).collect();
    let progress = if state == StepState::Finished { 100 } else { 0 };
    let task = format!("waits for task {}", list.join(", "));
    Step { stage: "Queued", tags: Vec::new(), total: 1, task, index: 1, state, progress, data: None }
}

fn refused(error: &StartError) -> Refusal {
    match error {
        StartError::Busy | StartError::Stopping => Refusal::Busy,
        StartError::NoNodes => Refusal::Invalid(error.to_string()),
        StartError::Resource(_) => Refusal::internal("a download cannot begin", error),
    }
}

/// Ends the task of a client that goes away while it waits for its turn.
struct Waiter {
    tasks: Tasks,
    shutdown: Shutdown,
    id: TaskId,
    waits: bool,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if self.waits {
            let (tasks, id) = (self.tasks.clone(), self.id);
            self.shutdown.spawn(async move {
                tasks.finish(id, TaskEnd::Cancelled, "the client went away before its turn".to_owned()).await;
            });
        }
    }
}

/// The log of a streamed bundle: the turn is over when its end is written.
struct Streamed {
    tasks: Tasks,
    held: Mutex<Option<(Turn, Stop)>>,
}

impl Streamed {
    fn new(tasks: Tasks, turn: Turn, stop: Stop) -> Self {
        Self { tasks, held: Mutex::new(Some((turn, stop))) }
    }

    fn stop(&self) -> tokio_util::sync::CancellationToken {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().map(|(_, stop)| stop.token.clone()).unwrap_or_default()
    }
}

impl TaskLog for Streamed {
    fn events(&self, task: TaskId, events: Vec<Event>) -> BoxFuture<'_, ()> {
        self.tasks.events(task, events)
    }

    fn finish(&self, task: TaskId, end: TaskEnd, result: String) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.tasks.finish(task, end, result).await;
            drop(self.held.lock().unwrap_or_else(PoisonError::into_inner).take());
        })
    }
}

/// The log of a kept bundle: the engine's end is not yet the task's.
struct Held {
    tasks: Tasks,
    end: Mutex<Option<oneshot::Sender<(TaskEnd, String)>>>,
}

impl Held {
    fn new(tasks: Tasks) -> (Self, oneshot::Receiver<(TaskEnd, String)>) {
        let (sender, end) = oneshot::channel();
        (Self { tasks, end: Mutex::new(Some(sender)) }, end)
    }
}

impl TaskLog for Held {
    fn events(&self, task: TaskId, events: Vec<Event>) -> BoxFuture<'_, ()> {
        self.tasks.events(task, events)
    }

    fn finish(&self, task: TaskId, end: TaskEnd, result: String) -> BoxFuture<'_, ()> {
        let sender = self.end.lock().unwrap_or_else(PoisonError::into_inner).take();
        if sender.is_none_or(|sender| sender.send((end, result)).is_err()) {
            warn!(task = task.0, "nobody waits for the end of a kept bundle");
        }
        Box::pin(std::future::ready(()))
    }
}

#[cfg(test)]
mod tests;
