//! A coordinator with thousands of agents: how long until all are there, what each costs, a bundle of all, and a crash.
//!
//! `cargo bench -- scale`; `SHEAF_BENCH_AGENTS` agents (default 10,000), all in one process of their own ([`super::load`]), over
//! real TLS with real secrets. Both processes share the machine, and its limit of open files must let each hold a connection per
//! agent.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Method, header};
use sheaf::net::client::Client;
use sheaf::protocol::control::{AgentSecretGrant, PREFIX};
use tokio::runtime::Runtime;

use super::fleet::{PASSWORD, SHEAF, free_port, memory, operator, processor_seconds};
use super::load;
use super::measure::figure;

/// Secrets that are made at the same time.
const MAKING: usize = 32;
/// The longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(600);

pub(crate) fn rows() {
    let agents = std::env::var("SHEAF_BENCH_AGENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000);
    let mut scale = Scale::start(agents);
    scale.secrets();
    let (before, cpu) = (memory(scale.pid(), "VmRSS:"), processor_seconds(scale.pid()));
    let start = Instant::now();
    scale.agents_come();
    scale.all_are_there(agents);
    let up = start.elapsed().as_secs_f64();
    let each = (processor_seconds(scale.pid()) - cpu) * 1000.0 / agents as f64;
    println!("{agents} agents of one coordinator, with secrets, sessions and vitals:");
    figure("  all connected, log-in included (s)", up, 15.0, 4.0);
    figure("  coordinator's processor for each (ms)", each, 1.0, 0.5);
    figure("  its peak memory meanwhile (MiB)", memory(scale.pid(), "VmHWM:"), f64::INFINITY, 512.0);
    scale.heartbeats();
    let idle = (memory(scale.pid(), "VmRSS:") - before) * 1024.0 / agents as f64;
    figure("  its memory for each that is idle (KiB)", idle, 40.0, 24.0);
    scale.bundle("whole", agents);
    let after = (memory(scale.pid(), "VmRSS:") - before) * 1024.0 / agents as f64;
    figure("    its memory for each afterwards (KiB)", after, f64::INFINITY, 24.0);
    scale.crash(agents);
    scale.say("faults");
    scale.bundle("with faults", agents);
    let state = fs::read_dir(scale.folder.path().join("state")).expect("the state");
    for entry in state.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("sheaf.db")) {
        let size = entry.metadata().expect("a file").len() as f64 / f64::from(1 << 20);
        figure(&format!("  state: {} (MiB)", entry.file_name().to_string_lossy()), size, f64::INFINITY, 32.0);
    }
}

struct Scale {
    folder: tempfile::TempDir,
    config: PathBuf,
    url: String,
    agents_url: String,
    coordinator: Child,
    load: Option<(Child, ChildStdin)>,
    runtime: Runtime,
}

impl Scale {
    fn start(agents: usize) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder can be made");
        let (public, agents_port) = (free_port(), free_port());
        let config = folder.path().join("coordinator.toml");
        let state = folder.path().join("state");
        let connections = agents * 2;
        let text = format!(
            "state_dir = {state:?}\npublic = \"127.0.0.1:{public}\"\nagents = \"127.0.0.1:{agents_port}\"\n\
             [limits]\nconnections = {connections}\npatience_secs = 45\n"
        );
        fs::write(&config, text).expect("a file can be written");
        let password = folder.path().join("password");
        fs::write(&password, PASSWORD).expect("a file can be written");
        let mut init = Command::new(SHEAF);
        init.args(["coordinator", "init", "--config"]).arg(&config).arg("--password-file").arg(password);
        assert!(init.stdout(Stdio::null()).status().expect("sheaf runs").success(), "the state is made");
        let coordinator = run(&config, folder.path(), "first");
        let url = format!("https://127.0.0.1:{public}");
        let agents_url = format!("https://127.0.0.1:{agents_port}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let scale = Self { folder, config, url, agents_url, coordinator, load: None, runtime };
        scale.wait_for(|scale| scale.metric("nodes").is_some());
        // All that is there to be made is made by an agent secret each.
        fs::write(scale.folder.path().join(load::SECRETS), numbered(agents)).expect("a file can be written");
        scale
    }

    fn pid(&self) -> u32 {
        self.coordinator.id()
    }

    /// Makes the secrets of the names in the file, and puts them there.
    fn secrets(&self) {
        let path = self.folder.path().join(load::SECRETS);
        let names = fs::read_to_string(&path).expect("the names");
        let (client, headers) = (self.client(), credentials());
        let making = stream::iter(names.lines()).map(|name| {
            let (client, headers) = (&client, headers.clone());
            async move {
                let body = serde_json::json!({ "name": name });
                let made = client.json(Method::POST, &format!("{PREFIX}/secrets"), headers, Some(&body)).await;
                let made: AgentSecretGrant = made.expect("a secret is made");
                format!("{name} {}\n", made.secret)
            }
        });
        let lines: Vec<String> = self.runtime.block_on(making.buffered(MAKING).collect());
        fs::write(path, lines.concat()).expect("a file can be written");
    }

