//! Entries that outgrow one frame: their frames wait in the spool until the size is known, or they are read twice.
//!
//! The packer hands the entry over with its first frame full; what is left of it afterwards is the open frame.

use std::io;
use std::ops::ControlFlow;

use super::entry::{Entry, Filled, judge};
use super::input::Input;
use super::packer::Packer;
use super::{PackError, Packed};
use crate::agent::redact::CleanReport;
use crate::bundle::frame::{FRAME_RAW, Frame};
use crate::bundle::outcome::Outcome;
use crate::report;

impl<S: FnMut(Packed) -> ControlFlow<()>> Packer<S> {
    /// Goes on with an entry that filled the open frame: its frames wait in the spool until its size is known.
    pub(super) fn large(&mut self, mut input: impl Input, mut entry: Entry) -> Result<(), PackError> {
        // What comes before the content waits for the size; the content need not, and is a frame of its own.
        let content = entry.start + entry.head_length;
        self.first.clear();
        self.first.extend_from_slice(&self.stage[..content]);
        self.spool.clear();
        let (mut from, mut last, mut filled) = (content, None, Filled::Frame);
        if content == FRAME_RAW {
            // The header ends where the frame does.
            (from, self.used) = (0, 0);
            filled = self.fill(&mut input, &mut entry);
        }
        while filled == Filled::Frame {
            let frame = self.compressor.frame(&self.stage[from..FRAME_RAW]).map_err(PackError::Compress)?;
            (from, self.used) = (0, 0);
            let raw = self.first.len() as u64 + self.spool.raw() + u64::from(frame.raw);
            if !self.batch.fits(raw) {
                self.split(&mut entry)?;
            }
            if let Err((frame, error)) = self.spool.push(frame) {
                if let Some(length) = self.measure(&mut input, &entry) {
                    return self.twice(input, entry, length);
                }
                entry.cut = Some(format!("there was no room to keep more of it: {}", report::chain(&error)));
                last = Some(frame);
                break;
            }
            filled = self.fill(&mut input, &mut entry);
        }
        self.end_large(input, entry, last)
    }

    /// Sends what stands before the entry in its first frame, so that it begins a segment.
    fn split(&mut self, entry: &mut Entry) -> Result<(), PackError> {
        if entry.start > 0 {
            let frame = self.compressor.frame(&self.first[..entry.start]).map_err(PackError::Compress)?;
            self.batch.push(frame);
            self.first.drain(..entry.start);
            entry.start = 0;
        }
        if self.batch.is_empty() { Ok(()) } else { self.emit(true) }
    }

    /// Ends an entry of more than one frame: its header is written, its frames leave the spool.
    fn end_large(&mut self, input: impl Input, mut entry: Entry, last: Option<Frame>) -> Result<(), PackError> {
        let report = judge(input.finish(), &entry);
        self.pad();
        entry.head.size = entry.bytes;
        if !self.batch.fits(entry.start as u64 + entry.padded()) {
            self.split(&mut entry)?;
        }
        let whole = self.batch.takes(entry.padded());
        self.write_head(&entry)?;
        while let Some(frame) = self.spool.next() {
            self.part(frame.map_err(PackError::Spool)?)?;
        }
        self.spool.clear();
        if let Some(frame) = last {
            self.part(frame)?;
        }
        self.end_parts(entry, report, whole)
    }

    /// Closes the frame that ends with the header, now that the size is known.
    fn write_head(&mut self, entry: &Entry) -> Result<(), PackError> {
        let head = entry.head.encode();
        let content = entry.start + entry.head_length;
        if head.len() == entry.head_length {
            self.first[entry.start..content].copy_from_slice(&head);
        } else {
            // A size above 8 GiB needs a record of its own, and the header grows.
            self.first.splice(entry.start..content, head);
        }
        let first = std::mem::take(&mut self.first);
        for chunk in first.chunks(FRAME_RAW) {
            let frame = self.compressor.frame(chunk).map_err(PackError::Compress)?;
            self.part(frame)?;
        }
        Ok(())
    }

