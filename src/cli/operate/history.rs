//! `sheaf node show N --history`: a node's vitals over time, drawn for a terminal.
//!
//! A [`History`] comes from the live agent by way of the coordinator, or is made of the lines that a bundle holds; it goes out as one line of
//! blocks for each thing that is measured, as a plain table when piped, or as JSON. Nothing here decides what was wrong.

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::connect::{Coordinator, segment};
use crate::bundle::reader::{ReadError, Reader};
use crate::cli::output::{self, Table, bytes, counted};
use crate::clock::rfc3339;
use crate::protocol::history::{Event, History, METRICS, Metric, Mounted, POINTS, Point, Points, Stamp, Timeline};
use crate::report;
use crate::window::Moment;

/// Bytes of a bundle's history at most; the longest that an agent keeps is below it.
const LINES: u64 = 64 << 20;
/// Columns of a terminal that does not say.
const COLUMNS: usize = 80;
/// Columns for everything but the blocks.
const BESIDE: usize = 15 + 3 * 11;
/// Blocks, from nearly nothing to all.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The same where the terminal has no such characters.
const ASCII: [char; 8] = ['_', '.', ':', '-', '=', '+', '*', '#'];

/// How a value is written, and how high the blocks go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Percent,
    Plain,
    Count,
    Kib,
    Rate,
    PerSecond,
}

/// What is drawn, in this order: label, metric, unit.
const ROWS: &[(&str, &str, Unit)] = &[
    ("cpu user", "cpu_user_percent", Unit::Percent),
    ("cpu system", "cpu_system_percent", Unit::Percent),
    ("cpu iowait", "cpu_iowait_percent", Unit::Percent),
    ("cpu steal", "cpu_steal_percent", Unit::Percent),
    ("load", "load_1min", Unit::Plain),
    ("memory used", MEMORY_USED, Unit::Percent),
    ("swap used", "swap_used_kib", Unit::Kib),
    ("wait cpu", "pressure_cpu_some_percent", Unit::Percent),
    ("wait io", "pressure_io_some_percent", Unit::Percent),
    ("wait io, all", "pressure_io_full_percent", Unit::Percent),
    ("wait mem", "pressure_memory_some_percent", Unit::Percent),
    ("wait mem, all", "pressure_memory_full_percent", Unit::Percent),
    ("disk full", "disk_used_percent", Unit::Percent),
    ("inodes used", "disk_inodes_used_percent", Unit::Percent),
    ("disk busy", "disk_busy_percent", Unit::Percent),
    ("disk read", "disk_read_bytes_per_second", Unit::Rate),
    ("disk written", "disk_write_bytes_per_second", Unit::Rate),
    ("net received", "network_received_bytes_per_second", Unit::Rate),
    ("net sent", "network_sent_bytes_per_second", Unit::Rate),
    ("net faults", "network_faults_per_second", Unit::PerSecond),
    ("tasks", "tasks", Unit::Count),
    ("running", "tasks_running", Unit::Count),
    ("blocked", "tasks_blocked", Unit::Count),
    ("forks", "forks_per_second", Unit::PerSecond),
    ("agent memory", "agent_rss_kib", Unit::Kib),
];
/// Made of what is available and what there is.
const MEMORY_USED: &str = "memory_used_percent";

/// What of a history is wanted, and how it is shown.
pub struct Shown<'a> {
    /// The node.
    pub node: &'a str,
    /// Where it begins.
    pub since: Moment,
    /// As JSON.
    pub json: bool,
}

/// How far back a moment is.
///
/// # Errors
/// When it is now, or still to come.
fn back(since: Moment) -> anyhow::Result<Duration> {
    let back = match since {
        Moment::Ago(back) => back,
        Moment::All => Duration::from_secs(u64::from(u32::MAX)),
        Moment::At(ms) => {
            let back = Timestamp::now().as_millisecond().saturating_sub(ms);
            Duration::from_millis(u64::try_from(back).unwrap_or(0))
        }
    };
    ensure!(!back.is_zero(), "a history begins in the past: give --since 2h, or another time that is over");
    Ok(back)
}

