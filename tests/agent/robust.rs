//! The agent's program where much is missing: no root's rights, no journal, no pressure, nothing that can be written, a mount that never
//! answers. Each ends with a bundle that says what is missing.
//!
//! Some of it takes root; where a test cannot be had it says `skipped` and why, past what captures the output of tests that pass. With
//! `SHEAF_TEST_REQUIRE_TOOLS=1` it fails instead, where the process has the rights that it takes.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::{Mode, OFlags};
use serde_json::Value;

use sheaf::bundle::outcome::Verdict;

use crate::kit::{Coordinator, Node, log, manifest, verdict};

const AGENT: &str = env!("CARGO_BIN_EXE_sheaf-agent");
/// A user that owns nothing.
const NOBODY: u32 = 65_534;

/// A host's root with logs, one of which is root's alone.
fn node() -> Node {
    let mut node = Node::new();
    node.log("a.log", log(1, 10_000));
    node.log("z.log", log(2, 10_000));
    node
}

/// A configuration as a file; paths are below the node's folder.
fn configured(node: &Node, more: &str) -> PathBuf {
    let file = node.path("agent.toml");
    let text = format!(
        "node = \"fixture\"\nhost_root = {:?}\nstate_dir = {:?}\ncollectors_dirs = []\nwindow = \"all\"\n{more}",
        node.path("root"),
        node.path("state")
    );
    fs::write(&file, text).expect("written");
    file
}

fn collect(config: &Path) -> Vec<String> {
    let words = ["collect", "--json", "--config"].map(str::to_owned);
    words.into_iter().chain([config.display().to_string()]).collect()
}

fn run(command: &mut Command) -> String {
    let out = command.output().expect("started");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{}: {said}", out.status);
    said
}

/// Why a source gave no entry.
fn missing(bundle: &Path, path: &str) -> String {
    let rows = manifest(bundle)["sources"].as_array().cloned().unwrap_or_default();
    let row = rows.iter().find(|row: &&Value| row["path"] == path);
    let row = row.unwrap_or_else(|| panic!("nothing is said of {path}: {rows:#?}"));
    format!("{}: {}", row["outcome"].as_str().expect("a word"), row["reason"].as_str().expect("a reason"))
}

/// Says that a test is not had here. `could` is whether it could be: then it must, where that is asked for.
fn not_here(could: bool, why: &str) {
    let required = std::env::var_os("SHEAF_TEST_REQUIRE_TOOLS").is_some_and(|value| value == "1");
    assert!(!(required && could), "required, and cannot be had: {why}");
    let _ = writeln!(io::stderr(), "skipped: 1 check: {why}");
}

/// Whether this process may make mounts of its own.
fn may_mount() -> bool {
    use rustix::thread::{CapabilitySet, capabilities};
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The program as a user without rights: through setpriv(1) where the tests are root's. None where that user cannot run it.
fn unprivileged(node: &Node) -> Option<Command> {
    if !is_root() {
        return Some(Command::new(AGENT));
    }
    let nobody = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs", "--"]);
        command
    };
    for folder in [node.path("."), node.path("state")] {
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    chown(node.path("state"), Some(NOBODY), Some(NOBODY)).expect("chown");
    let runs = |agent: &Path| {
        let runs = nobody().arg(agent).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        runs.is_ok_and(|status| status.success())
    };
    let mut agent = PathBuf::from(AGENT);
    if !runs(&agent) {
        // What is built below root's home is closed to that user.
        agent = node.path("sheaf-agent");
        fs::copy(AGENT, &agent).expect("copied");
    }
    if !runs(&agent) {
        not_here(true, "setpriv does not run the agent as a user without rights");
        return None;
    }
    let mut command = nobody();
    command.arg(agent);
    Some(command)
}

#[test]
fn without_journal_and_pressure_a_bundle_says_so() {
    let node = node();
    let bundle = node.path("own.tar.zst");
    run(Command::new(AGENT).args(collect(&configured(&node, ""))).arg("--output").arg(&bundle));
    assert_eq!(verdict(&bundle), Verdict::Complete);
    node.stands_in(&bundle, "fixture");
    assert_eq!(missing(&bundle, "journal/recent.export"), "skipped: this node keeps no journal");
    assert_eq!(missing(&bundle, "files/proc/pressure/*"), "skipped: is not there");
    assert!(missing(&bundle, "collectors/systemd").ends_with("/run/systemd/system is not there"));
}

#[test]
fn without_rights_a_bundle_says_what_may_not_be_read() {
    let node = node();
    let Some(mut command) = unprivileged(&node) else { return };
    let closed = node.path("root/var/log/closed.log");
    fs::write(&closed, "closed\n").expect("written");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).expect("chmod");
    let bundle = node.path("state/own.tar.zst");
    run(command.args(collect(&configured(&node, ""))).arg("--output").arg(&bundle));
    assert_eq!(verdict(&bundle), Verdict::Complete, "a source that may not be read is a warning");
    node.stands_in(&bundle, "fixture");
    // Mode 0000 and no bytes would be a mask; this one has bytes.
    assert_eq!(missing(&bundle, "files/var/log/closed.log"), "failed: permission denied");
}

