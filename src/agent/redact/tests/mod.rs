//! Tests of the room as a whole: what is taken out and what is not, however it is read, and what happens when it fails.

mod cases;
mod closed;
mod compressed;
mod gaps;
mod journal;
mod reading;
mod site;

use std::io::{self, Read};
use std::sync::{Arc, LazyLock};

use super::scan::Rules;
use super::stream::{Sizes, Stream};
use super::{Clean, CleanReport, Profile, Redactor};
use crate::agent::source::{Content, Kind, Record};
use crate::bundle::outcome::Outcome;
use crate::bundle::path::EntryPath;

fn record(kind: Kind, content: Box<dyn Content>) -> Record {
    let path = EntryPath::parse("files/var/log/x").expect("is a path");
    Record { kind, content, ..Record::text(path, "logs", Vec::new()) }
}

fn cleaned(kind: Kind, bytes: &[u8]) -> (Vec<u8>, CleanReport) {
    let mut redactor = Redactor::new(Profile::Secrets, &[]).expect("builds");
    read_all(redactor.clean(record(kind, Box::new(io::Cursor::new(bytes.to_vec())))))
}

fn read_all(mut clean: Clean) -> (Vec<u8>, CleanReport) {
    let mut out = Vec::new();
    clean.read_to_end(&mut out).expect("a clean never errs");
    (out, clean.finish())
}

fn rules() -> Arc<Rules> {
    static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| Arc::new(Rules::new(false, &[]).expect("builds")));
    Arc::clone(&RULES)
}

/// Redacts with blocks of other sizes than usual, `step` bytes read and written at a time.
fn in_blocks(rules: &Arc<Rules>, bytes: &[u8], sizes: Sizes, step: usize) -> Vec<u8> {
    let source = Dripping { bytes, step };
    let mut stream = Stream::new(source, Arc::clone(rules), sizes, Vec::new());
    let mut out = Vec::new();
    let mut buffer = vec![0; step.clamp(1, 1 << 16)];
    loop {
        let count = stream.read(&mut buffer);
        if count == 0 {
            return out;
        }
        out.extend_from_slice(&buffer[..count]);
    }
}

/// Gives `step` bytes at a time.
struct Dripping<'a> {
    bytes: &'a [u8],
    step: usize,
}

impl Read for Dripping<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.len().min(self.step).min(out.len());
        out[..count].copy_from_slice(&self.bytes[..count]);
        self.bytes = &self.bytes[count..];
        Ok(count)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn failed(report: &CleanReport) -> (&str, Outcome) {
    (report.reason.as_str(), report.outcome)
}
