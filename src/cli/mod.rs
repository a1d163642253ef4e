//! The command line: one file per verb family; everything typed becomes a plain request before anything is done.
//!
//! This file holds the tree and the way out: what a verb returns becomes the exit code, what it fails with becomes one line.

use std::fmt;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::report;
use crate::telemetry::Logging;

pub mod agent;
pub mod bundle;
pub mod coordinator;
pub mod docs;
pub mod operate;
pub mod quickstart;
pub mod window;

/// Gathers support bundles from clusters of Linux nodes.
#[derive(Debug, Parser)]
#[command(name = "sheaf", version, max_term_width = 100, propagate_version = true)]
#[command(after_help = "Examples:
  sheaf quickstart                               a coordinator and an agent on this host, and a bundle of it
  sheaf login --url https://host:25555 --ca ca.pem --user admin
  sheaf bundle create --cluster default          one file with logs and vitals of every node
  sheaf bundle verify FILE                       exit code 0 complete, 3 partial, 4 truncated, 5 corrupt, 6 wrong signer, 7 aborted")]
pub struct Sheaf {
    /// How and how much is logged.
    #[command(flatten)]
    pub logging: Logging,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a node's agent, or collect on this node without a coordinator
    #[command(subcommand)]
    Agent(agent::AgentCommand),
    /// Run a coordinator, or prepare its state
    #[command(subcommand)]
    Coordinator(coordinator::CoordinatorCommand),
    /// Create a bundle, or read and verify one
    #[command(subcommand)]
    Bundle(bundle::BundleCommand),
    /// Log in to a coordinator and remember it
    Login(operate::LoginCommand),
    /// Clusters of nodes
    Cluster(operate::ClusterCommand),
    /// Fleets of clusters, and kubeconfigs for them
    Fleet(operate::FleetCommand),
    /// Client certificates of operators
    Cert(operate::CertCommand),
    /// Nodes and their agents
    Node(operate::NodeCommand),
    /// Deployments: which nodes run which collectors
    Deployment(operate::DeploymentCommand),
    /// Agent secrets
    Secret(operate::SecretCommand),
    /// Tasks of the coordinator
    Task(operate::TaskCommand),
    /// Users, their roles and scopes, passwords and access keys
    User(operate::UserCommand),
    /// Who did what: the coordinator's audit log
    Audit(operate::AuditCommand),
    /// Try it: a coordinator and agents on this host, and a bundle of its real logs
    Quickstart(quickstart::QuickstartCommand),
    /// Man pages, completions and sample configurations
    #[command(subcommand)]
    Docs(docs::DocsCommand),
}

impl Command {
    /// Runs it to its end.
    ///
    /// # Errors
    /// Whatever the verb could not do.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Agent(command) => command.run(),
            Self::Coordinator(command) => command.run(),
            Self::Bundle(command) => command.run(),
            Self::Login(command) => command.run(),
            Self::Cluster(command) => command.run(),
            Self::Fleet(command) => command.run(),
            Self::Cert(command) => command.run(),
            Self::Node(command) => command.run(),
            Self::Deployment(command) => command.run(),
            Self::Secret(command) => command.run(),
            Self::Task(command) => command.run(),
            Self::User(command) => command.run(),
            Self::Audit(command) => command.run(),
            Self::Quickstart(command) => command.run(),
            Self::Docs(command) => command.run(),
        }
    }

    /// Whether it is a daemon, whose log is what people see of it.
    pub fn is_daemon(&self) -> bool {
        match self {
            Self::Agent(command) => command.is_daemon(),
            Self::Coordinator(command) => command.is_daemon(),
            _ => false,
        }
    }
}

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
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_tree_is_sound() {
        Sheaf::command().debug_assert();
    }

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
