//! The operator verbs: log in, clusters, nodes, agent secrets, tasks, and the bundle itself.
//!
//! Every verb becomes calls of the native API on a [`connect::Coordinator`]; what comes back is printed for people on a
//! terminal, plainly when piped, and as JSON when asked. No verb keeps state but the login profile.

pub mod audit;
pub mod bundle;
pub mod cert;
pub mod cluster;
pub mod connect;
pub mod delivery;
pub mod deployment;
pub mod estimate;
pub mod fleet;
pub mod history;
pub mod key;
pub mod login;
pub mod node;
mod private;
pub mod profile;
pub mod progress;
mod prompt;
pub mod secret;
pub mod stored;
pub mod tally;
pub mod task;
pub mod user;

use std::future::Future;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use connect::Connection;

pub use audit::AuditCommand;
pub use login::LoginCommand;

/// What a verb's success comes to.
trait Ends {
    fn code(self) -> ExitCode;
}

impl Ends for () {
    fn code(self) -> ExitCode {
        ExitCode::SUCCESS
    }
}

impl Ends for ExitCode {
    fn code(self) -> ExitCode {
        self
    }
}

macro_rules! family {
    ($(#[$doc:meta])* $name:ident, $verb:path) => {
        $(#[$doc])*
        #[derive(Debug, Args)]
        pub struct $name {
            /// How to reach the coordinator.
            #[command(flatten)]
            pub connection: Connection,
            /// What to do.
            #[command(subcommand)]
            pub verb: $verb,
        }

        impl $name {
            /// Runs it to its end.
            ///
            /// # Errors
            /// When it cannot be done; the chain says why.
            pub fn run(self) -> anyhow::Result<ExitCode> {
                let coordinator = self.connection.open()?;
                Ok(wait_for(self.verb.run(&coordinator))?.code())
            }
        }
    };
}

family! {
    /// `sheaf cluster …`
    ClusterCommand, cluster::Verb
}
family! {
    /// `sheaf fleet …`
    FleetCommand, fleet::Verb
}
family! {
    /// `sheaf cert …`
    CertCommand, cert::Verb
}
family! {
    /// `sheaf deployment …`
    DeploymentCommand, deployment::Verb
}
/// `sheaf node …`
#[derive(Debug, Args)]
pub struct NodeCommand {
    /// How to reach the coordinator.
    #[command(flatten)]
    pub connection: Connection,
    /// What to do.
    #[command(subcommand)]
    pub verb: node::Verb,
}

impl NodeCommand {
    /// Runs it to its end.
    ///
    /// # Errors
    /// When it cannot be done; the chain says why.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if let Some(done) = self.verb.alone() {
            return done.map(|()| ExitCode::SUCCESS);
        }
        let coordinator = self.connection.open()?;
        Ok(wait_for(self.verb.run(&coordinator))?.code())
    }
}

family! {
    /// `sheaf secret …`
    SecretCommand, secret::Verb
}
family! {
    /// `sheaf task …`
    TaskCommand, task::Verb
}
family! {
    /// `sheaf bundle stored …`
    StoredCommand, stored::Verb
}

family! {
    /// `sheaf user …`
    UserCommand, user::Verb
}

/// Runs one command's future to its end, on this thread.
///
/// # Errors
/// Those of the future, and when there is no runtime to be had.
pub fn wait_for<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?.block_on(work)
}
