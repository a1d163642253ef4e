//! `sheaf bundle list`: one line or one JSON object for each file.

use std::io::{self, IsTerminal as _, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::{Opened, damage, ended, open_by, spool};
use crate::bundle::entry::{Head, Kind};
use crate::bundle::manifest::FileRow;
use crate::bundle::manifest::lines::Row;
use crate::bundle::outcome::Outcome;
use crate::bundle::reader::{ReadError, Reader};
use crate::bundle::scan::{Ended, Visitor, scan};
use crate::id::NodeName;
use crate::report;

/// List the files of a bundle
#[derive(Debug, Args)]
#[command(after_help = "Each line is size, outcome and path, separated by tabs when piped.

Exit codes:
  0 whole   4 cut: what is there is listed   5 corrupt   6 wrong signer   1 cannot be read

Examples:
  sheaf bundle list bundle.tar.zst
  sheaf bundle list bundle.tar.zst --node web-1
  sheaf bundle list bundle.tar.zst --json | jq -r '.[] | select(.outcome != \"collected\") | .name'")]
pub struct ListCommand {
    /// The bundle, .tar.zst or .tar; - for standard input
    pub file: PathBuf,
    /// Only this node's files
    #[arg(long, value_name = "NODE")]
    pub node: Option<NodeName>,
    /// File with the public key that must have sealed it (PEM or base64), or the key itself
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Print a JSON array of objects
    #[arg(long)]
    pub json: bool,
}

impl ListCommand {
    /// Runs it to its end.
    ///
    /// # Errors
    /// When the file cannot be read, or has nothing of the node.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let opened = match open_by(&self.file, self.key.as_deref())? {
            Ok(opened) => opened,
            Err(code) => return Ok(code),
        };
        let stdout = io::stdout().lock();
        let form = match (self.json, stdout.is_terminal()) {
            (true, _) => Form::Json,
            (false, true) => Form::Columns,
            (false, false) => Form::Tabs,
        };
        let folder = self.node.as_ref().map(|node| format!("nodes/{node}/"));
        let mut rows = Rows { out: io::BufWriter::new(stdout), form, folder, printed: 0 };
        let mut code = ExitCode::SUCCESS;
        let done = match opened {
            Opened::Whole(mut reader) => rows.of_manifest(&mut reader),
            Opened::Front(input, _) => {
                let mut scanned = Scanned { rows: &mut rows, open: None };
                let end = scan(input, &spool(), &mut scanned)?;
                scanned.cut()?;
                code = ended(&self.file, &end);
                if matches!(end, Ended::Wrong(_)) && rows.printed == 0 {
                    Err(ReadError::Damaged("nothing in it can be read".into()))
                } else {
                    Ok(())
                }
            }
        };
        rows.close()?;
        if let Err(error) = done {
            return damage(&self.file, error);
        }
        if let (Some(node), 0) = (&self.node, rows.printed) {
            let file = self.file.display();
            anyhow::bail!("{file} has no file of node {node}; `sheaf bundle info {file}` names its nodes");
        }
        Ok(code)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Columns,
    Tabs,
}

/// A row as JSON: every list has `name`.
#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    #[serde(flatten)]
    row: &'a FileRow,
}

/// Prints rows.
struct Rows<W: Write> {
    out: W,
    form: Form,
    folder: Option<String>,
    printed: u64,
}

impl<W: Write> Rows<W> {
    fn of_manifest(&mut self, reader: &mut Reader) -> Result<(), ReadError> {
        reader.rows(|row| {
            if let Row::File(row) = row.parse()? {
                self.print(&row)?;
            }
            Ok(ControlFlow::Continue(()))
        })?;
        for row in reader.tail()? {
            self.print(&row)?;
        }
        Ok(())
    }

    fn print(&mut self, row: &FileRow) -> io::Result<()> {
        if self.folder.as_ref().is_some_and(|folder| !row.path.starts_with(folder)) {
            return Ok(());
        }
        self.printed += 1;
        match self.form {
            Form::Json => {
                self.out.write_all(if self.printed == 1 { b"[" } else { b",\n" })?;
                serde_json::to_writer(&mut self.out, &Listed { name: &row.path, row }).map_err(io::Error::from)
            }
            Form::Columns => {
                writeln!(self.out, "{:>14}  {:<9}  {}", row.size, row.outcome.to_string(), report::escape(&row.path))
            }
            Form::Tabs => writeln!(self.out, "{}\t{}\t{}", row.size, row.outcome, row.path),
        }
    }

    fn close(&mut self) -> io::Result<()> {
        if self.form == Form::Json {
            self.out.write_all(if self.printed == 0 { b"[]\n" } else { b"]\n" })?;
        }
        self.out.flush()
    }
}

/// Rows as a scan finds them, without what only a manifest knows.
struct Scanned<'a, W: Write> {
    rows: &'a mut Rows<W>,
    /// The open entry, and how much of it is there.
    open: Option<(FileRow, u64, blake3::Hasher)>,
}

impl<W: Write> Scanned<'_, W> {
    /// Prints the entry that the file ends in.
    fn cut(&mut self) -> io::Result<()> {
        let Some((mut row, there, _)) = self.open.take() else { return Ok(()) };
        row.outcome = Outcome::Truncated;
        row.length = Some(there);
        self.rows.print(&row)
    }
}

impl<W: Write> Visitor for Scanned<'_, W> {
    fn head(&mut self, _: &str, path: &str, head: &Head) -> io::Result<ControlFlow<()>> {
        let row = FileRow { path: path.to_owned(), size: head.entry.size, ..FileRow::default() };
        self.open = (head.kind == Kind::File).then(|| (row, 0, blake3::Hasher::new()));
        Ok(ControlFlow::Continue(()))
    }

    fn data(&mut self, data: &[u8]) -> io::Result<()> {
        if let Some((_, there, content)) = &mut self.open {
            *there += data.len() as u64;
            content.update(data);
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<ControlFlow<()>> {
        if let Some((mut row, _, content)) = self.open.take() {
            row.blake3 = content.finalize().to_hex().to_string();
            self.rows.print(&row)?;
        }
        Ok(ControlFlow::Continue(()))
    }
}
