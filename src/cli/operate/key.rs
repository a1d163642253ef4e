//! `sheaf user key create|list|revoke`.
//!
//! A secret key is shown once: on standard output, or in a file that only its owner may read.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use http::Method;

use super::connect::{Coordinator, segment};
use super::private::new_file;
use crate::cli::output;
use crate::protocol::control::{AccessKey, AccessKeyGrant, NewAccessKey, Whoami};
use crate::report;

/// What to do with access keys.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Verb {
    /// Make an access key; its secret key is shown this once
    #[command(after_help = "Examples:
  sheaf user key create --output ak-sk.json
  sheaf user key create ci --name pipeline --json")]
    Create {
        /// Whose; yours, without it
        #[arg(value_name = "USER")]
        whose: Option<String>,
        /// What to call it; its id, without it
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        /// Write it into this new file, mode 0600, as JSON, instead of standard output
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Print one JSON object; without --output the secret key is in it
        #[arg(long)]
        json: bool,
    },
    /// List access keys, without their secret keys
    #[command(after_help = "Examples:
  sheaf user key list
  sheaf user key list ada
  sheaf user key list --all --json")]
    List {
        /// Whose; yours, without it
        #[arg(value_name = "USER")]
        whose: Option<String>,
        /// Of all users
        #[arg(long, conflicts_with = "whose")]
        all: bool,
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Revoke an access key, for good
    #[command(after_help = "Examples:\n  sheaf user key revoke QK2Y7H3NB5V6XW4ADF2C")]
    Revoke {
        /// The access key (AK)
        id: String,
    },
}

impl Verb {
    /// Does it.
    ///
    /// # Errors
    /// When the coordinator refuses or cannot be reached, or the file cannot be written.
    pub async fn run(self, coordinator: &Coordinator) -> anyhow::Result<()> {
        match self {
            Self::Create { whose, name, output, json } => {
                let user = named(coordinator, whose).await?;
                create(coordinator, &user, &NewAccessKey { name }, output.as_deref(), json).await
            }
            Self::List { all: true, json, .. } => Ok(list(&coordinator.fetch::<Vec<_>>("/keys").await?, json)?),
            Self::List { whose, json, .. } => {
                let user = named(coordinator, whose).await?;
                let path = format!("/keys?user={}", segment(&user));
                Ok(list(&coordinator.fetch::<Vec<_>>(&path).await?, json)?)
            }
            Self::Revoke { id } => {
                let path = format!("/keys/{}", segment(&id));
                coordinator.call::<()>(Method::DELETE, &path, None::<&()>).await?;
                Ok(output::say(&format!("access key {} revoked\n", report::escape(&id)))?)
            }
        }
    }
}

async fn named(coordinator: &Coordinator, user: Option<String>) -> anyhow::Result<String> {
    match user {
        Some(user) => Ok(user),
        None => Ok(coordinator.fetch::<Whoami>("/session").await?.user),
    }
}

async fn create(
    coordinator: &Coordinator,
    user: &str,
    wanted: &NewAccessKey,
    file: Option<&Path>,
    json: bool,
) -> anyhow::Result<()> {
    // Opened first: a key that is shown once must not be made before there is a place for it.
    let mut place = file.map(new_file).transpose()?;
    let path = format!("/users/{}/keys", segment(user));
    let made: anyhow::Result<AccessKeyGrant> = coordinator.call(Method::POST, &path, Some(wanted)).await;
    let grant = match (made, file) {
        (Ok(grant), _) => grant,
        (Err(error), Some(path)) => {
            let _ = std::fs::remove_file(path);
            return Err(error);
        }
        (Err(error), None) => return Err(error),
    };
    if let (Some(opened), Some(path)) = (&mut place, file) {
        let text = serde_json::to_string(&grant)?;
        writeln!(opened, "{text}").and_then(|()| opened.sync_all()).with_context(|| {
            format!("writing {}; run `sheaf user key revoke {}` and make another", path.display(), grant.id)
        })?;
    }
    if json {
        let mut object = serde_json::to_value(&grant)?;
        if let (Some(object), true) = (object.as_object_mut(), file.is_some()) {
            object.remove("secret");
        }
        return Ok(output::json(&object)?);
    }
    match file {
        None => output::fields(&[("access key", grant.id), ("secret key", grant.secret), ("user", grant.user)]),
        Some(path) => output::say(&format!("{} of {} is in {}\n", grant.id, grant.user, path.display())),
    }?;
    Ok(())
}

fn list(rows: &[AccessKey], json: bool) -> std::io::Result<()> {
    output::rows(rows, json, ["ID", "NAME", "USER", "CREATED", "LAST USED"], |row| {
        let used = row.last_used.clone().unwrap_or_else(|| "never".to_owned());
        [row.id.clone(), row.name.clone(), row.user.clone(), row.created_at.clone(), used]
    })
}
