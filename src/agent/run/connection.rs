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
use super::work::Queued;
use super::{Shared, service};
use crate::agent::send::{Dialer, Keys, Link, LinkError, LoginError, Session, Token, Uploader};
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
    #[error("the coordinator ended the session: it stops, or another agent uses this agent secret")]
    Ended,
    /// The connection closed beneath.
    #[error("the connection closed")]
    Closed,
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

/// Comes to the clocks' offset and the round trip, milliseconds.
type Beat = BoxFuture<'static, Result<Option<(i64, u64)>, LinkError>>;

/// Keeps what outlives a connection.
pub(super) struct Connection {
    shared: Arc<Shared>,
    dialer: Dialer,
    keys: Keys,
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
        dialer: Dialer,
        keys: Keys,
        links: watch::Sender<Option<Link>>,
        (stale_in, stale): (mpsc::Sender<u64>, mpsc::Receiver<u64>),
        orders: mpsc::Sender<Queued>,
    ) -> Self {
        let sampler = Arc::new(Mutex::new(Sampler::new(shared.config.limits.mount_wait)));
        let clock = Clock::system();
        let answers = Answers::new(Arc::clone(&shared), links.subscribe());
        Self { shared, dialer, keys, links, stale, stale_in, orders, answers, sampler, token: None, version: 0, clock }
    }

    /// Connects and stays until something ends it.
    ///
    /// # Cancel safety
    /// A cancelled call ends the connection; the next begins a new one.
    pub(super) async fn live(&mut self) -> EndOf {
        let link = match self.dialer.connect(&self.shared.shutdown).await {
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

    async fn session(&mut self, bare: &Link, welcomed: &mut bool) -> Result<std::convert::Infallible, Lost> {
        let mut session = self.begin(bare).await?;
        *welcomed = true;
        let mut beats = tokio::time::interval(HEARTBEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut beat: Option<Beat> = None;
        let mut round_trip = None;
        loop {
            let renew_at = self.token.as_ref().map_or_else(Instant::now, |token| token.renew_at);
            tokio::select! {
                down = session.next() => self.follow(down?.ok_or(Lost::Ended)?),
                () = bare.closed() => return Err(Lost::Closed),
                _ = beats.tick(), if beat.is_none() => beat = Some(self.beat(round_trip)),
                done = answer(&mut beat) => {
                    beat = None;
                    round_trip = self.felt(done);
                }
                Some(version) = self.stale.recv() => if version == self.version { self.log_in(bare).await? },
                () = tokio::time::sleep_until(renew_at) => self.log_in(bare).await?,
            }
        }
    }

    /// Logs in where needed, says hello and waits for the welcome.
    async fn begin(&mut self, bare: &Link) -> Result<Session, Lost> {
        if self.token.as_ref().is_none_or(|token| token.renew_at <= Instant::now()) {
            self.token = Some(self.keys.exchange(bare).await?);
        }
        let hello = self.hello();
        let mut session = match Session::open(&self.link(bare), &hello).await {
            Err(LinkError::Status { status: StatusCode::UNAUTHORIZED, .. }) => {
                // The token died early: the coordinator was restarted, or the secret revoked.
                self.token = Some(self.keys.exchange(bare).await?);
                Session::open(&self.link(bare), &hello).await?
            }
            opened => opened?,
        };
        match session.next().await?.ok_or(Lost::Ended)? {
            Down::Welcome { version: VERSION, node, cluster, clock_ms } => {
                let (node, cluster) = (report::brief(&node, 80), report::brief(&cluster, 80));
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
        self.token = Some(self.keys.exchange(bare).await?);
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
        let known = self.shared.known(&self.shared.library());
        let working = self.shared.working().iter().map(|(task, working)| (*task, working.attempt)).collect();
        Inventory::read(&self.shared.host, &known).hello(self.shared.instance, self.clock.now_ms(), working)
    }

    fn follow(&mut self, down: Down) {
        match down {
            Down::Collect(order) => self.queue(order),
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
            tracing::warn!(%task, "too many orders wait already; this one is not followed");
            let mut uploader = Uploader::new(&order, self.links.subscribe(), self.stale_in.clone());
            let reason = "the node has too many other orders to follow".to_owned();
            let finish = Finish { attempt: order.attempt, segments: 0, outcome: Outcome::Skipped, reason };
            self.shared.shutdown.spawn(async move {
                if let Err(error) = uploader.finish(&finish).await {
                    tracing::debug!(%task, error = %report::chain(&error), "the refusal was not taken");
                }
            });
        }
    }

    /// A heartbeat on its way.
    fn beat(&self, round_trip_ms: Option<u64>) -> Beat {
        let (shared, sampler, clock) = (Arc::clone(&self.shared), Arc::clone(&self.sampler), self.clock.clone());
        let link = self.links.borrow().clone();
        async move {
            let sample = move || sampler.lock().unwrap_or_else(PoisonError::into_inner).sample(&shared.host);
            let Ok(vitals) = tokio::task::spawn_blocking(sample).await else { return Ok(None) };
            let Some(link) = link else { return Ok(None) };
            let sent_ms = clock.now_ms();
            let began = Instant::now();
            let body = Heartbeat { clock_ms: sent_ms, round_trip_ms, vitals };
            let reply: HeartbeatReply = link.json(Method::POST, "/agent/v1/heartbeat", &body).await?;
            let round_trip = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            // The coordinator read its clock about half a round trip after the heartbeat was sent.
            let offset = sent_ms + i64::try_from(round_trip / 2).unwrap_or(0) - reply.clock_ms;
            Ok(Some((offset, round_trip)))
        }
        .boxed()
    }

    /// Takes a heartbeat's answer in.
    fn felt(&mut self, done: Result<Option<(i64, u64)>, LinkError>) -> Option<u64> {
        match done {
            Ok(None) => None,
            Ok(Some((offset, round_trip))) => {
                *self.shared.offset.lock().unwrap_or_else(PoisonError::into_inner) = Some((offset, round_trip));
                Some(round_trip)
            }
            Err(LinkError::Status { status: StatusCode::UNAUTHORIZED, .. }) => {
                if let Some(token) = &mut self.token {
                    token.renew_at = Instant::now();
                }
                None
            }
            Err(error) => {
                tracing::debug!(error = %report::chain(&error), "heartbeat was not taken");
                None
            }
        }
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
