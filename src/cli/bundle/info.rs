//! `sheaf bundle info`: who asked, when, what the seal states, what became of each node.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::{Opened, damage, ended, open, spool};
use crate::bundle::Format;
use crate::bundle::entry::Head;
use crate::bundle::manifest::lines::Row;
use crate::bundle::manifest::{NodeRow, Request};
use crate::bundle::reader::{ReadError, Reader};
use crate::bundle::scan::{Visitor, scan};
use crate::bundle::slice::Slice;
use crate::report::escape;

/// Show who asked for a bundle, when, and what became of each node
#[derive(Debug, Args)]
#[command(after_help = "What the seal states is shown as it stands; `sheaf bundle verify` says whether it holds.

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
    outcomes: BTreeMap<String, u64>,
    files: u64,
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
                Ok(told) if self.json => writeln!(out, "{}", whole_json(&reader, &told))?,
                Ok(told) => out.write_all(whole_text(&reader, &told).as_bytes())?,
            },
            Opened::Front(input) => {
                let mut seen = Seen::default();
                let end = scan(input, &spool(), &mut seen)?;
                let _ = ended(&self.file, &end);
                let request: Request = match serde_json::from_slice(&seen.request) {
                    Ok(request) => request,
                    Err(_) => return damage(&self.file, ReadError::Damaged("it has no REQUEST.json".to_owned())),
                };
                if self.json {
                    writeln!(out, "{}", front_json(&request, &seen))?;
                } else {
                    out.write_all(front_text(&request, &seen).as_bytes())?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn told(reader: &mut Reader) -> Result<Told, ReadError> {
    let mut told = Told { request: reader.request()?, ..Told::default() };
    reader.rows(|row| {
        match row.parse()? {
            Row::File(row) => {
                told.files += 1;
                told.bytes += row.size;
                row.window.iter().for_each(|slice| told.windows.add(slice));
                *told.outcomes.entry(row.outcome.to_string()).or_default() += 1;
            }
            Row::Source(row) => *told.outcomes.entry(row.outcome.to_string()).or_default() += 1,
            Row::Node(row) => told.nodes.push(row),
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(told)
}

fn whole_json(reader: &Reader, told: &Told) -> Value {
    json!({
        "name": reader.statement().bundle,
        "format": reader.index().format(),
        "length": reader.index().length(),
        "frames": reader.index().frames(),
        "files": told.files,
        "bytes": told.bytes,
        "outcomes": told.outcomes,
        "windows": told.windows,
        "nodes": told.nodes,
        "request": told.request,
        "statement": reader.statement(),
        "key": reader.key().to_string(),
    })
}

fn whole_text(reader: &Reader, told: &Told) -> String {
    let (index, statement) = (reader.index(), reader.statement());
    let mut text = request_text(&told.request);
    let length = HumanBytes(index.length());
    let size = match index.format() {
        Format::Tar => format!("tar, {length}"),
        Format::TarZst => {
            format!("tar.zst, {length} in {} frames for {} of tar", index.frames(), HumanBytes(index.tar_length()))
        }
    };
    field(&mut text, "format", &size);
    field(&mut text, "files", &format!("{}, {}", told.files, HumanBytes(told.bytes)));
    let outcomes: Vec<_> = told.outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
    field(&mut text, "sources", &outcomes.join(", "));
    let rules: Vec<_> = told.windows.rules.iter().map(|(rule, count)| format!("{count} {rule}")).collect();
    if !rules.is_empty() {
        let (cut, left_out) = (told.windows.cut, HumanBytes(told.windows.left_out));
        field(&mut text, "logs", &format!("{}; {cut} cut, {left_out} left out", rules.join(", ")));
    }
    field(&mut text, "sealed", &format!("{} as {}", statement.sealed_at, statement.verdict));
    field(&mut text, "reason", &statement.reason);
    field(&mut text, "key", &reader.key().to_string());
    field(&mut text, "nodes", &format!("{} of {} collected", statement.nodes_collected, statement.nodes));
    for node in &told.nodes {
        let size = HumanBytes(node.bytes);
        let counts = format!("{} files, {size}, {} warnings", node.files, node.warnings);
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

/// What a scan tells of a bundle without its end.
#[derive(Default)]
struct Seen {
    request: Vec<u8>,
    in_request: bool,
    /// Whole files of each node, and their bytes.
    nodes: BTreeMap<String, (u64, u64)>,
    open: Option<(String, u64)>,
}

/// Nodes and bytes of request that are kept at most: the file is not to be trusted.
const NODES: usize = 100_000;
const REQUEST: usize = 8 << 20;

impl Visitor for Seen {
    fn head(&mut self, _: &str, path: &str, head: &Head) -> io::Result<ControlFlow<()>> {
        self.in_request = path == "REQUEST.json";
        let node = path.strip_prefix("nodes/").and_then(|rest| rest.split_once('/')).map(|(node, _)| node.to_owned());
        self.open = node.map(|node| (node, head.entry.size));
        Ok(ControlFlow::Continue(()))
    }

    fn data(&mut self, data: &[u8]) -> io::Result<()> {
        if self.in_request && self.request.len() + data.len() <= REQUEST {
            self.request.extend_from_slice(data);
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
    for (name, (files, bytes)) in &seen.nodes {
        text += &format!("  {}  {files} whole files, {}\n", escape(name), HumanBytes(*bytes));
    }
    text
}
