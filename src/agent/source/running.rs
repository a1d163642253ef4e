//! A child process while its output is read: never longer than its time, never more than its bytes.
//!
//! Both pipes are read without blocking; the end of the child, not of its pipes, ends the reading, since a daemonised grandchild may hold
//! them for ever. Whatever happens the whole process group is killed and the child is reaped.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStderr, ChildStdout, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use tokio_util::sync::CancellationToken;

use super::command::{Ending, Program};
use crate::bundle::outcome::Outcome;

/// How often a silent child's end and the stop are looked at.
const LOOK: Duration = Duration::from_millis(50);
/// Time for the system to let a killed child go, which it does not while a disk hangs.
const REAP: Duration = Duration::from_secs(2);
/// Bytes of standard error that are kept.
const STDERR: usize = 64 << 10;
/// Children that were killed and would not go; looked at again whenever another ends.
static LINGERING: Mutex<Vec<Child>> = Mutex::new(Vec::new());

/// Reads a child's standard output.
pub(super) struct Running {
    child: Option<Child>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    time: Duration,
    bytes: u64,
    exits: BTreeSet<i32>,
    stop: CancellationToken,
    ending: Arc<Mutex<Ending>>,
    said: Vec<u8>,
    left: u64,
    deadline: Instant,
}

impl Running {
    /// Takes a child over; its pipes no longer block.
    pub(super) fn new(
        mut child: Child,
        program: &Program,
        stop: &CancellationToken,
        ending: &Arc<Mutex<Ending>>,
    ) -> io::Result<Self> {
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let running = Self {
            child: Some(child),
            stdout,
            stderr,
            time: program.time,
            bytes: program.bytes,
            exits: program.exits.clone(),
            stop: stop.clone(),
            ending: Arc::clone(ending),
            said: Vec::new(),
            left: program.bytes,
            deadline: Instant::now() + program.time,
        };
        for pipe in running.pipes() {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        Ok(running)
    }

    /// Ends it: kills the group, reaps the child, keeps how it ended.
    fn end(&mut self, trouble: Option<(Outcome, String)>) {
        let Some(child) = self.child.take() else { return };
        self.hear();
        let status = put_down(child);
        let failed = || self.judge(status);
        let trouble = trouble.or_else(failed);
        let mut ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        *ending = Ending { trouble, stderr: std::mem::take(&mut self.said), bytes: self.bytes - self.left };
    }

    fn judge(&self, status: Option<ExitStatus>) -> Option<(Outcome, String)> {
        let failed = |reason| Some((Outcome::Failed, reason));
        let Some(status) = status else { return failed("does not go away when killed".to_owned()) };
        match (status.code(), status.signal()) {
            (Some(code), _) if self.exits.contains(&code) => None,
            (Some(code), _) => failed(format!("exit status {code}")),
            (None, Some(signal)) => failed(format!("killed by signal {signal}")),
            (None, None) => failed("ended in no known way".to_owned()),
        }
    }

    /// Takes what stands on standard error; the start of it is kept.
    fn hear(&mut self) {
        let mut buffer = [0; 8 << 10];
        while let Some(pipe) = &mut self.stderr {
            match pipe.read(&mut buffer) {
                Ok(0) => self.stderr = None,
                Ok(n) => {
                    let room = STDERR.saturating_sub(self.said.len());
                    self.said.extend_from_slice(&buffer[..n.min(room)]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.stderr = None,
            }
        }
    }

    /// Whether the child itself has ended; it is not reaped yet, so that its group's number stays its own.
    fn has_ended(&self) -> bool {
        let Some(child) = &self.child else { return true };
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(rustix::process::waitid(WaitId::Pid(Pid::from_child(child)), look), Ok(None))
    }

    /// The pipes that are still open.
    fn pipes(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [self.stdout.as_ref().map(|p| p.as_fd()), self.stderr.as_ref().map(|p| p.as_fd())].into_iter().flatten()
    }

    fn wait(&self) {
        let left = self.deadline.saturating_duration_since(Instant::now()).min(LOOK);
        let mut pipes: Vec<PollFd<'_>> = self.pipes().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(left.subsec_nanos()) };
        let _ = rustix::event::poll(&mut pipes, Some(&timeout));
    }

    /// One look at standard output: bytes, its end, or nothing yet.
    fn take(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let Some(pipe) = &mut self.stdout else { return Ok(None) };
        match pipe.read(buffer) {
            Ok(0) => {
                self.stdout = None;
                Ok(None)
            }
            Ok(n) => Ok(Some(n)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Read for Running {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut probe = [0; 1];
        while self.child.is_some() && !buffer.is_empty() {
            // Looked at before the pipe: what was written before the end is then surely in it.
            let over = self.has_ended();
            let full = self.left == 0;
            let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
            match self.take(if full { &mut probe } else { &mut buffer[..most] })? {
                Some(_) if full => {
                    let reason = format!("stopped at the limit of {} bytes", self.bytes);
                    self.end(Some((Outcome::Truncated, reason)));
                }
                Some(n) => {
                    self.left -= n as u64;
                    if Instant::now() >= self.deadline {
                        // A flood is never silent, so it is stopped here.
                        self.late();
                    }
                    return Ok(n);
                }
                None if over => self.end(None),
                None if self.stop.is_cancelled() => self.end(Some((Outcome::Truncated, "stopped".to_owned()))),
                None if Instant::now() >= self.deadline => self.late(),
                None => {
                    self.hear();
                    self.wait();
                }
            }
        }
        Ok(0)
    }
}

impl Running {
    fn late(&mut self) {
        let reason = format!("killed after {} s", self.time.as_secs_f64());
        self.end(Some((Outcome::Truncated, reason)));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end(Some((Outcome::Truncated, "not read to its end".to_owned())));
    }
}

/// Kills the whole group and reaps the child; `None` when the system does not let it go in time.
pub(super) fn put_down(mut child: Child) -> Option<ExitStatus> {
    let pid = Pid::from_child(&child);
    // The child is not reaped yet, so no stranger can have taken the group's number.
    let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    let begun = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if begun.elapsed() < REAP => std::thread::sleep(Duration::from_millis(1)),
            _ => break None,
        }
    };
    let mut lingering = LINGERING.lock().unwrap_or_else(PoisonError::into_inner);
    lingering.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    if status.is_none() {
        lingering.push(child);
    }
    status
}
