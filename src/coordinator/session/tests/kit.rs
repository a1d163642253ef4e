//! A coordinator's data path with scripted agents: the real routes, engine and format, without sockets and state.
//!
//! An agent here is a script that speaks the conversation; what it packs is made by the same writer as an agent's.

use std::collections::HashMap;
use std::io::Read as _;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::routing::post;
use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};
use http::{Method, Request, StatusCode};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use uuid::Uuid;

use crate::bundle::Format;
use crate::bundle::assemble::SealKey;
use crate::bundle::entry::{EntryHead, padding};
use crate::bundle::frame::{Compressor, FRAME_RAW};
use crate::bundle::outcome::{Outcome, Verdict};
use crate::bundle::path::EntryPath;
use crate::bundle::segment::{Note, Segment, SegmentHead, VERSION};
use crate::bundle::verify::verify;
use crate::clock::Clock;
use crate::coordinator::join::JoinError;
use crate::coordinator::run::{
    BundleSpec, Download, Engine, Event, Parts, Settings, StartError, StepState, TaskEnd, TaskLog, Watch,
};
use crate::coordinator::session::{AgentAuth, NodeIdentity, router};
use crate::id::{ClusterId, NodeName, TaskId};
use crate::limits::SEGMENT_RAW;
use crate::protocol::agents::{Down, Finish, Hello, Order};
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
        let task = tokio::spawn(read_all(download.body));
        Reading { task, key: self.key.clone(), spool: self.spool.path().to_owned() }
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

async fn read_all(mut body: crate::coordinator::run::Body) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(piece) = body.next().await {
        all.extend_from_slice(&piece?);
    }
    Ok(all)
}

/// A download on its way.
pub(super) struct Reading {
    task: tokio::task::JoinHandle<std::io::Result<Vec<u8>>>,
    key: Arc<SealKey>,
    spool: std::path::PathBuf,
}

impl Reading {
    /// The bundle, once it is whole, verified by the format's own reader.
    pub(super) async fn bundle(self) -> Bundle {
        let bytes = soon(self.task).await.expect("joined").expect("a whole bundle");
        let (key, spool) = (self.key.public(), self.spool);
        tokio::task::spawn_blocking(move || Bundle::read(&bytes, &key, &spool)).await.expect("read")
    }

    /// The error that the reader met.
    pub(super) async fn error(self) -> std::io::Error {
        soon(self.task).await.expect("joined").expect_err("no bundle")
    }

    /// The client goes away.
    pub(super) fn leave(self) {
        self.task.abort();
    }
}

/// A bundle that was read and verified.
pub(super) struct Bundle {
    pub(super) verdict: Verdict,
    pub(super) files: HashMap<String, Vec<u8>>,
    pub(super) manifest: Value,
    pub(super) warnings: String,
}

impl Bundle {
    fn read(bytes: &[u8], key: &crate::bundle::seal::PublicKey, spool: &std::path::Path) -> Self {
        let mut findings = Vec::new();
        let report = verify(bytes, Some(key), spool, &mut |finding| findings.push(finding.to_string())).expect("read");
        assert!(matches!(report.verdict, Verdict::Complete | Verdict::Partial), "{:?} {findings:#?}", report.verdict);
        let tar = match report.format {
            Some(Format::TarZst) => zstd::decode_all(bytes).expect("frames"),
            _ => bytes.to_vec(),
        };
        let mut files = HashMap::new();
        for entry in tar::Archive::new(&tar[..]).entries().expect("a tar") {
            let mut entry = entry.expect("an entry");
            let path = entry.path().expect("a path").to_string_lossy().into_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("content");
            let below = path.split_once('/').expect("a folder").1.to_owned();
            assert!(files.insert(below, content).is_none(), "{path} stands twice");
        }
        let manifest = serde_json::from_slice(&files["manifest.json"]).expect("a manifest");
        let warnings = String::from_utf8(files["WARNINGS.txt"].clone()).expect("text");
        Self { verdict: report.verdict, files, manifest, warnings }
    }

    /// The node's row.
    pub(super) fn node(&self, node: &str) -> &Value {
        let rows = self.manifest["nodes"].as_array().expect("rows");
        rows.iter().find(|row| row["name"] == node).expect("the node's row")
    }

