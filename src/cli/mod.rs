//! The command line: one file per verb family; everything typed becomes a plain request before anything is done.
//!
//! Two programs have it. `sheaf` has all of it ([`tree`]): whoever operates a cluster, runs a coordinator, or tries things out on one host.
//! `sheaf-agent` has the verbs of a node ([`agent`]) and holds nothing else: no coordinator, no server, no database, no operator's verbs
//! are on a machine that is only read. That is why this file names families and imports none of them (`tests/house.rs` holds it); it
//! has the way out that both programs share: what a verb returns becomes the exit code, what it fails with becomes one line.

use std::fmt;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::report;

pub mod agent;
pub mod bundle;
pub mod coordinator;
pub mod docs;
pub mod operate;
pub mod output;
pub mod quickstart;
pub mod tree;
pub mod window;

/// What the process ends with. A reader that closed its end of a pipe is no error: it has what it wanted.
pub fn conclude(result: anyhow::Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) && reader_left(io::stdout()) => ExitCode::SUCCESS,
        Err(error) => {
            remark(format_args!("error: {}", report::chain(error.as_ref())));
            ExitCode::FAILURE
        }
    }
}

/// Says something to people, on standard error. That nobody reads it, or that it cannot be written, changes nothing: there is
/// nowhere to say so, and what runs goes on.
fn remark(text: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Whether a bundle that goes to standard output is cut because nobody reads on. Whoever reads may have enough; but the bundle is not
/// whole, and the exit code must not say so.
fn is_cut_off(error: &anyhow::Error) -> bool {
    let cut = is_broken_pipe(error) && reader_left(io::stdout());
    if cut {
        remark("the reader of standard output went away: what it has of the bundle is cut");
    }
    cut
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe))
}

/// Whether whoever read our output closed its end: a pipe to a peer or a child may break too, and that is an error.
fn reader_left(output: impl AsFd) -> bool {
    let mut fds = [PollFd::new(&output, PollFlags::OUT)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_no_error() {
        let pipe = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(is_broken_pipe(&anyhow::Error::new(pipe).context("writing the list")));
        assert!(!is_broken_pipe(&anyhow::anyhow!("broken pipe in words only")));
    }

    #[test]
    fn only_a_reader_of_ours_that_left_counts() {
        let (reader, writer) = io::pipe().expect("a pipe");
        assert!(!reader_left(&writer), "the reader is there");
        drop(reader);
        assert!(reader_left(&writer), "the reader closed its end");
    }
}
