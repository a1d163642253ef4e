//! Logs, cut to a window of time: which files are logs, when their lines were written, and which part of each is taken.
//!
//! A file comes in opened; what goes out is a [`Verdict`], or for what cannot be searched a [`Lens`] that a [`Filter`] looks through. A
//! file whose times cannot be read is taken whole: nothing is left out that might belong to the window. Nothing here opens a path.

mod civil;
mod filter;
mod forms;
mod json;
mod key;
mod lines;
mod reader;
mod search;
mod zones;

#[cfg(test)]
mod tests;

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};
use std::sync::{Arc, Mutex};

use jiff::tz::TimeZone;

use self::civil::{Calendar, Stamp, Unsaid};
use self::lines::{Lines, Place};
use self::reader::Reader;
use self::search::Unsure;
use rustix::fs::Stat;

use super::budget::cut::COUNT;
use super::command::Ending;
use super::ends::{Ends, Most};
use super::file::FileContent;
use super::{Content, Kind, rotated};
use crate::agent::host::Host;
use crate::bundle::path::EntryPath;
use crate::bundle::slice::{Rule, Slice};
use crate::report;
use crate::window::Window;

pub use filter::Filter;

/// Bytes of a file of which every line is looked at: it costs no more than a search.
const SMALL: u64 = 2 * search::LINEAR;
/// Characters of a reason.
const REASON: usize = 600;
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
        Some(Self { boot, ..Self::new(window, zone) })
    }

    /// Those of a window, for a node in that zone.
    pub fn new(window: Window, zone: TimeZone) -> Self {
        Self { window, zone, boot: None }
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
        let Some(mut first) = search::first_of_file(place, &mut reader, size)? else {
            return Ok(Verdict::Whole(Rule::Mtime));
        };
        let (mut told, is_whole) = (true, self.window.until.is_none() && self.holds(first.1));
        // Where nothing is left out by the node's own clock, another one leaves nothing out either that may be meant.
        if let Some(own) = reader.own()
            && !(is_whole && (own || self.calendar.is_utc()))
        {
            told = search::settle(place, &mut reader, size)?;
            first = search::first(place, &mut reader, size)?.unwrap_or(first);
        }
        self.calendar = reader.calendar.clone();
        let verdict = self.verdict(place, &mut reader, size, first)?;
        // Something of what was written in the window lies in it, whatever its times may mean.
        let is_written_inside = self.holds(Stamp::at(self.calendar.mtime));
        let is_lost = verdict == Verdict::Nothing && !told && is_written_inside;
        Ok(if is_lost { Verdict::Whole(Rule::Mtime) } else { verdict })
    }

    fn verdict(
        &self,
        place: &mut impl Place,
        reader: &mut Reader,
        size: u64,
        first: (u64, Stamp),
    ) -> io::Result<Verdict> {
        let rule = reader.rule().unwrap_or(Rule::Mtime);
        if self.window.until.is_none() && self.holds(first.1) {
            return Ok(Verdict::Whole(rule));
        }
        if size <= SMALL {
            return self.every_line(place, reader, size, first.1);
        }
        match search::part(place, reader, size, first, self.window) {
            Ok((from, to)) if from >= to => Ok(Verdict::Nothing),
            Ok((0, to)) if to == size => Ok(Verdict::Whole(rule)),
            Ok((from, to)) => Ok(Verdict::Part(rule, from, to)),
            Err(Unsure::Unsorted) => Ok(Verdict::Lines),
            Err(Unsure::Io(error)) => Err(error),
        }
    }

    /// Looks at every line: mostly those inside stand together.
    fn every_line(&self, place: &mut impl Place, reader: &mut Reader, size: u64, first: Stamp) -> io::Result<Verdict> {
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

/// A file's content as a window leaves it.
pub(super) struct Sliced {
    pub(super) content: FileContent,
    /// What each line is looked at through, where those inside do not stand together.
    each: Option<Lens>,
    /// The same, where redaction has to decompress it first.
    pub(super) lens: Option<Lens>,
    /// What lets no more of it pass than head and tail, where its size is not known before it is read.
    ends: Option<(Most, Arc<Mutex<Ending>>)>,
}

impl Sliced {
    fn new(content: FileContent, each: Option<Lens>, lens: Option<Lens>) -> Self {
        Self { content, each, lens, ends: None }
    }

    /// Bytes that it has before it is read; `None` where only reading tells.
    pub(super) fn size(&self) -> Option<u64> {
        self.content.size()
    }

    /// Whether lines are left out of it here and there: then nobody knows how many before it is read.
    pub(super) fn is_sifted(&self) -> bool {
        self.each.is_some()
    }

    /// Bytes it will probably give.
    pub(super) fn size_hint(&self) -> Option<u64> {
        self.content.size_hint().filter(|_| self.ends.is_none())
    }

    /// Gives head and tail of what the window leaves, where that is more than it may be; how much it was stands in the ending.
    pub(super) fn keep_ends(&mut self, most: Most) -> Arc<Mutex<Ending>> {
        self.content.let_pass(most.bytes.saturating_add(COUNT).max(self.content.size().unwrap_or(0)));
        let ending = Arc::default();
        self.ends = Some((most, Arc::clone(&ending)));
        ending
    }

    /// The content with nothing in it but the lines of the window.
    pub(super) fn boxed(self) -> Box<dyn Content> {
        match (self.each, self.ends) {
            (Some(lens), None) => Box::new(Filter::unsorted(self.content, lens)),
            (None, None) => Box::new(self.content),
            (Some(lens), Some((most, ending))) => {
                Box::new(Ends::new(Filter::unsorted(self.content, lens), most, ending))
            }
            (None, Some((most, ending))) => Box::new(Ends::new(self.content, most, ending)),
        }
    }
}

/// What a lens leaves of a file; `None` for nothing. What gives other bytes each time is no log.
///
/// # Errors
/// Any error of the file system.
pub(super) fn cut(mut content: FileContent, kind: Kind, lens: Option<Lens>) -> io::Result<Option<Sliced>> {
    let (Some(mut lens), Some(size)) = (lens, content.size()) else {
        return Ok(Some(Sliced::new(content, None, None)));
    };
    let verdict = match kind {
        Kind::Text => lens.judge(&mut content, size)?,
        Kind::Binary { .. } => Verdict::Whole(Rule::Mtime),
        Kind::Gzip | Kind::Xz | Kind::Zstd => {
            return Ok(Some(Sliced::new(content, None, Some(lens.open_zone()))));
        }
    };
    let zone = |rule| if rule == Rule::Mtime { None } else { lens.calendar.zone_found() };
    let content = match verdict {
        Verdict::Nothing => return Ok(None),
        Verdict::Whole(rule) => content.whole(Slice { zone_minutes: zone(rule), ..Slice::whole(rule) }),
        Verdict::Part(rule, from, to) => {
            content.part(from, to, Slice { rule, from, left_out: size - (to - from), zone_minutes: zone(rule) })
        }
        Verdict::Lines => return Ok(Some(Sliced::new(content, Some(lens), None))),
    };
    Ok(Some(Sliced::new(content, None, None)))
}

/// Files of which nothing lies in the window, to be told of together: a node has many rotated logs.
#[derive(Default)]
pub(super) struct Outside {
    files: u64,
    bytes: u64,
    /// The first of them.
    names: Vec<String>,
    folder: String,
}

impl Outside {
    /// Names that are told.
    const NAMES: usize = 8;

    pub(super) fn add(&mut self, path: &Path, stat: &Stat) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(u64::try_from(stat.st_size).unwrap_or(0));
        if self.names.is_empty() {
            self.folder = path.parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned();
        }
        if self.names.len() < Self::NAMES {
            self.names.push(path.to_string_lossy().into_owned());
        }
    }

    /// Where they would be.
    pub(super) fn path(&self) -> String {
        let (path, _) = EntryPath::from_host("files", format!("{}/*", self.folder).as_bytes());
        path.to_string()
    }

    /// What is to be said of them; `None` when there are none.
    pub(super) fn reason(&self) -> Option<String> {
        let files = match self.files {
            0 => return None,
            1 => "1 file".to_owned(),
            files => format!("{files} files"),
        };
        let more = if self.files > self.names.len() as u64 { ", …" } else { "" };
        let reason = format!("nothing in the window: {files}, {} bytes: {}{more}", self.bytes, self.names.join(", "));
        Some(report::brief(&reason, REASON))
    }
}

/// Whether a file is a log that was last written before the window; `said` is what its collector says of windows.
pub(super) fn is_outside(window: Window, said: Option<bool>, path: &Path, stat: &Stat) -> bool {
    let before = window.since.is_some_and(|since| stat.st_mtime.saturating_mul(1000).saturating_add(999) < since);
    before && said.unwrap_or_else(|| is_log(path))
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
        FileContent::at(self, buffer, offset)
    }
}
