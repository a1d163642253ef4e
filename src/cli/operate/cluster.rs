//! `sheaf cluster create|list|show|delete|access-info`.

use std::path::PathBuf;

use http::Method;
use serde_json::Value;

use super::connect::{Coordinator, segment};
use super::private;
use crate::cli::output;
use crate::id::ClusterName;
use crate::protocol::control::{Cluster, NewCluster};
use crate::protocol::federation::NewAccessInfo;
use crate::report;

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
    #[command(after_help = "Examples:\n  sheaf cluster list\n  sheaf cluster list --json")]
    List {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show a cluster
    #[command(after_help = "Examples:\n  sheaf cluster show edge-7\n  sheaf cluster show edge-7 --json")]
    Show {
        /// Its id or name
        cluster: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Download what nodes need to join a cluster: once, until it is reset
    #[command(after_help = "Examples:
  sheaf cluster access-info edge-7 --output edge-7.json     then, on each node: sheaf-agent join edge-7.json
  kubectl apply -f edge-7.json                              or on Kubernetes: an agent on every node
  sheaf cluster access-info edge-7 --reset                  revoke what was downloaded; nodes that joined stay
  sheaf cluster access-info edge-7 --reset --output new.json")]
    AccessInfo {
        /// Its id or name
        cluster: String,
        /// Write it into this new file, mode 0600, instead of standard output
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Revoke what was downloaded before; with --output, and download it anew
        #[arg(long)]
        reset: bool,
        /// IP address of the VPC endpoint by which its nodes reach the coordinator
        #[arg(long, value_name = "IP")]
        vpcendpoint: Option<String>,
        /// Region of its nodes
        #[arg(long, value_name = "NAME")]
        region: Option<String>,
    },
    /// Delete a cluster that has no nodes
    #[command(after_help = "Example:\n  sheaf cluster delete edge-7")]
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
            Self::AccessInfo { cluster, output, reset, vpcendpoint, region } => {
                let path = format!("/clusters/{}/access-info", segment(&cluster));
                if reset {
                    coordinator.call::<()>(Method::POST, &format!("{path}/reset"), None::<&()>).await?;
                    if output.is_none() {
                        return Ok(output::say(&format!("the access info of {cluster} was revoked\n"))?);
                    }
                }
                let wanted = NewAccessInfo { vpcendpoint, region };
                let made = coordinator.call::<Value>(Method::POST, &path, Some(&wanted));
                private::deliver(output.as_deref(), &format!("the access info of {cluster}"), made).await?;
            }
            Self::Delete { cluster } => {
                let path = format!("/clusters/{}", segment(&cluster));
                coordinator.call::<()>(Method::DELETE, &path, None::<&()>).await?;
                output::say(&format!("cluster {} deleted\n", report::escape(&cluster)))?;
            }
        }
        Ok(())
    }
}

fn show(cluster: &Cluster, json: bool) -> std::io::Result<()> {
    output::one(cluster, json, |cluster| {
        [
            ("id", cluster.id.to_string()),
            ("name", cluster.name.clone()),
            ("kind", kind(cluster).to_owned()),
            ("nodes", cluster.nodes.to_string()),
            ("created", cluster.created_at.clone()),
        ]
    })
}

fn list(clusters: &[Cluster], json: bool) -> std::io::Result<()> {
    output::rows(clusters, json, ["NAME", "ID", "KIND", "NODES"], |cluster| {
        [cluster.name.clone(), cluster.id.to_string(), kind(cluster).to_owned(), cluster.nodes.to_string()]
    })
}

fn kind(cluster: &Cluster) -> &'static str {
    if cluster.managed { "managed" } else { "attached" }
}