    /// Ends an entry whose frames are all in segments but the open one.
    pub(super) fn end_parts(&mut self, entry: Entry, report: CleanReport, whole: bool) -> Result<(), PackError> {
        if whole {
            // It shares its segment and its last frame with what follows.
            self.end(entry, report);
            return self.flush_noted();
        }
        if self.used > 0 {
            let frame = self.compress(self.used)?;
            self.used = 0;
            self.part(frame)?;
        }
        self.end(entry, report);
        self.emit(true)
    }

    /// The source's whole length, found by reading the rest, if it can be read once more from its start.
    fn measure(&mut self, input: &mut impl Input, entry: &Entry) -> Option<u64> {
        if !input.again() {
            return None;
        }
        let mut length = entry.bytes;
        loop {
            let room = (entry.limit - length).min(FRAME_RAW as u64) as usize;
            if room == 0 || self.stop.is_cancelled() {
                break;
            }
            match input.read(&mut self.stage[..room]) {
                Ok(0) => break,
                Ok(read) => length += read as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        input.rewind().ok().map(|()| length)
    }

    /// Packs a source of known length by reading it again: nothing waits, and what differs is cut or filled with zeros.
    fn twice(&mut self, mut input: impl Input, mut entry: Entry, length: u64) -> Result<(), PackError> {
        self.split(&mut entry)?;
        self.spool.clear();
        self.first = Vec::new();
        entry.head.size = length;
        let budget = entry.limit;
        (entry.bytes, entry.limit, entry.hasher) = (0, length, self.rows.then(blake3::Hasher::new));
        let head = entry.head.encode();
        entry.head_length = head.len();
        self.stage[..head.len()].copy_from_slice(&head);
        self.used = head.len();
        while self.fill(&mut input, &mut entry) == Filled::Frame {
            self.full_frame()?;
        }
        if entry.cut.is_some() && entry.bytes == length && length < budget {
            entry.cut = Some("it grew while it was read twice, for want of room to spool it".to_owned());
        }
        let report = judge(input.finish(), &entry);
        let report = self.fill_up(&mut entry, report, "it shrank while it was read twice")?;
        self.pad();
        let whole = self.batch.takes(entry.padded());
        self.end_parts(entry, report, whole)
    }

    /// Zeros up to the length that the header declares already; `shrank` is the reason where nobody knows a better one.
    pub(super) fn fill_up(
        &mut self,
        entry: &mut Entry,
        report: CleanReport,
        shrank: &str,
    ) -> Result<CleanReport, PackError> {
        if entry.bytes == entry.head.size {
            return Ok(report);
        }
        entry.length = Some(entry.bytes);
        self.zeros(entry.head.size - entry.bytes, |zeros| entry.took(zeros))?;
        let reason = if report.reason.is_empty() { shrank.to_owned() } else { report.reason };
        Ok(CleanReport { outcome: Outcome::Truncated, reason, ..report })
    }

    /// Adds zeros to an entry whose frames go out as they fill, and shows each piece of them to `each`.
    pub(super) fn zeros(&mut self, mut count: u64, mut each: impl FnMut(&[u8])) -> Result<(), PackError> {
        while count > 0 {
            let room = count.min((FRAME_RAW - self.used) as u64) as usize;
            let zeros = &mut self.stage[self.used..self.used + room];
            zeros.fill(0);
            each(zeros);
            self.used += room;
            count -= room as u64;
            if self.used == FRAME_RAW {
                self.full_frame()?;
            }
        }
        Ok(())
    }

    /// The open frame is full, and one of a large entry's.
    pub(super) fn full_frame(&mut self) -> Result<(), PackError> {
        let frame = self.compress(FRAME_RAW)?;
        self.used = 0;
        self.part(frame)
    }

    /// Adds a frame of a large entry; a full segment goes out as a part of it.
    fn part(&mut self, frame: Frame) -> Result<(), PackError> {
        if !self.batch.fits_part(u64::from(frame.raw)) {
            self.emit(false)?;
        }
        self.batch.push(frame);
        Ok(())
    }
}
