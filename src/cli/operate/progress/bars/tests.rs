//! What stands on terminals of several widths, drawn by the real thing.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indicatif::TermLike;

use super::*;

/// A terminal that keeps what stands on it.
#[derive(Clone, Debug, Default)]
struct Screen {
    columns: u16,
    rows: Arc<Mutex<(Vec<String>, usize)>>,
}

impl Screen {
    fn lock(&self) -> MutexGuard<'_, (Vec<String>, usize)> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its lines. What is written at a line's end stands on the next one, as on any terminal.
    fn lines(&self) -> Vec<String> {
        let (rows, _) = &*self.lock();
        rows.iter().map(|row| row.trim_end().to_owned()).filter(|row| !row.is_empty()).collect()
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        self.columns
    }
    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        let at = &mut self.lock().1;
        *at = at.saturating_sub(n);
        Ok(())
    }
    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.lock().1 += n;
        Ok(())
    }
    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)?;
        self.lock().1 += 1;
        Ok(())
    }
    fn write_str(&self, text: &str) -> io::Result<()> {
        let (rows, at) = &mut *self.lock();
        for c in text.chars() {
            let wide = c.width().unwrap_or(0);
            rows.resize(rows.len().max(*at + 1), String::new());
            if c == '\r' {
                rows[*at].clear();
            } else if rows[*at].width() + wide > usize::from(self.columns) {
                *at += 1;
                rows.resize(rows.len().max(*at + 1), String::new());
                rows[*at] = c.to_string();
            } else {
                rows[*at].push(c);
            }
        }
        Ok(())
    }
    fn clear_line(&self) -> io::Result<()> {
        let (rows, at) = &mut *self.lock();
        rows.resize(rows.len().max(*at + 1), String::new());
        rows[*at].clear();
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

fn event(name: &str, total: u64, rest: &str) -> Event {
    let tags = serde_json::to_string(&[name]).expect("a name");
    let head = r#"{"time":1,"stage":"Collecting","task":"collecting""#;
    serde_json::from_str(&format!(r#"{head},"tags":{tags},"total":{total},{rest}}}"#)).expect("an event")
}

/// What a terminal shows after these events.
fn shown(columns: usize, events: &[Event]) -> Vec<String> {
    let screen = Screen { columns: columns as u16, ..Screen::default() };
    let width: fn() -> usize = match columns {
        30 => || 30,
        40 => || 40,
        60 => || 60,
        80 => || 80,
        _ => || 200,
    };
    let mut bars = Bars::on(ProgressDrawTarget::term_like(Box::new(screen.clone())), width, "received", false);
    let mut tally = Tally::default();
    bars.received(5 << 20);
    for event in events {
        tally.take(event);
        bars.event(event, &tally);
    }
    bars.end();
    screen.lines()
}

const WIDTHS: [usize; 5] = [30, 40, 60, 80, 200];
const LONG: &str = "web-frontend-production-eu-central-1b-rack-07-unit-31.example.9";

#[test]
fn the_state_stays_at_every_width_and_no_line_is_wider_than_the_terminal() {
    let names = ["web-1", LONG, "节点服务器节点服务器节点服务器节点服务器甲", "a\u{1b}[2Jb"];
    let states = [
        (r#""state":"started""#, "started"),
        (r#""state":"in_progress","progress":45,"data":{"bytes":123456789}"#, "sending 45%"),
        (r#""state":"in_progress","progress":45,"data":{"bytes":9,"paused":"io pressure 97"}"#, "pauses 45%: io"),
        (r#""state":"failed","data":{"error":"not connected (last seen 2026-11-21T09:30:00Z)"}"#, "failed: not connec"),
        (r#""state":"finished","data":{"bytes":123456789}"#, "done"),
    ];
    for columns in WIDTHS {
        for name in names {
            for (json, state) in states {
                let lines = shown(columns, &[event(name, 2, json)]);
                assert_eq!(lines.len(), 2, "{columns}: {lines:#?}");
                assert!(lines.iter().all(|line| line.width() <= columns), "{columns}: {lines:#?}");
                assert!(lines[0].contains(state), "{columns}: {lines:#?}");
                assert!(lines[1].starts_with("total") && lines[1].contains("5.00 MiB"), "{columns}: {lines:#?}");
            }
        }
    }
}

#[test]
fn a_name_loses_its_middle_and_only_where_there_is_no_room() {
    let going = |name| event(name, 2, r#""state":"in_progress","progress":7,"data":{"bytes":1048576}"#);
    let line = |columns, name| shown(columns, &[going(name)]).swap_remove(0);
    assert!(line(200, LONG).starts_with(LONG), "{}", line(200, LONG));
    assert!(line(80, LONG).starts_with("web-frontend-p…-31.example.9    1.00 MiB"), "{}", line(80, LONG));
    assert_eq!(line(40, LONG), "web-fro…mple.9  sending 7%");
    assert_eq!(line(30, LONG), "web-…e.9  sending 7%");
    assert_eq!(line(30, "web-1"), "web-1     sending 7%");
    assert_eq!(elided("节点服务器", 8), "节点…器");
    assert_eq!(elided("节点服务器", 10), "节点服务器");
}

#[test]
fn a_task_that_collects_nothing_has_lines_and_no_total() {
    let updating = r#"{"time":1,"stage":"Updating instance","task":"nodes/1 on web-1","state":"finished"}"#;
    let preparing = r#"{"time":1,"stage":"Preparing","task":"1 node","state":"finished"}"#;
    let screen = Screen { columns: 80, ..Screen::default() };
    let mut bars = Bars::on(ProgressDrawTarget::term_like(Box::new(screen.clone())), || 80, "collected", true);
    for event in [preparing, updating] {
        bars.event(&serde_json::from_str(event).expect("an event"), &Tally::default());
    }
    bars.end();
    assert!(!bars.is_shown());
    assert_eq!(screen.lines(), ["1970-01-01T00:00:01.000Z Updating instance: nodes/1 on web-1 done"]);
}

#[test]
fn lines_that_stand_there_make_room_for_a_longer_name() {
    let going = |name| event(name, 3, r#""state":"in_progress","data":{"bytes":1048576}"#);
    let lines = shown(80, &[going("web-1"), going(LONG)]);
    let column = |line: &str| line.find("sending").map(|at| line[..at].width());
    assert_eq!(column(&lines[0]), column(&lines[1]), "{lines:#?}");
}

#[test]
fn of_many_nodes_what_is_lost_is_told_at_every_width() {
    for columns in WIDTHS {
        let mut events: Vec<Event> =
            (0..40).map(|n| event(&format!("n{n}"), 10_000, r#""state":"failed","data":{"error":"gone"}"#)).collect();
        events.push(event("n77", 10_000, r#""state":"in_progress","progress":3,"data":{"bytes":1}"#));
        let lines = shown(columns, &events);
        assert_eq!(lines.len(), 2, "{columns}: {lines:#?}");
        assert!(lines[0].starts_with("n77") && lines[0].contains("sending 3%"), "{columns}: {lines:#?}");
        assert!(lines[1].ends_with("40 not whole") && lines[1].contains("10000"), "{columns}: {lines:#?}");
    }
}
