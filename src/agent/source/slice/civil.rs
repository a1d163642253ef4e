//! Points in time out of digits: what a log line's date and time come to, and how far off they may be.
//!
//! Fields come from [`super::forms`]; a [`Stamp`] goes out. A time without a zone may be meant in more than one way (an hour that comes
//! twice, a program that writes UTC), so a stamp is a stretch from the earliest to the latest that it can be. It never asks the system.

use jiff::tz::{AmbiguousOffset, TimeZone};

use super::zones::{self, Name};

/// Milliseconds of a day.
pub(super) const DAY: i64 = 86_400_000;
/// How long a zone's offset is taken to stay the same: changes come at full quarters.
const QUARTER: i64 = 900_000;
/// Milliseconds of an hour, by which clocks are changed, and of half a year, after which they were.
const HOUR: i64 = 3_600_000;
const HALF_A_YEAR: i64 = 183 * DAY;
/// All orders of three numbers.
const ORDERS: u8 = Order::Year as u8 | Order::Month as u8 | Order::Day as u8;
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

/// The zone that a line says its time is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Zone {
    /// None.
    Unsaid,
    /// Milliseconds east of Greenwich.
    East(i64),
    /// One by its name.
    Named(&'static Name),
}

impl Zone {
    /// What a clock of this zone meant that showed `ms`, as if it were UTC's.
    pub(super) fn at(self, ms: i64) -> Written {
        match self {
            Self::Unsaid => Written::Civil(ms),
            Self::East(east) => Written::At(ms - east),
            Self::Named(name) => Written::Named(ms, name),
        }
    }
}

/// In which order a date of three numbers stands, by what is first of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Year = 1,
    Month = 2,
    Day = 4,
}

impl Order {
    pub(super) const ALL: [Self; 3] = [Self::Year, Self::Month, Self::Day];

    /// Midnight of the date that three numbers are in this order, as UTC has it.
    pub(super) fn date(self, [first, second, third]: [u32; 3]) -> Option<i64> {
        let (year, month, day) = match self {
            Self::Year => (first, second, third),
            Self::Month => (third, first, second),
            Self::Day => (third, second, first),
        };
        date(i64::from(if year < 100 { year_of_two(year) } else { year }), month, day)
    }
}

/// The year that two digits mean.
pub(super) fn year_of_two(year: u32) -> u32 {
    if year < 70 { 2000 + year } else { 1900 + year }
}

/// What stands in a line, before anything is inferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// A point in time, milliseconds since 1970.
    At(i64),
    /// Date and time of a clock on some wall: milliseconds as if it were UTC's.
    Civil(i64),
    /// The same, in the zone of that name.
    Named(i64, &'static Name),
    /// A date of three numbers in an order that the line alone does not tell.
    Numbers {
        numbers: [u32; 3],
        /// Milliseconds of the day.
        time: i64,
        zone: Zone,
    },
    /// The same as `Civil` without a year.
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
    /// One so many milliseconds east of Greenwich, by what its clock showed when the file was written.
    East(i64),
}

/// What a file's times are read by.
#[derive(Clone, Debug)]
pub(super) struct Calendar {
    pub(super) zone: TimeZone,
    pub(super) unsaid: Unsaid,
    /// When the file was last written, milliseconds since 1970: its lines are older, or hardly newer.
    pub(super) mtime: i64,
    pub(super) boot: Option<i64>,
    /// The orders in which dates of three numbers may stand, by all that were met, and whether any was.
    orders: u8,
    met_numbers: bool,
    /// The last quarter of an hour that was looked up, and its earliest and latest offset.
    known: (i64, i64, i64),
    /// The last name that was looked up, and how far east that zone is.
    named: Option<(&'static Name, Option<i64>)>,
}

impl Calendar {
    pub(super) fn new(zone: TimeZone, mtime: i64, boot: Option<i64>) -> Self {
        let (unsaid, known) = (Unsaid::Node, (i64::MIN, 0, 0));
        Self { zone, unsaid, mtime, boot, orders: ORDERS, met_numbers: false, known, named: None }
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
            Written::Named(ms, name) => {
                Some(self.east(name).map_or_else(|| self.civil(ms, self.unsaid), |east| Stamp::at(ms - east)))
            }
            Written::Numbers { numbers, time, zone } => {
                let ms = self.order(numbers)?.date(numbers)? + time;
                self.stamp(zone.at(ms))
            }
            Written::Yearless { month, day, time, own } => self.yearless(month, day, time, own),
            // Lines of an earlier boot would be taken for those of this one.
            Written::Uptime(ms) => self.boot.filter(|boot| self.mtime >= *boot).map(|boot| Stamp::at(boot + ms)),
        }
    }

    /// Whether dates of three numbers were met, and nothing yet tells their order.
    pub(super) fn lacks_order(&self) -> bool {
        self.met_numbers && self.orders.count_ones() > 1
    }

    /// Whether such were met, and their order is known.
    pub(super) fn has_order(&self) -> bool {
        self.met_numbers && self.orders.count_ones() == 1
    }

    /// The only order in which all dates that were met are dates, and none of them is yet to come.
    fn order(&mut self, numbers: [u32; 3]) -> Option<Order> {
        self.met_numbers = true;
        if self.orders.count_ones() > 1 {
            let newest = self.mtime.saturating_add(DAY);
            self.keep_orders(|order| order.date(numbers).is_some_and(|date| date <= newest));
        }
        if self.orders.count_ones() > 1 { None } else { Order::ALL.into_iter().find(|it| self.orders == *it as u8) }
    }

