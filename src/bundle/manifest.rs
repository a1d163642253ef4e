//! REQUEST.json, manifest.json, SEAL.json: the rows and objects that say what a bundle is.
//!
//! Written by the writer, read by verify, list and people. Readers ignore unknown members.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::outcome::{Cut, Outcome, Verdict};
use super::segment::Note;
use super::slice::Slice;
use crate::window::Window;

pub mod lines;

/// Version of the format, in REQUEST.json, manifest.json and SEAL.json.
pub const FORMAT: &str = "sheaf-bundle/1";

/// REQUEST.json, the first entry: who asked for what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// [`FORMAT`].
    pub format: String,
    /// The bundle's name.
    pub bundle: String,
    /// `sheaf` and its version.
    pub generator: String,
    /// RFC 3339.
    pub requested_at: String,
    /// The principal's name.
    pub requested_by: String,
    /// The cluster's name, or the node's for a node's own bundle.
    pub cluster: String,
    /// The task's number; 0 for a node's own bundle.
    pub task: u64,
    /// Case id as given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<String>,
    /// Note as given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Node globs as given; empty for all.
    #[serde(default)]
    pub node_filter: Vec<String>,
    /// Collectors asked for; empty for each node's default.
    #[serde(default)]
    pub collectors: Vec<String>,
    /// Bytes to collect at most, as asked for.
    #[serde(default, skip_serializing_if = "Budgets::is_none")]
    pub budgets: Budgets,
    /// The time that logs were taken from, by the clock of whoever asked the nodes; none for all.
    #[serde(default, skip_serializing_if = "Window::is_all")]
    pub window: Window,
    /// Redaction profile.
    pub redaction: String,
    /// Names of the rules by which the request had more taken out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redact: Vec<String>,
    /// The nodes expected, by name.
    pub nodes: Vec<String>,
}

/// Bytes that a request lets be collected at most; nodes cut and leave out what is beyond, oldest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budgets {
    /// Of each node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<u64>,
    /// Of all nodes together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<u64>,
}

impl Budgets {
    /// The same, with what it leaves open out of `others`.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self { node: self.node.or(others.node), bundle: self.bundle.or(others.bundle) }
    }

    /// Whether none was given.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// A row of the manifest's `files`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRow {
    /// Path below the bundle's folder.
    pub path: String,
    /// Bytes in the bundle.
    pub size: u64,
    /// True bytes, where the entry was padded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// BLAKE3 of the bytes in the bundle, hex.
    pub blake3: String,
    /// Where its first header block stands in the tar.
    pub offset: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// Why, when not simply collected.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What was left out of its middle to keep it within a limit or a budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
    /// The collector that asked for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub collector: String,
    /// Name on the host where it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<String>,
    /// Mode on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Symbolic link that led to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// How it was cut to the request's window; none where no window counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Slice>,
    /// Replacements per redaction rule.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub redacted: BTreeMap<String, u64>,
}

/// Version of the format of a node's REDACTION.json.
pub const REDACTION_FORMAT: &str = "sheaf-redaction/1";

/// REDACTION.json of a node, but for its `rows`: what was taken out by which rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedactionHead {
    /// [`REDACTION_FORMAT`].
    pub format: String,
    /// How much is taken out.
    pub profile: String,
    /// By which rules.
    pub rules: RedactionRules,
    /// Replacements per mark, of all sources.
    pub redacted: BTreeMap<String, u64>,
    /// How many sources there were.
    pub sources: RedactedSources,
}

/// The rules of a node's redaction: names, never patterns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedactionRules {
    /// Version of the built-in rules.
    pub version: u32,
    /// Digest of the list of built-in rules.
    pub digest: String,
    /// Rules of the node's own configuration.
    #[serde(default)]
    pub site: Vec<String>,
    /// Rules of the request.
    #[serde(default)]
    pub asked: Vec<String>,
}

/// Sources that went through a node's redaction, those that an earlier process of the agent sent among them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedactedSources {
    /// All.
    pub read: u64,
    /// Those of which something was taken out.
    pub redacted: u64,
    /// Those of which some or all was withheld.
    pub withheld: u64,
    /// Those with something taken out or withheld that have no row, for want of room.
    pub unlisted: u64,
}

/// A row of REDACTION.json: a source of which something was taken out or withheld.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedactedRow {
    /// Path below the node's folder.
    pub path: String,
    /// The collector that declares it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub collector: String,
    /// Replacements per mark.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub redacted: BTreeMap<String, u64>,
    /// Why it, or the rest of it, was withheld.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<String>,
}

/// How reasons begin of what redaction withheld.
pub const WITHHELD: &str = "withheld";

impl RedactedRow {
    /// What a note says of redaction; `None` where nothing was taken out or withheld.
    pub fn of(note: &Note) -> Option<Self> {
        let withheld = note.reason.starts_with(WITHHELD).then(|| note.reason.clone());
        let row = Self {
            path: note.path.clone(),
            collector: note.collector.clone(),
            redacted: note.redacted.clone(),
            withheld,
        };
        (!row.redacted.is_empty() || row.withheld.is_some()).then_some(row)
    }
}

/// A row of the manifest's `sources`: a source that gave no entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRow {
    /// The node.
    pub node: String,
    /// Where it would be, or its pattern.
    pub path: String,
    /// The collector that asked for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub collector: String,
    /// Skipped or failed.
    pub outcome: Outcome,
    /// Why.
    pub reason: String,
}

/// A row of the manifest's `nodes`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRow {
    /// The node's name.
    pub name: String,
    /// Collected, skipped (nothing of it), failed (gave up inside), truncated (cut).
    pub outcome: Outcome,
    /// Why, when not collected.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// RFC 3339, when its first segment came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// RFC 3339, when it was done with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// Files of it in the bundle.
    pub files: u64,
    /// Raw bytes of it in the bundle.
    pub bytes: u64,
    /// Compressed bytes it sent.
    pub wire_bytes: u64,
    /// Sources that were skipped or failed.
    pub warnings: u64,
    /// Replacements by redaction.
    pub redacted: u64,
    /// Milliseconds that collecting paused, since the node had too much to do.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub paused_ms: u64,
    /// Agent processes that worked on it.
    pub attempts: u32,
    /// The agent's version.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub agent_version: String,
    /// The node's clock minus the coordinator's, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_offset_ms: Option<i64>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// SEAL.json, the last entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// The exact text that is signed: a [`Statement`] as JSON.
    pub statement: String,
    /// Ed25519 over the statement's bytes, base64.
    pub signature: String,
    /// The public key, base64.
    pub key: String,
}

/// What the seal states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// [`FORMAT`].
    pub format: String,
    /// The bundle's name.
    pub bundle: String,
    /// Complete, partial or aborted.
    pub verdict: Verdict,
    /// Why, for aborted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// RFC 3339.
    pub sealed_at: String,
    /// Nodes expected, and how many of them are collected whole.
    pub nodes: u64,
    /// Nodes collected whole.
    pub nodes_collected: u64,
    /// Entries before the seal.
    pub entries: u64,
    /// Bytes of tar before the seal's header.
    pub bytes: u64,
    /// Where manifest.json's first header block stands in the tar.
    pub manifest_at: u64,
    /// Where B3SUMS's first header block stands in the tar.
    pub b3sums_at: u64,
    /// BLAKE3 of manifest.json, hex.
    pub manifest: String,
    /// BLAKE3 of B3SUMS, hex.
    pub b3sums: String,
    /// BLAKE3 over, for each entry before the seal in order, its header blocks and then the BLAKE3 of its content.
    pub root: String,
}
