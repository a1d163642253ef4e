//! `sheaf cluster create|list|show|delete`.

use http::Method;

use super::connect::{Coordinator, segment};
use super::output::{self, Table};
use crate::id::ClusterName;
use crate::protocol::control::{Cluster, NewCluster};

/// What to do with clusters.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Verb {
    /// Make a cluster
    #[command(after_help = "Examples:\n  sheaf cluster create edge-7\n  sheaf cluster create prod --managed --json")]
    Create {
        /// Its name, unique
        name: ClusterName,
        /// Managed by this coordinator; its nodes do not join with access info
        #[arg(long)]
        managed: bool,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// List clusters
    List {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show a cluster
    Show {
        /// Its id or name
        cluster: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Delete a cluster that has no nodes
    Delete {
        /// Its id or name
        cluster: String,
    },
}

impl Verb {
    /// Does it.
    ///
    /// # Errors
    /// When the coordinator refuses or cannot be reached.
    pub async fn run(self, coordinator: &Coordinator) -> anyhow::Result<()> {
        match self {
            Self::Create { name, managed, json } => {
                let made = coordinator.call(Method::POST, "/clusters", Some(&NewCluster { name, managed })).await?;
                show(&made, json)?;
            }
            Self::List { json } => list(&coordinator.fetch::<Vec<Cluster>>("/clusters").await?, json)?,
            Self::Show { cluster, json } => {
                show(&coordinator.fetch(&format!("/clusters/{}", segment(&cluster))).await?, json)?;
            }
            Self::Delete { cluster } => {
                let path = format!("/clusters/{}", segment(&cluster));
                coordinator.call::<()>(Method::DELETE, &path, None::<&()>).await?;
            }
        }
        Ok(())
    }
}

fn show(cluster: &Cluster, json: bool) -> std::io::Result<()> {
    if json {
        return output::json(cluster);
    }
    output::fields(&[
        ("id", cluster.id.to_string()),
        ("name", cluster.name.clone()),
        ("kind", kind(cluster).to_owned()),
        ("nodes", cluster.nodes.to_string()),
        ("created", cluster.created_at.clone()),
    ])
}

fn list(clusters: &[Cluster], json: bool) -> std::io::Result<()> {
    if json {
        return output::json(&clusters);
    }
    let mut table = Table::new(&["NAME", "ID", "KIND", "NODES"]);
    for cluster in clusters {
        table.row([cluster.name.clone(), cluster.id.to_string(), kind(cluster).to_owned(), cluster.nodes.to_string()]);
    }
    table.print()
}

fn kind(cluster: &Cluster) -> &'static str {
    if cluster.managed { "managed" } else { "attached" }
}
