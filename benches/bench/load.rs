//! Many agents in one process: each with a connection, a secret, a session, heartbeats and answers of its own.
//!
//! Started by the scale bench as a process of its own. Agents are the library's own connection with a small answer in place of the
//! stages that read a node; they come back as agents do. A line on standard input turns faults on, the end of it ends all.

use std::fs;
use std::io::BufRead as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use sheaf::agent::config::AgentConfig;
use sheaf::agent::host::Host;
use sheaf::agent::send::{Backoff, Dialer, Link, LinkError, Pieces, Session};
use sheaf::agent::source::Library;
use sheaf::agent::source::inventory::Inventory;
use sheaf::agent::source::vitals;
use sheaf::bundle::entry::{EntryHead, padding};
use sheaf::bundle::frame::Compressor;
use sheaf::bundle::outcome::Outcome;
use sheaf::bundle::path::EntryPath;
use sheaf::bundle::segment::{SegmentHead, VERSION};
use sheaf::clock::Clock;
use sheaf::limits::HEARTBEAT;
use sheaf::protocol::agents::{Down, Finish, Heartbeat, HeartbeatReply, Hello, Order, Vitals};
use sheaf::secret::Secret;
use sheaf::shutdown::Shutdown;
use tokio::time::{Instant, MissedTickBehavior};
use uuid::Uuid;

/// The word that starts this process.
pub(crate) const WORD: &str = "scale-load";
/// Names and secrets, a pair a line, in the bench's folder.
pub(crate) const SECRETS: &str = "secrets";
/// Of so many agents, one refuses, one stalls and one dies once faults are on.
pub(crate) const REFUSES: usize = 100;
pub(crate) const STALLS: usize = 1000;
pub(crate) const DIES: usize = 200;
/// Bytes of each file of an answer, of which there are two.
const CONTENT: usize = 3000;

/// What all agents share.
struct Crowd {
    dialer: Dialer,
    hello: Hello,
    vitals: Vitals,
    faults: AtomicBool,
    clock: Clock,
    shutdown: Shutdown,
}

/// One agent.
struct Agent {
    number: usize,
    secret: String,
    token: Option<Arc<Secret>>,
    instance: Uuid,
}

/// What a session ended with.
enum End {
    Lost,
    Dead,
}

#[derive(serde::Deserialize)]
struct Exchanged {
    access_token: Secret,
    new_secret: Secret,
}

