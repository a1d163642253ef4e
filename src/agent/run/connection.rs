//! One life of the connection: log in, say hello, follow what comes down, report vitals, until it ends.
//!
//! Orders go to the worker, the link to whoever uploads. Whatever ends the connection is a value, and the daemon tries again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{Method, StatusCode};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};

use super::answers::Answers;
use super::offset::Sample;
use super::setup::Setup;
use super::work::{Queued, log_refusal};
use super::{Shared, service};
use crate::agent::send::{Link, LinkError, LoginError, Session, Token, Uploader};
use crate::agent::source::inventory::Inventory;
use crate::agent::source::vitals::Sampler;
use crate::bundle::outcome::Outcome;
use crate::clock::Clock;
use crate::limits::HEARTBEAT;
use crate::protocol::VERSION;
use crate::protocol::agents::{Down, Finish, Heartbeat, HeartbeatReply, Hello, Order};
use crate::report;

/// A connection that held this long counts as one that worked.
const LIVED: Duration = Duration::from_secs(5);

/// What ended a connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    /// It did not begin, or broke.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// No access token.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// The coordinator ended the session.
    #[error(
        "the coordinator ended the session: it stops, this node's agent secret was revoked or the node removed, or another agent \
         uses the secret"
    )]
    Ended,
    /// The connection closed beneath.
    #[error("the connection closed")]
    Closed,
    /// A reload has changed where the coordinator is, or how it is known.
    #[error("the way to the coordinator has changed")]
    Elsewhere,
    /// First line of another kind.
    #[error("the coordinator did not say welcome")]
    NoWelcome,
    /// It speaks another version.
    #[error("the coordinator speaks version {0} of the conversation, this agent {VERSION}")]
    Version(u16),
}

/// How a connection ended, and whether it worked at all.
pub(super) struct EndOf {
    pub(super) error: Lost,
    pub(super) lived: bool,
}

/// Comes to a sample of the coordinator's clock.
type Beat = BoxFuture<'static, Result<Option<Sample>, LinkError>>;

/// Keeps what outlives a connection.
pub(super) struct Connection {
    shared: Arc<Shared>,
    /// What the connection was made by.
    setup: Arc<Setup>,
    setups: watch::Receiver<Arc<Setup>>,
    links: watch::Sender<Option<Link>>,
    /// Versions of links whose token is no longer taken.
    stale: mpsc::Receiver<u64>,
    stale_in: mpsc::Sender<u64>,
    orders: mpsc::Sender<Queued>,
    answers: Answers,
    sampler: Arc<Mutex<Sampler>>,
    token: Option<Token>,
    version: u64,
    clock: Clock,
}

impl Connection {
    pub(super) fn new(
        shared: Arc<Shared>,
        links: watch::Sender<Option<Link>>,
        (stale_in, stale): (mpsc::Sender<u64>, mpsc::Receiver<u64>),
        orders: mpsc::Sender<Queued>,
    ) -> Self {
        let (setup, setups) = (shared.setup(), shared.setup.subscribe());
        let sampler = Arc::new(Mutex::new(Sampler::new(setup.config.limits.mount_wait)));
        let clock = Clock::system();
        let answers = Answers::new(Arc::clone(&shared), links.subscribe());
        Self { shared, setup, setups, links, stale, stale_in, orders, answers, sampler, token: None, version: 0, clock }
    }

    /// Connects and stays until something ends it.
    ///
    /// # Cancel safety
    /// A cancelled call ends the connection; the next begins a new one.
    pub(super) async fn live(&mut self) -> EndOf {
        self.look();
        let link = match self.setup.dialer.connect(&self.shared.shutdown).await {
            Ok(link) => link,
            Err(error) => return EndOf { error: error.into(), lived: false },
        };
        // Whatever happens to this future, the connection ends with it.
        let _hang_up = HangUp(link.clone());
        let began = Instant::now();
        let mut welcomed = false;
        let error = match self.session(&link, &mut welcomed).await {
            Ok(never) => match never {},
            Err(error) => error,
        };
        self.links.send_replace(None);
        EndOf { error, lived: welcomed && began.elapsed() >= LIVED }
    }

