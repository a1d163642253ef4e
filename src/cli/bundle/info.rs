//! `sheaf bundle info`: who asked, when, what the seal states, what became of each node.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::{Opened, contents, damage, ended, open, spool};
use crate::bundle::Format;
use crate::bundle::entry::Head;
use crate::bundle::manifest::lines::{Lines, Row};
use crate::bundle::manifest::{NodeRow, Request, Statement};
use crate::bundle::reader::{ReadError, Reader, sealed};
use crate::bundle::scan::{Ended, Extent, Visitor, measured};
use crate::bundle::seal::PublicKey;
use crate::bundle::slice::Slice;
use crate::cli::output::{bytes, counted};
use crate::report::escape;

/// Show who asked for a bundle, when, and what became of each node
#[derive(Debug, Args)]
#[command(after_help = "What the seal states is shown as it stands; `sheaf bundle verify` says whether it holds.

Exit codes:
  0 its seal holds, whatever it states   4 cut before it: what is there is shown   5 corrupt   1 cannot be read

Examples:
  sheaf bundle info bundle.tar.zst
  sheaf bundle info bundle.tar.zst --json | jq -r .key > seal.pub")]
pub struct InfoCommand {
    /// The bundle, .tar.zst or .tar; - for standard input
    pub file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// What can be told of a bundle.
#[derive(Default)]
struct Told {
    request: Request,
    nodes: Vec<NodeRow>,
    /// Of the nodes' sources.
    outcomes: BTreeMap<String, u64>,
    /// All files, those that stand behind the manifest too.
    files: u64,
    /// Those of nodes.
    of_nodes: u64,
    bytes: u64,
    windows: Windows,
}

/// How logs were cut to the request's window.
#[derive(Default, serde::Serialize)]
struct Windows {
    /// Files by the rule by which their times were read.
    rules: BTreeMap<String, u64>,
    /// Files of which something is left out, and bytes of that.
    cut: u64,
    left_out: u64,
}

impl Windows {
    fn add(&mut self, slice: &Slice) {
        *self.rules.entry(slice.rule.to_string()).or_default() += 1;
        self.cut += u64::from(slice.left_out > 0);
        self.left_out = self.left_out.saturating_add(slice.left_out);
    }
}

impl InfoCommand {
    /// Runs it to its end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let mut out = io::stdout().lock();
        match open(&self.file)? {
            Opened::Whole(mut reader) => match told(&mut reader) {
                Err(error) => return damage(&self.file, error),
                Ok(told) => self.whole(&mut out, &Seal::of(&reader), &told)?,
            },
            Opened::Front(input, _) => {
                let mut seen = Seen::default();
                let (end, extent) = measured(input, &spool(), &mut seen)?;
                let code = ended(&self.file, &end);
                let request: Request = match serde_json::from_slice(&seen.request) {
                    Ok(request) => request,
                    Err(_) => {
                        let none = "this is no bundle of sheaf: it has no REQUEST.json";
                        return damage(&self.file, ReadError::Damaged(none.to_owned()));
                    }
                };
                match extent.filter(|_| end == Ended::Well) {
                    Some(extent) => match seen.passed.sealed(request, extent) {
                        Ok((seal, told)) => self.whole(&mut out, &seal, &told)?,
                        Err(error) => return damage(&self.file, error),
                    },
                    None if self.json => writeln!(out, "{}", front_json(&request, &seen))?,
                    None => out.write_all(front_text(&request, &seen).as_bytes())?,
                }
                return Ok(code);
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn whole(&self, out: &mut impl Write, seal: &Seal, told: &Told) -> io::Result<()> {
        match self.json {
            true => writeln!(out, "{}", whole_json(seal, told)),
            false => out.write_all(whole_text(seal, told).as_bytes()),
        }
    }
}

/// What stands at a bundle's end, and how long it is.
struct Seal {
    statement: Statement,
    key: PublicKey,
    extent: Extent,
}

impl Seal {
    fn of(reader: &Reader) -> Self {
        let index = reader.index();
        let (length, tar_length) = (index.length(), index.tar_length());
        let extent = Extent { format: index.format(), length, frames: index.frames(), tar_length };
        Self { statement: reader.statement().clone(), key: reader.key(), extent }
    }
}

impl Told {
    fn add(&mut self, row: Row) {
        match row {
            Row::File(row) => {
                self.file(row.size);
                row.window.iter().for_each(|slice| self.windows.add(slice));
                if !row.path.starts_with("nodes/") {
                    return;
                }
                self.of_nodes += 1;
                *self.outcomes.entry(row.outcome.to_string()).or_default() += 1;
            }
            Row::Source(row) => *self.outcomes.entry(row.outcome.to_string()).or_default() += 1,
            Row::Node(row) => self.nodes.push(row),
        }
    }

    fn file(&mut self, size: u64) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(size);
    }

    /// Entries that are folders.
    fn folders(&self, statement: &Statement) -> u64 {
        // The statement counts what is before the seal.
        (statement.entries + 1).saturating_sub(self.files)
    }
}

fn told(reader: &mut Reader) -> Result<Told, ReadError> {
    let mut told = Told { request: reader.request()?, ..Told::default() };
    reader.rows(|row| {
        told.add(row.parse()?);
        Ok(ControlFlow::Continue(()))
    })?;
    reader.tail()?.iter().for_each(|row| told.file(row.size));
    Ok(told)
}

fn whole_json(seal: &Seal, told: &Told) -> Value {
    json!({
        "name": seal.statement.bundle,
        "format": seal.extent.format,
        "length": seal.extent.length,
        "frames": seal.extent.frames,
        "files": told.files,
        "folders": told.folders(&seal.statement),
        "bytes": told.bytes,
        "outcomes": told.outcomes,
        "windows": told.windows,
        "nodes": told.nodes,
        "request": told.request,
        "statement": seal.statement,
        "key": seal.key.to_string(),
    })
}

fn whole_text(Seal { statement, key, extent }: &Seal, told: &Told) -> String {
    let mut text = request_text(&told.request);
    let length = bytes(extent.length);
    let size = match extent.format {
        Format::Tar => format!("tar, {length}"),
        Format::TarZst => {
            let frames = counted(extent.frames as u64, "frame");
            format!("tar.zst, {length} in {frames} for {} of tar", bytes(extent.tar_length))
        }
    };
    field(&mut text, "format", &size);
    let (all, size) = (contents(told.files, told.folders(statement)), bytes(told.bytes));
    let (of_nodes, own) = (told.of_nodes, told.files.saturating_sub(told.of_nodes));
    field(&mut text, "contents", &format!("{all}, {size}: {of_nodes} of nodes, {own} of the bundle itself"));
    let outcomes: Vec<_> = told.outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
    field(&mut text, "sources", &outcomes.join(", "));
    let rules: Vec<_> = told.windows.rules.iter().map(|(rule, count)| format!("{count} {rule}")).collect();
    if !rules.is_empty() {
        let (cut, left_out) = (told.windows.cut, bytes(told.windows.left_out));
        field(&mut text, "logs", &format!("{}; {cut} cut, {left_out} left out", rules.join(", ")));
    }
    field(&mut text, "sealed", &format!("{} as {}", statement.sealed_at, statement.verdict));
    field(&mut text, "reason", &statement.reason);
    field(&mut text, "key", &key.to_string());
    field(&mut text, "nodes", &format!("{} of {} collected", statement.nodes_collected, statement.nodes));
    for node in &told.nodes {
        let (files, size) = (counted(node.files, "file"), bytes(node.bytes));
        let counts = format!("{files}, {size}, {}", counted(node.warnings, "warning"));
        let reason = if node.reason.is_empty() { String::new() } else { format!(": {}", escape(&node.reason)) };
        text += &format!("  {}  {}{reason}, {counts}\n", escape(&node.name), node.outcome);
    }
    text
}

fn request_text(request: &Request) -> String {
    let mut text = String::new();
    field(&mut text, "bundle", &request.bundle);
    field(&mut text, "cluster", &request.cluster);
    field(&mut text, "requested", &format!("{} by {}", request.requested_at, request.requested_by));
    field(&mut text, "case", request.case.as_deref().unwrap_or_default());
    field(&mut text, "note", request.note.as_deref().unwrap_or_default());
    field(&mut text, "filters", &request.node_filter.join(" "));
    field(&mut text, "collectors", &request.collectors.join(" "));
    field(&mut text, "window", &request.window.to_string());
    let redaction = std::iter::once(&request.redaction).chain(&request.redact).cloned().collect::<Vec<_>>();
    field(&mut text, "redaction", &redaction.join(" + "));
    text
}

fn field(text: &mut String, name: &str, value: &str) {
    if !value.is_empty() {
        *text += &format!("{name:<10}  {}\n", escape(value));
    }
}

/// Manifest and seal as they pass by: both hold for a bundle that came whole.
#[derive(Default)]
struct Passed {
    told: Told,
    manifest: Option<(Lines, blake3::Hasher)>,
    /// What is wrong with the manifest.
    fault: Option<ReadError>,
    seal: Vec<u8>,
}

impl Passed {
    fn manifest(&mut self, data: &[u8]) {
        let Some((lines, digest)) = &mut self.manifest else { return };
        digest.update(data);
        let fed = lines.feed::<ReadError>(data, |row| {
            let row = row.parse()?;
            if !matches!(row, Row::Node(_)) || self.told.nodes.len() < NODES {
                self.told.add(row);
            }
            Ok(())
        });
        if let Err(fault) = fed {
            (self.manifest, self.fault) = (None, Some(fault));
        }
    }

