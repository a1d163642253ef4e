//! `sheaf user create|list|show|set|passwd|disable|enable|delete` and `sheaf user key …`.
//!
//! A password comes from a file, or is asked for on the terminal, never from the command line, where others could read it.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::ValueEnum;
use http::Method;

use super::connect::{Coordinator, segment};
use super::key;
use super::prompt;
use crate::cli::output;
use crate::protocol::control::{NewPassword, NewUser, User, UserChange, UserScope, Whoami};
use crate::report;
use crate::secret::Secret;

/// What a user may do.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Role {
    /// Everything
    Admin,
    /// Collect, and read
    Operator,
    /// Read
    Viewer,
}

impl Role {
    fn word(self) -> String {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
        }
        .to_owned()
    }
}

/// What a user is limited to.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Limits {
    /// Limit to this fleet and the clusters that are in it at the time, by id or name; may be repeated
    #[arg(long = "fleet", value_name = "F")]
    fleets: Vec<String>,
    /// Limit to this cluster, by id or name; may be repeated
    #[arg(long = "cluster", value_name = "C")]
    clusters: Vec<String>,
}

impl Limits {
    fn scope(self) -> Option<UserScope> {
        let limited = !self.fleets.is_empty() || !self.clusters.is_empty();
        limited.then_some(UserScope { fleets: self.fleets, clusters: self.clusters })
    }
}