    /// Takes what is in force now, and gives what was before.
    fn look(&mut self) -> Arc<Setup> {
        let now = Arc::clone(&self.setups.borrow_and_update());
        let before = std::mem::replace(&mut self.setup, now);
        if !self.setup.same_way(&before) || !self.setup.same_secret(&before) {
            // A token of another coordinator, or of who this node was before.
            self.token = None;
        }
        let wait = self.setup.config.limits.mount_wait;
        if before.config.limits.mount_wait != wait {
            *self.sampler.lock().unwrap_or_else(PoisonError::into_inner) = Sampler::new(wait);
        }
        before
    }

    /// After a reload: the same connection goes on where it may, and the coordinator hears of this node anew.
    async fn renew(&mut self, bare: &Link) -> Result<Session, Lost> {
        let token = self.token.clone();
        let before = self.look();
        if !self.setup.same_way(&before) {
            return Err(Lost::Elsewhere);
        }
        if self.token.is_none() {
            // What the coordinator does not take must not end what goes on.
            self.token = match self.setup.keys.exchange(bare).await {
                Ok(token) => Some(token),
                Err(LoginError::Link(error)) => return Err(error.into()),
                Err(error) => {
                    tracing::error!(reason = %report::chain(&error), "the new agent secret cannot be used; the access token at hand is");
                    token
                }
            };
        }
        self.begin(bare).await
    }