    /// What can be told by the seal, of which the manifest must be.
    fn sealed(&mut self, request: Request, extent: Extent) -> Result<(Seal, Told), ReadError> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        let (statement, key) = sealed(&self.seal)?;
        let damaged = |what: &str| ReadError::Damaged(what.to_owned());
        let (lines, digest) = self.manifest.take().ok_or_else(|| damaged("it has no manifest.json"))?;
        lines.finish()?;
        if digest.finalize().to_hex().as_str() != statement.manifest {
            return Err(damaged("manifest.json is not what its digest says"));
        }
        Ok((Seal { statement, key, extent }, Told { request, ..std::mem::take(&mut self.told) }))
    }
}

/// What a scan tells of a bundle without its end.
#[derive(Default)]
struct Seen {
    request: Vec<u8>,
    within: Within,
    passed: Passed,
    /// Whole files of each node, and their bytes.
    nodes: BTreeMap<String, (u64, u64)>,
    open: Option<(String, u64)>,
}

/// The file whose content passes by.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Within {
    Request,
    Manifest,
    Seal,
    #[default]
    Other,
}

/// Nodes and bytes of request or seal that are kept at most: the file is not to be trusted.
const NODES: usize = 100_000;
const REQUEST: usize = 8 << 20;

impl Visitor for Seen {
    fn head(&mut self, bundle: &str, path: &str, head: &Head) -> io::Result<ControlFlow<()>> {
        self.within = match path {
            "REQUEST.json" => Within::Request,
            "manifest.json" => Within::Manifest,
            "SEAL.json" => Within::Seal,
            _ => Within::Other,
        };
        if self.within == Within::Manifest {
            self.passed.manifest = Some((Lines::new(bundle), blake3::Hasher::new()));
        }
        if matches!(path, "manifest.json" | "B3SUMS" | "SEAL.json") {
            self.passed.told.file(head.entry.size);
        }
        let node = path.strip_prefix("nodes/").and_then(|rest| rest.split_once('/')).map(|(node, _)| node.to_owned());
        self.open = node.map(|node| (node, head.entry.size));
        Ok(ControlFlow::Continue(()))
    }

