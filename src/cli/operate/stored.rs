//! `sheaf bundle stored list|show|download|delete`, and `sheaf bundle create --store`.
//!
//! Kept bundles stay with the coordinator until they are too old or too many. A download is verified like any other, and goes on
//! where an earlier one broke off.

use std::cell::RefCell;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use bytes::Bytes;
use http::header::{IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::bundle::{Made, interrupted, take_in};
use super::connect::Coordinator;
use super::delivery::{Destination, Opened};
use super::progress::{self, Progress};
use super::task;
use crate::bundle::outcome::Verdict;
use crate::bundle::seal::PublicKey;
use crate::cli::output::{self, Table};
use crate::cli::{is_cut_off, remark};
use crate::id::BundleId;
use crate::net::client::Answer;
use crate::protocol::control::{KEY_HEADER, NewBundle, StoredBundle, Task, TaskState};

/// What to do with kept bundles.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Verb {
    /// List kept bundles, newest first
    #[command(after_help = "Examples:\n  sheaf bundle stored list\n  sheaf bundle stored list --json")]
    List {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show one
    #[command(after_help = "Examples:\n  sheaf bundle stored show ID\n  sheaf bundle stored show ID --json")]
    Show {
        /// Its id
        id: BundleId,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Download one, going on where an earlier download broke off
    #[command(after_help = "Examples:
  sheaf bundle stored download ID
  sheaf bundle stored download ID --output case-4711.tar.zst     again after an interruption: goes on where it was
  sheaf bundle stored download ID --output - | sheaf bundle list -

Exit codes are those of `sheaf bundle verify`: 0 complete, 3 partial, 4 truncated, 5 corrupt, 6 wrong signer.")]
    Download {
        /// Its id
        id: BundleId,
        /// File to write, `-` for standard output; the bundle's own name in the current folder when not given. One that is there already
        /// is not written over
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Print one JSON object at the end
        #[arg(long)]
        json: bool,
        /// Show no progress
        #[arg(long, short)]
        quiet: bool,
    },
    /// Delete one
    #[command(after_help = "Example:\n  sheaf bundle stored delete ID")]
    Delete {
        /// Its id
        id: BundleId,
    },
}

impl Verb {
    /// Does it.
    ///
    /// # Errors
    /// When the coordinator refuses or cannot be reached, or a file cannot be written.
    pub async fn run(self, coordinator: &Coordinator) -> anyhow::Result<ExitCode> {
        match self {
            Self::List { json } => list(&coordinator.fetch::<Vec<StoredBundle>>("/stored").await?, json)?,
            Self::Show { id, json } => show(&find(coordinator, id).await?, json)?,
            Self::Download { id, output, json, quiet } => return download(coordinator, id, output, json, quiet).await,
            Self::Delete { id } => {
                coordinator.call::<()>(Method::DELETE, &format!("/stored/{id}"), None::<&()>).await?;
                output::say(&format!("bundle {id} deleted\n"))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// One kept bundle.
///
/// # Errors
/// When the coordinator refuses or cannot be reached.
pub async fn find(coordinator: &Coordinator, id: BundleId) -> anyhow::Result<StoredBundle> {
    coordinator.fetch(&format!("/stored/{id}")).await
}

/// Has a bundle kept, and follows its task to the end.
///
/// # Errors
/// When it is refused, or does not come to be.
pub async fn keep(coordinator: &Coordinator, wanted: &NewBundle, quiet: bool, json: bool) -> anyhow::Result<ExitCode> {
    let made: Task = coordinator.call(Method::POST, "/stored", Some(wanted)).await?;
    if !quiet {
        remark(format_args!(
            "task {} goes on if this command ends; `sheaf task follow {}` comes back to it",
            made.id, made.id
        ));
    }
    let ended = progress::to_the_end(coordinator, made.id, quiet).await?;
    let result = ended.result.clone().unwrap_or_default();
    let id = match (ended.state, result.parse::<BundleId>()) {
        (TaskState::Done, Ok(id)) => id,
        (TaskState::Cancelled, _) => {
            remark(format_args!("task {} was cancelled: {result}", ended.id));
            return Ok(task::exit_code(&ended, None));
        }
        _ => bail!("task {} {}: {result}; `sheaf task show {}` says more", ended.id, ended.state, ended.id),
    };
    let bundle = find(coordinator, id).await?;
    if json {
        output::json(&bundle)?;
    } else {
        remark(format_args!(
            "{}: {}; `sheaf bundle stored download {id}` fetches it",
            bundle.verdict,
            output::bytes(bundle.bytes)
        ));
        output::say(&format!("{id}\n"))?;
    }
    Ok(ExitCode::from(bundle.verdict.exit_code()))
}

async fn download(
    coordinator: &Coordinator,
    id: BundleId,
    output: Option<PathBuf>,
    json: bool,
    quiet: bool,
) -> anyhow::Result<ExitCode> {
    let destination = output.as_deref().map(Destination::parse);
    destination.as_ref().map_or(Ok(()), |destination| destination.check(json))?;
    let bundle = find(coordinator, id).await?;
    let name = || Destination::File(format!("{}.{}", bundle.name, bundle.format.ending()).into());
    let opened = destination.unwrap_or_else(name).resume(&id.to_string()[..8], bundle.bytes)?;
    let to_stdout = opened.is_stdout();
    let made = match take(coordinator, bundle, opened, quiet).await {
        Err(error) if to_stdout && is_cut_off(&error) => return Ok(ExitCode::from(Verdict::Truncated.exit_code())),
        made => made?,
    };
    made.say();
    if json {
        made.print()?;
    }
    Ok(ExitCode::from(made.verdict().exit_code()))
}

/// Takes in what is missing, and verifies all of it.
async fn take(
    coordinator: &Coordinator,
    bundle: StoredBundle,
    mut opened: Opened,
    quiet: bool,
) -> anyhow::Result<Made> {
    let progress = RefCell::new(Progress::new(quiet));
    progress.borrow().received(opened.had());
    // The last byte is asked for again where nothing is missing, since the answer also names the key.
    let from = opened.had().min(bundle.bytes.saturating_sub(1));
    let answer = ask(coordinator, bundle.id, from).await?;
    let key = key(answer.headers())?;
    let answer = match answer.status() {
        StatusCode::PARTIAL_CONTENT if from < opened.had() => None,
        StatusCode::PARTIAL_CONTENT => Some(answer),
        _ => {
            opened.discard()?;
            Some(answer)
        }
    };
    let taken = take_in(answer, opened, key, &progress, &interrupted()?).await;
    progress.borrow().end();
    let (seen, written, broken) = taken?;
    let bytes = written.bytes;
    // Without all of it the next try goes on. What is whole and wrong is taken away, so that the next try begins anew.
    let path = match seen.report.verdict {
        _ if broken.is_some() || bytes < bundle.bytes => written.leave(),
        Verdict::Complete | Verdict::Partial => written.keep()?,
        _ => None,
    };
    let advice = "the same command goes on where it broke off".to_owned();
    Ok(Made { task: bundle.task, stored: Some(bundle.id), name: bundle.name, path, bytes, seen, broken, advice })
}

async fn ask(coordinator: &Coordinator, id: BundleId, from: u64) -> anyhow::Result<Answer> {
    let mut headers = HeaderMap::new();
    if from > 0 {
        headers.insert(RANGE, HeaderValue::from_str(&format!("bytes={from}-"))?);
        headers.insert(IF_RANGE, HeaderValue::from_str(&format!("\"{id}\""))?);
    }
    coordinator.stream_with(Method::GET, &format!("/stored/{id}/content"), headers, Bytes::new()).await
}

fn key(headers: &HeaderMap) -> anyhow::Result<PublicKey> {
    let key = headers.get(KEY_HEADER).and_then(|value| PublicKey::parse(value.to_str().ok()?).ok());
    key.ok_or_else(|| anyhow::anyhow!("the answer is not what a coordinator says: it names no key"))
}

fn show(bundle: &StoredBundle, json: bool) -> std::io::Result<()> {
    if json {
        return output::json(bundle);
    }
    output::fields(&[
        ("id", bundle.id.to_string()),
        ("name", bundle.name.to_string()),
        ("of", bundle.of.clone()),
        ("verdict", bundle.verdict.to_string()),
        ("size", output::bytes(bundle.bytes)),
        ("nodes", format!("{} of {} collected", bundle.nodes_collected, bundle.nodes)),
        ("user", bundle.user.clone()),
        ("task", bundle.task.to_string()),
        ("created", bundle.created_at.clone()),
        ("expires", bundle.expires_at.clone()),
    ])
}

fn list(bundles: &[StoredBundle], json: bool) -> std::io::Result<()> {
    if json {
        return output::json(&bundles);
    }
    let mut table = Table::new(&["ID", "OF", "VERDICT", "SIZE", "NODES", "USER", "CREATED", "EXPIRES"]);
    for bundle in bundles {
        table.row([
            bundle.id.to_string(),
            bundle.of.clone(),
            bundle.verdict.to_string(),
            output::bytes(bundle.bytes),
            format!("{}/{}", bundle.nodes_collected, bundle.nodes),
            bundle.user.clone(),
            bundle.created_at.clone(),
            bundle.expires_at.clone(),
        ]);
    }
    table.print()
}
