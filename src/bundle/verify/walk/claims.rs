//! What a bundle says of itself, held against what the walk saw: request, manifest, B3SUMS and seal.
//!
//! Contents of those entries come from the walk as they are read, and findings go to it. Nothing here reads the archive.

use super::super::observed::Seen;
use super::super::{Finding, Matter};
use super::{Stop, Walk, wrong};
use crate::bundle::entry::EntryHead;
use crate::bundle::manifest::lines::Row;
use crate::bundle::manifest::{FORMAT, FileRow, NodeRow, Request, Seal};
use crate::bundle::outcome::{Outcome, Verdict};
use crate::bundle::tape::Broken;
use crate::report;

impl Walk<'_> {
    pub(super) fn requested(&mut self, content: &[u8]) -> Result<(), Broken> {
        let request: Request = match serde_json::from_slice(content) {
            Ok(request) => request,
            Err(error) => return wrong(format!("REQUEST.json is malformed: {error}")),
        };
        if request.format != FORMAT {
            return wrong(format!("made in format {}, which is not known here", report::brief(&request.format, 40)));
        }
        if self.bundle.as_ref().is_none_or(|name| name.as_str() != request.bundle) {
            self.wrong("REQUEST.json", "it names another bundle");
        }
        self.absent = request.nodes.iter().cloned().collect();
        self.request = request;
        Ok(())
    }

    /// Holds a row of the manifest against the archive, and takes in what it says.
    pub(super) fn row(&mut self, row: Row) -> Result<(), Stop> {
        match row {
            Row::File(row) => {
                if !self.astray {
                    let seen = self.observed.next()?;
                    self.listed(&row, seen.as_ref());
                }
                self.said(row.outcome, None, Some(row.path), row.reason);
                self.partial |= row.outcome == Outcome::Truncated;
            }
            Row::Source(row) => self.said(row.outcome, Some(row.node), Some(row.path), row.reason),
            Row::Node(NodeRow { name, outcome, reason, .. }) => {
                self.collected += u64::from(outcome == Outcome::Collected);
                self.partial |= outcome != Outcome::Collected;
                self.said(outcome, Some(name), None, reason);
            }
        }
        Ok(())
    }

    fn listed(&mut self, row: &FileRow, seen: Option<&Seen>) {
        let Some(seen) = seen else {
            self.astray = true;
            return self.wrong(&row.path, "the manifest lists it and it is not there");
        };
        if seen.path != row.path {
            self.astray = true;
            let reason = format!("it is not what the manifest lists in its place, which is {}", row.path);
            return self.wrong(&seen.path, &reason);
        }
        if row.size != seen.size || row.offset != seen.offset {
            self.wrong(&row.path, "its size or offset is not the manifest's");
        }
        if row.blake3 != seen.content.to_hex().as_str() {
            self.wrong(&row.path, "its content is not what the manifest's digest says");
        }
    }

    /// Compares lines of B3SUMS as they come.
    pub(super) fn sums(&mut self, line: &mut Vec<u8>, mut data: &[u8]) -> Result<(), Broken> {
        while !data.is_empty() {
            let end = memchr::memchr(b'\n', data).map_or(data.len(), |at| at + 1);
            line.extend_from_slice(&data[..end]);
            data = &data[end..];
            if line.len() > 4096 {
                return wrong("B3SUMS has a line that is too long");
            }
            if !line.ends_with(b"\n") || self.astray {
                continue;
            }
            let seen = self.observed.next()?;
            let expected = seen.map(|seen| format!("{}  {}\n", seen.content.to_hex(), seen.path));
            if expected.is_none_or(|expected| expected.as_bytes() != line.as_slice()) {
                self.astray = true;
                let line = String::from_utf8_lossy(line);
                self.wrong("B3SUMS", &format!("a line is not what the archive holds: {}", line.trim_end()));
            }
            line.clear();
        }
        Ok(())
    }

    /// After the last row: what was seen and not listed.
    pub(super) fn rest_unlisted(&mut self, list: &str) -> Result<(), Broken> {
        if self.astray {
            return Ok(());
        }
        while let Some(seen) = self.observed.next()? {
            self.wrong(&seen.path, &format!("{list} does not list it"));
        }
        Ok(())
    }

    /// Opens the seal and holds its statement against everything that was seen.
    pub(super) fn sealed(
        &mut self,
        content: &[u8],
        entry: &EntryHead,
        blocks: &[u8],
        offset: u64,
    ) -> Result<(), Broken> {
        let (statement, key) = Seal::open(content).map_err(|e| Broken::Wrong(e.to_string()))?;
        let time = statement.sealed_at.parse::<jiff::Timestamp>().map_or(-1, |t| t.as_second());
        let ours = EntryHead { mode: 0o644, mtime_ns: i128::from(time) * 1_000_000_000, ..entry.clone() };
        if ours.encode() != blocks {
            self.wrong("SEAL.json", "its header is not canonical");
        }
        let bundle = self.bundle.as_ref().map_or("", |name| name.as_str()).to_owned();
        let hex = |hash: Option<blake3::Hash>| hash.map(|h| h.to_hex().to_string()).unwrap_or_default();
        let complete = !self.partial && self.collected >= statement.nodes;
        let verdict = match statement.verdict {
            Verdict::Complete => complete,
            Verdict::Partial => !complete,
            Verdict::Aborted => true,
            Verdict::Truncated | Verdict::Corrupt | Verdict::WrongSigner => false,
        };
        for (holds, what) in [
            (statement.format == FORMAT, "format"),
            (statement.bundle == bundle, "bundle's name"),
            (statement.entries == self.entries, "count of entries"),
            (statement.bytes == offset, "count of bytes"),
            (
                (statement.manifest_at, statement.b3sums_at) == (self.manifest.0, self.b3sums.0),
                "offset of the manifest",
            ),
            (statement.manifest == hex(self.manifest.1), "digest of manifest.json"),
            (statement.b3sums == hex(self.b3sums.1), "digest of B3SUMS"),
            (statement.root == self.root.finalize().to_hex().as_str(), "root digest"),
            (statement.nodes == self.request.nodes.len() as u64, "count of nodes"),
            (statement.nodes_collected == self.collected, "count of collected nodes"),
            (verdict, "verdict"),
        ] {
            if !holds {
                self.wrong("SEAL.json", &format!("its {what} is not what the archive holds"));
            }
        }
        if statement.verdict == Verdict::Aborted {
            self.found(&Finding {
                matter: Matter::Cut,
                node: None,
                path: None,
                reason: format!("its writer gave up: {}", statement.reason),
            });
        }
        self.seal = Some((statement, key));
        Ok(())
    }
}
