//! Verbs of the operator, through the native API.

use std::process::ExitCode;

use clap::{Args, Subcommand};

/// `sheaf login`
#[derive(Debug, Args)]
pub struct LoginCommand {}

impl LoginCommand {
    /// Runs it to its end.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        anyhow::bail!("not in this build")
    }
}

/// `sheaf cluster …`
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {}

impl ClusterCommand {
    /// Runs it to its end.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self {}
    }
}

/// `sheaf node …`
#[derive(Debug, Subcommand)]
pub enum NodeCommand {}

impl NodeCommand {
    /// Runs it to its end.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self {}
    }
}

/// `sheaf secret …`
#[derive(Debug, Subcommand)]
pub enum SecretCommand {}

impl SecretCommand {
    /// Runs it to its end.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self {}
    }
}

/// `sheaf task …`
#[derive(Debug, Subcommand)]
pub enum TaskCommand {}

impl TaskCommand {
    /// Runs it to its end.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self {}
    }
}