#[test]
fn without_rights_commands_are_run_and_needs_are_named() {
    let node = node();
    let Some(mut command) = unprivileged(&node) else { return };
    let collectors = node.path("collectors.d");
    fs::create_dir(&collectors).expect("a folder");
    fs::set_permissions(&collectors, fs::Permissions::from_mode(0o755)).expect("chmod");
    // A runtime's socket that is there, and for others.
    let socket = node.path("runtime.sock");
    let _runtime = UnixListener::bind(&socket).expect("bound");
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o000)).expect("chmod");
    let text = format!(
        "name = \"own\"\nversion = \"1\"\nwhy = \"A test.\"\ngranted_by = \"/x.conf\"\n\
         [[commands]]\nname = \"who\"\nargv = [\"id\", \"-u\"]\n\
         [[commands]]\nname = \"ring\"\nargv = [\"cat\", \"/proc/self/status\"]\nneeds = [\"CAP_SYSLOG\"]\n\
         [[commands]]\nname = \"super\"\nargv = [\"id\"]\nneeds = [\"root\"]\n\
         [[commands]]\nname = \"list\"\nargv = [\"id\"]\nwhen = {{ socket_listens = [{socket:?}] }}\n\
         [[http]]\nname = \"info\"\nat = \"unix:{}\"\npath = \"/info\"\n",
        socket.display()
    );
    let file = collectors.join("own.toml");
    fs::write(&file, text).expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("chmod");
    let config = node.path("agent.toml");
    let lines = format!(
        "node = \"fixture\"\nbuiltin_collectors = false\nstate_dir = {:?}\ncollectors_dirs = [{collectors:?}]\n",
        node.path("state")
    );
    fs::write(&config, lines).expect("written");
    let bundle = node.path("state/own.tar.zst");
    run(command.args(collect(&config)).arg("--output").arg(&bundle));
    assert_eq!(verdict(&bundle), Verdict::Complete);
    let rows = manifest(&bundle)["files"].to_string();
    assert!(rows.contains("nodes/fixture/commands/who.txt"), "{rows}");
    let needs = missing(&bundle, "commands/ring.txt");
    assert_eq!(needs, "skipped: needs CAP_SYSLOG, which the agent does not have: see /x.conf");
    assert_eq!(missing(&bundle, "commands/super.txt"), "skipped: wants to be run by root, which the agent is not");
    let socket = socket.display();
    assert_eq!(missing(&bundle, "commands/list.txt"), format!("skipped: the agent may not ask {socket}: see /x.conf"));
    assert_eq!(missing(&bundle, "http/info.txt"), format!("skipped: the agent may not ask unix:{socket}: see /x.conf"));
}

