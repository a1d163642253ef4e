//! `sheaf quickstart`: a coordinator and agents on this host, and a bundle of it.

use std::process::ExitCode;

/// `sheaf quickstart`
#[derive(Debug, clap::Args)]
pub struct QuickstartCommand {}

impl QuickstartCommand {
    /// Runs it to its end.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        anyhow::bail!("not in this build")
    }
}