    fn keep_orders(&mut self, is: impl Fn(Order) -> bool) {
        let kept = Order::ALL.into_iter().filter(|order| is(*order)).fold(0, |kept, order| kept | order as u8);
        self.orders &= kept;
    }

    /// Takes a date of a file's last line, which was written when the file was: only in one order it may be that day.
    pub(super) fn settle_order(&mut self, last: Written) {
        if let Written::Numbers { numbers, time, .. } = last
            && self.lacks_order()
        {
            let mtime = self.mtime;
            self.keep_orders(|order| {
                order.date(numbers).is_some_and(|date| date.saturating_add(time).abs_diff(mtime) <= DAY as u64)
            });
        }
    }

    /// Whether a line's time is one of a wall clock of which it is open where that hangs, and if so, whether it is surely the node's.
    pub(super) fn own(&mut self, written: Written) -> Option<bool> {
        match written {
            Written::Civil(_) | Written::Numbers { zone: Zone::Unsaid, .. } => Some(false),
            Written::Named(_, name) | Written::Numbers { zone: Zone::Named(name), .. } => {
                self.east(name).is_none().then_some(false)
            }
            Written::Yearless { own, .. } => Some(own),
            Written::At(_) | Written::Numbers { .. } | Written::Uptime(_) => None,
        }
    }

    /// Settles in which zone the file's times are that do not say, by its last one: that was written when the file was. Whether it told;
    /// where it did not, they are the node's if they are surely its `own`, and otherwise its or UTC's.
    pub(super) fn settle(&mut self, last: Option<Written>, own: bool) -> bool {
        const NEAR: i64 = 120_000;
        let otherwise = if own { Unsaid::Node } else { Unsaid::Either };
        self.unsaid = otherwise;
        let Some(last) = last else { return false };
        let mtime = self.mtime;
        let mut stamp = |unsaid| {
            self.unsaid = unsaid;
            let stamp = self.stamp(last);
            self.unsaid = otherwise;
            stamp
        };
        let is_near =
            |stamp: &Stamp| stamp.earliest <= mtime.saturating_add(NEAR) && stamp.latest >= mtime.saturating_sub(NEAR);
        let (node, utc) = (stamp(Unsaid::Node), stamp(Unsaid::East(0)));
        let shows = utc.and_then(|utc| zones::showing(utc.latest, mtime));
        let told = match (node.filter(is_near), utc.filter(is_near), shows) {
            (Some(_), ..) => Some(Unsaid::Node),
            (_, Some(_), _) if !own => Some(Unsaid::Utc),
            (.., Some(east)) => Some(Unsaid::East(east)),
            _ => None,
        };
        self.unsaid = told.unwrap_or(otherwise);
        told.is_some()
    }

    /// The zone that was found, in minutes east of Greenwich, where it is another than the node's.
    pub(super) fn zone_found(&self) -> Option<i16> {
        match self.unsaid {
            Unsaid::Utc => Some(0),
            Unsaid::East(east) => i16::try_from(east / 60_000).ok(),
            Unsaid::Node | Unsaid::Either => None,
        }
    }

    /// How far east a zone of that name is, in milliseconds: the node's own, where that is called so.
    fn east(&mut self, name: &'static Name) -> Option<i64> {
        if let Some((_, east)) = self.named.filter(|(known, _)| *known == name) {
            return east;
        }
        let own = [0, HALF_A_YEAR].into_iter().find_map(|ago| {
            let at = jiff::Timestamp::from_millisecond(self.mtime.saturating_sub(ago)).ok()?;
            let shown = self.zone.to_offset_info(at);
            (shown.abbreviation() == name.text).then(|| i64::from(shown.offset().seconds()) * 1000)
        });
        let east = own.or_else(|| name.east());
        self.named = Some((name, east));
        east
    }

    fn civil(&mut self, ms: i64, unsaid: Unsaid) -> Stamp {
        match unsaid {
            Unsaid::Utc => Stamp::at(ms),
            Unsaid::Node => self.local(ms),
            Unsaid::Either => self.local(ms).or(Stamp::at(ms)),
            // Another zone's clock may have been changed since, or before.
            Unsaid::East(east) => {
                let (at, most) = (ms - east, if (ms - east).abs_diff(self.mtime) > DAY as u64 { HOUR } else { 0 });
                Stamp { earliest: at - most, latest: at + most }
            }
        }
    }

    /// The latest year in which the date is not after the file's last change.
    fn yearless(&mut self, month: u32, day: u32, time: i64, own: bool) -> Option<Stamp> {
        let unsaid = match self.unsaid {
            Unsaid::Utc | Unsaid::Either if own => Unsaid::Node,
            unsaid => unsaid,
        };
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

/// Milliseconds of a day; a leap second counts to the one before, and at 24:00:00 the day is over.
pub(super) fn time(hour: u32, minute: u32, second: u32, ms: u32) -> Option<i64> {
    if (hour, minute, second, ms) == (24, 0, 0, 0) {
        return Some(DAY);
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some(i64::from((hour * 60 + minute) * 60 + second.min(59)) * 1000 + i64::from(ms))
}

fn year_of(ms: i64) -> i64 {
    jiff::Timestamp::from_millisecond(ms).map_or(1970, |at| i64::from(TimeZone::UTC.to_datetime(at).year()))
}
