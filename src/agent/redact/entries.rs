//! Private keys that a program logs line by line: in the journal every line of such a key is an entry of its own, among entries of others.
//!
//! Whole entries of an export come in, in order; edits of those that hold a line of a key go out. Where a message ends with a key's BEGIN line, the
//! following messages of the same source are taken out as long as each is one run of base64, up to the END line. Others' entries are left alone,
//! and so is whatever else the same source says between. What is remembered is bounded, and no source is suspected for ever.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::export::{Export, Field};
use super::key;
use super::label::Label;
use super::text::Edit;

/// Keys that may be open at a time; the one that was heard of least recently gives way.
const KEYS: usize = 32;
/// Bytes of base64 that a line of a key has at least, but for its last one: it is 64 in PEM.
const LINE: usize = 40;
/// Lines of a key at most, and other messages of its source among them.
const LINES: u32 = 4096;
const STRAY: u32 = 16;
/// Bytes at the end of a block that are kept for the next one, at most, so that an entry is seen whole.
const ENTRY: usize = 64 << 10;

/// Keys whose END line has not been seen yet.
#[derive(Debug)]
pub(super) struct Entries {
    keys: Vec<Key>,
    /// Whether what comes next is the start of an entry.
    aligned: bool,
}

#[derive(Debug)]
struct Key {
    source: Source,
    /// Bytes of its lines, once there was one.
    line: usize,
    lines: u32,
    stray: u32,
}

/// Who logged an entry: its unit and identifier, and its process as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Source {
    program: u64,
    process: u64,
}

impl Source {
    /// Takes in a field that says who it is.
    fn take(&mut self, field: &[u8]) {
        let names = [b"_SYSTEMD_UNIT=".as_slice(), b"SYSLOG_IDENTIFIER=", b"_HOSTNAME=", b"_BOOT_ID="];
        let hash = |field: &[u8]| {
            let mut hasher = DefaultHasher::new();
            field.hash(&mut hasher);
            hasher.finish()
        };
        if field.starts_with(b"_PID=") {
            self.process = hash(field);
        } else if names.iter().any(|name| field.starts_with(name)) {
            // Fields come in any order.
            self.program ^= hash(field);
        }
    }
}

/// What a message is to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    Begin,
    End,
    /// One run of base64, of so many bytes.
    Body(usize),
    /// Nothing, or a header between BEGIN and body.
    Blank,
    Other,
}

impl Message {
    fn of(text: &[u8]) -> Self {
        let text = text.trim_ascii();
        let base64 = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
        if text.is_empty() {
            Self::Blank
        } else if text.iter().all(base64) {
            Self::Body(text.len())
        } else if key::ends_with_begin(text) {
            Self::Begin
        } else if key::holds_end(text) {
            Self::End
        } else if [b"Proc-Type:".as_slice(), b"DEK-Info:", b"Comment:", b"Version:"].iter().any(|h| text.starts_with(h))
        {
            Self::Blank
        } else {
            Self::Other
        }
    }
}

impl Default for Entries {
    fn default() -> Self {
        Self { keys: Vec::new(), aligned: true }
    }
}

impl Entries {
    /// Where to cut instead of at `cut`, so that no entry is cut that is not larger than most are.
    pub(super) fn cut(hay: &[u8], from: usize, cut: usize) -> usize {
        let floor = cut.saturating_sub(ENTRY).max(from);
        memchr::memmem::rfind(&hay[floor..cut], b"\n\n").map_or(cut, |at| floor + at + 2)
    }

    /// Looks at the entries of `hay` from `from` on, where `export` is; adds to `edits`, which are in order.
    pub(super) fn look(&mut self, mut export: Export, hay: &[u8], from: usize, edits: &mut Vec<Edit>) {
        let begins = |edit: &Edit| edit.label == Label::PrivateKey;
        self.aligned &= export.begins();
        if self.keys.is_empty() && !edits.iter().any(begins) {
            self.aligned = hay.ends_with(b"\n\n");
            return;
        }
        let (mut at, mut entry) = (from, from);
        while at < hay.len() {
            let field = export.step(hay, at);
            at = field.end;
            if !field.fixed && field.ended && field.inner == field.start {
                if self.aligned {
                    self.entry(hay, entry..field.start, edits);
                }
                (entry, self.aligned) = (at, true);
            }
        }
        if self.aligned && entry < hay.len() {
            // The last entry of all, or one that is larger than what is at hand.
            self.entry(hay, entry..hay.len(), edits);
            self.aligned = false;
        }
    }

    /// Whether the next bytes begin inside of an entry.
    pub(super) fn lost(&mut self) {
        self.aligned = false;
    }

    /// An entry: what its messages are to the keys that are open.
    fn entry(&mut self, hay: &[u8], at: std::ops::Range<usize>, edits: &mut Vec<Edit>) {
        let (mut source, mut messages) = (Source::default(), Vec::new());
        let mut fields: Vec<Field> = Vec::new();
        Export::default().fields(&hay[..at.end], at.start, &mut fields);
        let mut binary = false;
        for field in &fields {
            let text = &hay[field.start..field.inner];
            match text.strip_prefix(b"MESSAGE=") {
                Some(_) if !field.fixed => messages.push(field.start + 8..field.inner),
                _ if field.fixed && binary && !text.is_empty() => messages.push(field.start..field.inner),
                _ if !field.fixed => source.take(text),
                _ => {}
            }
            binary = if field.fixed { binary && text.is_empty() } else { text == b"MESSAGE" };
        }
        for message in messages {
            if self.message(source, &hay[message.clone()]) {
                edits.push(Edit { start: message.start, end: message.end, label: Label::PrivateKey, open: None });
            }
        }
    }

    /// Whether a message is a line of a key that its source has begun.
    fn message(&mut self, source: Source, text: &[u8]) -> bool {
        let message = Message::of(text);
        let exact = self.keys.iter().position(|key| key.source == source);
        // A program that is started anew for every line.
        let program = || self.keys.iter().position(|key| key.source.program == source.program);
        let known = match message {
            Message::Body(length) if length < LINE => exact,
            Message::Other | Message::Blank => exact,
            _ => exact.or_else(program),
        };
        if message == Message::Begin {
            if let Some(number) = known {
                self.keys.remove(number);
            }
            if self.keys.len() == KEYS {
                self.keys.remove(0);
            }
            self.keys.push(Key { source, line: 0, lines: 0, stray: 0 });
            return false;
        }
        let Some(number) = known else { return false };
        let mut key = self.keys.remove(number);
        let (takes, stays) = match message {
            // Its last line, or a word that is none of it.
            Message::Body(length) if length < LINE || length < key.line => (key.line > 0, key.line == 0),
            Message::Body(length) => {
                (key.line, key.lines, key.source) = (length, key.lines + 1, source);
                (true, key.lines < LINES)
            }
            Message::Blank => (false, true),
            Message::End => (false, false),
            Message::Other | Message::Begin => {
                key.stray += 1;
                (false, key.stray < STRAY)
            }
        };
        if stays {
            self.keys.push(key);
        }
        takes
    }
}
