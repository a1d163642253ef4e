//! A coordinator's data path with scripted agents: the real routes, engine and format, without sockets and state.
//!
//! The rig begins downloads, keeps their events, and waits for what must happen.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::post;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{Method, Request, StatusCode};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use uuid::Uuid;

pub(super) use super::reading::Reading;
pub(super) use super::script::{Agent, frames, head, hello, noise};
use crate::bundle::Format;
use crate::bundle::assemble::SealKey;
use crate::clock::Clock;
use crate::coordinator::join::JoinError;
use crate::coordinator::run::{
    BundleSpec, Download, Engine, Event, Parts, Settings, StartError, StepState, TaskEnd, TaskLog, Watch,
};
use crate::coordinator::session::{AgentAuth, NodeIdentity, router};
use crate::id::{ClusterId, NodeName, TaskId};
use crate::protocol::agents::Hello;
use crate::protocol::join::{JoinReply, JoinRequest};
use crate::protocol::redaction::AskedRule;
use crate::shutdown::Shutdown;

/// Long enough for any machine; only a fault waits for it.
pub(super) const LONG: Duration = Duration::from_secs(60);

/// Lets time pass until `what` has happened. For tests whose clock stands still otherwise: the thread that writes the bundle keeps
/// it from moving by itself.
pub(super) async fn passing<F: Future>(what: F) -> F::Output {
    let mut what = std::pin::pin!(what);
    loop {
        tokio::select! {
            biased;
            output = &mut what => return output,
            () = tokio::time::advance(Duration::from_millis(20)) => {}
        }
    }
}

/// Waits for what must happen, by the wall's clock: tests may turn tokio's.
pub(super) async fn soon<F: Future>(what: F) -> F::Output {
    let (_done, wait) = std::sync::mpsc::channel::<()>();
    let (late, too_late) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        if wait.recv_timeout(LONG) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _ = late.send(());
        }
    });
    tokio::select! {
        biased;
        output = what => output,
        Ok(()) = too_late => panic!("it does not happen"),
    }
}

pub(super) fn name(node: &str) -> NodeName {
    node.parse().expect("a node's name")
}

/// Every token is its node's name.
struct Tokens;

impl AgentAuth for Tokens {
    fn agent_by_token<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Option<NodeIdentity>> {
        let node = token.parse().ok();
        let identity =
            node.map(|node| NodeIdentity { node, cluster: ClusterId(Uuid::nil()), cluster_name: "lab".to_owned() });
        async move { identity }.boxed()
    }

    fn join<'a>(
        &'a self,
        _: Option<&'a str>,
        _: JoinRequest,
        _: Option<IpAddr>,
    ) -> BoxFuture<'a, Result<JoinReply, JoinError>> {
        async { Err(JoinError::NoCertificate) }.boxed()
    }

    fn joined<'a>(&'a self, _: &'a NodeIdentity, _: &'a Hello) -> BoxFuture<'a, ()> {
        async {}.boxed()
    }

    fn left<'a>(&'a self, _: &'a NodeIdentity) -> BoxFuture<'a, ()> {
        async {}.boxed()
    }
}

/// Keeps events, and lets tests wait for them.
pub(super) struct Journal(watch::Sender<Lines>);

/// All events, and the end.
type Lines = (Vec<Event>, Option<(TaskEnd, String)>);

impl TaskLog for Journal {
    fn events(&self, _: TaskId, more: Vec<Event>) -> BoxFuture<'_, ()> {
        self.0.send_modify(|(events, end)| {
            assert!(end.is_none(), "an event after the end");
            events.extend(more);
        });
        async {}.boxed()
    }

    fn finish(&self, _: TaskId, end: TaskEnd, result: String) -> BoxFuture<'_, ()> {
        self.0.send_modify(|(_, ended)| {
            assert!(ended.is_none(), "ended twice");
            *ended = Some((end, result));
        });
        async {}.boxed()
    }
}

/// The data path under test.
pub(super) struct Rig {
    pub(super) engine: Engine,
    router: Router,
    journal: Arc<Journal>,
    key: Arc<SealKey>,
    spool: tempfile::TempDir,
    pub(super) shutdown: Shutdown,
    /// The task's own stop.
    pub(super) stop: CancellationToken,
}

