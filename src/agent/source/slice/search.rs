//! Finds the part of a log that lies in a window without reading the rest: by halves, and at the end line by line.
//!
//! Lines without a time belong to the last one that has one. What is met on the way must rise, but for what several writers are out of step;
//! where it does not, the log is not sorted, and whoever asked has to look at every line. It reads a bounded part of the file.

use std::io;

use super::civil::Stamp;
use super::lines::{Lines, Place};
use super::reader::Reader;
use crate::window::Window;

/// Bytes that are not halved any more.
pub(super) const LINEAR: u64 = 128 << 10;
/// Bytes without a line that has a time, after which a search gives up.
const SILENT: u64 = 4 << 20;
/// Bytes, and lines, at a file's start in which the first time must stand.
const HEAD: (u64, usize) = (64 << 10, 200);
/// Places that are looked at in what is to be left out.
const LOOKS: u64 = 7;
/// Milliseconds that a line may be earlier than one before it: as much as windows are padded with, so that nothing is lost by it.
const STEP: i64 = 300_000;

/// Why there is no part.
#[derive(Debug)]
pub(super) enum Unsure {
    /// Times do not rise.
    Unsorted,
    /// The file cannot be read.
    Io(io::Error),
}

impl From<io::Error> for Unsure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Where the first line with a time begins, and when that was; only a file's first lines are looked at.
pub(super) fn first(place: &mut impl Place, reader: &mut Reader, size: u64) -> io::Result<Option<(u64, Stamp)>> {
    let found = first_known(place, reader, size)?;
    // Dates whose order a later line tells have a time only then.
    let again = found.is_some_and(|(offset, _)| offset > 0) && reader.calendar.has_order();
    if again { first_known(place, reader, size) } else { Ok(found) }
}

/// As [`first`], of a whole file: its last lines may tell what the first ones mean.
pub(super) fn first_of_file(
    place: &mut impl Place,
    reader: &mut Reader,
    size: u64,
) -> io::Result<Option<(u64, Stamp)>> {
    let found = first(place, reader, size)?;
    if found.is_some() || !reader.calendar.lacks_order() {
        return Ok(found);
    }
    settle(place, reader, size)?;
    if reader.calendar.has_order() { first_known(place, reader, size) } else { Ok(None) }
}

fn first_known(place: &mut impl Place, reader: &mut Reader, size: u64) -> io::Result<Option<(u64, Stamp)>> {
    let mut lines = Lines::new(place, 0, HEAD.0, size);
    for _ in 0..HEAD.1 {
        let Some((offset, line)) = lines.next()? else { break };
        if let Some(stamp) = reader.first(line) {
            return Ok(Some((offset, stamp)));
        }
    }
    Ok(None)
}

/// Has `reader` settle its zone by the last line of the file; whether that told.
pub(super) fn settle(place: &mut impl Place, reader: &mut Reader, size: u64) -> io::Result<bool> {
    let mut lines = Lines::new(place, size.saturating_sub(HEAD.0), size, size);
    let mut last = Vec::new();
    while let Some((_, line)) = lines.next()? {
        // The line is kept rather than its time: what that means turns out below.
        if reader.learns(line) {
            last.clear();
            last.extend_from_slice(line);
        }
    }
    Ok(reader.settle(&last))
}

/// From where to where `window` reaches in a sorted file of `size` bytes, whose first time is `first`.
pub(super) fn part(
    place: &mut impl Place,
    reader: &mut Reader,
    size: u64,
    first: (u64, Stamp),
    window: Window,
) -> Result<(u64, u64), Unsure> {
    let mut search = Search { place, reader, size, met: vec![first] };
    let from = match window.since {
        // What stands before the first time belongs to it.
        Some(since) if first.1.latest < since => search.find(first, &|stamp| stamp.latest >= since)?,
        _ => (0, Some(first.1)),
    };
    let to = match (window.until, from.1) {
        (Some(until), Some(stamp)) if stamp.earliest > until => from.0,
        (Some(until), Some(stamp)) => search.find((from.0.max(first.0), stamp), &|s| s.earliest > until)?.0,
        _ => size,
    };
    search.look(first.0, from.0)?;
    search.look(to, size)?;
    Ok((from.0, to))
}

