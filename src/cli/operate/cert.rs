//! `sheaf cert list|revoke`.

use http::Method;

use super::connect::{Coordinator, segment};
use crate::cli::output;
use crate::protocol::federation::Certificate;

/// What to do with operators' certificates; `sheaf fleet kubeconfig` issues them.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Verb {
    /// List certificates: all within reach for an admin, else your own
    #[command(after_help = "Examples:\n  sheaf cert list\n  sheaf cert list --fleet edge --json")]
    List {
        /// Only those for this fleet, by id or name
        #[arg(long, value_name = "F")]
        fleet: Option<String>,
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Revoke a certificate, for good; it is refused from the next request on
    #[command(after_help = "Example:\n  sheaf cert revoke SERIAL")]
    Revoke {
        /// Its serial number, as `sheaf cert list` shows it
        serial: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

impl Verb {
    /// Does it.
    ///
    /// # Errors
    /// When the coordinator refuses or cannot be reached.
    pub async fn run(self, coordinator: &Coordinator) -> anyhow::Result<()> {
        match self {
            Self::List { fleet, json } => {
                let filter = fleet.map(|fleet| format!("?fleet={}", segment(&fleet))).unwrap_or_default();
                list(&coordinator.fetch::<Vec<Certificate>>(&format!("/certificates{filter}")).await?, json)?;
            }
            Self::Revoke { serial, json } => {
                let path = format!("/certificates/{}/revoke", segment(&serial));
                let row: Certificate = coordinator.call(Method::POST, &path, None::<&()>).await?;
                if json { output::json(&row) } else { output::say(&format!("{} {}\n", row.id, row.status)) }?;
            }
        }
        Ok(())
    }
}

fn list(rows: &[Certificate], json: bool) -> std::io::Result<()> {
    output::rows(rows, json, ["SERIAL", "USER", "ROLE", "FLEET", "STATUS", "EXPIRES"], |row| {
        [&row.id, &row.user, &row.role, &row.fleet, &row.status, &row.expires_at].map(Clone::clone)
    })
}
