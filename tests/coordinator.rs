//! The coordinator as a process: first start, kill, restart, stop, and settings that it refuses.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const SHEAF: &str = env!("CARGO_BIN_EXE_sheaf");
const PASSWORD: &str = "correct horse";
/// Longer than anything here takes; reached only by a failure.
const PATIENCE: Duration = Duration::from_secs(60);

struct Site {
    folder: tempfile::TempDir,
}

/// A running coordinator; killed when dropped.
struct Running {
    child: Child,
    url: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Site {
    fn new() -> Self {
        let site = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        site.configure("");
        std::fs::write(site.path("password"), format!("{PASSWORD}\n")).expect("written");
        site
    }

    fn configure(&self, more: &str) {
        let state = self.path("state");
        let text = format!("public = '127.0.0.1:0'\nagents = '127.0.0.1:0'\nstate_dir = {state:?}\n{more}");
        std::fs::write(self.path("coordinator.toml"), text).expect("written");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn coordinator(&self, verb: &str) -> Command {
        let mut command = Command::new(SHEAF);
        command.args(["coordinator", verb, "--config"]).arg(self.path("coordinator.toml"));
        command.env_remove("SHEAF_LOG").stdin(Stdio::null());
        command
    }

    fn init(&self) {
        let made = self.coordinator("init").arg("--password-file").arg(self.path("password")).output().expect("runs");
        assert!(made.status.success(), "{}", text(&made));
    }

    fn run(&self) -> Running {
        let mut child = self.coordinator("run").stderr(Stdio::piped()).spawn().expect("runs");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut seen = Vec::new();
        let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let port = line.split("public=127.0.0.1:").nth(1)?.split(' ').next()?.to_owned();
            seen.push(line);
            Some(port)
        });
        // Reads on, so that the log's pipe is never full.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let port = port.unwrap_or_else(|| panic!("it serves: {seen:?}"));
        Running { child, url: format!("https://127.0.0.1:{port}") }
    }

    fn operate(&self, running: &Running, words: &[&str]) -> Output {
        Command::new(SHEAF)
            .args(words)
            .env("SHEAF_URL", &running.url)
            .env("SHEAF_CA", self.path("state/ca.pem"))
            .env("SHEAF_USER", "admin")
            .env("SHEAF_PASSWORD", PASSWORD)
            .env("XDG_CONFIG_HOME", self.path("xdg"))
            .env("HOME", self.folder.path())
            .output()
            .expect("runs")
    }

