//! The journal's export format: where its fields are, so that what redaction puts into one leaves the others readable.
//!
//! A field of text is a line, `NAME=value`, and may get any length. One with a line's end or other odd bytes in it is `NAME`, a line's end, eight
//! bytes of length (little-endian), that many bytes and a line's end: what is put into it must have the length of what was taken out.
//! Nothing that is taken out goes on from one field into the next. What is no export is one long field, and nothing is lost by that.

use super::text::Edit;

/// What the bytes at some place of an export are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// A line, or its start; whether a `=` was in it, and whether anything was.
    Line { equals: bool, begun: bool },
    /// The length of a binary field: bytes of it read, and what they say.
    Length { read: u32, value: u64 },
    /// Bytes of a binary field, and how many are left.
    Data { left: u64 },
}

/// Goes along an export.
#[derive(Clone, Copy, Debug)]
pub(super) struct Export {
    at: At,
}

/// A part of an export, within some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) start: usize,
    /// Where what may be taken out of it ends, and where it ends itself.
    pub(super) inner: usize,
    pub(super) end: usize,
    /// Whether its length must stay.
    pub(super) fixed: bool,
    /// Whether all of it is at hand.
    pub(super) ended: bool,
}

impl Default for Export {
    fn default() -> Self {
        Self { at: At::Line { equals: false, begun: false } }
    }
}

impl Export {
    /// Whether a line begins here.
    pub(super) fn begins(self) -> bool {
        matches!(self.at, At::Line { begun: false, .. })
    }

    /// The part that begins, or goes on, at `from`; goes past it.
    pub(super) fn step(&mut self, hay: &[u8], from: usize) -> Field {
        let rest = &hay[from..];
        match &mut self.at {
            At::Line { equals, begun } => {
                let found = memchr::memchr(b'\n', rest);
                let line = &rest[..found.unwrap_or(rest.len())];
                *equals |= memchr::memchr(b'=', line).is_some();
                *begun |= !line.is_empty();
                let (inner, ended) = (from + line.len(), found.is_some());
                if ended {
                    let binary = *begun && !*equals;
                    let line = At::Line { equals: false, begun: false };
                    self.at = if binary { At::Length { read: 0, value: 0 } } else { line };
                }
                Field { start: from, inner, end: inner + usize::from(ended), fixed: false, ended }
            }
            At::Length { read, value } => {
                let count = rest.len().min(8 - *read as usize);
                for byte in &rest[..count] {
                    *value |= u64::from(*byte) << (8 * *read);
                    *read += 1;
                }
                let ended = *read == 8;
                if ended {
                    self.at = At::Data { left: *value };
                }
                // Nothing is taken out of a length.
                Field { start: from, inner: from, end: from + count, fixed: true, ended }
            }
            At::Data { left } => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                *left -= count as u64;
                let ended = *left == 0;
                if ended {
                    // What is left of its line is the line's end.
                    self.at = At::Line { equals: true, begun: false };
                }
                Field { start: from, inner: from + count, end: from + count, fixed: true, ended }
            }
        }
    }

    /// Goes past all parts up to the end of the bytes.
    pub(super) fn fields(&mut self, hay: &[u8], from: usize, fields: &mut Vec<Field>) {
        let mut at = from;
        while at < hay.len() {
            let field = self.step(hay, at);
            at = field.end;
            fields.push(field);
        }
    }
}

/// The field that holds `at`.
pub(super) fn field(fields: &[Field], at: usize) -> Option<&Field> {
    fields.get(fields.partition_point(|field| field.end <= at)).filter(|field| field.start <= at)
}

/// Keeps each edit within the field in which it begins; `from` is where the fields begin.
pub(super) fn fit(fields: &[Field], from: usize, edits: &mut [Edit]) {
    for edit in edits.iter_mut().filter(|edit| edit.end > from) {
        let Some(field) = field(fields, edit.start.max(from)) else { continue };
        if field.ended {
            edit.open = None;
        }
        edit.end = edit.end.min(field.inner);
    }
}
