//! Verbs of the coordinator's host: `sheaf coordinator run|init`.

use std::process::ExitCode;

use clap::Subcommand;

/// `sheaf coordinator …`
#[derive(Debug, Subcommand)]
pub enum CoordinatorCommand {}

impl CoordinatorCommand {
    /// Runs it to its end.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self {}
    }

    /// Whether it is a daemon.
    pub fn is_daemon(&self) -> bool {
        match *self {}
    }
}
