//! Answers to the coordinator's questions: how the node is, and which deployments it keeps.
//!
//! Questions come down the session, each is answered by a task of its own and a request on the same connection. Each is written to this
//! node's own log: who asked, for what, and what became of it. A question is worked on for no longer than its answer is waited for.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use http::{Method, StatusCode};
use tokio::sync::{Mutex, Semaphore, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Shared;
use super::pipeline::in_background;
use super::told;
use super::work::OFF;
use crate::agent::deployments::{self, KeepError};
use crate::agent::history;
use crate::agent::send::{Link, LinkError};
use crate::agent::source::{forecast, vitals};
use crate::protocol::agents::Vitals;
use crate::protocol::history::History;
use crate::protocol::questions::{Answer, Applied, Apply, Ask, Estimate, EstimateOf, Question, Reply, Wanted};
use crate::report;

/// Questions at hand at once; more are refused.
const AT_ONCE: usize = 16;
/// How long an answer is waited for where the question does not say, and at most.
const WAIT: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(3600));
/// What a refusal needs to arrive before its question is given up.
const BEFORE_THE_END: Duration = Duration::from_secs(2);
/// A reading that began no longer ago than this before a question is its answer too.
const FRESH: Duration = Duration::from_secs(1);

/// Answers questions; cheap to clone.
#[derive(Clone)]
pub(super) struct Answers {
    shared: Arc<Shared>,
    links: watch::Receiver<Option<Link>>,
    turns: Arc<Semaphore>,
    /// When the last reading began, and what it said.
    read: Arc<Mutex<Option<(Instant, Vitals)>>>,
    /// Held by the estimate that is made.
    estimating: Arc<Mutex<()>>,
    /// Questions that are worked on: after a reload the coordinator asks them again.
    at_hand: AtHand,
}

impl Answers {
    pub(super) fn new(shared: Arc<Shared>, links: watch::Receiver<Option<Link>>) -> Self {
        Self {
            shared,
            links,
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            read: Arc::default(),
            estimating: Arc::default(),
            at_hand: AtHand::default(),
        }
    }

    /// Begins to answer a question.
    pub(super) fn begin(&self, ask: Ask) {
        let this = self.clone();
        let id = ask.id;
        // Refused ones are among them: never more than are on their way.
        let Some(done) = this.at_hand.take(id) else { return };
        let turn = Arc::clone(&self.turns).try_acquire_owned();
        self.shared.shutdown.spawn(async move {
            let _done = done;
            let by = report::brief(&ask.requested_by, 200);
            let wait = if ask.wait_ms == 0 { WAIT.0 } else { Duration::from_millis(ask.wait_ms).min(WAIT.1) };
            let end = Instant::now() + wait;
            let answer = match turn {
                Ok(_turn) => tokio::select! {
                    answer = this.answer(ask.question, &by, end) => answer,
                    () = tokio::time::sleep_until(end) => return tracing::warn!(by, "a question was not answered in time"),
                    () = this.shared.shutdown.stopping() => return,
                },
                Err(_) => refused("the node has too many other questions to answer"),
            };
            this.send(id, &answer).await;
        });
    }

    async fn answer(&self, question: Question, by: &str, end: Instant) -> Answer {
        match question {
            Question::Vitals => {
                tracing::info!(by, "asked for vitals");
                self.vitals().await.map_or_else(refused, |vitals| Answer::Reply(Reply::Vitals(Box::new(vitals))))
            }
            Question::History(wanted) => {
                tracing::info!(by, "asked for the history");
                self.history(wanted)
                    .await
                    .map_or_else(|reason| refused(&reason), |history| Answer::Reply(Reply::History(Box::new(history))))
            }
            Question::Estimate(of) => {
                tracing::info!(by, collectors = %report::brief(&of.collectors.join(","), 500), "asked for an estimate");
                match self.estimate(of).await {
                    Ok(estimate) => Answer::Reply(Reply::Estimate(estimate)),
                    Err(reason) => {
                        tracing::warn!(by, reason, "estimate refused");
                        refused(reason)
                    }
                }
            }
            Question::Apply(apply) => self.apply(apply, by, end).await,
            Question::Forget { deployment } => self.forget(deployment, by).await,
            Question::Unknown => {
                refused("this agent is older than the question; install the coordinator's release of sheaf")
            }
        }
    }

