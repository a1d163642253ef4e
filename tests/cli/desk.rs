//! Where an operator works: an empty folder, an environment of its own, and the program.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// An operator's desk.
pub struct Desk {
    work: TempDir,
    temporary: TempDir,
}

impl Desk {
    pub fn new() -> Self {
        let folder = || tempfile::tempdir().expect("a temporary folder");
        Self { work: folder(), temporary: folder() }
    }

    pub fn path(&self) -> &Path {
        self.work.path()
    }

    /// The program with these arguments, in this folder, with nothing of the environment that speaks of sheaf.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sheaf"));
        command.args(args).current_dir(self.path()).stdin(Stdio::null());
        for name in ["SHEAF_URL", "SHEAF_CA", "SHEAF_USER", "SHEAF_PASSWORD"] {
            command.env_remove(name);
        }
        command.env("XDG_CONFIG_HOME", self.path().join("config")).env("TMPDIR", self.temporary.path());
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the program runs")
    }

    /// What a verb prints as JSON.
    pub fn json(&self, args: &[&str]) -> Value {
        let out = self.run(args);
        assert!(out.status.success(), "{args:?}: {}", text(&out));
        serde_json::from_slice(&out.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {}", text(&out)))
    }

    /// Files in the folder, by name.
    pub fn files(&self) -> Vec<String> {
        list(self.path())
    }

    /// What stands in the folder for temporary things.
    pub fn temporary(&self) -> Vec<String> {
        list(self.temporary.path())
    }
}

fn list(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Both outputs, for a failed assertion.
pub fn text(out: &Output) -> String {
    format!("{}: {}{}", out.status, String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

pub fn interrupt(child: &Child) {
    let id = i32::try_from(child.id()).expect("a process id");
    kill(Pid::from_raw(id), Signal::SIGINT).expect("signalled");
}

/// A quickstart that goes on.
pub struct Kept {
    pub offer: Value,
    child: Child,
}

impl Kept {
    pub fn start(desk: &Desk, nodes: u16) -> Self {
        let nodes = nodes.to_string();
        let args = ["quickstart", "--keep", "--json", "--nodes", &nodes, "--output", "first.tar.zst"];
        let mut child =
            desk.command(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("quickstart starts");
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        out.read_line(&mut line).expect("a line");
        let offer = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        Self { offer, child }
    }

    pub fn text(&self, member: &str) -> String {
        self.offer[member].as_str().expect("a text").to_owned()
    }

    /// Process ids of its agents.
    pub fn agents(&self) -> Vec<String> {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).expect("its children");
        children.split_whitespace().map(str::to_owned).collect()
    }

    /// Kills it, so that it can do nothing more about its agents.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
    }

    /// Interrupts it; the state is gone then, and so are the agents.
    pub fn stop(mut self) {
        interrupt(&self.child);
        assert!(self.child.wait().expect("ended").success());
        assert!(!Path::new(&self.text("state_dir")).exists());
    }
}

/// A test that failed still has its processes ended.
impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a process still runs; one that only waits to be reaped does not.
pub fn runs(id: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
