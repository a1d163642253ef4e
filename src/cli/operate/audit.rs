//! `sheaf audit list`.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};

use super::connect::{Connection, Coordinator, segment};
use super::wait_for;
use crate::cli::output::{self, Table};
use crate::protocol::control::{AuditPage, AuditRecord};

/// `sheaf audit …`
#[derive(Debug, clap::Args)]
pub struct AuditCommand {
    /// How to reach the coordinator.
    #[command(flatten)]
    connection: AuditConnection,
    /// What to do.
    #[command(subcommand)]
    verb: Verb,
}

impl AuditCommand {
    /// Runs it to its end.
    ///
    /// # Errors
    /// When it cannot be done; the chain says why.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let AuditConnection { url, ca, login_user, password_file } = self.connection;
        let coordinator = Connection { url, ca, user: login_user, password_file }.open()?;
        wait_for(self.verb.run(&coordinator))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// How to reach the coordinator, as everywhere, but that `--user` says here whose records are wanted.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Connection")]
struct AuditConnection {
    /// URL of the coordinator, such as `https://coordinator.example.org:25555`
    #[arg(long, env = "SHEAF_URL", value_name = "URL", global = true)]
    url: Option<String>,
    /// File with the CA's certificate, PEM; without it the system's roots are trusted
    #[arg(long, env = "SHEAF_CA", value_name = "FILE", global = true)]
    ca: Option<PathBuf>,
    /// Your name; its password comes from SHEAF_PASSWORD, --password-file, or is asked for
    #[arg(long = "as", env = "SHEAF_USER", value_name = "NAME", global = true)]
    login_user: Option<String>,
    /// File that holds the password
    #[arg(long, value_name = "FILE", global = true)]
    password_file: Option<PathBuf>,
}

/// What to do with the audit log.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Verb {
    /// List records of the audit log, newest last
    #[command(after_help = "Examples:
  sheaf audit list --since 2h
  sheaf audit list --since 2026-11-21T08:00:00Z --user ada --json")]
    List {
        /// Not before: a duration back from now such as 30m, 2h, 7d, or a time as RFC 3339
        #[arg(long, value_name = "WHEN", value_parser = since)]
        since: Option<Timestamp>,
        /// Only what this user did; `node:NAME` for a node
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// The newest, at most
        #[arg(long, value_name = "N", default_value_t = 1000)]
        limit: usize,
        /// Print a JSON array
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
        let Self::List { since, user, limit, json } = self;
        let mut query = since.map(|since| format!("&since={}", segment(&since.to_string()))).unwrap_or_default();
        query.extend(user.map(|user| format!("&user={}", segment(&user))));
        let (mut newest, mut after) = (VecDeque::new(), String::new());
        loop {
            let page: AuditPage = coordinator.fetch(&format!("/audit?limit=1000{query}{after}")).await?;
            newest.extend(page.records);
            newest.drain(..newest.len().saturating_sub(limit));
            match page.next {
                Some(next) => after = format!("&after={}", segment(&next)),
                None => return Ok(list(newest.make_contiguous(), json)?),
            }
        }
    }
}

/// A time, or how long ago.
fn since(text: &str) -> anyhow::Result<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let secs = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => anyhow::bail!("a duration such as 30m, 2h or 7d, or a time such as 2026-11-21T08:00:00Z, is expected"),
    };
    let number: i64 = number.parse().context("no number")?;
    let back = number.checked_mul(secs).context("too long ago")?;
    Timestamp::now().checked_sub(SignedDuration::from_secs(back)).context("too long ago")
}

fn list(records: &[AuditRecord], json: bool) -> std::io::Result<()> {
    if json {
        return output::json(&records);
    }
    let mut table = Table::new(&["TIME", "WHO", "DOOR", "FROM", "WHAT", "TARGET", "OUTCOME"]);
    for record in records {
        let mut outcome = record.outcome.clone();
        if !record.detail.is_empty() {
            outcome += &format!(": {}", record.detail);
        }
        if record.unwritten > 0 {
            outcome += &format!(" ({} more before it were not written)", record.unwritten);
        }
        let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        table.row([
            record.time.clone(),
            or_dash(&record.who),
            or_dash(&record.door),
            or_dash(record.from.as_deref().unwrap_or_default()),
            record.what.clone(),
            or_dash(&record.target),
            outcome,
        ]);
    }
    table.print()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_both_ways() {
        let now = Timestamp::now().as_second();
        for (text, back) in [("30s", 30), ("2h", 7200), ("7d", 604_800)] {
            let found = since(text).expect(text).as_second();
            assert!((now - back - found).abs() <= 2, "{text}");
        }
        assert_eq!(since("2026-11-21T08:00:00Z").expect("a time").to_string(), "2026-11-21T08:00:00Z");
        for bad in ["", "2", "h", "2w", "-2h", "99999999999999999999d", "9999999999999d"] {
            assert!(since(bad).is_err(), "{bad}");
        }
    }
}