    async fn session(&mut self, bare: &Link, welcomed: &mut bool) -> Result<std::convert::Infallible, Lost> {
        let mut session = self.begin(bare).await?;
        *welcomed = true;
        let mut beats = tokio::time::interval(HEARTBEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut beat: Option<Beat> = None;
        loop {
            let renew_at = self.token.as_ref().map_or_else(Instant::now, |token| token.renew_at);
            tokio::select! {
                down = session.next() => self.follow(down?.ok_or(Lost::Ended)?),
                () = bare.closed() => return Err(Lost::Closed),
                _ = beats.tick(), if beat.is_none() => beat = Some(self.beat()),
                done = answer(&mut beat) => {
                    beat = None;
                    if matches!(done, Ok(Some(_))) {
                        session.heard();
                    }
                    self.felt(done);
                }
                Ok(()) = self.setups.changed() => {
                    session = self.renew(bare).await?;
                    // The new session knows nothing of this node's vitals and clock.
                    beats.reset_immediately();
                }
                Some(version) = self.stale.recv() => if version == self.version { self.log_in(bare).await? },
                () = tokio::time::sleep_until(renew_at) => self.log_in(bare).await?,
            }
        }
    }

    /// Logs in where needed, says hello and waits for the welcome.
    async fn begin(&mut self, bare: &Link) -> Result<Session, Lost> {
        if self.token.as_ref().is_none_or(|token| token.renew_at <= Instant::now()) {
            self.token = Some(self.setup.keys.exchange(bare).await?);
        }
        let hello = self.hello();
        let (sent_ms, sent) = (hello.clock_ms, Instant::now());
        let mut session = match Session::open(&self.link(bare), &hello).await {
            Err(LinkError::Status { status: StatusCode::UNAUTHORIZED, .. }) => {
                // The token died early: the coordinator was restarted, or the secret revoked.
                self.token = Some(self.setup.keys.exchange(bare).await?);
                Session::open(&self.link(bare), &hello).await?
            }
            opened => opened?,
        };
        match session.next().await?.ok_or(Lost::Ended)? {
            Down::Welcome { version: VERSION, node, cluster, clock_ms } => {
                let (node, cluster) = (report::brief(&node, 80), report::brief(&cluster, 80));
                // The first heartbeat says it better, and may take its time.
                self.compare(Sample::of(sent_ms, sent.elapsed(), clock_ms, clock_ms));
                tracing::info!(node, cluster, clock_offset_ms = self.clock.now_ms() - clock_ms, "connected");
                service::ready("connected");
                service::status(&format!("connected as {node} of {cluster}"));
            }
            Down::Welcome { version, .. } => return Err(Lost::Version(version)),
            _ => return Err(Lost::NoWelcome),
        }
        self.publish(bare);
        Ok(session)
    }

    async fn log_in(&mut self, bare: &Link) -> Result<(), Lost> {
        self.token = Some(self.setup.keys.exchange(bare).await?);
        self.publish(bare);
        Ok(())
    }

    /// The link with the token at hand.
    fn link(&self, bare: &Link) -> Link {
        match &self.token {
            Some(token) => bare.with(Arc::clone(&token.token), self.version),
            None => bare.clone(),
        }
    }

    fn publish(&mut self, bare: &Link) {
        self.version += 1;
        let link = self.link(bare);
        self.links.send_replace(Some(link));
    }

    fn hello(&self) -> Hello {
        let known = self.shared.known(&self.setup.library(), &self.setup.config);
        let working = self.shared.working().iter().map(|(task, working)| (*task, working.attempt)).collect();
        let hello = Inventory::read(&self.setup.host, &known).hello(self.shared.instance, self.clock.now_ms(), working);
        Hello { refuses: !self.setup.config.collect, ..hello }
    }

    fn follow(&mut self, down: Down) {
        match down {
            Down::Collect(order) => self.queue(*order),
            Down::Cancel { task, reason } => {
                if let Some(working) = self.shared.working().get(&task) {
                    tracing::info!(%task, reason = %report::brief(&reason, 500), "collection cancelled by the coordinator");
                    working.cancel.cancel();
                }
            }
            Down::Ask(ask) => self.answers.begin(ask),
            Down::Welcome { .. } | Down::Ping | Down::Unknown => {}
        }
    }

    fn queue(&self, order: Order) {
        let Some(cancel) = self.shared.accept(&order) else { return };
        let task = order.task;
        if let Err(error) = self.orders.try_send((order, cancel)) {
            let (mpsc::error::TrySendError::Full((order, _)) | mpsc::error::TrySendError::Closed((order, _))) = error;
            self.shared.done(&order);
            let mut uploader = Uploader::new(&order, self.links.subscribe(), self.stale_in.clone());
            let reason = "the node has too many other orders to follow".to_owned();
            log_refusal(&order, &reason);
            let finish =
                Finish { attempt: order.attempt, segments: 0, outcome: Outcome::Skipped, reason, paused_ms: 0 };
            self.shared.shutdown.spawn(async move {
                if let Err(error) = uploader.finish(&finish).await {
                    tracing::debug!(%task, error = %report::chain(&error), "the refusal was not taken");
                }
            });
        }
    }

    /// A heartbeat on its way.
    fn beat(&self) -> Beat {
        let (setup, sampler, clock) = (Arc::clone(&self.setup), Arc::clone(&self.sampler), self.clock.clone());
        let known = self.shared.offset();
        let link = self.links.borrow().clone();
        async move {
            let sample = move || sampler.lock().unwrap_or_else(PoisonError::into_inner).sample(&setup.host);
            let Ok(vitals) = tokio::task::spawn_blocking(sample).await else { return Ok(None) };
            let Some(link) = link else { return Ok(None) };
            let sent_ms = clock.now_ms();
            let began = Instant::now();
            let body = Heartbeat {
                clock_ms: sent_ms,
                round_trip_ms: known.map(|known| known.round_trip_ms),
                clock_offset_ms: known.map(|known| known.offset_ms),
                vitals,
            };
            let reply: HeartbeatReply = link.json(Method::POST, "/agent/v1/heartbeat", &body).await?;
            let received_ms = reply.received_ms.unwrap_or(reply.clock_ms);
            Ok(Some(Sample::of(sent_ms, began.elapsed(), received_ms, reply.clock_ms)))
        }
        .boxed()
    }

    /// Takes a heartbeat's answer in.
    fn felt(&mut self, done: Result<Option<Sample>, LinkError>) {
        match done {
            Ok(None) => {}
            Ok(Some(sample)) => self.compare(sample),
            Err(LinkError::Status { status: StatusCode::UNAUTHORIZED, .. }) => {
                if let Some(token) = &mut self.token {
                    token.renew_at = Instant::now();
                }
            }
            Err(error) => tracing::debug!(error = %report::chain(&error), "heartbeat was not taken"),
        }
    }

    fn compare(&self, sample: Sample) {
        self.shared.offset.lock().unwrap_or_else(PoisonError::into_inner).add(sample);
    }
}

/// The answer to the heartbeat on its way; never, when there is none.
async fn answer(beat: &mut Option<Beat>) -> <Beat as Future>::Output {
    match beat {
        Some(beat) => beat.await,
        None => std::future::pending().await,
    }
}

/// Ends a connection when dropped.
struct HangUp(Link);

impl Drop for HangUp {
    fn drop(&mut self) {
        self.0.close();
    }
}
