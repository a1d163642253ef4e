//! `sheaf fleet create|list|show|delete|add|remove|kubeconfig`.

use std::path::PathBuf;

use http::Method;
use serde_json::Value;

use super::connect::{Coordinator, segment};
use super::private;
use crate::cli::output;
use crate::id::FleetName;
use crate::protocol::federation::{Fleet, NewFleet, NewKubeconfig};
use crate::report;

/// What to do with fleets.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Verb {
    /// Make a fleet
    #[command(after_help = "Examples:\n  sheaf fleet create edge\n  sheaf fleet create lab --no-federation --json")]
    Create {
        /// Its name, unique
        name: FleetName,
        /// Issue no certificates for it
        #[arg(long)]
        no_federation: bool,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// List fleets
    #[command(after_help = "Examples:\n  sheaf fleet list\n  sheaf fleet list --json")]
    List {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show a fleet and its clusters
    #[command(after_help = "Examples:\n  sheaf fleet show edge\n  sheaf fleet show edge --json")]
    Show {
        /// Its id or name
        fleet: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Delete a fleet: its certificates end, its clusters stay
    #[command(after_help = "Example:\n  sheaf fleet delete edge")]
    Delete {
        /// Its id or name
        fleet: String,
    },
    /// Put clusters into a fleet
    #[command(after_help = "Example:\n  sheaf fleet add edge edge-7 edge-8")]
    Add {
        /// The fleet's id or name
        fleet: String,
        /// Clusters, by id or name
        #[arg(required = true)]
        clusters: Vec<String>,
    },
    /// Take clusters out of a fleet
    #[command(after_help = "Example:\n  sheaf fleet remove edge edge-7")]
    Remove {
        /// The fleet's id or name
        fleet: String,
        /// Clusters, by id or name
        #[arg(required = true)]
        clusters: Vec<String>,
    },
    /// Issue a client certificate for a fleet, in a kubeconfig
    #[command(after_help = "Examples:
  sheaf fleet kubeconfig edge --days 30 --output edge.kubeconfig
  kubectl --kubeconfig edge.kubeconfig get --raw /deployments

Whoever holds the file reaches that fleet as you, until `sheaf cert revoke`.")]
    Kubeconfig {
        /// The fleet's id or name
        fleet: String,
        /// Days that it is good, 1 to 1825
        #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1825))]
        days: u32,
        /// Write it into this new file, mode 0600, instead of standard output
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Project whose endpoint is used
        #[arg(long, value_name = "ID", requires = "vpc", requires = "subnet")]
        project: Option<String>,
        /// VPC of that project
        #[arg(long, value_name = "ID", requires = "project")]
        vpc: Option<String>,
        /// Subnet of that VPC
        #[arg(long, value_name = "ID", requires = "project")]
        subnet: Option<String>,
    },
}

impl Verb {
    /// Does it.
    ///
    /// # Errors
    /// When the coordinator refuses or cannot be reached, or the file cannot be written.
    pub async fn run(self, coordinator: &Coordinator) -> anyhow::Result<()> {
        match self {
            Self::Create { name, no_federation, json } => {
                let wanted = NewFleet { name, federation: !no_federation };
                show(&coordinator.call(Method::POST, "/fleets", Some(&wanted)).await?, json)?;
            }
            Self::List { json } => list(&coordinator.fetch::<Vec<Fleet>>("/fleets").await?, json)?,
            Self::Show { fleet, json } => show(&coordinator.fetch(&path(&fleet)).await?, json)?,
            Self::Delete { fleet } => {
                coordinator.call::<()>(Method::DELETE, &path(&fleet), None::<&()>).await?;
                output::say(&format!("fleet {} deleted\n", report::escape(&fleet)))?;
            }
            Self::Add { fleet, clusters } => change(coordinator, Method::PUT, &fleet, &clusters).await?,
            Self::Remove { fleet, clusters } => change(coordinator, Method::DELETE, &fleet, &clusters).await?,
            Self::Kubeconfig { fleet, days, output, project, vpc, subnet } => {
                let wanted = NewKubeconfig { days, project, vpc, subnet };
                let path = format!("{}/kubeconfig", path(&fleet));
                let made = coordinator.call::<Value>(Method::POST, &path, Some(&wanted));
                private::deliver(output.as_deref(), &format!("a kubeconfig for {fleet}"), made).await?;
            }
        }
        Ok(())
    }
}

fn path(fleet: &str) -> String {
    format!("/fleets/{}", segment(fleet))
}

async fn change(coordinator: &Coordinator, method: Method, fleet: &str, clusters: &[String]) -> anyhow::Result<()> {
    for cluster in clusters {
        let path = format!("{}/clusters/{}", path(fleet), segment(cluster));
        let fleet: Fleet = coordinator.call(method.clone(), &path, None::<&()>).await?;
        let done = if method == Method::PUT { "is in" } else { "is out of" };
        output::say(&format!("{} {done} fleet {}\n", report::escape(cluster), fleet.name))?;
    }
    Ok(())
}

fn show(fleet: &Fleet, json: bool) -> std::io::Result<()> {
    output::one(fleet, json, |fleet| {
        [
            ("id", fleet.id.to_string()),
            ("name", fleet.name.clone()),
            ("federation", federation(fleet).to_owned()),
            ("clusters", fleet.clusters.join(" ")),
            ("created", fleet.created_at.clone()),
        ]
    })
}

fn list(fleets: &[Fleet], json: bool) -> std::io::Result<()> {
    output::rows(fleets, json, ["NAME", "ID", "FEDERATION", "CLUSTERS"], |fleet| {
        [fleet.name.clone(), fleet.id.to_string(), federation(fleet).to_owned(), fleet.clusters.join(" ")]
    })
}

fn federation(fleet: &Fleet) -> &'static str {
    if fleet.federation { "on" } else { "off" }
}