#[test]
fn on_a_root_that_cannot_be_written_it_collects_all_the_same() {
    let node = node();
    let config = configured(&node, "");
    // In a namespace of its own: everything read-only but the state's folder.
    let script = "mount -t tmpfs none \"$1\" && mount -o remount,bind,ro / && shift && exec \"$@\"";
    let unshared = |words: &[String]| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]).arg(node.path("state"));
        command.args(words);
        command
    };
    let probe = unshared(&["sh".to_owned(), "-c".to_owned(), "! touch /sheaf-probe 2>/dev/null".to_owned()]).output();
    if !probe.is_ok_and(|out| out.status.success()) {
        return not_here(may_mount(), "this user cannot make a root read-only");
    }
    let bundle = node.path("own.tar.zst");
    let words: Vec<String> = [AGENT.to_owned()].into_iter().chain(collect(&config)).collect();
    let out = File::create(&bundle).expect("a file");
    run(unshared(&words).args(["--output", "-"]).stdout(out));
    assert_eq!(verdict(&bundle), Verdict::Complete);
    node.stands_in(&bundle, "fixture");
}

/// A FUSE file system that nobody serves; taken away when dropped.
struct Hung {
    point: PathBuf,
    _server: std::os::fd::OwnedFd,
}

impl Hung {
    fn at(point: &Path) -> Option<Self> {
        // Inherited by mount(8), which hands it to the kernel; so it must not be closed on exec.
        let server = rustix::fs::open("/dev/fuse", OFlags::RDWR, Mode::empty()).ok()?;
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
        let mount = Command::new("mount").args(["-i", "-n", "-t", "fuse", "-o", &options, "hung"]).arg(point).output();
        mount.ok().filter(|done| done.status.success()).map(|_| Self { point: point.to_owned(), _server: server })
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.point).output();
    }
}

#[test]
fn a_mount_that_never_answers_is_named() {
    let node = node();
    let point = node.path("root/var/log/hung");
    fs::create_dir(&point).expect("a folder");
    let Some(_hung) = Hung::at(&point.canonicalize().expect("a path")) else {
        let could = may_mount() && Path::new("/dev/fuse").exists();
        return not_here(could, "only root with /dev/fuse can mount a file system that hangs");
    };
    for (remote, expected) in [("off", "FUSE file system"), ("on", "does not answer")] {
        let config =
            configured(&node, &format!("network_file_systems = \"{remote}\"\n[limits]\nmount_wait = \"1s\"\n"));
        let bundle = node.path(&format!("{remote}.tar.zst"));
        run(Command::new(AGENT).args(collect(&config)).arg("--output").arg(&bundle));
        assert_eq!(verdict(&bundle), Verdict::Complete);
        node.stands_in(&bundle, "fixture");
        let said = missing(&bundle, "files/var/log/hung");
        assert!(said.contains(expected), "{said}");
    }
}

/// Ends with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_without_rights_serves_its_coordinator() {
    let node = node();
    let Some(mut command) = unprivileged(&node) else { return };
    let coordinator = Coordinator::new().await;
    let config = coordinator.enrol(&node, "plain", coordinator.agents).await;
    let ca = node.path("state/ca.pem");
    fs::copy(config.ca_file.expect("a file"), &ca).expect("copied");
    let secret = node.path("state/secret");
    fs::rename(node.path("secret"), &secret).expect("moved");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("chmod");
    fs::set_permissions(&ca, fs::Permissions::from_mode(0o644)).expect("chmod");
    if is_root() {
        chown(&secret, Some(NOBODY), Some(NOBODY)).expect("chown");
    }
    let more = format!("url = {:?}\nca_file = {ca:?}\nsecret_file = {secret:?}\n", config.url.expect("a url"));
    let file = configured(&node, &more);
    let daemon = command.args(["run", "--config"]).arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
    let _daemon = Running(daemon.spawn().expect("started"));
    coordinator.online("plain").await;
    let bundle = coordinator.download().await;
    assert_eq!(verdict(&bundle), Verdict::Complete);
    node.stands_in(&bundle, "plain");
    assert_eq!(missing(&bundle, "journal/recent.export"), "skipped: this node keeps no journal");
}
