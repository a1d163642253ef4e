//! A line for each node and one for the total, in the room that the terminal has.
//!
//! Events come from [`super::Progress`], lines go to a draw target. What a node does matters most: where there is no room for all, the
//! rate goes first, then the middles of long names, then the bytes, and the state stays. It asks nobody anything.

use std::collections::BTreeMap;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::{line, node, state};
use crate::cli::operate::tally::{FEW, Tally};
use crate::protocol::control::Event;
use crate::report;

/// Nodes that have a line at most.
const LINES: usize = FEW as usize;
/// Columns that the state has before anything else has more than its least.
const STATE: usize = 24;
/// Columns of a name: its least, and the longest name that there is.
const NAME: (usize, usize) = (8, 63);
/// Columns of bytes and of the rate, with the space before them, and the terminals that have room for each.
const BYTES: (usize, usize) = (12, 52);
const RATE: (usize, usize) = (14, 80);
/// Below this the total of many nodes is told without bytes.
const NARROW: usize = 40;
/// Characters of a state at most.
const TEXT: usize = 240;

/// The lines.
pub(super) struct Bars {
    screen: MultiProgress,
    total: ProgressBar,
    nodes: BTreeMap<String, ProgressBar>,
    /// Whether the total is what the nodes have sent.
    of_nodes: bool,
    /// Whether a node has begun.
    begun: bool,
    /// Columns of the terminal, which may change.
    columns: fn() -> usize,
    layout: Layout,
    longest: usize,
}

impl Bars {
    /// On a target that is `columns` wide; the total says what its bytes are.
    pub(super) fn on(target: ProgressDrawTarget, columns: fn() -> usize, total: &'static str, of_nodes: bool) -> Self {
        let screen = MultiProgress::with_draw_target(target);
        let layout = Layout::of(columns(), NAME.0, false);
        let style = style(&layout.of_total());
        let total = screen.add(ProgressBar::no_length().with_style(style).with_prefix("total").with_message(total));
        Self { screen, total, nodes: BTreeMap::new(), of_nodes, begun: false, columns, layout, longest: NAME.0 }
    }

    /// Counts bytes of the bundle that came.
    pub(super) fn received(&self, bytes: u64) {
        self.total.inc(bytes);
    }

    /// Ends; what stands on the terminal stays there.
    pub(super) fn end(&self) {
        self.nodes.values().for_each(|bar| bar.abandon());
        match self.is_shown() {
            true => self.total.abandon(),
            // Nothing was collected: a deployment, say.
            false => self.total.finish_and_clear(),
        }
    }

    /// Whether anything stands on the terminal.
    pub(super) fn is_shown(&self) -> bool {
        self.begun || self.total.position() > 0
    }

    pub(super) fn event(&mut self, event: &Event, tally: &Tally) {
        if event.stage != "Collecting" {
            // What a bundle takes besides its nodes is no news, unless it fails.
            let quiet = matches!(event.stage.as_str(), "Preparing" | "Sealing") && event.state != "failed";
            let loud = event.kind.is_some() || event.error.is_some() || !quiet;
            if let Some(text) = line(event).filter(|_| loud) {
                let _ = self.screen.println(text.trim_end());
            }
            return;
        }
        self.begun = true;
        if self.of_nodes {
            self.total.set_position(tally.bytes());
        }
        let (name, ended) = (node(event), matches!(event.state.as_str(), "finished" | "failed"));
        if tally.is_many()
            && ended
            && let Some(bar) = self.nodes.remove(&name)
        {
            self.screen.remove(&bar);
        }
        let shown = match tally.is_many() {
            true => !ended && (self.nodes.len() < LINES || self.nodes.contains_key(&name)),
            false => true,
        };
        if shown {
            self.longest = self.longest.max(report::escape(&name).width());
        }
        self.fit(tally.is_many());
        if tally.is_many() {
            self.total.set_message(tally.numbers(self.layout.columns < BYTES.1));
        }
        if shown {
            self.show(name, event, ended);
        }
    }

    fn show(&mut self, name: String, event: &Event, ended: bool) {
        let layout = self.layout;
        let bar = self.nodes.entry(name).or_insert_with_key(|name| {
            let bar =
                ProgressBar::no_length().with_style(style(&layout.of_node())).with_prefix(elided(name, layout.name));
            self.screen.insert_before(&self.total, bar)
        });
        bar.set_message(report::brief(&state(event), TEXT));
        if let Some(bytes) = event.data.bytes {
            bar.set_position(bytes);
        }
        if ended {
            bar.abandon();
        }
    }

    /// Lays all lines out anew where the terminal or the longest name is another.
    fn fit(&mut self, many: bool) {
        let layout = Layout::of((self.columns)(), self.longest, many);
        if layout == self.layout {
            return;
        }
        self.layout = layout;
        self.total.set_style(style(&layout.of_total()));
        for (name, bar) in &self.nodes {
            bar.set_style(style(&layout.of_node()));
            bar.set_prefix(elided(name, layout.name));
        }
    }
}

/// What a line has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    columns: usize,
    name: usize,
    bytes: bool,
    rate: bool,
    many: bool,
}

impl Layout {
    fn of(columns: usize, longest: usize, many: bool) -> Self {
        let (bytes, rate) = (columns >= BYTES.1, columns >= RATE.1);
        let figures = if bytes { BYTES.0 } else { 0 } + if rate { RATE.0 } else { 0 };
        let room = columns.saturating_sub(figures + 2 + STATE);
        let name = room.clamp(NAME.0, NAME.1).min(longest);
        Self { columns, name, bytes, rate, many }
    }

    fn of_node(&self) -> String {
        let bytes = if self.bytes { " {binary_bytes:>11}" } else { "" };
        let rate = if self.rate { " {binary_bytes_per_sec:>13}" } else { "" };
        format!("{{prefix:<{}}}{bytes}{rate}  {{wide_msg}}", self.name)
    }

    fn of_total(&self) -> String {
        match (self.bytes, self.many && self.columns < NARROW) {
            (true, _) => self.of_node(),
            (false, false) => "{prefix} {binary_bytes} {wide_msg}".to_owned(),
            (false, true) => "{prefix} {wide_msg}".to_owned(),
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A name in so many columns: its middle goes first, since names of one fleet differ at their ends.
fn elided(name: &str, columns: usize) -> String {
    let name = report::escape(name);
    if name.width() <= columns {
        return name;
    }
    let tail = columns.saturating_sub(1) / 2;
    let head = columns.saturating_sub(1 + tail);
    let within = |room: usize| {
        let mut used = 0;
        move |c: &char| {
            used += c.width().unwrap_or(0);
            used <= room
        }
    };
    let head: String = name.chars().take_while(within(head)).collect();
    let tail: Vec<char> = name.chars().rev().take_while(within(tail)).collect();
    head + "…" + &tail.into_iter().rev().collect::<String>()
}

#[cfg(test)]
mod tests;
