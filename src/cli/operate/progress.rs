//! How a bundle comes along: a line per node and a total on a terminal, plain lines otherwise. Of many nodes only those that send
//! have a line, and what is done is counted.
//!
//! Reads the task's events beside the download and writes on standard error alone, since standard output may be the bundle. It
//! never holds the download up: an event log that cannot be read is only not shown.

mod bars;

use std::cell::RefCell;
use std::convert::Infallible;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::ProgressDrawTarget;

use self::bars::Bars;
use super::connect::Coordinator;
use super::tally::Tally;
use super::task;
use crate::cli::remark;
use crate::clock::rfc3339;
use crate::id::TaskId;
use crate::protocol::control::{Event, Task};
use crate::report;

/// How often the events are asked for.
const EVERY: Duration = Duration::from_millis(500);
/// Time that one look at the events may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Times in a row that a task cannot be asked for before it is given up.
const FAILURES: u32 = 60;
/// Columns of a terminal that does not say.
const COLUMNS: usize = 80;

/// Shows progress.
pub struct Progress {
    bars: Option<Bars>,
    tally: Tally,
    quiet: bool,
}

impl Progress {
    /// Begins to show; `quiet` shows nothing.
    pub fn new(quiet: bool) -> Self {
        Self::showing(quiet, "received", false)
    }

    /// The same where nothing is received: the total is what the nodes have sent.
    pub fn of_task(quiet: bool) -> Self {
        Self::showing(quiet, "collected", true)
    }

    fn showing(quiet: bool, total: &'static str, of_nodes: bool) -> Self {
        let tally = Tally::default();
        if quiet || !std::io::stderr().is_terminal() {
            return Self { bars: None, tally, quiet };
        }
        let bars = Bars::on(ProgressDrawTarget::stderr_with_hz(4), columns, total, of_nodes);
        Self { bars: Some(bars), tally, quiet }
    }

    /// Counts bytes of the bundle that came.
    pub fn received(&self, bytes: u64) {
        if let Some(bars) = &self.bars {
            bars.received(bytes);
        }
    }

    /// Takes an event in.
    pub fn event(&mut self, event: &Event) {
        self.tally.take(event);
        match &mut self.bars {
            Some(bars) => bars.event(event, &self.tally),
            None if self.quiet => {}
            None => {
                if let Some(line) = self.tally.line(event) {
                    // Nobody can be told that standard error does not work.
                    let _ = std::io::stderr().write_all(line.as_bytes());
                }
            }
        }
    }

    /// What is the matter with nodes that had no line of their own.
    pub fn reasons(&self) -> Vec<String> {
        if self.quiet { Vec::new() } else { self.tally.reasons() }
    }

    /// Ends; what stands on the terminal stays there.
    pub fn end(&self) {
        if let Some(bars) = &self.bars {
            bars.end();
            // The last bar leaves the cursor at its end.
            if bars.is_shown() {
                remark("");
            }
        }
    }
}

/// Columns of the terminal that standard error is.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stderr()).map(|size| usize::from(size.ws_col));
    size.ok().filter(|columns| *columns > 0).unwrap_or(COLUMNS)
}

/// Follows the events of a task until it is dropped.
///
/// # Cancel safety
/// Made to be dropped: what it showed is counted in `from`.
pub async fn follow(
    coordinator: &Coordinator,
    id: TaskId,
    from: &mut Position,
    progress: &RefCell<Progress>,
) -> Infallible {
    loop {
        tokio::time::sleep(EVERY).await;
        catch_up(coordinator, id, from, progress).await;
    }
}

/// Shows the events that came since `from`. That they cannot be read ends nothing.
pub async fn catch_up(coordinator: &Coordinator, id: TaskId, from: &mut Position, progress: &RefCell<Progress>) {
    let reading = task::events(coordinator, id, from, |event| progress.borrow_mut().event(&event));
    let _ = tokio::time::timeout(PATIENCE, reading).await;
}