struct Search<'a, P> {
    place: &'a mut P,
    reader: &'a mut Reader,
    size: u64,
    /// Lines that were met, by their offsets.
    met: Vec<(u64, Stamp)>,
}

impl<P: Place> Search<'_, P> {
    /// The first line for which `is` holds, behind `low`, for which it does not; the file's end when there is none.
    fn find(&mut self, low: (u64, Stamp), is: &dyn Fn(Stamp) -> bool) -> Result<(u64, Option<Stamp>), Unsure> {
        let (mut low, mut high) = (low.0, self.size);
        let mut answer = (self.size, None);
        while high - low > LINEAR {
            let middle = low + (high - low) / 2;
            match self.probe(middle, high)? {
                None => high = middle,
                Some((offset, stamp)) if is(stamp) => (high, answer) = (middle.min(offset), (offset, Some(stamp))),
                Some((offset, _)) => low = offset,
            }
        }
        Ok(self.walk(low, high, is)?.map_or(answer, |(offset, stamp)| (offset, Some(stamp))))
    }

    /// Looks here and there into what is to be left out: it may hold another log, as after a restore.
    fn look(&mut self, from: u64, to: u64) -> Result<(), Unsure> {
        let step = to.saturating_sub(from) / (LOOKS + 1);
        for number in (1..=LOOKS).filter(|_| step > LINEAR / LOOKS) {
            self.probe(from + number * step, to)?;
        }
        Ok(())
    }

    /// The first line with a time that begins in there.
    fn probe(&mut self, from: u64, limit: u64) -> Result<Option<(u64, Stamp)>, Unsure> {
        let found = {
            let mut lines = Lines::new(self.place, from, limit, self.size);
            loop {
                let Some((offset, line)) = lines.next()? else { break None };
                if let Some(stamp) = self.reader.stamp(line) {
                    break Some((offset, stamp));
                }
                if lines.offset() - from > SILENT {
                    return Err(Unsure::Unsorted);
                }
            }
        };
        if let Some(found) = found {
            self.meet(found)?;
        }
        Ok(found)
    }

    /// The first line in there for which `is` holds, by looking at each.
    fn walk(&mut self, low: u64, high: u64, is: &dyn Fn(Stamp) -> bool) -> Result<Option<(u64, Stamp)>, Unsure> {
        let (mut found, mut newest) = (None, i64::MIN);
        let mut lines = Lines::new(self.place, low, high, self.size);
        while let Some((offset, line)) = lines.next()? {
            let Some(stamp) = self.reader.stamp(line) else { continue };
            if stamp.latest.saturating_add(STEP) < newest {
                return Err(Unsure::Unsorted);
            }
            newest = newest.max(stamp.earliest);
            if found.is_none() && is(stamp) {
                found = Some((offset, stamp));
            }
        }
        if let Some(found) = found {
            self.meet(found)?;
        }
        Ok(found)
    }

    /// Takes a line into those that were met: it must fit between its neighbours.
    fn meet(&mut self, found: (u64, Stamp)) -> Result<(), Unsure> {
        let at = self.met.partition_point(|met| met.0 < found.0);
        let falls = |a: Stamp, b: Stamp| b.latest.saturating_add(STEP) < a.earliest;
        let before = at.checked_sub(1).and_then(|before| self.met.get(before));
        if before.is_some_and(|before| falls(before.1, found.1))
            || self.met.get(at).is_some_and(|after| falls(found.1, after.1))
        {
            return Err(Unsure::Unsorted);
        }
        self.met.insert(at, found);
        Ok(())
    }
}
