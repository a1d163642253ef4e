//! Commands: programs that collector files declare, run without a shell, bounded in time and bytes.
//!
//! The argument list comes from a collector file and nothing of it from the wire. The child gets a cleared environment, a fixed PATH, no
//! standard input, a process group of its own and no ambient capability that its collector does not name; its output goes out as a stream.
//! It never holds a whole output, and never leaves a process of the group behind.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::fs::Access;
use rustix::io::Errno;
use rustix::thread::CapabilitySet;
use tokio_util::sync::CancellationToken;

use super::Content;
use super::running::Running;
use crate::bundle::outcome::Outcome;

/// Where programs are looked up, in this order.
const PATH: &[&str] = &["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// A command, resolved: what is run, and within which bounds.
#[derive(Clone, Debug)]
pub struct Program {
    /// The program's file.
    pub file: PathBuf,
    /// Its arguments, without the program.
    pub arguments: Vec<String>,
    /// Its time.
    pub time: Duration,
    /// Bytes of standard output at most.
    pub bytes: u64,
    /// Exit codes that count as success.
    pub exits: BTreeSet<i32>,
    /// Ambient capabilities that it keeps.
    pub capabilities: CapabilitySet,
}

/// How a command ended; filled once its output was read to the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// What became of the output, when it is not simply all there.
    pub trouble: Option<(Outcome, String)>,
    /// The start of standard error.
    pub stderr: Vec<u8>,
    /// Bytes of standard output that were read.
    pub bytes: u64,
}

impl Ending {
    /// What stands in the `.err` beside the output; `None` when all went well.
    pub fn report(&self) -> Option<String> {
        let (_, reason) = self.trouble.as_ref()?;
        let said = String::from_utf8_lossy(&self.stderr);
        Some(if said.is_empty() { format!("{reason}\n") } else { format!("{reason}\n\n{said}") })
    }
}

/// The folders that programs are looked up in.
pub fn path() -> Vec<PathBuf> {
    PATH.iter().map(PathBuf::from).collect()
}

/// Finds a program by name in `path`, or takes it as it is when it is absolute; `None` when it is not there or may not be run.
pub fn find(path: &[PathBuf], program: &str) -> Option<PathBuf> {
    let runs = |file: &PathBuf| file.is_file() && rustix::fs::access(file, Access::EXEC_OK).is_ok();
    if Path::new(program).is_absolute() {
        return Some(PathBuf::from(program)).filter(runs);
    }
    path.iter().map(|folder| folder.join(program)).find(runs)
}

/// A capability by its name, `CAP_SYSLOG`.
pub fn capability(name: &str) -> Option<CapabilitySet> {
    CapabilitySet::from_name(name.strip_prefix("CAP_")?)
}

impl Program {
    /// Starts it, with a process group of its own.
    ///
    /// # Errors
    /// When it cannot be started, or its ambient capabilities cannot be taken away.
    pub fn start(&self, path: &[PathBuf]) -> io::Result<Child> {
        let search: Vec<&OsStr> = path.iter().map(|folder| folder.as_os_str()).collect();
        let mut command = std::process::Command::new(&self.file);
        command
            .args(&self.arguments)
            .env_clear()
            .env("PATH", search.join(OsStr::new(":")))
            .envs([("LC_ALL", "C.UTF-8"), ("HOME", "/"), ("TERM", "dumb"), ("PAGER", "cat"), ("SYSTEMD_COLORS", "0")])
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        // Ambient capabilities belong to a thread and pass to its children: a thread of its own loses them and starts the child.
        let keep = self.capabilities;
        let start = move || narrow(keep).and_then(|()| command.spawn());
        thread::scope(|scope| {
            let thread = thread::Builder::new().name("sheaf-spawn".into()).spawn_scoped(scope, start)?;
            thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that starts commands panicked")))
        })
    }
}

/// Takes from this thread every ambient capability but `keep`.
fn narrow(keep: CapabilitySet) -> io::Result<()> {
    let has = |one: &CapabilitySet| rustix::thread::capability_is_in_ambient_set(*one).unwrap_or(false);
    let kept: Vec<CapabilitySet> = keep.iter().filter(has).collect();
    match rustix::thread::clear_ambient_capability_set() {
        // A kernel without ambient capabilities has none to pass on.
        Ok(()) | Err(Errno::INVAL) => {}
        Err(error) => return Err(error.into()),
    }
    for one in kept {
        rustix::thread::configure_capability_in_ambient_set(one, true)?;
    }
    Ok(())
}

