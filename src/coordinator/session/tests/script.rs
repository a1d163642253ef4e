//! Scripted agents: each speaks the conversation, line by line and call by call, and sends what a test wants sent.
//!
//! What it packs is made by the same writer as an agent's. It reads no node.

use std::sync::Mutex;

use axum::Router;
use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use http::{Method, Request, StatusCode};
use serde_json::Value;
use tower::ServiceExt as _;
use uuid::Uuid;

use super::kit::{Answer, call, soon};
use crate::bundle::entry::{EntryHead, padding};
use crate::bundle::frame::{Compressor, FRAME_RAW};
use crate::bundle::outcome::Outcome;
use crate::bundle::path::EntryPath;
use crate::bundle::segment::{Note, Segment, SegmentHead, VERSION};
use crate::clock::Clock;
use crate::id::TaskId;
use crate::limits::SEGMENT_RAW;
use crate::protocol::agents::{Down, Finish, Hello, Order};

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
    /// A new process of the node's agent, which says hello.
    pub(super) async fn begin(router: Router, node: &str, instance: Uuid) -> Self {
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
