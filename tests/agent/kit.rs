//! A host to read, a coordinator to talk to, and what a bundle holds.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use sheaf::agent::config::AgentConfig;
use sheaf::agent::run::{self, AgentError, Reload};
use sheaf::api;
use sheaf::bundle::Format;
use sheaf::bundle::manifest::{FileRow, NodeRow};
use sheaf::bundle::outcome::Verdict;
use sheaf::bundle::reader::Reader;
use sheaf::bundle::verify::verify;
use sheaf::clock::Clock;
use sheaf::coordinator::config::CoordinatorConfig;
use sheaf::coordinator::init;
use sheaf::coordinator::principal::Principal;
use sheaf::coordinator::run::{Download, Engine};
use sheaf::coordinator::verbs::{BundleRequest, Credential, Verbs};
use sheaf::shutdown::Shutdown;

/// Longer than anything here takes; a test that waits for ever fails instead.
const LONG: Duration = Duration::from_secs(120);

/// Waits until `ready` says so.
pub async fn until(what: &str, mut ready: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(LONG, async {
        while !ready().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "never: {what}");
}

/// Lines that look like a log and compress to about a third.
pub fn log(seed: u64, bytes: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes + 100);
    let mut state = seed | 1;
    while text.len() < bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let words = ["session", "opened", "closed", "for", "unit", "queue", "disk", "ready", "retry", "late"];
        let word = |shift: u32| words[(state >> shift) as usize % words.len()];
        let line =
            format!("Nov 21 09:30:00 host unit[{}]: {} {} {:08x}\n", state >> 52, word(40), word(30), state >> 32);
        text.extend_from_slice(line.as_bytes());
    }
    text.truncate(bytes);
    text
}

/// A folder that stands for a node's root, and what lies in its logs.
pub struct Node {
    folder: TempDir,
    logs: BTreeMap<String, Vec<u8>>,
}

impl Node {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["root/var/log", "root/etc", "state"] {
            fs::create_dir_all(folder.path().join(name)).expect("a folder");
        }
        fs::write(folder.path().join("root/etc/hostname"), "fixture\n").expect("a file");
        Self { folder, logs: BTreeMap::new() }
    }

    /// With some small logs and a large one.
    pub fn with_logs(large: usize) -> Self {
        let mut node = Self::new();
        for n in 0..20 {
            node.log(&format!("small-{n:02}.log"), log(n, 900 * n as usize));
        }
        node.log("the-large.log", log(77, large));
        node.log("zz-last.log", log(78, 10_000));
        node
    }

    pub fn log(&mut self, name: &str, content: Vec<u8>) {
        fs::write(self.folder.path().join("root/var/log").join(name), &content).expect("a log");
        self.logs.insert(name.to_owned(), content);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn config(&self) -> AgentConfig {
        AgentConfig {
            host_root: self.path("root"),
            state_dir: self.path("state"),
            secret_file: self.path("secret"),
            collectors_dirs: Vec::new(),
            // What the fixtures hold was written on one day.
            window: sheaf::window::Lookback::ALL,
            ..AgentConfig::default()
        }
    }

    /// The bundle holds each log of the node, byte for byte.
    pub fn stands_in(&self, bundle: &Path, node: &str) {
        let mut reader = Reader::open(File::open(bundle).expect("opened")).expect("a bundle");
        for (name, content) in &self.logs {
            let row = reader.find(&format!("nodes/{node}/files/var/log/{name}")).expect("a row");
            let mut copy = Vec::new();
            reader.copy(&row, &mut copy).expect("copied");
            assert!(copy == *content, "{name} differs: {} of {} bytes", copy.len(), content.len());
        }
    }
}

/// What verify says.
pub fn verdict(bundle: &Path) -> Verdict {
    let spool = tempfile::tempdir().expect("a temporary folder");
    let file = File::open(bundle).expect("opened");
    // What is found is the first thing to know when a test fails.
    verify(file, None, spool.path(), &mut |finding| println!("{finding}")).expect("read").verdict
}

/// The manifest's rows of a kind.
pub fn manifest(bundle: &Path) -> serde_json::Value {
    let mut reader = Reader::open(File::open(bundle).expect("opened")).expect("a bundle");
    let [manifest, ..]: [FileRow; 3] = reader.tail().expect("the last entries");
    let mut text = Vec::new();
    reader.copy(&manifest, &mut text).expect("copied");
    serde_json::from_slice(&text).expect("JSON")
}

/// The manifest's row of a node.
pub fn node_row(bundle: &Path, node: &str) -> NodeRow {
    let rows: Vec<NodeRow> = serde_json::from_value(manifest(bundle)["nodes"].clone()).expect("rows");
    rows.into_iter().find(|row| row.name == node).expect("a row")
}

