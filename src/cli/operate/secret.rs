//! `sheaf secret create|list|revoke`.
//!
//! A new secret is shown once: on standard output, or in a file that only its owner may read.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use http::Method;

use super::connect::{Coordinator, segment};
use super::private::new_file;
use crate::cli::output::{self, Table};
use crate::id::NodeName;
use crate::protocol::control::{AgentSecretGrant, AgentSecretRow, NewSecret};

/// What to do with agent secrets.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Verb {
    /// Make an agent secret; it is shown this once
    #[command(after_help = "Examples:
  sheaf secret create node-1 --cluster prod --output node-1.secret
  sheaf secret create node-1 | ssh node-1 'umask 077; cat > /etc/sheaf/agent.secret'")]
    Create {
        /// The node's name, unique
        name: NodeName,
        /// Cluster it belongs to, by id or name
        #[arg(long, value_name = "C")]
        cluster: Option<String>,
        /// Write the secret into this new file, mode 0600, instead of standard output
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Print one JSON object; without --output the secret is in it
        #[arg(long)]
        json: bool,
    },
    /// List agent secrets, without the secrets
    #[command(after_help = "Examples:\n  sheaf secret list\n  sheaf secret list --cluster prod --json")]
    List {
        /// Only those of this cluster, by id or name
        #[arg(long, value_name = "C")]
        cluster: Option<String>,
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Revoke an agent secret, for good
    #[command(after_help = "Examples:\n  sheaf secret revoke node-1\n  sheaf secret revoke node-1 --now")]
    Revoke {
        /// Its name
        name: String,
        /// End its access tokens and its connection as well; otherwise they last until their time is over
        #[arg(long)]
        now: bool,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

impl Verb {
    /// Does it.
    ///
    /// # Errors
    /// When the coordinator refuses or cannot be reached, or the file cannot be written.
    pub async fn run(self, coordinator: &Coordinator) -> anyhow::Result<()> {
        match self {
            Self::Create { name, cluster, output, json } => {
                create(coordinator, &NewSecret { name, cluster }, output.as_deref(), json).await
            }
            Self::List { cluster, json } => {
                let filter = cluster.map(|cluster| format!("?cluster={}", segment(&cluster))).unwrap_or_default();
                Ok(list(&coordinator.fetch::<Vec<AgentSecretRow>>(&format!("/secrets{filter}")).await?, json)?)
            }
            Self::Revoke { name, now, json } => {
                let path = format!("/secrets/{}/revoke?now={now}", segment(&name));
                let row: AgentSecretRow = coordinator.call(Method::POST, &path, None::<&()>).await?;
                let until =
                    if now { "" } else { "; the node stays until its access token ends, --now ends it at once" };
                if json { output::json(&row) } else { output::say(&format!("{} {}{until}\n", row.name, row.status)) }?;
                Ok(())
            }
        }
    }
}

async fn create(coordinator: &Coordinator, wanted: &NewSecret, file: Option<&Path>, json: bool) -> anyhow::Result<()> {
    // Opened first: a secret that is shown once must not be made before there is a place for it.
    let mut place = file.map(new_file).transpose()?;
    let made: anyhow::Result<AgentSecretGrant> = coordinator.call(Method::POST, "/secrets", Some(wanted)).await;
    let grant = match (made, file) {
        (Ok(grant), _) => grant,
        (Err(error), Some(path)) => {
            let _ = std::fs::remove_file(path);
            return Err(error);
        }
        (Err(error), None) => return Err(error),
    };
    if let (Some(opened), Some(path)) = (&mut place, file) {
        writeln!(opened, "{}", grant.secret)
            .and_then(|()| opened.sync_all())
            .with_context(|| format!("writing {}; revoke {} and make another", path.display(), grant.name))?;
    }
    if json {
        let mut object = serde_json::json!({
            "id": grant.id, "name": grant.name, "cluster": grant.cluster, "status": grant.status,
        });
        if file.is_none() {
            object["secret"] = grant.secret.into();
        }
        return Ok(output::json(&object)?);
    }
    match file {
        None => output::say(&format!("{}\n", grant.secret)),
        Some(path) => output::say(&format!("{} of {} is in {}\n", grant.name, grant.cluster, path.display())),
    }?;
    Ok(())
}

fn list(rows: &[AgentSecretRow], json: bool) -> std::io::Result<()> {
    if json {
        return output::json(&rows);
    }
    let mut table = Table::new(&["NAME", "CLUSTER", "STATUS", "MODIFIED"]);
    for row in rows {
        table.row([row.name.clone(), row.cluster.clone(), row.status.clone(), row.modified_at.clone()]);
    }
    table.print()
}
