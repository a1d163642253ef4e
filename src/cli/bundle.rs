//! Verbs on bundle files: `sheaf bundle verify|list|cat|extract|info`.

use std::process::ExitCode;

use clap::Subcommand;

/// `sheaf bundle …`
#[derive(Debug, Subcommand)]
pub enum BundleCommand {}

impl BundleCommand {
    /// Runs it to its end.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self {}
    }
}
