//! Points in time out of digits: what a log line's date and time come to, and how far off they may be.
//!
//! Fields come from [`super::forms`]; a [`Stamp`] goes out. A time without a zone may be meant in more than one way (an hour that comes
//! twice, a program that writes UTC), so a stamp is a stretch from the earliest to the latest that it can be. It never asks the system.

use jiff::tz::{AmbiguousOffset, TimeZone};

/// Milliseconds of a day.
pub(super) const DAY: i64 = 86_400_000;
/// How long a zone's offset is taken to stay the same: changes come at full quarters.
const QUARTER: i64 = 900_000;
/// Years that a date without one is looked for backwards: a leap day may be eight years old.
const YEARS: i64 = 9;

/// When a line was written: not before, and not after, milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) earliest: i64,
    pub(super) latest: i64,
}

impl Stamp {
    pub(super) fn at(ms: i64) -> Self {
        Self { earliest: ms, latest: ms }
    }

    fn or(self, other: Self) -> Self {
        Self { earliest: self.earliest.min(other.earliest), latest: self.latest.max(other.latest) }
    }
}

/// What stands in a line, before anything is inferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// A point in time, milliseconds since 1970.
    At(i64),
    /// Date and time of a clock on some wall: milliseconds as if it were UTC's.
    Civil(i64),
    /// The same without a year.
    Yearless {
        month: u32,
        day: u32,
        /// Milliseconds of the day.
        time: i64,
        /// Whether it is surely the node's own zone.
        own: bool,
    },
    /// Milliseconds since boot.
    Uptime(i64),
}

/// The zone in which a program writes times that do not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsaid {
    /// The node's.
    Node,
    /// UTC, as containers do.
    Utc,
    /// One of both.
    Either,
}

/// What a file's times are read by.
#[derive(Clone, Debug)]
pub(super) struct Calendar {
    pub(super) zone: TimeZone,
    pub(super) unsaid: Unsaid,
    /// When the file was last written, milliseconds since 1970: its lines are older, or hardly newer.
    pub(super) mtime: i64,
    pub(super) boot: Option<i64>,
    /// The last quarter of an hour that was looked up, and its earliest and latest offset.
    known: (i64, i64, i64),
}

impl Calendar {
    pub(super) fn new(zone: TimeZone, mtime: i64, boot: Option<i64>) -> Self {
        Self { zone, unsaid: Unsaid::Node, mtime, boot, known: (i64::MIN, 0, 0) }
    }

    /// Whether the node's wall clock shows UTC when the file was written.
    pub(super) fn is_utc(&self) -> bool {
        self.offsets(self.mtime) == (0, 0)
    }

    /// When that was.
    pub(super) fn stamp(&mut self, written: Written) -> Option<Stamp> {
        match written {
            Written::At(ms) => Some(Stamp::at(ms)),
            Written::Civil(ms) => Some(self.civil(ms, self.unsaid)),
            Written::Yearless { month, day, time, own } => self.yearless(month, day, time, own),
            // Lines of an earlier boot would be taken for those of this one.
            Written::Uptime(ms) => self.boot.filter(|boot| self.mtime >= *boot).map(|boot| Stamp::at(boot + ms)),
        }
    }

    fn civil(&mut self, ms: i64, unsaid: Unsaid) -> Stamp {
        match unsaid {
            Unsaid::Utc => Stamp::at(ms),
            Unsaid::Node => self.local(ms),
            Unsaid::Either => self.local(ms).or(Stamp::at(ms)),
        }
    }

    /// The latest year in which the date is not after the file's last change.
    fn yearless(&mut self, month: u32, day: u32, time: i64, own: bool) -> Option<Stamp> {
        let unsaid = if own { Unsaid::Node } else { self.unsaid };
        let newest = self.mtime.saturating_add(DAY);
        let year = year_of(newest) + 1;
        (year - YEARS..=year).rev().find_map(|year| {
            let ms = date(year, month, day)? + time;
            let stamp = self.civil(ms, unsaid);
            (stamp.earliest <= newest).then_some(stamp)
        })
    }

    /// The node's wall clock showed that.
    fn local(&mut self, ms: i64) -> Stamp {
        let quarter = ms.div_euclid(QUARTER);
        if self.known.0 != quarter {
            let (least, most) = self.offsets(quarter * QUARTER);
            self.known = (quarter, least, most);
        }
        let (_, least, most) = self.known;
        Stamp { earliest: ms - most, latest: ms - least }
    }

    /// The offsets that a wall clock may have had when it showed that, in milliseconds.
    fn offsets(&self, ms: i64) -> (i64, i64) {
        let Ok(at) = jiff::Timestamp::from_millisecond(ms) else { return (0, 0) };
        let shown = TimeZone::UTC.to_datetime(at);
        let (a, b) = match self.zone.to_ambiguous_timestamp(shown).offset() {
            AmbiguousOffset::Unambiguous { offset } => (offset, offset),
            AmbiguousOffset::Gap { before, after } | AmbiguousOffset::Fold { before, after } => (before, after),
        };
        let (a, b) = (i64::from(a.seconds()) * 1000, i64::from(b.seconds()) * 1000);
        (a.min(b), a.max(b))
    }
}

/// Midnight of a date as UTC has it; `None` for one that no calendar has.
pub(super) fn date(year: i64, month: u32, day: u32) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if !(1..=length).contains(&day) || !(1..=9998).contains(&year) {
        return None;
    }
    // Years begin in March, so that the leap day is the last.
    let (year, month) = if month > 2 { (year, i64::from(month) - 3) } else { (year - 1, i64::from(month) + 9) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + i64::from(day) - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days * DAY)
}

/// Milliseconds of a day; a leap second counts to the one before.
pub(super) fn time(hour: u32, minute: u32, second: u32, ms: u32) -> Option<i64> {
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some(i64::from((hour * 60 + minute) * 60 + second.min(59)) * 1000 + i64::from(ms))
}

fn year_of(ms: i64) -> i64 {
    jiff::Timestamp::from_millisecond(ms).map_or(1970, |at| i64::from(TimeZone::UTC.to_datetime(at).year()))
}
