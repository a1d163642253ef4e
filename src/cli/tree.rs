//! The program `sheaf`, whole: the tree of its verbs. Each family parses and does its own; this file only names them.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::{agent, bundle, coordinator, docs, operate, quickstart};
use crate::telemetry::Logging;

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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_tree_is_sound() {
        Sheaf::command().debug_assert();
    }

    #[test]
    fn every_verb_has_an_example() {
        fn without(command: &clap::Command, path: &str, found: &mut Vec<String>) {
            let mut verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set()).peekable();
            let said = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let names_itself = said.lines().skip(1).any(|line| line.contains(path));
            if verbs.peek().is_none() && !(said.contains("Example") && names_itself) {
                found.push(path.to_owned());
            }
            verbs.for_each(|verb| without(verb, &format!("{path} {}", verb.get_name()), found));
        }
        let mut found = Vec::new();
        without(&Sheaf::command(), "sheaf", &mut found);
        assert!(found.is_empty(), "no example in: {found:#?}");
    }
}
