//! The streaming engine: bytes of a source in, redacted bytes out, with one copy of what is clean.
//!
//! A block is filled whole before it is looked through, so that the result depends on the bytes alone and not on how they
//! were read. It is cut at its last line end; where a line is longer than [`Sizes::overlap`], the block is cut inside
//! it, and the overlap is looked through twice, so that a secret across the cut is found whole. What is still open at
//! a cut (a key, a quoted value) is carried as an [`Open`].
//!
//! Where a source leaves something out, what is before ends, unfinished secrets with it, and what is behind begins anew. What the source
//! shows of the bytes left out is looked through like all others, so that the rest is judged in its place, and neither passed on nor counted.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use super::before;
use super::entries::Entries;
use super::export::{self, Export};
use super::label::Label;
use super::open::Open;
use super::scan::{self, Found, Rules, View};
use super::text::LOOK;
use crate::agent::source::Piece;

/// What stands behind a marker where the length has to stay.
const FILLER: u8 = b'*';

/// All of a buffer.
const SHOWN: Range<usize> = 0..usize::MAX;

/// How much is looked at together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Bytes of a block: large enough for the search to run at its speed, small enough for the processor's cache.
    pub(super) block: usize,
    /// Bytes behind a cut inside a line that are looked through again; a last line up to this length is carried whole.
    pub(super) overlap: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { block: 256 << 10, overlap: 64 << 10 }
    }
}

/// A source being redacted.
pub(super) struct Stream<R> {
    source: R,
    /// How it is read.
    pieces: fn(&mut R, &mut [u8]) -> io::Result<Piece>,
    rules: Arc<Rules>,
    sizes: Sizes,
    buffer: Vec<u8>,
    /// Bytes in the buffer.
    filled: usize,
    /// Bytes of the buffer that were passed on, or taken out.
    done: usize,
    /// Up to where the buffer was looked through and may be passed on.
    ready: usize,
    /// Whether what was passed on last ended a line: nothing before it matters any more.
    fresh: bool,
    found: Found,
    next_edit: usize,
    marker: Option<(usize, usize)>,
    open: Option<Open>,
    /// Whether the source ended, for now where `gap`.
    ended: bool,
    gap: bool,
    /// What of the buffer may be passed on at all.
    shown: Range<usize>,
    /// What was found last, where only its start is not shown.
    silent: Option<usize>,
    error: Option<io::Error>,
    counts: Vec<u64>,
    /// Where in an export of the journal `done` is, if this is one.
    export: Option<Export>,
    /// Keys that go on over its entries.
    entries: Entries,
    /// Bytes to put behind the marker, so that a field keeps its length.
    filler: usize,
    /// Whether what belongs to an open secret is in such a field.
    stays: bool,
}

impl<R: Read> Stream<R> {
    /// Redacts `source`, in `buffer` if that is of use.
    pub(super) fn new(source: R, rules: Arc<Rules>, sizes: Sizes, mut buffer: Vec<u8>) -> Self {
        buffer.resize(sizes.block, 0);
        let counts = vec![0; rules.names.len()];
        Self {
            source,
            pieces: |source, buffer| source.read(buffer).map(Piece::Shown),
            rules,
            sizes,
            buffer,
            filled: 0,
            done: 0,
            ready: 0,
            fresh: true,
            found: Found::default(),
            next_edit: 0,
            marker: None,
            open: None,
            ended: false,
            gap: false,
            shown: SHOWN,
            silent: None,
            error: None,
            counts,
            export: None,
            entries: Entries::default(),
            filler: 0,
            stays: false,
        }
    }

    /// The same for an export of the journal.
    pub(super) fn of_journal(self) -> Self {
        Self { export: Some(Export::default()), ..self }
    }

    /// The same, read so.
    pub(super) fn in_pieces(self, pieces: fn(&mut R, &mut [u8]) -> io::Result<Piece>) -> Self {
        Self { pieces, ..self }
    }

    /// The first bytes of the source, as many as a block takes; nothing is passed on by this.
    pub(super) fn peek(&mut self) -> &[u8] {
        if self.filled == 0 {
            self.fill();
        }
        while self.filled == 0 && self.begin_anew() {
            self.fill();
        }
        &self.buffer[..self.filled]
    }

