//! `sheaf bundle estimate`: what a bundle would hold, asked of all nodes at once, with nothing collected.
//!
//! Sizes come from the coordinator, which has them from the nodes; a table or one JSON object goes out. Sources without a size before they
//! are read are named and not guessed.

use std::process::ExitCode;

use http::Method;

use super::bundle::{BudgetOptions, ChoiceOptions};
use super::connect::Connection;
use super::wait_for;
use crate::bundle::Format;
use crate::cli::output::{self, Table, bytes};
use crate::cli::remark;
use crate::cli::window::WindowOptions;
use crate::protocol::control::{BundleEstimate, NewBundle};

/// `sheaf bundle estimate`
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sheaf bundle estimate --cluster prod
  sheaf bundle estimate --cluster prod --node 'web-*' --collector logs --since 2h
  sheaf bundle estimate --cluster prod --budget-node 500M --budget 20G --json

Sizes are those of the files as they lie on the nodes, before they are cut to the window, redacted and compressed. Journals and commands
have no size before they are read. Exit codes: 0, or 3 where a node did not answer or could not look at everything.")]
pub struct EstimateCommand {
    /// How to reach the coordinator.
    #[command(flatten)]
    pub connection: Connection,
    /// Of whom, and of what.
    #[command(flatten)]
    pub choice: ChoiceOptions,
    /// The time that logs would be taken from.
    #[command(flatten)]
    pub window: WindowOptions,
    /// What the bundle may hold at most.
    #[command(flatten)]
    pub budgets: BudgetOptions,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

impl EstimateCommand {
    /// Runs it to its end.
    ///
    /// # Errors
    /// When the coordinator refuses or cannot be reached.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let wanted = NewBundle {
            cluster: self.choice.cluster,
            redact: Vec::new(),
            nodes: self.choice.nodes,
            collectors: self.choice.collectors,
            budgets: self.budgets.into(),
            window: self.window.into(),
            case: None,
            note: None,
            format: Format::TarZst,
        };
        let coordinator = self.connection.open()?;
        let asking = coordinator.call::<BundleEstimate>(Method::POST, "/bundles/estimate", Some(&wanted));
        let estimate = wait_for(asking)?;
        if self.json {
            output::json(&estimate)?;
        } else {
            table(&estimate).print()?;
            remark(summary(&estimate));
        }
        let partial = estimate.unknown > 0 || estimate.nodes.iter().any(|node| node.cut_short);
        Ok(ExitCode::from(if partial { 3 } else { 0 }))
    }
}

fn table(estimate: &BundleEstimate) -> Table {
    let mut table = Table::new(&["NODE", "COLLECTOR", "FILES", "BYTES", "NOTES"]);
    for node in &estimate.nodes {
        if let Some(problem) = &node.problem {
            table.row([&node.node, "-", "-", "-", problem].map(str::to_owned));
        }
        for row in &node.collectors {
            let size = bytes(row.bytes);
            table.row([node.node.clone(), row.collector.clone(), row.files.to_string(), size, row.notes.join("; ")]);
        }
        let mut notes = Vec::new();
        if node.cut_short {
            notes.push("there was more to look at than time for it".to_owned());
        }
        if node.left_out > 0 {
            notes.push(format!("{} would be left out beyond {}", bytes(node.left_out), bytes(node.allowed)));
        }
        if !notes.is_empty() {
            table.row([node.node.clone(), "-".to_owned(), "-".to_owned(), "-".to_owned(), notes.join("; ")]);
        }
    }
    table
}

fn summary(estimate: &BundleEstimate) -> String {
    let mut text = format!("{} nodes: {} files, {}", estimate.nodes.len(), estimate.files, bytes(estimate.bytes));
    if estimate.left_out > 0 {
        text.push_str(&format!(", of which {} would be left out by budgets and limits", bytes(estimate.left_out)));
    }
    if estimate.unknown > 0 {
        text.push_str(&format!("; {} nodes did not answer", estimate.unknown));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::control::NodeEstimate;
    use crate::protocol::questions::CollectorSize;

    #[test]
    fn every_node_is_named_and_what_is_not_known_is_said() {
        let logs = CollectorSize {
            collector: "logs".to_owned(),
            files: 3,
            bytes: 3 << 20,
            notes: vec!["journal recent: at most 9 bytes".to_owned()],
        };
        let one = NodeEstimate {
            node: "n1".to_owned(),
            cut_short: true,
            collectors: vec![logs],
            allowed: 1 << 20,
            left_out: 2 << 20,
            ..NodeEstimate::default()
        };
        let problem = Some("the node is not connected".to_owned());
        let two = NodeEstimate { node: "n2".to_owned(), problem, ..NodeEstimate::default() };
        let (files, bytes, left_out) = (3, 3 << 20, 2 << 20);
        let estimate = BundleEstimate { nodes: vec![one, two], files, bytes, left_out, unknown: 1 };
        assert_eq!(
            table(&estimate).aligned(),
            "NODE  COLLECTOR  FILES  BYTES    NOTES\n\
             n1    logs       3      3.0 MiB  journal recent: at most 9 bytes\n\
             n1    -          -      -        there was more to look at than time for it; 2.0 MiB would be left out beyond 1.0 MiB\n\
             n2    -          -      -        the node is not connected\n"
        );
        assert_eq!(
            summary(&estimate),
            "2 nodes: 3 files, 3.0 MiB, of which 2.0 MiB would be left out by budgets and limits; 1 nodes did not answer"
        );
    }
}