/// A coordinator on free ports.
pub struct Coordinator {
    pub agents: SocketAddr,
    pub verbs: Verbs,
    pub admin: Principal,
    pub engine: Engine,
    ca_file: PathBuf,
    shutdown: Shutdown,
    state: TempDir,
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.shutdown.stop();
    }
}

impl Coordinator {
    pub async fn new() -> Self {
        Self::with_clock(Clock::system()).await
    }

    /// The same with a clock that may be turned by hand.
    pub async fn with_clock(clock: Clock) -> Self {
        let state = tempfile::tempdir().expect("a temporary folder");
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = CoordinatorConfig {
            public: free,
            agents: free,
            state_dir: state.path().join("state"),
            ..CoordinatorConfig::default()
        };
        let shutdown = Shutdown::new();
        let made = init::init(&config, clock.clone(), "admin", None, false).await.expect("a first admin");
        let bound = init::start(&config, clock, shutdown.clone()).await.expect("a coordinator");
        let (agents, ca_file, verbs) = (bound.agents_addr, bound.ca_file.clone(), bound.verbs.clone());
        let engine = bound.engine().clone();
        bound.serve(api::mount(verbs.clone()), api::exchange(verbs.clone()));
        let shown = Credential::Basic("admin".into(), made.password.expect("made"));
        let admin = verbs.authenticate(shown, None).await.expect("logged in");
        Self { agents, verbs, admin, engine, ca_file, shutdown, state }
    }

    /// The node's configuration for this coordinator, reached at `at`, with a new secret for `name`.
    pub async fn enrol(&self, node: &Node, name: &str, at: SocketAddr) -> AgentConfig {
        let secret = self.verbs.create_secret(&self.admin, name, None).await.expect("a secret").secret;
        fs::write(node.path("secret"), secret.expose()).expect("written");
        AgentConfig { url: Some(format!("https://{at}")), ca_file: Some(self.ca_file.clone()), ..node.config() }
    }

    pub async fn online(&self, name: &str) {
        until("online", async || self.is_online(name).await).await;
    }

    pub async fn is_online(&self, name: &str) -> bool {
        self.verbs.node(&self.admin, name).await.is_ok_and(|node| node.online.is_some())
    }

    /// Downloads a bundle of all nodes into a file.
    pub async fn download(&self) -> PathBuf {
        let request = BundleRequest {
            cluster: "default".to_owned(),
            nodes: Vec::new(),
            collectors: Vec::new(),
            redact: Vec::new(),
            budgets: Default::default(),
            // What the fixtures hold was written on one day.
            window: sheaf::window::Asked::ALL,
            format: Format::TarZst,
            case: None,
            note: None,
        };
        self.saved(self.verbs.start_bundle(&self.admin, request).await.expect("started")).await
    }

    /// A download's bytes in a file.
    pub async fn saved(&self, mut download: Download) -> PathBuf {
        let path = self.state.path().join(format!("{}.tar.zst", download.name));
        let mut file = File::create(&path).expect("a file");
        let whole = async {
            while let Some(piece) = download.body.next().await {
                std::io::Write::write_all(&mut file, &piece.expect("the body goes on")).expect("written");
            }
        };
        tokio::time::timeout(LONG, whole).await.expect("the download ends");
        path
    }
}

/// What stands in for SIGHUP and the file.
pub struct Reloads {
    asked: tokio::sync::mpsc::Sender<()>,
    next: Arc<Mutex<Result<AgentConfig, String>>>,
}

impl Reloads {
    /// Has the agent read `next`.
    pub async fn take(&self, next: Result<AgentConfig, String>) {
        // One that is still waiting would be taken for this one.
        until("the reload before was read", async || self.asked.capacity() == 1).await;
        *self.next.lock().expect("whole") = next;
        self.asked.send(()).await.expect("the agent is there");
    }
}

/// A running agent.
pub struct Agent {
    shutdown: Shutdown,
    task: JoinHandle<Result<(), AgentError>>,
}

impl Agent {
    pub fn start(config: AgentConfig) -> Self {
        let shutdown = Shutdown::new();
        Self { task: tokio::spawn(run::run(config, shutdown.clone())), shutdown }
    }

    /// The same, which can be told to read its configuration again.
    pub fn reloading(config: AgentConfig) -> (Self, Reloads) {
        let shutdown = Shutdown::new();
        let (asked, asked_out) = tokio::sync::mpsc::channel(1);
        let next = Arc::new(Mutex::new(Err("broken".to_owned())));
        let held = Arc::clone(&next);
        let reload = Reload::when(asked_out, move || held.lock().expect("whole").clone());
        let task = tokio::spawn(run::run_reloading(config, Some(reload), shutdown.clone()));
        (Self { task, shutdown }, Reloads { asked, next })
    }

    /// Stops it as SIGTERM does.
    pub async fn stop(self) {
        assert!(self.shutdown.finish(sheaf::limits::STOP).await, "tasks outlive the stop");
        self.task.await.expect("joined").expect("no error");
    }
}
