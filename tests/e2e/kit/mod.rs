//! A site to test on: one coordinator process and any number of agent processes, in a temporary folder.

pub mod proxy;
pub mod tree;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The program of those who operate and coordinate.
pub const SHEAF: &str = env!("CARGO_BIN_EXE_sheaf");
/// The program of nodes.
pub const AGENT: &str = env!("CARGO_BIN_EXE_sheaf-agent");
const PASSWORD: &str = "correct-horse-battery";

/// A running coordinator and what belongs to it; everything ends with the value.
pub struct Site {
    /// Everything of the site lies here.
    pub folder: tempfile::TempDir,
    /// The public listener.
    pub public: SocketAddr,
    /// The agents' listener.
    pub agents: SocketAddr,
    coordinator: Child,
}

impl Site {
    /// Starts a coordinator with `limits` in its configuration.
    pub fn start(limits: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (public, agents) = (free_address(), free_address());
        let config = folder.path().join("coordinator.toml");
        let state = folder.path().join("state");
        fs::write(
            &config,
            format!("state_dir = {state:?}\npublic = \"{public}\"\nagents = \"{agents}\"\n[limits]\n{limits}\n"),
        )
        .expect("configuration");
        let password = folder.path().join("password");
        fs::write(&password, PASSWORD).expect("password");
        let mut init = Command::new(SHEAF);
        init.args(["coordinator", "init", "--config"]).arg(&config).arg("--password-file").arg(&password);
        succeed(&mut init);
        let coordinator = run_coordinator(folder.path());
        let site = Self { folder, public, agents, coordinator };
        wait_for("the coordinator answers", || site.sheaf(&["cluster", "list"]).status.success());
        site
    }

    /// Kills the coordinator as `kill -9` does, and starts it again.
    pub fn restart(&mut self) {
        self.coordinator.kill().expect("killed");
        self.coordinator.wait().expect("reaped");
        self.coordinator = run_coordinator(self.folder.path());
        wait_for("the coordinator answers again", || self.sheaf(&["cluster", "list"]).status.success());
    }

    /// Stops the coordinator and starts it again under what stands in for systemd.
    pub fn restart_under(&mut self, systemd: &Path) {
        self.coordinator.kill().expect("killed");
        self.coordinator.wait().expect("reaped");
        let mut command = Command::new(SHEAF);
        command.args(["coordinator", "run", "--config"]).arg(self.folder.path().join("coordinator.toml"));
        command.env("NOTIFY_SOCKET", systemd).env("WATCHDOG_USEC", WATCHDOG);
        self.coordinator = spawn(&mut command, self.folder.path(), "coordinator");
        wait_for("the coordinator answers again", || self.sheaf(&["cluster", "list"]).status.success());
    }

    /// Stops the coordinator as `systemctl stop` does.
    pub fn stop(&mut self) -> ExitStatus {
        stop(&mut self.coordinator)
    }

    /// Sends the coordinator what `systemctl reload` sends.
    pub fn hang_up(&self) {
        hang_up(&self.coordinator);
    }

    /// The CA that the site's clients trust.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("state/ca.pem")
    }

    /// A `sheaf` of the operator's, with where and who in its environment.
    pub fn operator(&self) -> Command {
        let mut command = Command::new(SHEAF);
        command
            .env("SHEAF_URL", format!("https://{}", self.public))
            .env("SHEAF_CA", self.ca())
            .env("SHEAF_USER", "admin")
            .env("SHEAF_PASSWORD", PASSWORD)
            .env("XDG_CONFIG_HOME", self.folder.path().join("xdg"))
            .stdin(Stdio::null());
        command
    }

    /// Runs an operator's verb to its end.
    pub fn sheaf(&self, words: &[&str]) -> Output {
        self.operator().args(words).output().expect("sheaf runs")
    }

    /// Runs an operator's verb that must succeed, and gives its JSON.
    pub fn json(&self, words: &[&str]) -> serde_json::Value {
        let output = self.sheaf(words);
        assert!(output.status.success(), "{words:?}: {}", text(&output));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{words:?}: {error}: {}", text(&output)))
    }

    /// A new node with a secret of its own, which reads `root` and reaches the coordinator at `address`.
    pub fn node(&self, name: &str, root: &Path, address: SocketAddr) -> Node {
        let folder = self.folder.path().join("nodes").join(name);
        fs::create_dir_all(folder.join("collectors.d")).expect("the node's folder");
        let secret = self.json(&["secret", "create", name, "--json"])["secret"].as_str().expect("a secret").to_owned();
        state_file(&folder.join("secret"), &secret);
        state_file(
            &folder.join("collectors.d/logs.toml"),
            "name = \"logs\"\nversion = \"1\"\nwhy = \"the fixture's logs\"\ndefault = true\nroots = [\"/var/log\"]\n[[files]]\npaths = [\"/var/log/**\"]\n",
        );
        let config = folder.join("agent.toml");
        let quoted = |path: &Path| format!("{:?}", path.display().to_string());
        fs::write(
            &config,
            format!(
                "url = \"https://{address}\"\nca_file = {}\nsecret_file = {}\nstate_dir = {}\nhost_root = {}\ncollectors_dirs = [{}]\n",
                quoted(&self.ca()),
                quoted(&folder.join("secret")),
                quoted(&folder.join("state")),
                quoted(root),
                quoted(&folder.join("collectors.d")),
            ),
        )
        .expect("configuration");
        Node { folder, config, child: None }
    }

    /// A node as [`Site::node`], started.
    pub fn started(&self, name: &str, root: &Path, address: SocketAddr) -> Node {
        let mut node = self.node(name, root, address);
        node.start();
        node
    }

    /// Waits until these nodes are connected.
    pub fn online(&self, names: &[&str]) {
        wait_for(&format!("{names:?} are online"), || {
            let list = self.json(&["node", "list", "--json"]);
            let rows = list.as_array().cloned().unwrap_or_default();
            names.iter().all(|name| rows.iter().any(|row| row["name"] == *name && row["online"] == true))
        });
    }

    /// Starts a download of the cluster `default` into `output`.
    pub fn bundle(&self, output: &Path, words: &[&str]) -> Command {
        let mut command = self.operator();
        command
            .args(["bundle", "create", "--cluster", "default", "--collector", "logs", "--output"])
            .arg(output)
            .args(words);
        command
    }

    /// The coordinator's own log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("coordinator.log")).unwrap_or_default()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.coordinator.kill();
        let _ = self.coordinator.wait();
    }
}

