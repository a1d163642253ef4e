//! `sheaf bundle estimate`: what a bundle would hold, asked of all nodes at once, with nothing collected.
//!
//! Sizes come from the coordinator, which has them from the nodes; a table or one JSON object goes out. Sources without a size before they
//! are read are named and not guessed.

use std::collections::BTreeMap;
use std::process::ExitCode;

use http::Method;

use super::bundle::{BudgetOptions, ChoiceOptions};
use super::connect::Connection;
use super::tally::{FEW, Groups};
use super::wait_for;
use crate::bundle::Format;
use crate::bundle::verify::Matter;
use crate::cli::output::{self, Table, bytes, counted};
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
have no size before they are read. Of more than 24 nodes each collector has one row, over all of them; --json has every node. Exit codes: 0, or 3 where a node did not answer or could not look at everything.")]
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
            if estimate.nodes.len() as u64 > FEW {
                sums(&estimate).print()?;
                reasons(&estimate).sorted().into_iter().for_each(remark);
            } else {
                table(&estimate).print()?;
            }
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

/// Of many nodes: each collector once, over all of them.
fn sums(estimate: &BundleEstimate) -> Table {
    // Nodes, files, bytes, and the node that has most of them.
    type Sum<'a> = (u64, u64, u64, (u64, &'a str));
    let mut collectors: BTreeMap<&str, Sum<'_>> = BTreeMap::new();
    for node in &estimate.nodes {
        for row in &node.collectors {
            let (nodes, files, sum, largest) = collectors.entry(&row.collector).or_default();
            *nodes += 1;
            *files = files.saturating_add(row.files);
            *sum = sum.saturating_add(row.bytes);
            *largest = (*largest).max((row.bytes, &node.node));
        }
    }
    let mut table = Table::new(&["COLLECTOR", "NODES", "FILES", "BYTES", "LARGEST NODE", "ITS BYTES"]);
    for (collector, (nodes, files, sum, (most, largest))) in collectors {
        let cells = [nodes.to_string(), files.to_string(), bytes(sum), largest.to_owned(), bytes(most)];
        table.row([collector.to_owned()].into_iter().chain(cells));
    }
    table
}

/// Nodes that nobody knows the size of, by reason.
fn reasons(estimate: &BundleEstimate) -> Groups {
    let mut groups = Groups::default();
    for node in &estimate.nodes {
        if let Some(problem) = &node.problem {
            groups.add(Matter::Skipped, problem, &node.node);
        }
        if node.cut_short {
            groups.add(Matter::Cut, "there was more to look at than time for it", &node.node);
        }
    }
    groups
}

fn summary(estimate: &BundleEstimate) -> String {
    let mut text = format!(
        "{}: {}, {}",
        counted(estimate.nodes.len() as u64, "node"),
        counted(estimate.files, "file"),
        bytes(estimate.bytes)
    );
    if estimate.left_out > 0 {
        text.push_str(&format!(", of which {} would be left out by budgets and limits", bytes(estimate.left_out)));
    }
    if estimate.unknown > 0 {
        text.push_str(&format!("; {} did not answer", counted(estimate.unknown, "node")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::control::NodeEstimate;
    use crate::protocol::questions::CollectorSize;

    #[test]
    fn of_many_nodes_each_collector_is_summed_up() {
        let node = |number: u64| NodeEstimate {
            node: format!("n{number}"),
            problem: (number % 10 == 3).then(|| "the node is not connected".to_owned()),
            collectors: match number % 10 {
                3 => Vec::new(),
                _ => vec![CollectorSize {
                    collector: "logs".to_owned(),
                    files: 2,
                    bytes: number << 10,
                    journal_most: 0,
                    notes: Vec::new(),
                }],
            },
            ..NodeEstimate::default()
        };
        let nodes: Vec<NodeEstimate> = (0..1000).map(node).collect();
        let estimate = BundleEstimate { nodes, files: 1800, bytes: 0, left_out: 0, unknown: 100 };
        assert_eq!(
            sums(&estimate).aligned(),
            "COLLECTOR  NODES  FILES  BYTES      LARGEST NODE  ITS BYTES\n\
             logs       900    1800   439.2 MiB  n999          999.0 KiB\n"
        );
        let said: Vec<String> = reasons(&estimate).sorted().into_iter().map(ToString::to_string).collect();
        assert_eq!(said, ["skipped: 100 nodes: the node is not connected: n3, n13, n23, n33, n43 … and 95 more"]);
    }

    #[test]
    fn every_node_is_named_and_what_is_not_known_is_said() {
        let logs = CollectorSize {
            collector: "logs".to_owned(),
            files: 3,
            bytes: 3 << 20,
            journal_most: 9,
            notes: vec!["journal recent: at most 9 B".to_owned()],
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
             n1    logs       3      3.0 MiB  journal recent: at most 9 B\n\
             n1    -          -      -        there was more to look at than time for it; 2.0 MiB would be left out beyond 1.0 MiB\n\
             n2    -          -      -        the node is not connected\n"
        );
        assert_eq!(
            summary(&estimate),
            "2 nodes: 3 files, 3.0 MiB, of which 2.0 MiB would be left out by budgets and limits; 1 node did not answer"
        );
    }
}