/// The output of a command, as a record's content.
pub struct Output {
    program: Program,
    path: Vec<PathBuf>,
    stop: CancellationToken,
    ending: Arc<Mutex<Ending>>,
    ran: bool,
    running: Option<Running>,
}

impl Output {
    /// The output of `program`, which is started when it is opened.
    pub fn new(program: Program, path: Vec<PathBuf>, stop: CancellationToken) -> Self {
        Self { program, path, stop, ending: Arc::default(), ran: false, running: None }
    }

    /// Where its ending will stand once it was read.
    pub fn ending(&self) -> Arc<Mutex<Ending>> {
        Arc::clone(&self.ending)
    }
}

impl Read for Output {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.running.as_mut().map_or(Ok(0), |running| running.read(buffer))
    }
}

impl Content for Output {
    fn open(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.ran, true) {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "a command runs once"));
        }
        let start = self.program.start(&self.path);
        let running = start.and_then(|child| Running::new(child, &self.program, &self.stop, &self.ending));
        match running {
            Ok(running) => self.running = Some(running),
            Err(error) => {
                let reason = format!("cannot be started: {error}");
                self.ending.lock().unwrap_or_else(PoisonError::into_inner).trouble = Some((Outcome::Failed, reason));
                return Err(error);
            }
        }
        Ok(())
    }

    fn again(&self) -> bool {
        false
    }

    fn after(&mut self) -> Option<(Outcome, String)> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner).trouble.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn shell(script: &str, time: Duration, bytes: u64) -> Output {
        let program = Program {
            file: find(&path(), "sh").expect("a shell"),
            arguments: vec!["-c".into(), script.into()],
            time,
            bytes,
            exits: [0].into(),
            capabilities: CapabilitySet::empty(),
        };
        Output::new(program, path(), CancellationToken::new())
    }

    fn run(output: &mut Output) -> (Vec<u8>, Option<(Outcome, String)>, Option<String>) {
        let mut content = Vec::new();
        output.open().expect("started");
        output.read_to_end(&mut content).expect("read");
        let report = output.ending.lock().expect("not poisoned").report();
        (content, output.after(), report)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn output_is_read_and_nothing_is_reported() {
        let (content, trouble, report) = run(&mut shell("echo out; echo err >&2", LONG, 1 << 20));
        assert_eq!((content.as_slice(), trouble, report), (b"out\n".as_slice(), None, None));
    }

    #[test]
    fn an_exit_code_is_reported_with_standard_error() {
        let (content, trouble, report) = run(&mut shell("echo out; echo why >&2; exit 3", LONG, 1 << 20));
        assert_eq!(content, b"out\n");
        assert_eq!(trouble, Some((Outcome::Failed, "exit status 3".into())));
        assert_eq!(report.as_deref(), Some("exit status 3\n\nwhy\n"));
        let mut output = shell("exit 3", LONG, 1 << 20);
        output.program.exits = [0, 3].into();
        assert_eq!(run(&mut output).1, None, "3 counts as success where the collector says so");
    }

    #[test]
    fn a_command_that_never_ends_is_killed_with_its_group() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let pids = folder.path().join("pids");
        let script = format!("echo begun; sleep 1000 & echo $! > {0}; echo $$ >> {0}; wait", pids.display());
        let begun = Instant::now();
        let (content, trouble, _) = run(&mut shell(&script, Duration::from_millis(300), 1 << 20));
        assert!(begun.elapsed() < LONG);
        assert_eq!(content, b"begun\n", "what was said before is kept");
        let (outcome, reason) = trouble.expect("trouble");
        assert_eq!(outcome, Outcome::Truncated);
        assert!(reason.contains("killed after 0.3 s"), "{reason}");
        for pid in std::fs::read_to_string(&pids).expect("pids").lines() {
            gone(pid);
        }
    }

    /// Waits until a process is gone, or is a zombie that its new parent has yet to reap.
    fn gone(pid: &str) {
        let begun = Instant::now();
        while let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            if text.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')) {
                return;
            }
            assert!(begun.elapsed() < LONG, "process {pid} lives on");
            thread::yield_now();
        }
    }

    #[test]
    fn a_flood_is_cut_at_the_limit() {
        let (content, trouble, _) = run(&mut shell("exec yes", LONG, 100_000));
        assert_eq!(content.len(), 100_000);
        let (outcome, reason) = trouble.expect("trouble");
        assert_eq!(outcome, Outcome::Truncated);
        assert!(reason.contains("100000 bytes"), "{reason}");
    }

    #[test]
    fn output_of_exactly_the_limit_is_whole() {
        let (content, trouble, _) = run(&mut shell("printf 12345", LONG, 5));
        assert_eq!((content.as_slice(), trouble), (b"12345".as_slice(), None));
    }

    #[test]
    fn a_flood_on_standard_error_neither_blocks_nor_grows() {
        let script = "head -c 10000000 /dev/zero | tr '\\0' x >&2; echo out; exit 1";
        let (content, _, report) = run(&mut shell(script, LONG, 1 << 20));
        assert_eq!(content, b"out\n");
        assert!(report.expect("a report").len() < 100_000);
    }

    #[test]
    fn a_child_that_forks_away_and_holds_the_pipe_does_not_hold_us() {
        let begun = Instant::now();
        let (content, trouble, _) = run(&mut shell("sleep 1000 & echo out", LONG, 1 << 20));
        assert!(begun.elapsed() < LONG / 2);
        assert_eq!((content.as_slice(), trouble), (b"out\n".as_slice(), None));
        let (content, trouble, _) = run(&mut shell("setsid sleep 7 & echo out", LONG, 1 << 20));
        assert_eq!((content.as_slice(), trouble), (b"out\n".as_slice(), None), "a session of its own neither");
    }

    #[test]
    fn a_signal_is_reported() {
        let (_, trouble, _) = run(&mut shell("kill -TERM $$", LONG, 1 << 20));
        assert_eq!(trouble, Some((Outcome::Failed, "killed by signal 15".into())));
    }

    #[test]
    fn a_stop_ends_it() {
        let mut output = shell("echo begun; exec sleep 1000", LONG, 1 << 20);
        let stop = output.stop.clone();
        let mut content = Vec::new();
        output.open().expect("started");
        output.read_exact(&mut [0; 6]).expect("begun");
        stop.cancel();
        output.read_to_end(&mut content).expect("ended");
        assert_eq!(output.after(), Some((Outcome::Truncated, "stopped".into())));
    }

    #[test]
    fn the_environment_is_cleared_and_input_is_empty() {
        let (content, _, _) = run(&mut shell("env; cat; pwd", LONG, 1 << 20));
        let text = String::from_utf8(content).expect("text");
        assert!(text.contains("PATH=/usr/local/sbin:"), "{text}");
        for line in text.lines() {
            let name = line.split('=').next().unwrap_or_default();
            // The shell sets the last three for itself.
            let known =
                ["PATH", "LC_ALL", "HOME", "TERM", "PAGER", "SYSTEMD_COLORS", "PWD", "SHLVL", "_", "OLDPWD", "/"];
            assert!(known.contains(&name), "{line}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_found_and_what_cannot_start_says_so() {
        assert_eq!(find(&path(), "sheaf-no-such-program"), None);
        assert_eq!(find(&path(), "/etc/passwd"), None, "not a program");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut output = shell("true", LONG, 1);
        output.program.file = folder.path().join("none");
        assert!(output.open().is_err());
        assert!(output.after().expect("trouble").1.starts_with("cannot be started"));
        assert!(output.open().is_err(), "once only");
    }

    #[test]
    fn children_get_no_ambient_capability() {
        let (content, _, _) = run(&mut shell("grep CapAmb /proc/self/status", LONG, 1 << 20));
        assert_eq!(String::from_utf8_lossy(&content).trim(), "CapAmb:\t0000000000000000");
        assert!(capability("CAP_SYSLOG").is_some());
        assert!(capability("SYSLOG").is_none() && capability("CAP_EVERYTHING").is_none());
    }
}
