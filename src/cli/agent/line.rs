//! A line on a terminal that is written over while a collection runs; nothing where standard error is no terminal.
//!
//! What it says comes from the collection, now and then. It is written by hand: the operator's progress bars would bring more code to
//! every node than all the verbs here.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// How often it is written at most: people cannot read faster.
const EACH: Duration = Duration::from_millis(200);
/// To the line's beginning, and away with what stands there.
const AWAY: &str = "\r\x1b[K";

/// The line.
pub struct Line {
    terminal: bool,
    began: Instant,
    /// When it was written last.
    shown: Option<Instant>,
}

impl Line {
    /// A line that is not there yet.
    pub fn new() -> Self {
        Self { terminal: io::stderr().is_terminal(), began: Instant::now(), shown: None }
    }

    /// Says how far things are. What cannot be written is not missed.
    pub fn show(&mut self, text: impl FnOnce() -> String) {
        let now = Instant::now();
        if self.terminal && self.shown.is_none_or(|shown| now - shown >= EACH) {
            self.shown = Some(now);
            let text = format!("{} {}", elapsed(now - self.began), text());
            let _ = write!(io::stderr(), "{AWAY}{}", within(&text, columns()));
        }
    }

    /// Takes it away.
    pub fn clear(&mut self) {
        if self.shown.take().is_some() {
            let _ = write!(io::stderr(), "{AWAY}");
        }
    }
}

/// Columns of the terminal.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stderr()).map(|size| usize::from(size.ws_col));
    size.ok().filter(|columns| *columns > 0).unwrap_or(80)
}

/// As much as stands on one line: of one that goes on in the next, only the end could be taken away.
fn within(text: &str, columns: usize) -> &str {
    text.char_indices().nth(columns.saturating_sub(1)).map_or(text, |(end, _)| &text[..end])
}

/// `1:05`
fn elapsed(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_it_no_more_often_than_it_can_be_read() {
        let mut line = Line { terminal: true, began: Instant::now(), shown: None };
        let mut said = 0;
        for _ in 0..1000 {
            line.show(|| {
                said += 1;
                String::new()
            });
        }
        // A thousand calls take microseconds; on a machine that stands still now and then, a few of those intervals.
        assert!((1..100).contains(&said), "{said}");
        line.clear();
        assert!(line.shown.is_none());
        let mut none = Line { terminal: false, ..line };
        none.show(|| unreachable!("nobody reads it"));
    }

    #[test]
    fn a_narrow_terminal_gets_one_line() {
        let text = "0:05 123 files, 4.5 MiB read, 1.2 MiB compressed";
        assert_eq!(within(text, 80), text);
        assert_eq!(within(text, 30), "0:05 123 files, 4.5 MiB read,");
        assert_eq!((within("é…", 2), within(text, 0)), ("é", ""));
    }

    #[test]
    fn time_is_told_in_minutes() {
        assert_eq!([5, 65, 3600].map(|secs| elapsed(Duration::from_secs(secs))), ["0:05", "1:05", "60:00"]);
    }
}