impl Shown<'_> {
    /// From the live agent.
    ///
    /// # Errors
    /// When the coordinator refuses, or the agent does not answer.
    pub async fn live(&self, coordinator: &Coordinator) -> anyhow::Result<()> {
        let (node, since, points) = (segment(self.node), back(self.since)?.as_secs().max(1), self.points());
        let path = format!("/nodes/{node}/history?since_secs={since}&points={points}");
        let history: History = coordinator.fetch(&path).await?;
        Ok(self.show(&history.bounded())?)
    }

    /// From a bundle.
    ///
    /// # Errors
    /// When the bundle cannot be read, or has no history of the node.
    pub fn bundled(&self, bundle: &Path) -> anyhow::Result<()> {
        let text = read(bundle, self.node)?;
        let history = collect(&text, back(self.since)?, self.points());
        let history = history
            .with_context(|| format!("{}: the history of {}", bundle.display(), report::brief(self.node, 80)))?;
        Ok(self.show(&history.bounded())?)
    }

    fn points(&self) -> usize {
        if self.json || !io::stdout().is_terminal() { POINTS } else { columns() - BESIDE }
    }

    fn show(&self, history: &History) -> io::Result<()> {
        if self.json {
            return output::json(&object(self.node, history));
        }
        let rows = rows(history);
        if !io::stdout().is_terminal() {
            let mut table = Table::new(&["", "min", "max", "now"]);
            for row in &rows {
                table.row([row.label.to_owned(), row.cell(row.min), row.cell(row.max), row.cell(row.now)]);
            }
            table.print()?;
            return output::say(
                &marks(history).iter().map(|mark| format!("{}\n", mark.replace("  ", "\t"))).collect::<String>(),
            );
        }
        output::say(&drawing(self.node, history, &rows, columns() - BESIDE, &blocks()))
    }
}

/// One line of the drawing.
struct Row {
    label: &'static str,
    unit: Unit,
    /// What stood out in each point, and how many steps ago that is.
    at: Vec<(u64, f32)>,
    min: f32,
    max: f32,
    now: f32,
}

fn rows(history: &History) -> Vec<Row> {
    let step = history.step_ms.max(1);
    let row = |(label, name, unit): &(&'static str, &str, Unit)| {
        let mut row = Row { label, unit: *unit, at: Vec::new(), min: f32::NAN, max: f32::NAN, now: f32::NAN };
        for point in &history.points {
            let Some((value, peak)) = value(history, point, name) else { continue };
            row.at.push((point.ago_ms / step, peak));
            (row.min, row.max, row.now) = (row.min.min(value), row.max.max(peak), value);
        }
        // What this kernel does not have is no line.
        (!row.at.is_empty()).then_some(row)
    };
    ROWS.iter().filter_map(row).collect()
}

/// A point's average, and what stood out in it.
fn value(history: &History, point: &Point, name: &str) -> Option<(f32, f32)> {
    let find = |name: &str| {
        let place = history.metrics.iter().position(|metric| metric == name)?;
        let value = point.values.get(place).copied().flatten()?;
        Some((value, point.peaks.get(place).copied().flatten().unwrap_or(value)))
    };
    if name == MEMORY_USED {
        let (total, _) = find("memory_total_kib").filter(|(total, _)| *total > 0.0)?;
        let (available, least) = find("memory_available_kib")?;
        return Some(((1.0 - available / total) * 100.0, (1.0 - least / total) * 100.0));
    }
    find(name)
}

impl Row {
    fn cell(&self, value: f32) -> String {
        let whole = value.max(0.0);
        match self.unit {
            Unit::Percent => format!("{value:.1}%"),
            Unit::Plain if value < 100.0 => format!("{value:.2}"),
            Unit::Plain | Unit::Count => format!("{value:.0}"),
            Unit::Kib => bytes((f64::from(whole) * 1024.0) as u64),
            Unit::Rate => format!("{}/s", bytes(whole as u64)),
            Unit::PerSecond => format!("{value:.1}/s"),
        }
    }

    fn blocks(&self, columns: usize, blocks: &[char; 8]) -> String {
        let top = match self.unit {
            Unit::Percent => 100.0,
            _ => self.max,
        };
        let mut line = vec![' '; columns];
        for (ago, value) in &self.at {
            let Some(column) = usize::try_from(*ago).ok().and_then(|ago| columns.checked_sub(ago + 1)) else {
                continue;
            };
            // Nothing at all is the lowest block: a blank is what is not known.
            let height = if top > 0.0 { (value / top * 8.0).ceil() } else { 0.0 };
            line[column] = blocks[(height as usize).clamp(1, 8) - 1];
        }
        line.into_iter().collect()
    }
}

