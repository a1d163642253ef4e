//! The coordinator while 1, 8 and 64 nodes send at once, and an agent that does nothing: real processes, real TLS.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::corpus::Corpus;
use super::measure::{figure, processes};

pub(crate) const SHEAF: &str = env!("CARGO_BIN_EXE_sheaf");
const AGENT: &str = env!("CARGO_BIN_EXE_sheaf-agent");
pub(crate) const PASSWORD: &str = "bench-password-of-no-worth";

pub(crate) fn rows(corpus: &Corpus) {
    for nodes in [1, 8, 64] {
        let fleet = Fleet::start(corpus, nodes);
        let bundle = fleet.folder.path().join("bundle.tar.zst");
        let before = processor_seconds(fleet.coordinator.id());
        let status = fleet
            .sheaf(&["bundle", "create", "--cluster", "default", "--since", "all", "--quiet", "--output"])
            .arg(&bundle)
            .status();
        assert!(status.expect("sheaf runs").success(), "the bundle is complete");
        let cpu = processor_seconds(fleet.coordinator.id()) - before;
        let again = recompress(&bundle);
        let plural = if nodes == 1 { "node" } else { "nodes" };
        let name = format!("coordinator, {nodes} {plural}: CPU with TLS, vs zstd -d | zstd -3");
        println!("{name:<58} {cpu:>10.3} {again:>10.3} {:>7.3} {:>7} {:>7}", cpu / again, "-", "-");
        let gate = if nodes == 64 { 64.0 } else { f64::INFINITY };
        figure("  its peak memory (MiB)", memory(fleet.coordinator.id(), "VmHWM:"), gate, 32.0);
        figure("  its anonymous memory afterwards (MiB)", memory(fleet.coordinator.id(), "RssAnon:"), gate, 32.0);
        if nodes == 1 {
            idle(corpus);
        }
    }
}

/// An agent that has only connected and sent its vitals.
fn idle(corpus: &Corpus) {
    let fleet = Fleet::start(corpus, 1);
    let agent = fleet.agents[0].id();
    let (start, before) = (Instant::now(), processor_seconds(agent));
    // Two heartbeats' time, in which there is nothing to wait for but the time itself.
    std::thread::sleep(Duration::from_secs(31));
    let share = (processor_seconds(agent) - before) / start.elapsed().as_secs_f64() * 100.0;
    figure("idle agent, memory (MiB)", memory(agent, "VmRSS:"), 6.0, 4.5);
    figure("  of it anonymous (MiB)", memory(agent, "RssAnon:"), 1.0, 0.5);
    figure("  processor (% of one)", share, 0.1, 0.02);
}

/// A coordinator and connected agents, each of which reads some files of the corpus; all end with the value.
struct Fleet {
    folder: tempfile::TempDir,
    url: String,
    coordinator: Child,
    agents: Vec<Child>,
}

