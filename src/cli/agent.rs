//! Verbs of a node: `sheaf agent …`.

use std::process::ExitCode;

use clap::Subcommand;

/// `sheaf agent …`
#[derive(Debug, Subcommand)]
pub enum AgentCommand {}

impl AgentCommand {
    /// Runs it to its end.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self {}
    }

    /// Whether it is a daemon.
    pub fn is_daemon(&self) -> bool {
        match *self {}
    }
}