    fn data(&mut self, data: &[u8]) -> io::Result<()> {
        let kept = match self.within {
            Within::Request => &mut self.request,
            Within::Seal => &mut self.passed.seal,
            Within::Manifest => {
                self.passed.manifest(data);
                return Ok(());
            }
            Within::Other => return Ok(()),
        };
        if kept.len() + data.len() <= REQUEST {
            kept.extend_from_slice(data);
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<ControlFlow<()>> {
        if let Some((node, size)) = self.open.take()
            && (self.nodes.len() < NODES || self.nodes.contains_key(&node))
        {
            let (files, bytes) = self.nodes.entry(node).or_default();
            *files += 1;
            *bytes = bytes.saturating_add(size);
        }
        Ok(ControlFlow::Continue(()))
    }
}

fn front_json(request: &Request, seen: &Seen) -> Value {
    let node = |(name, (files, bytes)): (&String, &(u64, u64))| json!({ "name": name, "files": files, "bytes": bytes });
    let nodes: Vec<_> = seen.nodes.iter().map(node).collect();
    json!({ "name": request.bundle, "request": request, "nodes": nodes, "statement": null })
}

fn front_text(request: &Request, seen: &Seen) -> String {
    let mut text = request_text(request);
    field(&mut text, "nodes", &format!("{} expected, {} with files here", request.nodes.len(), seen.nodes.len()));
    for (name, (files, size)) in &seen.nodes {
        text += &format!("  {}  {}, {}\n", escape(name), counted(*files, "whole file"), bytes(*size));
    }
    text
}
