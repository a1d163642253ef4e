//! `sheaf task list|show|cancel`.

use http::Method;

use super::connect::Coordinator;
use super::output::{self, Table};
use super::progress::{self, Position};
use crate::id::TaskId;
use crate::limits;
use crate::net::body::capped;
use crate::protocol::control::{Event, LOG_TOTAL_HEADER, Task};

/// Bytes of one answer with events at most.
const PART: usize = 4 << 20;

/// What to do with tasks.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Verb {
    /// List tasks, newest first
    #[command(after_help = "Examples:\n  sheaf task list\n  sheaf task list --limit 5 --json")]
    List {
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = 30)]
        limit: u32,
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show a task and its events
    Show {
        /// Its number
        id: TaskId,
        /// Print one JSON object, with the events in it
        #[arg(long)]
        json: bool,
    },
    /// Cancel a task
    Cancel {
        /// Its number
        id: TaskId,
    },
}

impl Verb {
    /// Does it.
    ///
    /// # Errors
    /// When the coordinator refuses or cannot be reached.
    pub async fn run(self, coordinator: &Coordinator) -> anyhow::Result<()> {
        match self {
            Self::List { limit, json } => {
                Ok(list(&coordinator.fetch::<Vec<Task>>(&format!("/tasks?limit={limit}")).await?, json)?)
            }
            Self::Show { id, json } => show(coordinator, id, json).await,
            Self::Cancel { id } => {
                let task: Task = coordinator.call(Method::POST, &format!("/tasks/{id}/cancel"), None::<&()>).await?;
                Ok(output::say(&format!("task {} {}\n", task.id, task.state))?)
            }
        }
    }
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

async fn show(coordinator: &Coordinator, id: TaskId, json: bool) -> anyhow::Result<()> {
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
        ("started", task.started_at.clone().unwrap_or_default()),
        ("finished", task.finished_at.clone().unwrap_or_default()),
        ("result", task.result.clone().unwrap_or_default()),
    ])?;
    let lines: Vec<String> = all.iter().filter_map(progress::line).collect();
    Ok(output::say(&lines.concat())?)
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
