//! What redaction did on this node, source by source: the content of REDACTION.json.
//!
//! It takes in what each source had to say at its end, and keeps a row of those of which something was taken out or withheld, up to a bound;
//! what is beyond is counted. Rows have paths, names of rules and counts, never a value or a site's pattern.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::agent::redact::{About, CleanReport};
use crate::bundle::manifest::{REDACTION_FORMAT, RedactedRow, RedactedSources, RedactionHead, RedactionRules};

/// Bytes of rows that are kept.
const ROWS: usize = 512 << 10;
/// Bytes around the rows, at most; names of site rules stand among them.
const AROUND: usize = 16 << 10;

/// What was taken out and withheld so far.
#[derive(Default)]
pub(super) struct Ledger {
    /// A row a line.
    rows: String,
    counts: BTreeMap<String, u64>,
    sources: RedactedSources,
}

impl Ledger {
    /// Takes in what became of a source.
    pub(super) fn add(&mut self, path: &str, collector: &str, report: &CleanReport) {
        self.sources.read += 1;
        if report.redacted.is_empty() && !report.withheld {
            return;
        }
        self.row(&RedactedRow {
            path: path.to_owned(),
            collector: collector.to_owned(),
            redacted: report.redacted.clone(),
            withheld: report.withheld.then(|| report.reason.clone()),
        });
    }

    /// Takes in that a source is held from an earlier attempt; what redaction did to it comes as a row.
    pub(super) fn held(&mut self) {
        self.sources.read += 1;
    }

    /// Takes in a source of which something was taken out or withheld.
    pub(super) fn row(&mut self, row: &RedactedRow) {
        self.sources.redacted += u64::from(!row.redacted.is_empty());
        self.sources.withheld += u64::from(row.withheld.is_some());
        for (rule, count) in &row.redacted {
            let sum = self.counts.entry(rule.clone()).or_default();
            *sum = sum.saturating_add(*count);
        }
        let row = json(row);
        if self.rows.len() + row.len() < ROWS {
            self.rows.push_str(&row);
            self.rows.push('\n');
        } else {
            self.sources.unlisted += 1;
        }
    }

    /// REDACTION.json, in `room` bytes: rows that do not fit are counted.
    pub(super) fn text(&self, about: &About, room: usize) -> String {
        let room = room.saturating_sub(AROUND);
        let mut sources = self.sources.clone();
        let (mut rows, mut bytes) = (Vec::new(), 0);
        for row in self.rows.lines() {
            bytes += row.len() + 2;
            if bytes <= room {
                rows.push(row);
            } else {
                sources.unlisted += 1;
            }
        }
        let head = RedactionHead {
            format: REDACTION_FORMAT.to_owned(),
            profile: about.profile.to_owned(),
            rules: RedactionRules {
                version: about.version,
                digest: about.digest.clone(),
                site: about.site.clone(),
                asked: about.asked.clone(),
            },
            redacted: self.counts.clone(),
            sources,
        };
        let head = json(&head);
        let head = head.strip_suffix('}').unwrap_or(&head);
        let break_ = if rows.is_empty() { "" } else { "\n" };
        format!("{head},\"rows\":[\n{}{break_}]}}\n", rows.join(",\n"))
    }
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("text and numbers serialize")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::redact::{Added, Profile};
    use crate::bundle::outcome::Outcome;

    fn report(count: u64, withheld: bool) -> CleanReport {
        let redacted = if count > 0 { [("password".to_owned(), count)].into() } else { BTreeMap::new() };
        let outcome = if withheld { Outcome::Failed } else { Outcome::Collected };
        let reason = if withheld { "withheld: UTF-16 text".to_owned() } else { String::new() };
        CleanReport { outcome, reason, redacted, withheld, ..CleanReport::default() }
    }

    fn read(text: &str) -> serde_json::Value {
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    #[test]
    fn sources_are_counted_and_those_with_something_are_listed() {
        let mut ledger = Ledger::default();
        let about = About::of(Profile::Secrets, Added::default());
        assert_eq!(read(&ledger.text(&about, usize::MAX))["rows"], serde_json::json!([]));
        ledger.add("files/a", "logs", &report(2, false));
        ledger.add("files/b", "logs", &report(0, false));
        ledger.add("files/c", "logs", &report(0, true));
        ledger.add("files/d", "logs", &report(1, true));
        let text = read(&ledger.text(&about, usize::MAX));
        assert_eq!(text["format"], REDACTION_FORMAT);
        assert_eq!(text["redacted"], serde_json::json!({"password": 3}));
        assert_eq!(text["sources"], serde_json::json!({"read": 4, "redacted": 2, "withheld": 2, "unlisted": 0}));
        let rows = text["rows"].as_array().expect("rows");
        assert_eq!(rows.iter().map(|row| &row["path"]).collect::<Vec<_>>(), ["files/a", "files/c", "files/d"]);
        assert_eq!(rows[1]["withheld"], "withheld: UTF-16 text");
    }

    #[test]
    fn what_has_no_room_is_counted() {
        let mut ledger = Ledger::default();
        let about = About::of(Profile::Secrets, Added::default());
        for number in 0..20_000 {
            ledger.add(&format!("files/{number}"), "logs", &report(1, false));
        }
        assert!(ledger.rows.len() <= ROWS);
        for room in [0, AROUND + 200, 64 << 10, usize::MAX] {
            let written = ledger.text(&about, room);
            let text = read(&written);
            assert!(written.len() <= room.max(AROUND), "{} bytes in {room}", written.len());
            let listed = text["rows"].as_array().expect("rows").len() as u64;
            assert_eq!(listed + text["sources"]["unlisted"].as_u64().expect("a count"), 20_000);
            assert_eq!(text["redacted"]["password"], 20_000);
        }
    }
}