    /// Reads the node's vitals; questions that come together share a reading.
    async fn vitals(&self) -> Result<Vitals, &'static str> {
        let asked = Instant::now();
        let mut read = self.read.lock().await;
        if let Some((_, vitals)) = read.as_ref().filter(|(began, _)| *began + FRESH >= asked) {
            return Ok(vitals.clone());
        }
        let began = Instant::now();
        let (shared, setup) = (Arc::clone(&self.shared), self.shared.setup());
        let look = move || {
            let mut vitals = vitals::now(&setup.host, setup.config.limits.mount_wait);
            shared.deployments.claim(&mut vitals.units, &setup.library());
            vitals
        };
        let vitals = tokio::task::spawn_blocking(look).await;
        let vitals = vitals.map_err(|_| "the vitals could not be read")?;
        *read = Some((began, vitals.clone()));
        Ok(vitals)
    }

    /// Reads the node's ring buffer.
    async fn history(&self, wanted: Wanted) -> Result<History, String> {
        let setup = self.shared.setup();
        let read = move || {
            let file = history::file(&setup.config.state_dir);
            history::answer(&file, Duration::from_millis(wanted.since_ms), wanted.points)
        };
        let read = tokio::task::spawn_blocking(read).await.map_err(|_| "the agent is stopping".to_owned())?;
        read.map_err(|error| format!("the node has no history: {}", report::chain(&error)))
    }

    /// Looks at what a collection would read, at the priority of one. One is made at a time; whoever stops waiting ends it.
    async fn estimate(&self, of: EstimateOf) -> Result<Estimate, &'static str> {
        if !self.shared.setup().config.collect {
            return Err(OFF);
        }
        let _turn = self.estimating.lock().await;
        let shared = Arc::clone(&self.shared);
        let stop = CancellationToken::new();
        let _guard = stop.clone().drop_guard();
        let (done, estimate) = oneshot::channel();
        let body = move || {
            let setup = shared.setup();
            let library = setup.library();
            let mut plan = library.plan(&of.collectors, &setup.config);
            plan.window = of.window;
            plan.known.clock_offset_ms = shared.offset().map(|clock| clock.offset_ms);
            let _ = done.send(forecast(&plan, &setup.host, &stop));
        };
        in_background(body).map_err(|_| "there is no thread to look on")?;
        estimate.await.map_err(|_| "the sizes could not be read")
    }

    async fn apply(&self, apply: Apply, by: &str, end: Instant) -> Answer {
        let name = report::brief(&apply.deployment.name, 80);
        let jobs: Vec<&str> = apply.deployment.jobs.iter().map(|job| job.collector.as_str()).collect();
        let shown = report::brief(&jobs.join(","), 500);
        let properties = told::properties(&apply.deployment);
        let (recreate, skip_drain) = (apply.recreate, apply.skip_drain);
        match self.applied(apply, end).await {
            Ok(applied) => {
                tracing::info!(
                    deployment = name,
                    jobs = shown,
                    properties,
                    by,
                    recreate,
                    skip_drain,
                    changed = applied.changed,
                    "deployment applied"
                );
                Answer::Reply(Reply::Applied(applied))
            }
            Err(reason) => {
                tracing::warn!(
                    deployment = name,
                    jobs = shown,
                    properties,
                    by,
                    reason,
                    "deployment refused; what was in force stays"
                );
                refused(&reason)
            }
        }
    }

    async fn applied(&self, apply: Apply, end: Instant) -> Result<Applied, String> {
        let Apply { deployment, recreate, skip_drain } = apply;
        let order = self.shared.deployments.ordered(&deployment.name);
        let library = self.shared.setup().library();
        deployments::check(&deployment, &library).map_err(|error| report::chain(&error))?;
        if !recreate && self.shared.deployments.has(&deployment) {
            return Ok(Applied { digest: deployment.digest(), changed: false });
        }
        if !skip_drain {
            self.drain(&deployment.jobs.iter().map(|job| job.collector.clone()).collect::<Vec<_>>(), end).await?;
        }
        if !self.shared.deployments.is_latest(&deployment.name, order) {
            return Err("a later order for this deployment came in meanwhile".to_owned());
        }
        self.blocking(move |shared| shared.deployments.keep(deployment)).await
    }

    /// Waits for a running collection of these collectors to end.
    async fn drain(&self, collectors: &[String], end: Instant) -> Result<(), String> {
        let shared = &self.shared;
        loop {
            let ended = shared.ended.notified();
            tokio::pin!(ended);
            // From here on no end is missed, whether or not it is waited for already.
            ended.as_mut().enable();
            let Some((task, collector)) = shared.collecting(collectors) else { return Ok(()) };
            tracing::debug!(%task, collector, "the deployment waits for a running collection");
            let late = end.checked_sub(BEFORE_THE_END).unwrap_or(end);
            tokio::select! {
                () = ended => {}
                () = tokio::time::sleep_until(late) => {
                    return Err(format!(
                        "a collection of `{collector}` (task {task}) is still running; try again when it has ended, or skip the drain"
                    ));
                }
            }
        }
    }

    async fn forget(&self, name: String, by: &str) -> Answer {
        let shown = report::brief(&name, 80);
        self.shared.deployments.ordered(&name);
        match self.blocking(move |shared| shared.deployments.forget(&name)).await {
            Ok(was_kept) => {
                tracing::info!(deployment = shown, by, was_kept, "deployment forgotten");
                Answer::Reply(Reply::Forgotten { was_kept })
            }
            Err(reason) => {
                tracing::warn!(deployment = shown, by, reason, "deployment cannot be forgotten");
                refused(&reason)
            }
        }
    }

    /// Does what waits for a disk elsewhere.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, KeepError> + Send + 'static,
    ) -> Result<T, String> {
        let shared = Arc::clone(&self.shared);
        match tokio::task::spawn_blocking(move || work(&shared)).await {
            Ok(done) => done.map_err(|error| report::chain(&error)),
            Err(_) => Err("the agent is stopping".to_owned()),
        }
    }

    async fn send(&self, id: Uuid, answer: &Answer) {
        // Without the connection that the question came on, nobody waits any more.
        let Some(link) = self.links.borrow().clone() else { return };
        let path = format!("/agent/v1/answers/{id}");
        let sent = tokio::select! {
            sent = link.json::<()>(Method::POST, &path, answer) => sent,
            () = self.shared.shutdown.stopping() => return,
        };
        match sent {
            Ok(()) => {}
            Err(LinkError::Status { status: StatusCode::NOT_FOUND, .. }) => tracing::debug!("an answer came too late"),
            Err(error) => tracing::debug!(error = %report::chain(&error), "an answer was not taken"),
        }
    }
}