fn drawing(node: &str, history: &History, rows: &[Row], columns: usize, blocks: &[char; 8]) -> String {
    let columns = columns.min(POINTS);
    let oldest = history.points.first().map_or(0, |point| point.ago_ms) / history.step_ms.max(1) + 1;
    let columns = columns.min(usize::try_from(oldest).unwrap_or(columns));
    let head = format!(
        "{}: {} up to {}, {} a column\n\n",
        report::brief(node, 80),
        span(history.step_ms * oldest),
        rfc3339(history.newest_ms),
        span(history.step_ms)
    );
    let mut text = head + &format!("{:15}{:columns$}{:>11}{:>11}{:>11}\n", "", "", "min", "max", "now");
    for row in rows {
        let [min, max, now] = [row.min, row.max, row.now].map(|value| row.cell(value));
        text += &format!("{:15}{}{min:>11}{max:>11}{now:>11}\n", row.label, row.blocks(columns, blocks));
    }
    let mounts = history.mounts.iter().map(mount);
    let more: Vec<String> = mounts.chain(marks(history)).chain(damage(history)).collect();
    if !more.is_empty() {
        text += &format!("\n{}\n", more.join("\n"));
    }
    text
}

fn mount(mounted: &Mounted) -> String {
    let free = bytes((f64::from(mounted.free_kib.max(0.0)) * 1024.0) as u64);
    let name = report::brief(&mounted.mount, 80);
    format!("{name}  {:.1}% full, {:.1}% of inodes, {free} left", mounted.used_percent, mounted.inodes_used_percent)
}

fn marks(history: &History) -> Vec<String> {
    let by = |ms: i64| span(ms.unsigned_abs());
    let line = |mark: &crate::protocol::history::Mark| {
        let what = match (mark.event, mark.by_ms) {
            (Event::Reboot, Some(gap)) => format!("the node was booted; nothing is known of {} before", by(gap)),
            (Event::Reboot, None) => "the node was booted".to_owned(),
            (Event::AgentStart, Some(gap)) => format!("the agent started; nothing is known of {} before", by(gap)),
            (Event::AgentStart, None) => "the agent started".to_owned(),
            (Event::ClockSet, set) => {
                let set = set.unwrap_or_default();
                format!("the clock was set {} by {}", if set < 0 { "back" } else { "on" }, by(set))
            }
            (Event::Gap, gap) => format!("nothing is known of {} before", by(gap.unwrap_or_default())),
            (Event::Unknown, _) => return None,
        };
        Some(format!("{}  {what}", rfc3339(mark.at_ms)))
    };
    history.marks.iter().filter_map(line).collect()
}

fn damage(history: &History) -> Option<String> {
    (history.damaged > 0).then(|| format!("{} damaged, and left out", counted(history.damaged, "record")))
}

/// A length of time, for people.
pub(super) fn span(ms: u64) -> String {
    let seconds = ms as f64 / 1000.0;
    for (unit, length) in [("d", 86_400.0), ("h", 3600.0), ("min", 60.0)] {
        if seconds >= length {
            let count = (seconds / length * 10.0).round() / 10.0;
            return format!("{count} {unit}");
        }
    }
    format!("{} s", (seconds * 10.0).round() / 10.0)
}

/// The history as one object, with its points named as a bundle names them.
fn object(node: &str, history: &History) -> Value {
    let suffix = |name: &str| METRICS.iter().find(|metric| metric.name == name).and_then(Metric::suffix);
    let point = |point: &Point| {
        let mut members = Map::new();
        members.insert("at".to_owned(), rfc3339(point.at_ms).into());
        members.insert("ago_seconds".to_owned(), (point.ago_ms as f64 / 1000.0).into());
        for (place, name) in history.metrics.iter().enumerate() {
            if let Some(value) = point.values.get(place).copied().flatten() {
                members.insert(name.clone(), number(value));
            }
            if let (Some(peak), Some(suffix)) = (point.peaks.get(place).copied().flatten(), suffix(name)) {
                members.insert(format!("{name}{suffix}"), number(peak));
            }
        }
        Value::Object(members)
    };
    let marks = history.marks.iter().map(|mark| {
        json!({ "at": rfc3339(mark.at_ms), "event": mark.event, "seconds": mark.by_ms.map(|ms| ms as f64 / 1000.0) })
    });
    json!({
        "node": node,
        "newest": rfc3339(history.newest_ms),
        "step_seconds": history.step_ms as f64 / 1000.0,
        "samples": history.points.iter().map(point).collect::<Vec<_>>(),
        "marks": marks.collect::<Vec<_>>(),
        "disks": history.mounts,
        "damaged_records": history.damaged,
    })
}