    /// The file's row.
    pub(super) fn file(&self, path: &str) -> &Value {
        let rows = self.manifest["files"].as_array().expect("rows");
        rows.iter().find(|row| row["path"] == path).expect("the file's row")
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

async fn call(router: &Router, method: Method, path: &str, token: &str, body: Body) -> Answer {
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

/// A scripted agent.
pub(super) struct Agent {
    router: Router,
    pub(super) node: String,
    pub(super) instance: Uuid,
    // Locked by nobody: it makes the agent one that several tasks may look at.
    lines: Mutex<BodyDataStream>,
    buffer: BytesMut,
    pub(super) order: Option<Order>,
    pub(super) next: u64,
}

impl Agent {
    async fn begin(router: Router, node: &str, instance: Uuid) -> Self {
        Self::begin_with(router, node, hello(instance)).await
    }

    async fn begin_with(router: Router, node: &str, hello: Hello) -> Self {
        let instance = hello.instance;
        let request = Request::post("/agent/v1/session")
            .header("authorization", format!("Bearer {node}"))
            .body(Body::from(serde_json::to_vec(&hello).expect("JSON")))
            .expect("a request");
        let answer = router.clone().oneshot(request).await.expect("answered");
        assert_eq!(answer.status(), StatusCode::OK);
        let lines = Mutex::new(answer.into_body().into_data_stream());
        let node = node.to_owned();
        let mut agent = Self { router, node, instance, lines, buffer: BytesMut::new(), order: None, next: 0 };
        assert!(matches!(agent.line().await, Some(Down::Welcome { version: 1, .. })));
        agent
    }

    /// The same process with a new connection.
    pub(super) async fn again(self) -> Self {
        let Self { router, node, instance, .. } = self;
        Self::begin(router, &node, instance).await
    }

    /// The same process with a new connection, which says what it works on.
    pub(super) async fn again_working(self, working: Vec<(TaskId, u32)>) -> Self {
        let Self { router, node, instance, .. } = self;
        Self::begin_with(router, &node, Hello { working, ..hello(instance) }).await
    }

    /// A new process of an agent that knows nothing of rules in requests.
    pub(super) async fn of_old(self) -> Self {
        let Self { router, node, .. } = self;
        Self::begin_with(router, &node, Hello { redacts_asked: false, ..hello(Uuid::new_v4()) }).await
    }

    /// A new process of an agent whose configuration refuses every order.
    pub(super) async fn refusing(self) -> Self {
        let Self { router, node, .. } = self;
        Self::begin_with(router, &node, Hello { refuses: true, ..hello(Uuid::new_v4()) }).await
    }

    /// A new process in place of this one.
    pub(super) async fn restarted(self) -> Self {
        let Self { router, node, .. } = self;
        Self::begin(router, &node, Uuid::new_v4()).await
    }

    /// The next line that comes down; `None` when the session is over.
    pub(super) async fn line(&mut self) -> Option<Down> {
        loop {
            if let Some(at) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(at + 1);
                match serde_json::from_slice(&line).expect("a line") {
                    Down::Ping => continue,
                    down => return Some(down),
                }
            }
            let more = soon(self.lines.get_mut().expect("a lock").next()).await?;
            self.buffer.extend_from_slice(&more.expect("a piece"));
        }
    }

    /// Waits for the order to collect.
    pub(super) async fn ordered(mut self) -> Self {
        match self.line().await {
            Some(Down::Collect(order)) => {
                self.next = order.next;
                self.order = Some(*order);
            }
            other => panic!("an order, not {other:?}"),
        }
        self
    }

    fn order(&self) -> &Order {
        self.order.as_ref().expect("an order")
    }

    pub(super) async fn call(&self, method: Method, path: &str, body: impl Into<Body>) -> Answer {
        soon(call(&self.router, method, path, &self.node, body.into())).await
    }

    /// A segment of frames, as it would be sent next.
    pub(super) fn segment(&self, frames: Bytes, boundary: bool, notes: Vec<Note>) -> Segment {
        let head = SegmentHead {
            version: VERSION,
            task: self.order().task,
            attempt: self.order().attempt,
            number: self.next,
            digest: blake3::hash(&frames).to_hex().to_string(),
            boundary,
            continues: false,
            estimate: None,
            notes,
        };
        Segment { head, frames }
    }

    /// Sends it; does not count it.
    pub(super) async fn put(&self, segment: &Segment) -> Answer {
        let SegmentHead { task, attempt, number, .. } = &segment.head;
        let path = format!("/agent/v1/tasks/{task}/attempts/{attempt}/segments/{number}");
        self.call(Method::PUT, &path, segment.encode()).await
    }

    /// Sends frames as the next segment, and expects that they are held.
    pub(super) async fn send(&mut self, frames: Bytes, boundary: bool) {
        let answer = self.put(&self.segment(frames, boundary, Vec::new())).await;
        assert_eq!(answer.ack(), (200, self.next + 1), "{answer:?}");
        self.next += 1;
    }

    /// The same for a segment that goes on inside the entry that the last process left open.
    pub(super) fn continuing(&self, frames: Bytes, boundary: bool) -> Segment {
        let mut segment = self.segment(frames, boundary, Vec::new());
        segment.head.continues = true;
        segment
    }

    /// Sends small files, in one segment.
    pub(super) async fn files(&mut self, files: &[(&str, &[u8])]) {
        let tar: Vec<u8> = files.iter().flat_map(|(path, content)| self.entry(path, content)).collect();
        self.send(frames(&tar), true).await;
    }

    /// One whole entry of this node, as tar.
    pub(super) fn entry(&self, below: &str, content: &[u8]) -> Vec<u8> {
        let mut tar = head(&format!("{}/nodes/{}/{below}", self.order().bundle, self.node), content.len() as u64);
        tar.extend_from_slice(content);
        tar.resize(tar.len() + padding(content.len() as u64) as usize, 0);
        tar
    }

    /// The parts of a large entry, as segments' frames; the last one ends it.
    pub(super) fn parts(&self, below: &str, content: &[u8]) -> Vec<Bytes> {
        self.entry(below, content).chunks(SEGMENT_RAW).map(frames).collect()
    }

    /// Sends a whole large entry.
    pub(super) async fn large(&mut self, below: &str, content: &[u8]) {
        let parts = self.parts(below, content);
        let last = parts.len() - 1;
        for (at, part) in parts.into_iter().enumerate() {
            self.send(part, at == last).await;
        }
    }

    pub(super) async fn end(&self, outcome: Outcome, reason: &str) -> Answer {
        let (task, attempt) = (self.order().task, self.order().attempt);
        let finish = Finish { attempt, segments: self.next, outcome, reason: reason.to_owned(), paused_ms: 0 };
        let path = format!("/agent/v1/tasks/{task}/finish");
        self.call(Method::POST, &path, serde_json::to_vec(&finish).expect("JSON")).await
    }

    /// Says that it is done.
    pub(super) async fn finish(&self) {
        assert_eq!(self.end(Outcome::Collected, "").await.status, StatusCode::NO_CONTENT);
    }

    /// The paths that the coordinator holds.
    pub(super) async fn held(&self) -> Vec<String> {
        let lines = self.held_lines().await;
        lines.into_iter().map(|line| line.as_str().expect("a string").to_owned()).collect()
    }

    /// All that the coordinator holds.
    pub(super) async fn held_lines(&self) -> Vec<Value> {
        let answer =
            self.call(Method::GET, &format!("/agent/v1/tasks/{}/held", self.order().task), Body::empty()).await;
        assert_eq!(answer.status, StatusCode::OK);
        let text = String::from_utf8(answer.body.to_vec()).expect("text");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

pub(super) fn hello(instance: Uuid) -> Hello {
    Hello {
        versions: vec![1],
        instance,
        agent_version: "0.1.0".to_owned(),
        machine_id: String::new(),
        boot_id: String::new(),
        hostname: String::new(),
        os: String::new(),
        os_id: String::new(),
        os_version: String::new(),
        kernel: String::new(),
        addresses: Vec::new(),
        labels: Default::default(),
        collectors: Default::default(),
        clock_ms: Clock::system().now_ms(),
        packs: Vec::new(),
        deployments: Vec::new(),
        redacts_asked: true,
        refuses: false,
        working: Vec::new(),
    }
}

/// An entry's header.
pub(super) fn head(path: &str, size: u64) -> Vec<u8> {
    let path = EntryPath::parse(path).expect("a path");
    EntryHead { path, size, mode: 0o644, mtime_ns: 1_795_253_400_000_000_000 }.encode()
}

/// Frames of some tar.
pub(super) fn frames(tar: &[u8]) -> Bytes {
    let mut compressor = Compressor::new().expect("a compressor");
    let frames: Vec<_> = tar.chunks(FRAME_RAW).map(|raw| compressor.frame(raw).expect("a frame").bytes).collect();
    frames.concat().into()
}

/// Bytes that look like nothing in particular.
pub(super) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    let mut bytes = vec![0; length];
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}