    /// Redacted bytes; 0 at the end, which an error of the source brings about too.
    pub(super) fn read(&mut self, out: &mut [u8]) -> usize {
        let mut written = 0;
        while written < out.len() {
            if let Some((label, at)) = self.marker {
                let rest = &self.rules.markers[label][at..];
                let count = rest.len().min(out.len() - written);
                out[written..written + count].copy_from_slice(&rest[..count]);
                written += count;
                self.marker = (count < rest.len()).then_some((label, at + count));
                continue;
            }
            if self.filler > 0 {
                let count = self.filler.min(out.len() - written);
                out[written..written + count].fill(FILLER);
                written += count;
                self.filler -= count;
                continue;
            }
            let edit = self.found.edits.get(self.next_edit);
            let clean = edit.map_or(self.ready, |edit| edit.start);
            if self.done < clean && !self.shown.contains(&self.done) {
                self.done = if self.done < self.shown.start { clean.min(self.shown.start) } else { clean };
            } else if self.done < clean {
                let count = (clean.min(self.shown.end) - self.done).min(out.len() - written);
                out[written..written + count].copy_from_slice(&self.buffer[self.done..self.done + count]);
                written += count;
                self.done += count;
            } else if !self.take_edit() && (written > 0 || !self.advance()) {
                break;
            }
        }
        written
    }

    /// Looks through the source, as far as its first secret, and passes nothing on; whether there is one.
    pub(super) fn look_through(&mut self) -> bool {
        while self.advance() {
            if !self.found.edits.is_empty() {
                return true;
            }
            self.done = self.ready;
        }
        false
    }

    /// Replacements so far, by [`super::label::Label::index`].
    pub(super) fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Whether the source ended with an error.
    pub(super) fn failed(&self) -> bool {
        self.error.is_some()
    }

    /// The source, its error if it ended with one, and the buffer.
    pub(super) fn into_parts(self) -> (R, Option<io::Error>, Vec<u8>) {
        (self.source, self.error, self.buffer)
    }

    /// Goes over the next edit: its marker comes next, its bytes never.
    fn take_edit(&mut self) -> bool {
        let Some(edit) = self.found.edits.get(self.next_edit) else { return false };
        let label = edit.label.index();
        self.silent = (edit.end <= self.shown.start).then_some(label);
        if self.silent.is_some() || edit.start >= self.shown.end {
            self.done = edit.end;
            self.next_edit += 1;
            return true;
        }
        self.counts[label] += 1;
        let length = edit.end - edit.start;
        self.stays = export::field(&self.found.fields, edit.start).is_some_and(|field| field.fixed);
        let marker = self.rules.markers[label].len();
        if !self.stays {
            self.marker = Some((label, 0));
        } else if length >= marker {
            (self.marker, self.filler) = (Some((label, 0)), length - marker);
        } else {
            self.filler = length;
        }
        self.done = edit.end;
        self.next_edit += 1;
        true
    }

    /// Makes more bytes ready; false at the end.
    fn advance(&mut self) -> bool {
        self.found.edits.clear();
        self.next_edit = 0;
        loop {
            if self.marker.is_some() {
                return true;
            }
            if self.ended && self.done == self.filled && !self.begin_anew() {
                return false;
            }
            self.fill();
            if self.open.is_some() && !self.go_on() {
                continue;
            }
            self.look();
            return true;
        }
    }

    /// Behind a gap, forgets all that was before it; whether there is one.
    fn begin_anew(&mut self) -> bool {
        if !std::mem::take(&mut self.gap) {
            return false;
        }
        (self.filled, self.done, self.ready) = (0, 0, 0);
        (self.fresh, self.ended) = (true, false);
        // What is behind may be the rest of something so large that nobody saw its start.
        self.open = Some(Open::Rest { begun: false, inside: false });
        (self.shown, self.silent) = (SHOWN, Some(Label::Secret.index()));
        self.entries.lost();
        true
    }

    /// Makes room, keeping what rules may look back at, and reads until the block is full or the source ends.
    fn fill(&mut self) {
        let keep = if self.fresh { self.done } else { self.done.saturating_sub(LOOK.min(self.sizes.overlap)) };
        self.buffer.copy_within(keep..self.filled, 0);
        self.filled -= keep;
        self.done -= keep;
        self.ready = self.done;
        self.shown.start = self.shown.start.saturating_sub(keep);
        if self.shown.end != SHOWN.end {
            self.shown.end = self.shown.end.saturating_sub(keep);
        }
        while !self.ended && self.filled < self.buffer.len() {
            match (self.pieces)(&mut self.source, &mut self.buffer[self.filled..]) {
                Ok(Piece::Shown(0)) => self.ended = true,
                Ok(Piece::Shown(count)) => self.filled += count,
                Ok(Piece::Hidden(count)) => {
                    if self.shown.start == self.filled {
                        self.shown.start += count;
                    } else {
                        self.shown.end = self.shown.end.min(self.filled);
                    }
                    self.filled += count;
                }
                Ok(Piece::Gap) => (self.ended, self.gap) = (true, true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.error = Some(error);
                    self.ended = true;
                }
            }
        }
    }