impl Fleet {
    fn start(corpus: &Corpus, nodes: usize) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder can be made");
        let (public, agents_port) = (free_port(), free_port());
        let config = folder.path().join("coordinator.toml");
        let state = folder.path().join("state");
        let text = format!(
            "state_dir = {state:?}\npublic = \"127.0.0.1:{public}\"\nagents = \"127.0.0.1:{agents_port}\"\n\
             [limits]\nactive_nodes = 64\n"
        );
        fs::write(&config, text).expect("a file can be written");
        fs::write(folder.path().join("password"), PASSWORD).expect("a file can be written");
        let mut init = Command::new(SHEAF);
        init.args(["coordinator", "init", "--config"]).arg(&config).arg("--password-file");
        let made = init.arg(folder.path().join("password")).stdout(Stdio::null()).status().expect("sheaf runs");
        assert!(made.success(), "the coordinator's state is made");
        let log = File::create(folder.path().join("coordinator.log")).expect("a file can be made");
        let coordinator = Command::new(SHEAF)
            .args(["coordinator", "run", "--config"])
            .arg(&config)
            .stderr(log)
            .spawn()
            .expect("sheaf runs");
        let url = format!("https://127.0.0.1:{public}");
        let mut fleet = Self { folder, url, coordinator, agents: Vec::new() };
        fleet.wait_for(|fleet| fleet.sheaf(&["node", "list"]).output().is_ok_and(|out| out.status.success()));
        for number in 0..nodes {
            let config = fleet.configure(corpus, number, nodes, agents_port);
            let log = File::create(config.with_extension("log")).expect("a file can be made");
            let agent = Command::new(AGENT).args(["run", "--config"]).arg(&config).stderr(log).spawn();
            fleet.agents.push(agent.expect("sheaf runs"));
        }
        fleet.wait_for(|fleet| {
            let list = fleet.sheaf(&["node", "list"]).output().expect("sheaf runs");
            BufReader::new(&list.stdout[..]).lines().map_while(Result::ok).filter(|l| l.contains("online")).count()
                == nodes
        });
        fleet
    }

    /// A node's secret, collector and configuration: alone it reads all container logs, of 8 two each, of 64 one.
    fn configure(&self, corpus: &Corpus, number: usize, nodes: usize, port: u16) -> PathBuf {
        let node = self.folder.path().join(format!("node-{number}"));
        fs::create_dir_all(node.join("collectors")).expect("a folder can be made");
        let secret =
            self.sheaf(&["secret", "create", &format!("node-{number}"), "--output"]).arg(node.join("secret")).output();
        assert!(secret.expect("sheaf runs").status.success(), "the secret is made");
        let logs = containers(corpus);
        let each = match nodes {
            1 => logs.len(),
            8 => 2,
            _ => 1,
        };
        let own: Vec<&String> = logs.iter().cycle().skip(number * each).take(each).collect();
        let collector = format!(
            "name = \"bench\"\nversion = \"1\"\nwhy = \"The corpus.\"\nroots = [\"/var\"]\n[[files]]\npaths = {own:?}\n"
        );
        fs::write(node.join("collectors/bench.toml"), collector).expect("a file can be written");
        let text = format!(
            "builtin_collectors = false\nurl = \"https://127.0.0.1:{port}\"\nca_file = {:?}\nsecret_file = {:?}\nstate_dir = {:?}\nhost_root = {:?}\ncollectors_dirs = [{:?}]\n",
            self.folder.path().join("state/ca.pem"),
            node.join("secret"),
            node.join("state"),
            corpus.root,
            node.join("collectors"),
        );
        fs::write(node.join("agent.toml"), text).expect("a file can be written");
        node.join("agent.toml")
    }

    fn sheaf(&self, words: &[&str]) -> Command {
        operator(self.folder.path(), &self.url, words)
    }

    fn wait_for(&self, done: impl Fn(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        while !done(self) {
            assert!(Instant::now() < end, "the fleet does not come up");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for child in self.agents.iter_mut().chain([&mut self.coordinator]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// An operator's command against the coordinator whose state is in `folder`.
pub(crate) fn operator(folder: &Path, url: &str, words: &[&str]) -> Command {
    let mut command = Command::new(SHEAF);
    command
        .args(words)
        .env("SHEAF_URL", url)
        .env("SHEAF_CA", folder.join("state/ca.pem"))
        .env("SHEAF_USER", "admin")
        .env("SHEAF_PASSWORD", PASSWORD)
        .stdin(Stdio::null());
    command
}

/// The large container logs of the corpus, as paths on the host.
fn containers(corpus: &Corpus) -> Vec<String> {
    let folder = fs::read_dir(corpus.root.join("var/log/containers")).expect("the corpus is there");
    let mut found: Vec<String> = folder
        .map(|entry| format!("/var/log/containers/{}", entry.expect("an entry").file_name().to_string_lossy()))
        .collect();
    found.sort();
    found
}

/// Processor seconds of decompressing the bundle and compressing it again at level 3.
fn recompress(bundle: &Path) -> f64 {
    let mut unpack = Command::new("zstd");
    unpack.args(["-dcq"]).arg(bundle);
    let mut pack = Command::new("zstd");
    pack.args(["-3", "-T1", "-q"]);
    processes(&mut [unpack, pack], Stdio::null()).cpu
}

/// User and system time of a process so far.
pub(crate) fn processor_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    // The name may hold spaces; what follows it does not.
    let after = stat.rsplit(')').next().expect("always one part");
    let ticks: f64 = after.split_whitespace().skip(11).take(2).map(|text| text.parse::<f64>().unwrap_or(0.0)).sum();
    let hertz = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
    ticks / hertz as f64
}

/// A line of the process's status, in MiB.
pub(crate) fn memory(pid: u32, name: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the line is there");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}
