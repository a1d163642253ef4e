//! Logs, cut to a window of time: which files are logs, when their lines were written, and which part of each is taken.
//!
//! A file comes in opened; what goes out is a [`Verdict`], or for what cannot be searched a [`Lens`] that a [`Filter`] looks through. A
//! file whose times cannot be read is taken whole: nothing is left out that might belong to the window. Nothing here opens a path.

mod civil;
mod filter;
mod forms;
mod json;
mod lines;
mod reader;
mod search;

#[cfg(test)]
mod tests;

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

use jiff::tz::TimeZone;

use self::civil::{Calendar, Stamp, Unsaid};
use self::lines::{Lines, Place};
use self::reader::Reader;
use self::search::Unsure;
use super::file::FileContent;
use super::rotated;
use crate::agent::host::Host;
use crate::bundle::slice::{Rule, Slice};
use crate::window::Window;

pub use filter::Filter;

/// Bytes of a file of which every line is looked at: it costs no more than a search.
const SMALL: u64 = 2 * search::LINEAR;
/// Bytes of a zone's file at most.
const ZONE: u64 = 64 << 10;

/// What logs of a node are read by.
#[derive(Clone, Debug)]
pub struct Lenses {
    window: Window,
    zone: TimeZone,
    boot: Option<i64>,
}

impl Lenses {
    /// Those of a window by the host's clock; `None` where all is taken.
    pub fn of(host: &Host, window: Window) -> Option<Self> {
        if window.is_all() {
            return None;
        }
        let zone = host.read("/etc/localtime", ZONE).ok();
        let zone = zone.and_then(|data| TimeZone::tzif("the node's", &data).ok()).unwrap_or(TimeZone::UTC);
        let boot = host.text("/proc/stat").and_then(|stat| {
            let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
            line.trim().parse::<i64>().ok()?.checked_mul(1000)
        });
        Some(Self { window, zone, boot })
    }

    /// The one for a file that was last written then, nanoseconds since 1970.
    pub fn lens(&self, mtime_ns: i128) -> Lens {
        let mtime = i64::try_from(mtime_ns.div_euclid(1_000_000)).unwrap_or(i64::MAX);
        Lens { window: self.window, calendar: Calendar::new(self.zone.clone(), mtime, self.boot) }
    }
}

/// What one file is looked at through.
#[derive(Clone, Debug)]
pub struct Lens {
    window: Window,
    calendar: Calendar,
}

/// Which part of a file is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All of it.
    Whole(Rule),
    /// What stands between two offsets.
    Part(Rule, u64, u64),
    /// Lines here and there: a [`Filter`] finds them.
    Lines,
    /// Nothing.
    Nothing,
}

impl Lens {
    /// Whether the file was last written before the window began, so that no line of it can lie inside.
    pub fn is_before(&self) -> bool {
        self.window.since.is_some_and(|since| self.calendar.mtime < since)
    }

    fn holds(&self, stamp: Stamp) -> bool {
        self.window.since.is_none_or(|since| stamp.latest >= since)
            && self.window.until.is_none_or(|until| stamp.earliest <= until)
    }

    /// For a source of which the last line is out of reach: a time without a zone may be the node's or UTC.
    pub fn open_zone(mut self) -> Self {
        if !self.calendar.is_utc() {
            self.calendar.unsaid = Unsaid::Either;
        }
        self
    }

    /// Which part of a text lies in the window.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn judge(&mut self, content: &mut FileContent, size: u64) -> io::Result<Verdict> {
        self.part(content, size)
    }

    fn part(&mut self, place: &mut impl Place, size: u64) -> io::Result<Verdict> {
        let mut reader = Reader::new(self.calendar.clone());
        let Some(mut first) = search::first(place, &mut reader, size)? else {
            return Ok(Verdict::Whole(Rule::Mtime));
        };
        if reader.is_open() && !self.calendar.is_utc() {
            search::settle(place, &mut reader, size)?;
            self.calendar.unsaid = reader.calendar.unsaid;
            first = search::first(place, &mut reader, size)?.unwrap_or(first);
        }
        let rule = reader.rule().unwrap_or(Rule::Mtime);
        if self.window.until.is_none() && self.holds(first.1) {
            return Ok(Verdict::Whole(rule));
        }
        if size <= SMALL {
            return self.every_line(place, &mut reader, size, first.1);
        }
        match search::part(place, &mut reader, size, first, self.window) {
            Ok((from, to)) if from >= to => Ok(Verdict::Nothing),
            Ok((0, to)) if to == size => Ok(Verdict::Whole(rule)),
            Ok((from, to)) => Ok(Verdict::Part(rule, from, to)),
            Err(Unsure::Unsorted) => Ok(Verdict::Lines),
            Err(Unsure::Io(error)) => Err(error),
        }
    }

    /// Looks at every line: mostly those inside stand together.
    fn every_line(
        &self,
        place: &mut impl Place,
        reader: &mut Reader,
        size: u64,
        first: Stamp,
    ) -> io::Result<Verdict> {
        let mut keep = self.holds(first);
        let (mut from, mut to) = (keep.then_some(0), None);
        let mut lines = Lines::new(place, 0, size, size);
        while let Some((offset, line)) = lines.next()? {
            let Some(stamp) = reader.stamp(line) else { continue };
            match (keep, self.holds(stamp)) {
                (false, true) if to.is_some() => return Ok(Verdict::Lines),
                (false, true) => from = Some(offset),
                (true, false) => to = Some(offset),
                _ => continue,
            }
            keep = !keep;
        }
        let rule = reader.rule().unwrap_or(Rule::Mtime);
        Ok(match (from, to.unwrap_or(size)) {
            (None, _) => Verdict::Nothing,
            (Some(0), to) if to == size => Verdict::Whole(rule),
            (Some(from), to) => Verdict::Part(rule, from, to),
        })
    }
}

impl Verdict {
    /// What the manifest says of it, where that is known before the file is read.
    pub fn slice(self, size: u64) -> Option<Slice> {
        match self {
            Self::Whole(rule) => Some(Slice::whole(rule)),
            Self::Part(rule, from, to) => Some(Slice { rule, from, left_out: size - (to - from) }),
            Self::Lines | Self::Nothing => None,
        }
    }
}

/// Whether a file is a log by its path: one below /var/log, in a folder of logs, or with a log's name. What says how a node is set up, or
/// how it is now, is none.
pub fn is_log(path: &Path) -> bool {
    const NEVER: [&str; 7] = ["/etc", "/proc", "/sys", "/dev", "/boot", "/usr", "/bin"];
    if NEVER.iter().any(|folder| path.starts_with(folder)) {
        return false;
    }
    let folder = |part: Component<'_>| matches!(part.as_os_str().as_bytes(), b"log" | b"logs");
    if path.parent().is_some_and(|parent| parent.components().any(folder)) {
        return true;
    }
    let ends = |name: &[u8]| name.ends_with(b".log") || name.ends_with(b"_log");
    let name = path.file_name().unwrap_or_default().as_bytes();
    ends(name) || rotated::originals(name).any(|name| ends(&name))
}

impl Place for FileContent {
    fn at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_some(buffer, offset)
    }
}
