//! `sheaf task list|show|follow|cancel`.
//!
//! A task is read while it runs, from its event log; nothing here keeps it from running, but for `cancel`.

use std::process::ExitCode;

use http::Method;

use super::connect::Coordinator;
use super::progress::{self, Position};
use super::stored;
use super::tally::Tally;
use crate::bundle::outcome::Verdict;
use crate::cli::output::{self, Table};
use crate::cli::remark;
use crate::id::{BundleId, TaskId};
use crate::limits;
use crate::net::body::capped;
use crate::protocol::control::{Event, LOG_TOTAL_HEADER, Task, TaskState};
use crate::report;

/// Bytes of one answer with events at most.
const PART: usize = 4 << 20;

/// What to do with tasks.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Verb {
    /// List tasks, newest first
    #[command(
        after_help = "Examples:\n  sheaf task list\n  sheaf task list --limit 5 --json\n  sheaf task list --state queued,processing"
    )]
    List {
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = 30)]
        limit: u32,
        /// Only in these states, with commas between: queued, processing, cancelling, cancelled, done, errored
        #[arg(long, value_name = "STATES", value_delimiter = ',', value_parser = state)]
        state: Vec<TaskState>,
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show a task and its events
    #[command(after_help = "Examples:
  sheaf task show 12
  sheaf task show 12 --debug
  sheaf task show 12 --json")]
    Show {
        /// Its number
        id: TaskId,
        /// Print the debug log too
        #[arg(long, conflicts_with = "json")]
        debug: bool,
        /// Print one JSON object, with the events in it
        #[arg(long)]
        json: bool,
    },
    /// Follow a task to its end; interrupting this command leaves the task alone
    #[command(after_help = "Examples:\n  sheaf task follow 12\n  sheaf task follow 12 --json --quiet