    fn agents_come(&mut self) {
        let this = std::env::current_exe().expect("this program");
        let mut load = Command::new(this);
        load.arg(load::WORD).arg(self.folder.path()).arg(&self.agents_url).stdin(Stdio::piped());
        let mut load = load.spawn().expect("the load runs");
        let input = load.stdin.take().expect("a pipe");
        self.load = Some((load, input));
    }

    fn say(&mut self, word: &str) {
        let (_, input) = self.load.as_mut().expect("the load runs");
        writeln!(input, "{word}").expect("the load reads");
    }

    fn all_are_there(&self, agents: usize) {
        self.wait_for(|scale| scale.metric("nodes_connected") == Some(agents as f64));
    }

    /// Processor time of two rounds of heartbeats.
    fn heartbeats(&self) {
        // The first ones come with the sessions.
        std::thread::sleep(Duration::from_secs(5));
        let (start, before) = (Instant::now(), processor_seconds(self.pid()));
        std::thread::sleep(Duration::from_secs(30));
        let share = (processor_seconds(self.pid()) - before) / start.elapsed().as_secs_f64() * 100.0;
        figure("  its processor for heartbeats and pings (% of one)", share, 5.0, 2.0);
    }

    fn bundle(&self, what: &str, agents: usize) {
        let bundle = self.folder.path().join(format!("{what}.tar.zst"));
        let (start, before) = (Instant::now(), processor_seconds(self.pid()));
        let progress = File::create(self.folder.path().join(format!("{what}.progress"))).expect("a file");
        let status = self
            .sheaf(&["bundle", "create", "--cluster", "default", "--output"])
            .arg(&bundle)
            .stderr(progress)
            .status()
            .expect("sheaf runs");
        assert!(matches!(status.code(), Some(0 | 3)), "{status}");
        let cpu = (processor_seconds(self.pid()) - before) * 1000.0 / agents as f64;
        figure(&format!("  a bundle of all, {what} (s)"), start.elapsed().as_secs_f64(), f64::INFINITY, 30.0);
        figure("    coordinator's processor for each node (ms)", cpu, f64::INFINITY, 1.0);
        figure("    its peak memory so far (MiB)", memory(self.pid(), "VmHWM:"), f64::INFINITY, 512.0);
        let lines = fs::read_to_string(self.folder.path().join(format!("{what}.progress"))).expect("text");
        figure("    lines that the command printed", lines.lines().count() as f64, f64::INFINITY, 100.0);
        let verify = self.sheaf(&["bundle", "verify", "--json"]).arg(&bundle).output().expect("sheaf runs");
        assert_eq!(verify.status.code(), status.code(), "verify says the same");
    }

    /// The coordinator dies and is started again.
    fn crash(&mut self, agents: usize) {
        self.coordinator.kill().expect("it runs");
        self.coordinator.wait().expect("it ends");
        let start = Instant::now();
        self.coordinator = run(&self.config, self.folder.path(), "second");
        self.all_are_there(agents);
        figure("  all back after a crash (s)", start.elapsed().as_secs_f64(), f64::INFINITY, 15.0);
        let each = processor_seconds(self.pid()) * 1000.0 / agents as f64;
        figure("    coordinator's processor for each (ms)", each, f64::INFINITY, 0.5);
    }

    fn client(&self) -> Client {
        let ca = fs::read(self.folder.path().join("state/ca.pem")).expect("the coordinator's CA");
        Client::new(&self.url, &ca).expect("a client")
    }

    /// A figure of the coordinator's own.
    fn metric(&self, name: &str) -> Option<f64> {
        let asking = async {
            let answer =
                self.client().send(Method::GET, "/metrics", HeaderMap::new(), bytes::Bytes::new()).await.ok()?;
            let body = http_body_util::BodyExt::collect(answer.into_body()).await.ok()?.to_bytes();
            let text = String::from_utf8_lossy(&body).into_owned();
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("sheaf_{name} ")).map(str::to_owned))?;
            line.parse().ok()
        };
        self.runtime.block_on(asking)
    }

    fn sheaf(&self, words: &[&str]) -> Command {
        operator(self.folder.path(), &self.url, words)
    }

    fn wait_for(&self, done: impl Fn(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < end, "it does not come up");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Scale {
    fn drop(&mut self) {
        for child in self.load.iter_mut().map(|(load, _)| load).chain([&mut self.coordinator]) {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::env::var_os("SHEAF_BENCH_KEEP").is_some() {
            self.folder.disable_cleanup(true);
            println!("kept: {}", self.folder.path().display());
        }
    }
}

fn run(config: &Path, folder: &Path, which: &str) -> Child {
    let log = File::create(folder.join(format!("{which}.log"))).expect("a file can be made");
    let mut coordinator = Command::new(SHEAF);
    coordinator.args(["coordinator", "run", "--config"]).arg(config).stderr(log).spawn().expect("sheaf runs")
}

fn numbered(agents: usize) -> String {
    (0..agents).map(|number| format!("node-{number:05}\n")).collect()
}

fn credentials() -> HeaderMap {
    use base64::Engine as _;
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("admin:{PASSWORD}"));
    let value = HeaderValue::from_str(&format!("Basic {pair}")).expect("a header");
    HeaderMap::from_iter([(header::AUTHORIZATION, value)])
}