/// The process: agents of all secrets in `folder`, at `url`.
pub(crate) fn run(folder: &Path, url: &str) {
    let ca = fs::read(folder.join("state/ca.pem")).expect("the coordinator's CA");
    let secrets = fs::read_to_string(folder.join(SECRETS)).expect("the secrets");
    let host = Host::open(Path::new("/")).expect("this host");
    let known = Library::load(&[]).known(&AgentConfig::default());
    let clock = Clock::system();
    let crowd = Arc::new(Crowd {
        dialer: Dialer::new(url, &ca).expect("a dialer"),
        hello: Inventory::read(&host, &known).hello(Uuid::new_v4(), clock.now_ms(), Vec::new()),
        vitals: vitals::Sampler::new(Duration::from_secs(2)).sample(&host),
        faults: AtomicBool::new(false),
        clock,
        shutdown: Shutdown::new(),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    for (number, line) in secrets.lines().enumerate() {
        let secret = line.split_once(' ').expect("a pair").1.to_owned();
        let agent = Agent { number, secret, token: None, instance: Uuid::new_v4() };
        runtime.spawn(agent.live(Arc::clone(&crowd)));
    }
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        crowd.faults.store(line == "faults", Ordering::SeqCst);
    }
}

impl Agent {
    /// Comes back for ever, as agents do.
    async fn live(mut self, crowd: Arc<Crowd>) {
        let mut backoff = Backoff::default();
        loop {
            let began = Instant::now();
            if let Ok(End::Dead) = self.session(&crowd).await {
                return;
            }
            if began.elapsed() >= Duration::from_secs(5) {
                backoff.reset();
            }
            tokio::time::sleep(backoff.wait()).await;
        }
    }

    async fn session(&mut self, crowd: &Arc<Crowd>) -> Result<End, LinkError> {
        let bare = crowd.dialer.connect(&crowd.shutdown).await?;
        let _hang_up = HangUp(bare.clone());
        if self.token.is_none() {
            self.exchange(&bare).await?;
        }
        let hello = Hello { instance: self.instance, clock_ms: crowd.clock.now_ms(), ..crowd.hello.clone() };
        let link = self.link(&bare);
        let (mut session, link) = match Session::open(&link, &hello).await {
            Err(LinkError::Status { status: StatusCode::UNAUTHORIZED, .. }) => {
                self.exchange(&bare).await?;
                let link = self.link(&bare);
                (Session::open(&link, &hello).await?, link)
            }
            opened => (opened?, link),
        };
        let mut beats = tokio::time::interval(HEARTBEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                down = session.next() => match down? {
                    None => return Ok(End::Lost),
                    Some(Down::Collect(order)) => {
                        if !self.follow(crowd, &link, *order).await? {
                            return Ok(End::Dead);
                        }
                    }
                    Some(_) => {}
                },
                () = bare.closed() => return Ok(End::Lost),
                _ = beats.tick() => {
                    let vitals = Vitals { at_ms: crowd.clock.now_ms(), ..crowd.vitals.clone() };
                    let beat =
                        Heartbeat { clock_ms: vitals.at_ms, round_trip_ms: None, clock_offset_ms: None, vitals };
                    let _: HeartbeatReply = link.json(Method::POST, "/agent/v1/heartbeat", &beat).await?;
                    session.heard();
                }
            }
        }
    }

    async fn exchange(&mut self, link: &Link) -> Result<(), LinkError> {
        let body = serde_json::json!({ "secret": self.secret });
        let answer: Exchanged = link.json(Method::POST, "/api/v2/agent/secrets/exchange", &body).await?;
        self.secret = answer.new_secret.expose().to_owned();
        self.token = Some(Arc::new(answer.access_token));
        Ok(())
    }

    fn link(&self, bare: &Link) -> Link {
        self.token.as_ref().map_or_else(|| bare.clone(), |token| bare.with(Arc::clone(token), 1))
    }

    /// Answers an order; `false` when the agent dies of it.
    async fn follow(&self, crowd: &Crowd, link: &Link, order: Order) -> Result<bool, LinkError> {
        let (mut segments, mut outcome, mut reason) = (0, Outcome::Collected, "");
        if crowd.faults.load(Ordering::SeqCst) {
            if self.number % DIES == 3 {
                return Ok(false);
            }
            if self.number % STALLS == 5 {
                return Ok(true);
            }
            if self.number % REFUSES == 7 {
                (outcome, reason) = (Outcome::Skipped, "this node collects nothing in its maintenance window");
            }
        }
        if outcome == Outcome::Collected {
            let path = format!("/agent/v1/tasks/{}/attempts/{}/segments/0", order.task, order.attempt);
            let answer = link.send(Method::PUT, &path, Pieces::one(segment(&order))).await?;
            assert!(answer.status().is_success() || answer.status() == StatusCode::GONE, "{}", answer.status());
            segments = 1;
        }
        let finish = Finish { attempt: order.attempt, segments, outcome, reason: reason.to_owned(), paused_ms: 0 };
        let body = serde_json::to_vec(&finish).expect("plain values serialise");
        link.send(Method::POST, &format!("/agent/v1/tasks/{}/finish", order.task), Pieces::one(body.into())).await?;
        Ok(true)
    }
}

/// Two small files, as one segment.
fn segment(order: &Order) -> Bytes {
    let mut tar = Vec::new();
    for name in ["commands/uname.txt", "files/var/log/small.log"] {
        let path = EntryPath::parse(&format!("{}/nodes/{}/{name}", order.bundle, order.node)).expect("a path");
        let head = EntryHead { path, size: CONTENT as u64, mode: 0o644, mtime_ns: 1_795_253_400_000_000_000 };
        tar.extend(head.encode());
        let line = format!("{} {name} says nothing in particular\n", order.node);
        tar.extend(line.bytes().cycle().take(CONTENT));
        tar.resize(tar.len() + padding(CONTENT as u64) as usize, 0);
    }
    let frames = Compressor::new().and_then(|mut compressor| compressor.frame(&tar)).expect("a frame").bytes;
    let head = SegmentHead {
        version: VERSION,
        task: order.task,
        attempt: order.attempt,
        number: 0,
        digest: blake3::hash(&frames).to_hex().to_string(),
        boundary: true,
        continues: false,
        estimate: None,
        notes: Vec::new(),
    };
    [head.prefix(), frames].concat().into()
}

/// Ends a connection when dropped.
struct HangUp(Link);

impl Drop for HangUp {
    fn drop(&mut self) {
        self.0.close();
    }
}
