//! The program `sheaf-agent`: what runs on every node, and holds nothing but the agent. No logic.

use std::process::ExitCode;

use sheaf::cli;
use sheaf::cli::agent::program::SheafAgent;
use sheaf::telemetry;

fn main() -> ExitCode {
    let SheafAgent { logging, command } = SheafAgent::read();
    cli::conclude(telemetry::start(&logging, command.is_daemon()).and_then(|()| command.run()))
}