/// Follows a task to its end, and answers with it. A coordinator that does not answer is asked again for a while.
///
/// # Errors
/// When it cannot be asked any more.
pub async fn to_the_end(coordinator: &Coordinator, id: TaskId, quiet: bool) -> anyhow::Result<Task> {
    // Whoever cannot be asked at all is not asked again.
    let _: Task = coordinator.fetch(&format!("/tasks/{id}")).await?;
    let progress = RefCell::new(Progress::of_task(quiet));
    let (mut from, mut failures) = (Position::default(), 0);
    let ended = loop {
        // Asked before the events are read: what is final has all of them.
        let asked: anyhow::Result<Task> = coordinator.fetch(&format!("/tasks/{id}")).await;
        catch_up(coordinator, id, &mut from, &progress).await;
        match asked {
            Ok(task) if task.state.is_final() => break Ok(task),
            Ok(_) => failures = 0,
            Err(error) if failures == FAILURES => break Err(error),
            Err(_) => failures += 1,
        }
        tokio::time::sleep(EVERY).await;
    };
    progress.borrow().end();
    progress.borrow().reasons().iter().for_each(remark);
    ended
}

/// How far a task's event log was read.
#[derive(Debug, Default)]
pub struct Position {
    /// Bytes.
    pub offset: u64,
    /// A line whose end did not come yet.
    pub rest: Vec<u8>,
}

/// An event as a line for people; `None` for one that says nothing.
pub fn line(event: &Event) -> Option<String> {
    let time = rfc3339(event.time.saturating_mul(1000));
    if let Some(message) = warning(event) {
        return Some(format!("{time} warning: {}\n", report::escape(&message)));
    }
    if let Some(error) = &event.error {
        return Some(format!("{time} error: {}\n", report::escape(&error.message)));
    }
    if event.stage.is_empty() {
        return None;
    }
    let text = format!("{}: {} {}", event.stage, node(event), state(event));
    Some(format!("{time} {}\n", report::escape(&text)))
}

fn warning(event: &Event) -> Option<String> {
    event.kind.as_ref()?;
    event.message.clone()
}

/// A step of the stage that collects is a node, which its tag names.
pub(super) fn node(event: &Event) -> String {
    event.tags.first().filter(|_| event.stage == "Collecting").unwrap_or(&event.task).clone()
}

fn state(event: &Event) -> String {
    let said = event.data.status.as_deref().or(event.data.paused.as_ref().map(|_| "pauses"));
    let state = match event.state.as_str() {
        "in_progress" => said.unwrap_or("sending"),
        "started" => said.unwrap_or("started"),
        "finished" => said.unwrap_or("done"),
        "failed" => said.unwrap_or("failed"),
        other => other,
    };
    let state = match (event.state.as_str(), event.progress) {
        ("in_progress", 1..) => format!("{state} {}%", event.progress),
        _ => state.to_owned(),
    };
    match event.data.error.as_ref().or(event.data.paused.as_ref()) {
        Some(why) => format!("{state}: {why}"),
        None => state,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(json: &str) -> Event {
        serde_json::from_str(json).expect("an event")
    }

    #[test]
    fn events_become_lines() {
        let failed = event(
            r#"{"time":0,"stage":"Collecting","tags":["n1"],"task":"collecting","state":"failed","data":{"error":"gone\u001b[2J"}}"#,
        );
        assert_eq!(line(&failed).expect("a line"), "1970-01-01T00:00:00.000Z Collecting: n1 failed: gone\\u{1b}[2J\n");
        let paused = event(
            r#"{"time":0,"stage":"Collecting","tags":["n1"],"state":"in_progress","progress":7,"data":{"bytes":9,"paused":"io pressure"}}"#,
        );
        assert_eq!(line(&paused).expect("a line"), "1970-01-01T00:00:00.000Z Collecting: n1 pauses 7%: io pressure\n");
        let warning = event(r#"{"time":1,"type":"warning","message":"n2 is not connected"}"#);
        assert_eq!(line(&warning).expect("a line"), "1970-01-01T00:00:01.000Z warning: n2 is not connected\n");
        assert!(line(&event(r#"{"time":1}"#)).is_none());
    }
}