impl Rig {
    /// With the usual settings, changed by `change`; only the grace is long.
    pub(super) fn new(change: impl FnOnce(&mut Settings)) -> Self {
        let spool = tempfile::tempdir().expect("a temporary folder");
        let mut settings = Settings { spool_dir: spool.path().to_owned(), grace: LONG, ..Settings::default() };
        change(&mut settings);
        let journal = Arc::new(Journal(watch::Sender::default()));
        let key = Arc::new(SealKey::generate());
        let shutdown = Shutdown::new();
        let engine =
            Engine::new(Parts { settings, clock: Clock::system(), shutdown: shutdown.clone(), key: key.clone() });
        let router = router(engine.clone(), Arc::new(Tokens), post(|| async { StatusCode::NOT_IMPLEMENTED }));
        let stop = shutdown.token().child_token();
        Self { engine, router, journal, key, spool, shutdown, stop }
    }

    pub(super) fn try_start(&self, format: Format, nodes: &[&str]) -> Result<Download, StartError> {
        self.try_start_without(format, nodes, Vec::new())
    }

    /// The same for a request that has something taken out.
    pub(super) fn try_start_without(
        &self,
        format: Format,
        nodes: &[&str],
        redact: Vec<AskedRule>,
    ) -> Result<Download, StartError> {
        let watch = Watch { log: self.journal.clone(), stop: self.stop.clone() };
        let spec = BundleSpec {
            task: TaskId(7),
            cluster: "lab".to_owned(),
            nodes: nodes.iter().map(|node| name(node).into()).collect(),
            node_filter: Vec::new(),
            collectors: Vec::new(),
            redact,
            budgets: Default::default(),
            window: Default::default(),
            format,
            case: Some("C-1".to_owned()),
            note: None,
            requested_by: "admin".to_owned(),
        };
        self.engine.start(spec, watch)
    }

    /// Begins a download whose reader reads at once.
    pub(super) fn start(&self, format: Format, nodes: &[&str]) -> Reading {
        self.reading(self.try_start(format, nodes).expect("a download"))
    }

    /// Reads a download at once.
    pub(super) fn reading(&self, download: Download) -> Reading {
        Reading::of(download.body, self.key.clone(), self.spool.path().to_owned())
    }

    pub(super) async fn call(&self, method: Method, path: &str, token: &str, body: impl Into<Body>) -> Answer {
        call(&self.router, method, path, token, body.into()).await
    }

    /// An agent with a new process.
    pub(super) async fn agent(&self, node: &str) -> Agent {
        Agent::begin(self.router.clone(), node, Uuid::new_v4()).await
    }

    /// Waits until the events satisfy `wanted`.
    pub(super) async fn event(&self, wanted: impl Fn(&Event) -> bool) -> Event {
        let mut seen = self.journal.0.subscribe();
        let (events, _) = &*soon(seen.wait_for(|(events, _)| events.iter().any(&wanted))).await.expect("a journal");
        events.iter().find(|event| wanted(event)).expect("it was there").clone()
    }

    /// All events so far.
    pub(super) fn events(&self) -> Vec<Event> {
        self.journal.0.borrow().0.clone()
    }

    /// Waits until the node's part is over, and says how.
    pub(super) async fn over(&self, node: &str) -> (StepState, Value) {
        let ended = |state| matches!(state, StepState::Finished | StepState::Failed);
        let event =
            self.event(|event| matches!(event, Event::Step(step) if step.tags == [node] && ended(step.state))).await;
        match event {
            Event::Step(step) => (step.state, step.data.expect("data")),
            Event::Warning(_) => unreachable!("only steps match"),
        }
    }

    /// Waits until the task is over.
    pub(super) async fn end(&self) -> (TaskEnd, String) {
        let mut seen = self.journal.0.subscribe();
        soon(seen.wait_for(|(_, end)| end.is_some())).await.expect("a journal").1.clone().expect("an end")
    }

    /// Everything that a download took is free again.
    pub(super) async fn all_is_free(&self) {
        soon(async {
            while self.engine.figures().downloads_running > 0
                || self.engine.figures().memory_used > 0
                || self.engine.figures().spool_used > 0
            {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// An answer that was read whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// Status and `next`, for what answers with an ack.
    pub(super) fn ack(&self) -> (u16, u64) {
        (self.status.as_u16(), self.json()["next"].as_u64().unwrap_or(u64::MAX))
    }
}

/// One call of the agents' listener, by whoever the token is.
pub(super) async fn call(router: &Router, method: Method, path: &str, token: &str, body: Body) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {token}"))
        .body(body)
        .expect("a request");
    let answer = router.clone().oneshot(request).await.expect("answered");
    let status = answer.status();
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.expect("a body");
    Answer { status, body }
}