    fn json(&self, running: &Running, words: &[&str]) -> Value {
        let output = self.operate(running, words);
        assert!(output.status.success(), "{words:?}: {}", text(&output));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn signal(child: &Child, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    nix::sys::signal::kill(pid, signal).expect("sent");
}

fn exit_code(child: &mut Child) -> Option<i32> {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().expect("waited") {
            return status.code();
        }
        assert!(Instant::now() < until, "it ends");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_was_answered_survives_a_kill() {
    let site = Site::new();
    site.init();
    let mut names = Vec::new();
    let ca = std::fs::read(site.path("state/ca.pem")).expect("read");
    for round in 0..3 {
        let running = site.run();
        for n in 0..3 {
            let name = format!("n{round}-{n}");
            site.json(&running, &["secret", "create", &name, "--json"]);
            names.push(name);
        }
        // SIGKILL, by the value's end.
        drop(running);
    }
    let running = site.run();
    let listed = site.json(&running, &["secret", "list", "--json"]);
    let listed: Vec<&str> = listed.as_array().expect("rows").iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(listed, names);
    assert_eq!(std::fs::read(site.path("state/ca.pem")).expect("read"), ca, "the CA stays");
}

#[test]
fn a_stop_is_clean_and_a_second_coordinator_is_refused() {
    let site = Site::new();
    site.init();
    let mut running = site.run();
    let second = site.coordinator("run").output().expect("runs");
    assert_eq!(second.status.code(), Some(75));
    assert!(text(&second).contains("another coordinator is running"), "{}", text(&second));
    signal(&running.child, nix::sys::signal::Signal::SIGTERM);
    assert_eq!(exit_code(&mut running.child), Some(0));
    site.run();
}

#[test]
fn a_port_that_another_program_has_is_named_and_can_be_tried_again() {
    let site = Site::new();
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = other.local_addr().expect("an address");
    let state = site.path("state");
    for (key, free) in [("public", "agents"), ("agents", "public")] {
        let lines = format!("{key} = '{addr}'\n{free} = '127.0.0.1:0'\nstate_dir = {state:?}\n");
        std::fs::write(site.path("coordinator.toml"), lines).expect("written");
        let output = site.coordinator("run").output().expect("runs");
        assert_eq!(output.status.code(), Some(75), "{}", text(&output));
        let said = text(&output);
        assert!(said.contains(&format!("cannot listen on {addr} (`{key}` in the configuration)")), "{said}");
        assert!(said.contains(&format!("ss -ltnp 'sport = :{}'", addr.port())), "{said}");
    }
}

#[test]
fn init_prints_the_password_once() {
    let site = Site::new();
    let first = site.coordinator("init").arg("--json").output().expect("runs");
    assert!(first.status.success(), "{}", text(&first));
    let made: Value = serde_json::from_slice(&first.stdout).expect("one object");
    let password = made["password"].as_str().expect("a password");
    assert!(password.len() >= 32);
    assert!(made["cluster_id"].is_string() && Path::new(made["ca_file"].as_str().expect("a path")).exists());
    let again = site.coordinator("init").output().expect("runs");
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again).contains("--reset"), "{}", text(&again));
    let reset = site.coordinator("init").args(["--reset", "--password-file"]).arg(site.path("password")).output();
    let reset = reset.expect("runs");
    assert!(reset.status.success() && !text(&reset).contains(PASSWORD), "{}", text(&reset));
    let running = site.run();
    assert!(site.operate(&running, &["cluster", "list"]).status.success());
}

#[test]
fn settings_that_make_no_sense_are_named_with_their_place() {
    let site = Site::new();
    for (more, wanted) in [
        ("extrnal_url = 'x'\n", "coordinator.toml: line 4: unknown key `extrnal_url`; did you mean `external_url`?"),
        (
            "[limits]\nactive_node = 3\n",
            "coordinator.toml: line 5: unknown key `active_node`; did you mean `active_nodes`?",
        ),
        ("[limits]\nactive_nodes = 'many'\n", "coordinator.toml: line 5: "),
        ("[limits]\nactive_nodes = 0\n", "limits.active_nodes must be more than 0"),
        ("external_url = 'ftp://x'\n", "external_url must be of the form"),
        ("[tls]\ncertificate = '/nonexistent/x'\nkey = '/nonexistent/y'\n", "/nonexistent/x"),
    ] {
        site.configure(more);
        let output = site.coordinator("run").output().expect("runs");
        assert_eq!(output.status.code(), Some(78), "{more}: {}", text(&output));
        let said = text(&output);
        assert!(said.contains(wanted), "{more}: {said}");
        assert_eq!(said.matches("not started: ").count(), 1, "{said}");
    }
    let missing = Command::new(SHEAF).args(["coordinator", "run", "--config", "/nonexistent/c.toml"]).output();
    assert!(text(&missing.expect("runs")).contains("not started: cannot read /nonexistent/c.toml: "));
}

#[test]
fn files_that_others_can_reach_are_refused() {
    let site = Site::new();
    site.init();
    for (file, mode, wanted) in [("state/master.key", 0o644, "chmod 600"), ("state", 0o777, "chmod 700")] {
        let path = site.path(file);
        let before = path.metadata().expect("there").permissions();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("chmod");
        let output = site.coordinator("run").output().expect("runs");
        assert_eq!(output.status.code(), Some(78), "{}", text(&output));
        assert!(text(&output).contains(wanted), "{}", text(&output));
        std::fs::set_permissions(&path, before).expect("chmod");
    }
    site.run();
}