/// What to do with users.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Verb {
    /// Make a user
    #[command(after_help = "Examples:
  sheaf user create ada --role operator
  sheaf user create ci --role operator --cluster edge-7 --new-password-file ci.password
  sheaf user create support --role viewer --fleet europe --json")]
    Create {
        /// Its name, unique
        name: String,
        /// What it may do
        #[arg(long, value_enum)]
        role: Role,
        /// What it is limited to.
        #[command(flatten)]
        limits: Limits,
        /// File that holds the new user's password; without it, it is asked for
        #[arg(long, value_name = "FILE")]
        new_password_file: Option<PathBuf>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// List users
    #[command(after_help = "Examples:\n  sheaf user list\n  sheaf user list --json")]
    List {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show a user
    #[command(after_help = "Examples:\n  sheaf user show ada\n  sheaf user show ada --json")]
    Show {
        /// Its name
        name: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Change a user's role or scope; it counts at once, for every credential of the user
    #[command(after_help = "Examples:
  sheaf user set ada --role admin
  sheaf user set ci --cluster edge-7 --cluster edge-8
  sheaf user set ci --unlimited")]
    Set {
        /// Its name
        name: String,
        /// What it may do
        #[arg(long, value_enum)]
        role: Option<Role>,
        /// What it is limited to, in place of what it was.
        #[command(flatten)]
        limits: Limits,
        /// Limit it to nothing any more
        #[arg(long, conflicts_with_all = ["fleets", "clusters"])]
        unlimited: bool,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Give a user another password; the user's sessions and tokens end, access keys and certificates stay without --revoke-keys
    #[command(after_help = "Examples:
  sheaf user passwd                               your own; the current one is asked for
  sheaf user passwd ada --new-password-file FILE  another's, as an admin
  sheaf user passwd ada --revoke-keys             whatever somebody else may have got hold of ends")]
    Passwd {
        /// Its name; you, without it
        name: Option<String>,
        /// File that holds the new password; without it, it is asked for
        #[arg(long, value_name = "FILE")]
        new_password_file: Option<PathBuf>,
        /// File that holds your current password, when it is your own that changes; without it, it is asked for
        #[arg(long, value_name = "FILE")]
        current_password_file: Option<PathBuf>,
        /// End the user's access keys and certificates as well
        #[arg(long)]
        revoke_keys: bool,
    },
    /// Refuse every credential of a user, at once
    #[command(after_help = "Examples:\n  sheaf user disable ada")]
    Disable {
        /// Its name
        name: String,
    },
    /// Let a disabled user in again; sessions and tokens of before stay ended
    #[command(after_help = "Example:\n  sheaf user enable ada")]
    Enable {
        /// Its name
        name: String,
    },
    /// Delete a user with all sessions, tokens, access keys and certificates
    #[command(after_help = "Example:\n  sheaf user delete ada")]
    Delete {
        /// Its name
        name: String,
    },
    /// Access keys (AK/SK), with which requests are signed
    #[command(subcommand)]
    Key(key::Verb),
}

impl Verb {
    /// Does it.
    ///
    /// # Errors
    /// When the coordinator refuses or cannot be reached, or a password cannot be read.
    pub async fn run(self, coordinator: &Coordinator) -> anyhow::Result<()> {
        match self {
            Self::Create { name, role, limits, new_password_file, json } => {
                let password = new_password(&name, new_password_file.as_deref())?.expose().to_owned();
                let wanted = NewUser { name, password, role: role.word(), scope: limits.scope() };
                show(&coordinator.call(Method::POST, "/users", Some(&wanted)).await?, json)?;
            }
            Self::List { json } => list(&coordinator.fetch::<Vec<User>>("/users").await?, json)?,
            Self::Show { name, json } => show(&coordinator.fetch(&path(&name)).await?, json)?,
            Self::Set { name, role, limits, unlimited, json } => {
                let change =
                    UserChange { role: role.map(Role::word), scope: limits.scope(), unlimited, disabled: None };
                if change == UserChange::default() {
                    bail!("say what to change: --role, --fleet, --cluster or --unlimited");
                }
                show(&coordinator.call(Method::PATCH, &path(&name), Some(&change)).await?, json)?;
            }
            Self::Passwd { name, new_password_file, current_password_file, revoke_keys } => {
                let files = (new_password_file.as_deref(), current_password_file.as_deref());
                passwd(coordinator, name, files, revoke_keys).await?;
            }
            Self::Disable { name } => disable(coordinator, &name, true).await?,
            Self::Enable { name } => disable(coordinator, &name, false).await?,
            Self::Delete { name } => {
                coordinator.call::<()>(Method::DELETE, &path(&name), None::<&()>).await?;
                output::say(&format!("user {} deleted\n", report::escape(&name)))?;
            }
            Self::Key(verb) => verb.run(coordinator).await?,
        }
        Ok(())
    }
}

async fn passwd(
    coordinator: &Coordinator,
    name: Option<String>,
    (new, current): (Option<&Path>, Option<&Path>),
    revoke_keys: bool,
) -> anyhow::Result<()> {
    let me: Whoami = coordinator.fetch("/session").await?;
    let name = name.unwrap_or_else(|| me.user.clone());
    let current = match (name == me.user, current) {
        (false, _) => None,
        (true, Some(file)) => Some(prompt::from_file(file)?),
        (true, None) => Some(prompt::password(&format!("Current password of {name}"), CURRENT)?),
    };
    let password = new_password(&name, new)?.expose().to_owned();
    let wanted = NewPassword { password, current: current.map(|current| current.expose().to_owned()), revoke_keys };
    coordinator.call::<()>(Method::POST, &format!("{}/password", path(&name)), Some(&wanted)).await?;
    let keys = if revoke_keys {
        "sessions, tokens, access keys and certificates have ended"
    } else {
        "sessions and tokens have ended; access keys and certificates stay (--revoke-keys ends them too)"
    };
    Ok(output::say(&format!("{name} has a new password; {keys}\n"))?)
}

async fn disable(coordinator: &Coordinator, name: &str, disabled: bool) -> anyhow::Result<()> {
    let change = UserChange { disabled: Some(disabled), ..UserChange::default() };
    let user: User = coordinator.call(Method::PATCH, &path(name), Some(&change)).await?;
    Ok(output::say(&format!("{} is {}\n", user.name, state(&user)))?)
}

/// What whoever has no terminal does instead of typing a password.
const CURRENT: &str = "give the current one with --current-password-file FILE";
const NEW: &str = "give the new one with --new-password-file FILE";

fn new_password(name: &str, file: Option<&Path>) -> anyhow::Result<Secret> {
    if let Some(file) = file {
        return prompt::from_file(file);
    }
    let password = prompt::password(&format!("New password of {name}"), NEW)?;
    if !prompt::password("The same again", NEW)?.same(password.expose()) {
        bail!("the two are not the same");
    }
    Ok(password)
}

fn path(name: &str) -> String {
    format!("/users/{}", segment(name))
}

fn show(user: &User, json: bool) -> std::io::Result<()> {
    output::one(user, json, |user| {
        [
            ("name", user.name.clone()),
            ("role", user.role.clone()),
            ("scope", scope(user)),
            ("state", state(user).to_owned()),
            ("created", user.created_at.clone()),
        ]
    })
}

fn list(users: &[User], json: bool) -> std::io::Result<()> {
    output::rows(users, json, ["NAME", "ROLE", "STATE", "SCOPE"], |user| {
        [user.name.clone(), user.role.clone(), state(user).to_owned(), scope(user)]
    })
}

fn state(user: &User) -> &'static str {
    if user.disabled { "disabled" } else { "enabled" }
}

fn scope(user: &User) -> String {
    let Some(scope) = &user.scope else { return "everything".to_owned() };
    let fleets = scope.fleets.iter().map(|id| format!("fleet {id}"));
    let parts: Vec<_> = fleets.chain(scope.clusters.iter().map(|id| format!("cluster {id}"))).collect();
    if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
}
