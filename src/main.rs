//! The program `sheaf`: every verb there is. Parses, dispatches, maps to an exit code; no logic.

use std::process::ExitCode;

use clap::Parser as _;
use sheaf::cli;
use sheaf::cli::tree::Sheaf;
use sheaf::telemetry;

fn main() -> ExitCode {
    let Sheaf { logging, command } = Sheaf::parse();
    cli::conclude(telemetry::start(&logging, command.is_daemon()).and_then(|()| command.run()))
}