    /// Takes out what belongs to an open secret; whether it ended.
    fn go_on(&mut self) -> bool {
        let Some(open) = &mut self.open else { return true };
        let hay = &self.buffer[..self.filled];
        let (mut end, mut closed) = open.go_on(hay, self.done, self.ended);
        if let Some(export) = &mut self.export {
            let field = { *export }.step(hay, self.done);
            if field.ended && field.inner < end {
                (end, closed) = (field.inner, true);
            }
            if self.ended && !closed {
                end = self.filled;
            }
            self.filler += if self.stays { end - self.done } else { 0 };
            export.fields(&hay[..end], self.done, &mut Vec::new());
        }
        // At the end of the source an open secret reaches to its end.
        self.done = if self.ended && !closed { self.filled } else { end };
        self.ready = self.done;
        if let Some(label) = self.silent.filter(|_| self.done > self.shown.start) {
            (self.silent, self.marker) = (None, Some((label, 0)));
            self.counts[label] += 1;
        }
        // Rules do not look back over a line's end.
        self.fresh = self.buffer[self.done..self.filled].first() == Some(&b'\n');
        if closed {
            (self.open, self.silent) = (None, None);
        }
        closed
    }

    /// Looks through the block, up to where it may be cut.
    fn look(&mut self) {
        let (mut cut, whole_lines) = self.cut();
        let hay = &self.buffer[..if whole_lines { cut } else { self.filled }];
        let look = if self.fresh { self.done } else { 0 };
        self.found.ended = self.ended && !self.gap;
        self.found.export = self.export;
        self.rules.scan(View { hay, from: self.done, look }, &mut self.found);
        if !self.ended {
            // What is judged as a whole is left for the next block, where it is not most of this one.
            cut = self.spare(cut, self.filled.saturating_sub(self.buffer.len() / 2).max(self.done + 1));
        }
        if self.export.is_some() && !self.ended {
            cut = Entries::cut(&self.buffer, self.done, cut);
        }
        let edits = &mut self.found.edits;
        edits.truncate(edits.partition_point(|edit| edit.start < cut));
        self.look_over_entries(cut);
        self.ready = cut;
        self.fresh = whole_lines && (cut == 0 || self.buffer[cut - 1] == b'\n');
        if let Some(last) = self.found.edits.last_mut() {
            self.ready = cut.max(last.end);
            self.open = last.open.take();
            if self.open.is_some() {
                self.ready = last.end;
                self.fresh = false;
            }
        }
        if self.open.is_some() || self.ready > cut {
            self.entries.lost();
        }
        if let Some(export) = &mut self.export {
            export.fields(&self.buffer[..self.ready], self.done, &mut Vec::new());
        }
    }

    /// Where to cut instead of at `cut`, so that nothing is cut that is judged as a whole, or that has its name behind it.
    fn spare(&self, mut cut: usize, floor: usize) -> usize {
        loop {
            let spared = self.found.spare(cut, floor);
            let before = before::cut(&self.buffer, self.done, spared);
            if before == cut || before < floor {
                return spared;
            }
            cut = before;
        }
    }

    /// In an export of the journal, takes out what of a key stands in other entries than its BEGIN line.
    fn look_over_entries(&mut self, cut: usize) {
        let Some(mut export) = self.export else { return };
        let (hay, found) = (&self.buffer[..cut], &mut self.found);
        let known = found.edits.len();
        self.entries.look(export, hay, self.done, &mut found.edits);
        if found.edits.len() > known {
            scan::settle(self.done, &mut found.edits);
            found.fields.clear();
            export.fields(&self.buffer[..self.filled], self.done, &mut found.fields);
        }
    }

    /// Where to cut the block, and whether that is at a line's end.
    fn cut(&self) -> (usize, bool) {
        if self.ended {
            return (self.filled, true);
        }
        let soft = self.filled.saturating_sub(self.sizes.overlap).max(self.done);
        match memchr::memrchr(b'\n', &self.buffer[soft..self.filled]) {
            Some(last) => (soft + last + 1, true),
            None => (soft, false),
        }
    }
}
