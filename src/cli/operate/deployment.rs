//! `sheaf deployment list|show|apply|delete`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use http::Method;
use serde_json::json;

use super::connect::{Coordinator, segment};
use super::progress::{self, Position};
use super::task;
use crate::cli::output::{self, Table};
use crate::limits;
use crate::net::body::capped;
use crate::protocol::control::{Deployment, Task, TaskState};

/// How often a running task is looked at.
const EVERY: std::time::Duration = std::time::Duration::from_millis(300);

/// What to do with deployments.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Verb {
    /// List deployments
    #[command(after_help = "Examples:\n  sheaf deployment list\n  sheaf deployment list --json")]
    List {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show a deployment and how each of its nodes stands
    #[command(after_help = "Examples:\n  sheaf deployment show web\n  sheaf deployment show web --manifest > web.yml")]
    Show {
        /// Its name
        name: String,
        /// Print one JSON object
        #[arg(long, conflicts_with = "manifest")]
        json: bool,
        /// Print the manifest that all its nodes took last, as it was sent
        #[arg(long)]
        manifest: bool,
    },
    /// Apply a manifest: find its nodes, and wait until each has taken its part
    #[command(
        after_help = "Examples:\n  sheaf deployment apply web.yml\n  sheaf deployment apply web.yml --dry-run\n  cat web.yml | sheaf deployment apply -\n\n\
                      A manifest names releases (packs of collectors, see GET /releases), and groups of nodes with the jobs they run:\n\n  \
                      name: web\n  releases:\n  - {name: sheaf-collectors, version: latest}\n  instance_groups:\n  - name: front\n    \
                      labels: {role: web}      # or nodes: ['web-*'], or a node's own name\n    instances: 3             # all that match without it\n    \
                      jobs:\n    - {name: logs, release: sheaf-collectors}"
    )]
    Apply {
        /// The manifest; `-` for standard input
        file: PathBuf,
        /// Agents apply it anew, also where nothing changed
        #[arg(long)]
        recreate: bool,
        /// Running collections of its jobs are not waited for
        #[arg(long)]
        skip_drain: bool,
        /// Agents that do not answer fail nothing; they take it up when they come back
        #[arg(long)]
        fix: bool,
        /// Only find out whether it could be done
        #[arg(long)]
        dry_run: bool,
        /// Print one JSON object at the end, and no events
        #[arg(long)]
        json: bool,
    },
    /// Delete a deployment: its nodes forget it
    #[command(after_help = "Examples:\n  sheaf deployment delete web\n  sheaf deployment delete web --force")]
    Delete {
        /// Its name
        name: String,
        /// Also when some agents do not answer; they are told when they come back
        #[arg(long)]
        force: bool,
    },
}

impl Verb {
    /// Does it.
    ///
    /// # Errors
    /// When the coordinator refuses or cannot be reached, or the task fails.
    pub async fn run(self, coordinator: &Coordinator) -> anyhow::Result<()> {
        match self {
            Self::List { json } => {
                let rows: Vec<Deployment> = coordinator.fetch("/deployments").await?;
                Ok(list(&rows, json)?)
            }
            Self::Show { name, json, manifest } => {
                let row: Deployment = coordinator.fetch(&format!("/deployments/{}", segment(&name))).await?;
                show(&row, json, manifest)
            }
            Self::Apply { file, recreate, skip_drain, fix, dry_run, json } => {
                let text = read(&file)?;
                let query = format!("recreate={recreate}&skip_drain={skip_drain}&fix={fix}&dry_run={dry_run}");
                let ended = apply(coordinator, text, &query, json).await?;
                if json {
                    let name = ended.deployment.as_ref().map(ToString::to_string);
                    let object = json!({ "id": ended.id, "name": name, "state": ended.state, "result": ended.result });
                    output::json(&object)?;
                }
                succeeded(&ended)
            }
            Self::Delete { name, force } => {
                let path = format!("/deployments/{}?force={force}", segment(&name));
                let task: Task = coordinator.call(Method::DELETE, &path, None::<&()>).await?;
                let ended = wait(coordinator, task, false).await?;
                succeeded(&ended)
            }
        }
    }
}

/// Sends a manifest and waits for its task to end, whose events are shown unless `quiet`.
///
/// # Errors
/// When it is refused; how the task ended stands in it.
pub async fn apply(coordinator: &Coordinator, text: Vec<u8>, query: &str, quiet: bool) -> anyhow::Result<Task> {
    let answer = coordinator.stream(Method::POST, &format!("/deployments?{query}"), text.into()).await?;
    let body = capped(answer.into_body(), limits::JSON_BODY, limits::BODY_IDLE).await?;
    wait(coordinator, serde_json::from_slice(&body)?, quiet).await
}

/// Follows a task to its end.
async fn wait(coordinator: &Coordinator, mut task: Task, quiet: bool) -> anyhow::Result<Task> {
    let mut position = Position::default();
    loop {
        // The state first: all events are there before it is final.
        let path = format!("/tasks/{}", task.id);
        task = coordinator.fetch(&path).await?;
        let mut lines = String::new();
        if !quiet {
            task::events(coordinator, task.id, &mut position, |event| lines.extend(progress::line(&event))).await?;
        }
        output::say(&lines)?;
        if task.state.is_final() {
            return Ok(task);
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// An error unless a task did what it was to do.
///
/// # Errors
/// With the task's own words.
pub fn succeeded(task: &Task) -> anyhow::Result<()> {
    if task.state == TaskState::Done {
        return Ok(());
    }
    bail!("task {} is {}: {}", task.id, task.state, task.result.as_deref().unwrap_or("it says nothing"))
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    if file == Path::new("-") {
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin(), &mut text).context("reading standard input")?;
        return Ok(text);
    }
    std::fs::read(file).with_context(|| format!("reading {}", file.display()))
}

fn list(rows: &[Deployment], json: bool) -> std::io::Result<()> {
    if json {
        return output::json(&rows);
    }
    let mut table = Table::new(&["NAME", "STATE", "NODES", "RELEASES", "STEMCELLS", "UPDATED"]);
    for row in rows {
        let nodes = if row.unsettled == 0 {
            row.nodes.to_string()
        } else {
            format!("{} ({} not current)", row.nodes, row.unsettled)
        };
        table.row([
            row.name.clone(),
            row.state.clone(),
            nodes,
            row.releases.join(" "),
            row.stemcells.join(" "),
            row.updated_at.clone(),
        ]);
    }
    table.print()
}

fn show(row: &Deployment, json: bool, manifest: bool) -> anyhow::Result<()> {
    if json {
        return Ok(output::json(row)?);
    }
    if manifest {
        let text = row.manifest.as_deref().context("no manifest was taken by all its nodes yet")?;
        return Ok(output::say(text)?);
    }
    output::fields(&[
        ("deployment", row.name.clone()),
        ("state", row.state.clone()),
        ("releases", row.releases.join(" ")),
        ("stemcells", row.stemcells.join(" ")),
        ("user", row.user.clone()),
        ("created", row.created_at.clone()),
        ("updated", row.updated_at.clone()),
    ])?;
    let mut table = Table::new(&["INSTANCE", "NODE", "CLUSTER", "STATE", "JOBS", "REASON"]);
    for instance in &row.instances {
        table.row([
            format!("{}/{}", instance.group, instance.index),
            instance.node.clone(),
            instance.cluster.clone(),
            instance.state.clone(),
            instance.jobs.join(" "),
            instance.reason.clone().unwrap_or_default(),
        ]);
    }
    Ok(table.print()?)
}
