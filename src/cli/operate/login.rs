//! `sheaf login`: opens a session and keeps it in the login profile.

use std::process::ExitCode;

use http::Method;

use super::connect::Connection;
use super::profile::{self, Profile};
use super::wait_for;
use crate::cli::output;
use crate::protocol::control::SessionGrant;

/// `sheaf login`
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  sheaf login --url https://coordinator.example.org:25555 --ca ca.pem --user admin
  SHEAF_PASSWORD=… sheaf login --url https://10.0.0.5:25555 --ca ca.pem --user ci

The session ends after 30 minutes without use. The profile is $XDG_CONFIG_HOME/sheaf/login.json, mode 0600.")]
pub struct LoginCommand {
    /// How to reach the coordinator.
    #[command(flatten)]
    pub connection: Connection,
}

impl LoginCommand {
    /// Runs it to its end.
    ///
    /// # Errors
    /// When the coordinator refuses, or the profile cannot be written.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        wait_for(self.log_in())?;
        Ok(ExitCode::SUCCESS)
    }

    async fn log_in(self) -> anyhow::Result<()> {
        let (coordinator, _, ca) = self.connection.open_for_login()?;
        let grant: SessionGrant = coordinator.call(Method::POST, "/session", None::<&()>).await?;
        let path = profile::path()?;
        let url = coordinator.url().to_owned();
        let said = format!("logged in to {url} as {} ({})\n", grant.user, grant.role);
        Profile { url, ca, user: grant.user, token: grant.token }.write(&path)?;
        Ok(output::say(&said)?)
    }
}