Exit codes: 0 done, 3 done with a partial bundle, 7 cancelled, 1 errored.")]
    Follow {
        /// Its number
        id: TaskId,
        /// Print one JSON object at the end
        #[arg(long)]
        json: bool,
        /// Show no progress
        #[arg(long, short)]
        quiet: bool,
    },
    /// Cancel a task, and what nodes do for it
    #[command(after_help = "Example:\n  sheaf task cancel 12")]
    Cancel {
        /// Its number
        id: TaskId,
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
    pub async fn run(self, coordinator: &Coordinator) -> anyhow::Result<ExitCode> {
        match self {
            Self::List { limit, state, json } => {
                let words: Vec<&str> = state.iter().map(|state| state.as_str()).collect();
                let path = format!("/tasks?limit={limit}&state={}", words.join(","));
                list(&coordinator.fetch::<Vec<Task>>(&path).await?, json)?;
            }
            Self::Show { id, debug, json } => show(coordinator, id, debug, json).await?,
            Self::Follow { id, json, quiet } => return follow(coordinator, id, json, quiet).await,
            Self::Cancel { id, json } => {
                let task: Task = coordinator.call(Method::POST, &format!("/tasks/{id}/cancel"), None::<&()>).await?;
                if json {
                    output::json(&task)?;
                } else {
                    output::say(&format!("task {} {}\n", task.id, task.state))?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn state(text: &str) -> Result<TaskState, String> {
    serde_json::from_value(text.into()).map_err(|_| "no such state".to_owned())
}

async fn follow(coordinator: &Coordinator, id: TaskId, json: bool, quiet: bool) -> anyhow::Result<ExitCode> {
    let task = progress::to_the_end(coordinator, id, quiet).await?;
    if json {
        output::json(&task)?;
    } else {
        let result = task.result.as_deref().map(|result| format!(": {}", report::escape(result))).unwrap_or_default();
        remark(format_args!("task {} {}{result}", task.id, task.state));
    }
    let verdict = verdict(coordinator, &task).await;
    Ok(exit_code(&task, verdict))
}

/// The exit code that says how a task ended; `verdict` is that of the bundle it made.
pub fn exit_code(task: &Task, verdict: Option<Verdict>) -> ExitCode {
    match task.state {
        TaskState::Done => ExitCode::from(verdict.map_or(0, Verdict::exit_code)),
        TaskState::Cancelled => ExitCode::from(Verdict::Aborted.exit_code()),
        _ => ExitCode::FAILURE,
    }
}

/// The verdict on the bundle that a task made: its result says it, or names the kept bundle that knows.
async fn verdict(coordinator: &Coordinator, task: &Task) -> Option<Verdict> {
    let result = task.result.as_ref()?;
    if let Ok(id) = result.parse::<BundleId>() {
        return Some(stored::find(coordinator, id).await.ok()?.verdict);
    }
    let result: serde_json::Value = serde_json::from_str(result).ok()?;
    serde_json::from_value(result.get("verdict")?.clone()).ok()
}

/// Hands out the events of a task that came since `from`, which moves on.
///
/// # Errors
/// When the coordinator refuses or cannot be reached.
///
/// # Cancel safety
/// What was handed out is counted in `from`, and nothing else is.
pub async fn events(
    coordinator: &Coordinator,
    id: TaskId,
    from: &mut Position,
    mut each: impl FnMut(Event),
) -> anyhow::Result<()> {
    loop {
        let path = format!("/tasks/{id}/events?from={}", from.offset);
        let answer = coordinator.stream(Method::GET, &path, bytes::Bytes::new()).await?;
        let total = answer.headers().get(LOG_TOTAL_HEADER).and_then(|value| value.to_str().ok()?.parse().ok());
        let part = capped(answer.into_body(), PART, limits::BODY_IDLE).await?;
        from.offset += part.len() as u64;
        from.rest.extend_from_slice(&part);
        let whole = from.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = from.rest.drain(..whole).collect();
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            each(serde_json::from_slice(line)?);
        }
        if part.is_empty() || total.is_none_or(|total: u64| from.offset >= total) {
            return Ok(());
        }
    }
}

async fn show(coordinator: &Coordinator, id: TaskId, debug: bool, json: bool) -> anyhow::Result<()> {
    let task: Task = coordinator.fetch(&format!("/tasks/{id}")).await?;
    let mut all = Vec::new();
    events(coordinator, id, &mut Position::default(), |event| all.push(event)).await?;
    if json {
        let mut object = serde_json::to_value(&task)?;
        object["events"] = serde_json::to_value(&all)?;
        return Ok(output::json(&object)?);
    }
    output::fields(&[
        ("task", task.id.to_string()),
        ("state", task.state.to_string()),
        ("what", task.description.clone()),
        ("user", task.user.clone()),
        ("deployment", task.deployment.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("created", task.created_at.clone().unwrap_or_default()),
        ("started", task.started_at.clone().unwrap_or_default()),
        ("finished", task.finished_at.clone().unwrap_or_default()),
        ("result", task.result.clone().unwrap_or_default()),
    ])?;
    let mut tally = Tally::default();
    all.iter().for_each(|event| tally.take(event));
    let each = |event: &&Event| !tally.is_many() || event.stage != "Collecting";
    let mut lines: Vec<String> = all.iter().filter(each).filter_map(progress::line).collect();
    if tally.is_many() {
        lines.push(format!("{}; `sheaf task show {id} --json` has each node's events\n", tally.numbers(false)));
        lines.extend(tally.reasons().into_iter().map(|line| line + "\n"));
    }
    output::say(&lines.concat())?;
    if debug {
        let answer = coordinator.stream(Method::GET, &format!("/tasks/{id}/debug"), bytes::Bytes::new()).await?;
        let text = capped(answer.into_body(), PART, limits::BODY_IDLE).await?;
        output::say(&String::from_utf8_lossy(&text))?;
    }
    Ok(())
}

fn list(tasks: &[Task], json: bool) -> std::io::Result<()> {
    if json {
        return output::json(&tasks);
    }
    let mut table = Table::new(&["TASK", "STATE", "USER", "STARTED", "WHAT"]);
    for task in tasks {
        table.row([
            task.id.to_string(),
            task.state.to_string(),
            task.user.clone(),
            task.started_at.clone().unwrap_or_default(),
            task.description.clone(),
        ]);
    }
    table.print()
}
