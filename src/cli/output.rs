//! What verbs print: tables, one object, an array.
//!
//! Values come from elsewhere and are foreign: each cell is escaped. On a terminal a table has a head and aligned
//! columns; piped it is bare rows with tabs. A reader that goes away early is no error. Nothing here talks to anyone.

use std::io::{self, IsTerminal as _, Write};

use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;

use crate::report;
pub use crate::report::bytes;

/// Rows under a head.
pub struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty one with these columns.
    pub fn new(head: &[&'static str]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; one cell per column.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| report::escape(&cell)).collect());
    }

    /// Prints it on standard output.
    ///
    /// # Errors
    /// When standard output cannot be written; a broken pipe is none.
    pub fn print(&self) -> io::Result<()> {
        let text = if io::stdout().is_terminal() { self.aligned() } else { self.tabbed() };
        say(&text)
    }

    /// With a head and aligned columns, as for a terminal.
    pub fn aligned(&self) -> String {
        let mut widths: Vec<usize> = self.head.iter().map(|cell| cell.width()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        let mut text = String::new();
        let head: Vec<String> = self.head.iter().map(|&cell| cell.to_owned()).collect();
        for row in std::iter::once(&head).chain(&self.rows) {
            let mut line = String::new();
            for (width, cell) in widths.iter().zip(row) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width + 2 - cell.width()));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    fn tabbed(&self) -> String {
        self.rows.iter().map(|row| row.join("\t") + "\n").collect()
    }
}

/// Rows of one kind: a JSON array, or a table with a row of cells for each.
///
/// # Errors
/// When standard output cannot be written; a broken pipe is none.
pub fn rows<T: Serialize, const N: usize>(
    rows: &[T],
    as_json: bool,
    head: [&'static str; N],
    cells: impl Fn(&T) -> [String; N],
) -> io::Result<()> {
    if as_json {
        return json(&rows);
    }
    let mut table = Table::new(&head);
    rows.iter().for_each(|row| table.row(cells(row)));
    table.print()
}

/// One thing: a JSON object, or its fields.
///
/// # Errors
/// When standard output cannot be written; a broken pipe is none.
pub fn one<T: Serialize, const N: usize>(
    value: &T,
    as_json: bool,
    pairs: impl FnOnce(&T) -> [(&'static str, String); N],
) -> io::Result<()> {
    if as_json { json(value) } else { fields(&pairs(value)) }
}

/// Name and value pairs of one thing, one a line.
///
/// # Errors
/// When standard output cannot be written; a broken pipe is none.
pub fn fields(pairs: &[(&str, String)]) -> io::Result<()> {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<String> = pairs
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name:width$}  {}\n", report::escape(value)))
        .collect();
    say(&lines.concat())
}

/// One value as JSON on one line.
///
/// # Errors
/// When standard output cannot be written; a broken pipe is none.
pub fn json(value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string(value).map_err(io::Error::other)?;
    say(&(text + "\n"))
}

/// Text on standard output.
///
/// # Errors
/// When standard output cannot be written; a broken pipe is none.
pub fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    quiet(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// A broken pipe is what `… | head` does, so it is no error.
pub fn quiet(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// A count and what is counted: `1 node`, `2 nodes`.
pub fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_nothing_foreign_escapes() {
        let mut table = Table::new(&["NAME", "STATE"]);
        table.row(["a-long-name".to_owned(), "on".to_owned()]);
        table.row(["b\x1b[2J".to_owned(), "off".to_owned()]);
        assert_eq!(table.aligned(), "NAME         STATE\na-long-name  on\nb\\u{1b}[2J   off\n");
        assert_eq!(table.tabbed(), "a-long-name\ton\nb\\u{1b}[2J\toff\n");
        table.row(["节点".to_owned(), "on".to_owned()]);
        assert!(table.aligned().ends_with("\n节点         on\n"), "wide characters take two columns each");
    }
}