/// Questions that are worked on.
#[derive(Clone, Default)]
struct AtHand(Arc<std::sync::Mutex<HashSet<Uuid>>>);

impl AtHand {
    /// Puts a question on the list for as long as what comes back lives; nothing where it is there already.
    fn take(&self, id: Uuid) -> Option<Done> {
        let is_new = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        is_new.then(|| Done(self.clone(), id))
    }
}

/// Takes a question off the list when it is done with.
struct Done(AtHand, Uuid);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

fn refused(reason: &str) -> Answer {
    Answer::Refused { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_that_comes_again_while_it_is_worked_on_is_not_begun_again() {
        let (at_hand, id, other) = (AtHand::default(), Uuid::from_u128(1), Uuid::from_u128(2));
        // Sessions come and go; what is at hand is one list for all of them.
        let later = at_hand.clone();
        let done = at_hand.take(id).expect("a new question");
        assert!(later.take(id).is_none() && at_hand.take(id).is_none());
        let others = later.take(other).expect("another question");
        drop(done);
        let again = later.take(id).expect("the answer went out, and may have been lost");
        assert!(at_hand.take(id).is_none());
        drop((again, others));
        assert!(at_hand.0.lock().expect("whole").is_empty(), "nothing is left behind");
    }

    #[test]
    fn a_question_whose_work_panics_may_be_asked_again() {
        let (at_hand, id) = (AtHand::default(), Uuid::from_u128(1));
        let done = at_hand.take(id).expect("a new question");
        let work = std::thread::spawn(move || {
            let _done = done;
            panic!("on purpose");
        });
        assert!(work.join().is_err());
        assert!(at_hand.take(id).is_some());
    }
}
