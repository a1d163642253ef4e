//! The program `sheaf-agent`: the verbs of a node and nothing else.
//!
//! They are the very verbs of `sheaf agent`; what differs is the name, in the usage, the examples and what people are told to run next.

use clap::{Command, CommandFactory as _, FromArgMatches as _, Parser};

use super::AgentCommand;
use crate::agent::program;
use crate::telemetry::Logging;

/// Its name, and that of the same verbs where the whole of sheaf is.
const NAME: &str = "sheaf-agent";
const ELSEWHERE: &str = "sheaf agent";

/// Collects this node's logs and vitals when its coordinator asks, or here and now.
#[derive(Debug, Parser)]
#[command(name = NAME, version, max_term_width = 100, propagate_version = true)]
#[command(after_help = "Examples:
  sheaf agent join edge-7.json && sheaf agent run
  sheaf agent check                              what would be read, what may not be, how large
  sheaf agent rules                              what is taken out of it
  sheaf agent collect --output node.tar.zst      a bundle of this node alone, with no coordinator

The program sheaf has the same verbs, below its verb `agent`.")]
pub struct SheafAgent {
    /// How and how much is logged.
    #[command(flatten)]
    pub logging: Logging,
    /// What to do.
    #[command(subcommand)]
    pub command: AgentCommand,
}

impl SheafAgent {
    /// What was typed. Ends the process with a usage where that makes no sense.
    pub fn read() -> Self {
        program::call(NAME);
        let mut matches = tree().get_matches();
        Self::from_arg_matches_mut(&mut matches).unwrap_or_else(|error| error.exit())
    }
}

/// The tree of its verbs, in which examples name this program.
pub fn tree() -> Command {
    renamed(SheafAgent::command().mut_subcommands(renamed))
}

fn renamed(command: Command) -> Command {
    match command.get_after_help().map(|help| help.to_string().replace(ELSEWHERE, NAME)) {
        Some(help) => command.after_help(help),
        None => command,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_sound_and_names_this_program() {
        tree().debug_assert();
        let mut examples = 0;
        let mut tree = tree();
        tree.build();
        for mut command in tree.get_subcommands().cloned().chain([tree.clone()]) {
            let help = command.render_long_help().to_string();
            assert!(!help.contains(ELSEWHERE), "{help}");
            examples += help.matches(&format!("\n  {NAME} ")).count();
        }
        assert!(examples > 10, "{examples}");
    }
}