/// As short as the value is.
fn number(value: f32) -> Value {
    value.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

/// The lines of a bundle's history.
fn read(bundle: &Path, node: &str) -> anyhow::Result<String> {
    let shown = bundle.display();
    let file = File::open(bundle).with_context(|| format!("cannot open {shown}"))?;
    let damaged = |error: ReadError| match error {
        ReadError::NotFound(_) => anyhow::anyhow!(
            "{shown} has no history of {}; `sheaf bundle list {shown}` names what is there",
            report::brief(node, 80)
        ),
        error => {
            anyhow::Error::new(error).context(format!("{shown}; `sheaf bundle verify {shown}` says what is wrong"))
        }
    };
    let mut reader = Reader::open(file).map_err(damaged)?;
    let row = reader.find(&format!("nodes/{node}/vitals/history.ndjson")).map_err(damaged)?;
    ensure!(row.size <= LINES, "{shown}: the history is too long to be one");
    let mut text = Vec::new();
    reader.copy(&row, &mut text).map_err(damaged)?;
    String::from_utf8(text).context("the history is no text")
}

/// Makes points of lines.
fn collect(text: &str, since: Duration, points: usize) -> anyhow::Result<History> {
    let mut lines = text.lines().map(serde_json::from_str::<Value>);
    let head = lines.next().context("is empty")??;
    if head["format"] != "sheaf-history/1" {
        bail!("is of a format that this release does not know");
    }
    let samples = lines.map(|line| Ok(sample(&line?))).collect::<Result<Vec<_>, serde_json::Error>>()?;
    let mut timeline = Timeline::default();
    for (stamp, ..) in &samples {
        timeline.step(stamp);
    }
    let since_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let every_ms = millis(&head["samples"]["interval_seconds"]);
    let mut made = Points::new(timeline.elapsed_ms, every_ms, since_ms, points);
    for (stamp, values, peaks, _) in &samples {
        made.add(stamp, values, peaks);
    }
    let mounts = samples.into_iter().last().map(|(.., mounts)| mounts).unwrap_or_default();
    Ok(made.finish(mounts, head["damaged_records"].as_u64().unwrap_or(0)))
}

type Values = [f32; METRICS.len()];

fn sample(line: &Value) -> (Stamp, Values, Values, Vec<Mounted>) {
    let at = line["at"].as_str().and_then(|at| at.parse::<Timestamp>().ok()).unwrap_or_default();
    let boot = line["boot_id"].as_str().and_then(|id| id.parse::<uuid::Uuid>().ok()).unwrap_or_default();
    let stamp = Stamp {
        at_ms: at.as_millisecond(),
        uptime_ms: millis(&line["uptime_seconds"]),
        span_ms: millis(&line["interval_seconds"]),
        boot: boot.as_u128(),
        first: line["event"] == "agent_start",
    };
    let number = |value: &Value| value.as_f64().map_or(f32::NAN, |value| value as f32);
    let values = std::array::from_fn(|place| number(&line[METRICS[place].name]));
    let peaks = std::array::from_fn(|place| {
        METRICS[place].suffix().map_or(f32::NAN, |suffix| number(&line[format!("{}{suffix}", METRICS[place].name)]))
    });
    (stamp, values, peaks, serde_json::from_value(line["disks"].clone()).unwrap_or_default())
}

/// Seconds as milliseconds.
fn millis(seconds: &Value) -> u64 {
    (seconds.as_f64().unwrap_or(0.0) * 1000.0).round().max(0.0) as u64
}

/// Columns of the terminal, as far as a line of blocks can be drawn in them.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stdout()).map(|size| usize::from(size.ws_col));
    size.ok().filter(|columns| *columns > 0).unwrap_or(COLUMNS).max(BESIDE + 10)
}

fn blocks() -> [char; 8] {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    let plain = locale.is_some_and(|locale| !locale.to_ascii_lowercase().replace('-', "").contains("utf8"));
    if plain { ASCII } else { BLOCKS }
}

#[cfg(test)]
mod tests;