/// How often what stands in for systemd wants to hear of a daemon, microseconds.
const WATCHDOG: &str = "300000";

/// A node; its agent ends with the value.
pub struct Node {
    pub folder: PathBuf,
    pub config: PathBuf,
    child: Option<Child>,
}

impl Node {
    /// Starts the agent.
    pub fn start(&mut self) {
        let mut command = Command::new(AGENT);
        command.args(["run", "--config"]).arg(&self.config);
        self.child = Some(spawn(&mut command, &self.folder, "agent"));
    }

    /// Starts the agent under what stands in for systemd.
    pub fn start_under(&mut self, systemd: &Path) {
        let mut command = Command::new(AGENT);
        command.args(["run", "--config"]).arg(&self.config).env("NOTIFY_SOCKET", systemd);
        command.env("WATCHDOG_USEC", WATCHDOG);
        self.child = Some(spawn(&mut command, &self.folder, "agent"));
    }

    /// Stops the agent as `systemctl stop` does.
    pub fn stop(&mut self) -> ExitStatus {
        stop(self.child.as_mut().expect("it runs"))
    }

    /// Sends the agent what `systemctl reload` sends.
    pub fn hang_up(&self) {
        hang_up(self.child.as_ref().expect("it runs"));
    }

    /// Starts the agent on a disk that takes no file beyond `kib`.
    pub fn start_with_full_disk(&mut self, kib: u32) {
        let mut command = full_disk(AGENT, kib);
        command.args(["run", "--config"]).arg(&self.config);
        self.child = Some(spawn(&mut command, &self.folder, "agent"));
    }

    /// Kills the agent as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("killed");
            child.wait().expect("reaped");
        }
    }

    /// The agent's own log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("agent.log")).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Writes a file that only its owner may write, as the agent demands.
pub fn state_file(path: &Path, content: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, content).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("mode set");
}

/// Waits until `done`; fails after a minute with what was waited for.
pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < end, "waited a minute in vain until {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Both outputs of a command, for a failure's message.
pub fn text(output: &Output) -> String {
    format!(
        "{}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Runs a command that must succeed.
pub fn succeed(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().expect("runs");
    assert!(output.status.success(), "{command:?}: {}", text(&output));
    output
}

/// What `sheaf bundle verify` says, as JSON, and its exit code.
pub fn verify(bundle: &Path) -> (i32, serde_json::Value) {
    let output = Command::new(SHEAF).args(["bundle", "verify", "--json"]).arg(bundle).output().expect("verify runs");
    let json =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("verify: {error}: {}", text(&output)));
    (output.status.code().expect("not killed"), json)
}

/// A program whose writes fail once a file has `kib`, as on a full disk. Works without root.
pub fn full_disk(program: &str, kib: u32) -> Command {
    let mut command = Command::new("bash");
    // Ignored, the signal turns into an error of the write.
    command.arg("-c").arg(format!("trap '' XFSZ; ulimit -f {kib}; exec \"$0\" \"$@\"")).arg(program);
    command
}

fn hang_up(child: &Child) {
    send(child, nix::sys::signal::Signal::SIGHUP);
}

fn stop(child: &mut Child) -> ExitStatus {
    send(child, nix::sys::signal::Signal::SIGTERM);
    child.wait().expect("reaped")
}

fn send(child: &Child, signal: nix::sys::signal::Signal) {
    let id = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    nix::sys::signal::kill(id, signal).expect("sent");
}

fn spawn(command: &mut Command, folder: &Path, name: &str) -> Child {
    let log = fs::File::options().create(true).append(true).open(folder.join(format!("{name}.log"))).expect("log");
    command.stdin(Stdio::null()).stdout(log.try_clone().expect("log")).stderr(log).spawn().expect("starts")
}

fn run_coordinator(folder: &Path) -> Child {
    let config = folder.join("coordinator.toml");
    spawn(Command::new(SHEAF).args(["coordinator", "run", "--config"]).arg(config), folder, "coordinator")
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}
