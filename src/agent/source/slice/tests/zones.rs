//! Zones that lines name, and those that only a file's time tells.

use super::super::{Lens, Verdict};
use super::*;
use crate::bundle::slice::Rule;

fn at(line: &str, zone: TimeZone) -> Option<(Rule, Stamp)> {
    let mut reader = Reader::new(calendar(zone, NOON + HOUR));
    let stamp = reader.stamp(line.as_bytes())?;
    Some((reader.rule().expect("a rule"), stamp))
}

fn posix(text: &str) -> TimeZone {
    TimeZone::posix(text).expect("a zone")
}

#[test]
fn a_name_of_one_zone_is_that_zone_and_the_nodes_own_goes_before() {
    for (line, zone, east) in [
        ("2026-11-21 11:02:01 EST x", TimeZone::UTC, -5),
        ("2026-11-21 11:02:01 EST x", berlin(), -5),
        // Manila's clock, and Brisbane's of once.
        ("2026-11-22 00:02:01 PST x", posix("PST-8"), 8),
        ("2026-11-22 02:02:01 EST x", posix("EST-10"), 10),
        // The zone is known by either of its names, at any time of the year.
        ("2026-11-21 17:02:01 IST x", posix("IST-1GMT0,M10.5.0,M3.5.0/1"), 1),
        ("2026-11-21 21:32:01 IST x", posix("IST-5:30"), 5),
        ("2026-11-22 00:02:01 CST x", posix("CST-8"), 8),
        ("2026-11-21 10:02:01 CST x", posix("CST6CDT,M3.2.0,M11.1.0"), -6),
        ("2026-11-21 11:02:01 CDT x", posix("CST6CDT,M3.2.0,M11.1.0"), -5),
    ] {
        let (_, stamp) = at(line, zone).unwrap_or_else(|| panic!("{line}"));
        assert_eq!(stamp, Stamp::at(NOON), "{line} {east}");
    }
}

#[test]
fn a_name_of_several_zones_is_a_zone_that_is_not_said() {
    let mut reader = Reader::new(calendar(berlin(), NOON));
    for line in ["2026-11-21 17:02:01 CST x", "2026-11-21 17:02:01 IST x", "Sat Nov 21 17:02:01 BST 2026 x"] {
        assert_eq!(reader.stamp(line.as_bytes()), Some(Stamp::at(NOON)), "{line}: as the node's");
    }
    assert_eq!(reader.own(), Some(false));
    // The last line tells which: China's.
    assert!(reader.settle(b"2026-11-22 00:02:01 CST x"));
    assert_eq!((reader.calendar.unsaid, reader.calendar.zone_found()), (Unsaid::East(8 * HOUR), Some(480)));
    assert_eq!(reader.stamp(b"2026-11-22 00:02:01 CST x"), Some(Stamp::at(NOON)));
}

/// A text of a line each ten minutes for two days, the last of them at noon, by a clock so many minutes east.
fn written(form: &str, minutes: i64) -> Vec<u8> {
    let line = |n: i64| {
        let shown = jiff::Timestamp::from_millisecond(NOON + (minutes - n * 10) * 60 * SECOND).expect("in range");
        format!("{} line {n}\n", shown.strftime(form))
    };
    (0..288).rev().flat_map(|n| line(n).into_bytes()).collect()
}

fn judged(text: &[u8], zone: TimeZone, mtime: i64, since: i64) -> (Verdict, Option<i16>) {
    let mut lens = Lens { window: window(Some(since), None), calendar: calendar(zone, mtime) };
    let verdict = lens.part(&mut Memory::of(text), text.len() as u64).expect("memory");
    (verdict, lens.calendar.zone_found())
}

#[test]
fn a_live_log_of_another_zone_is_cut_by_the_clock_that_wrote_it() {
    for form in [
        "%Y-%m-%d %H:%M:%S",
        "%Y/%m/%d %H:%M:%S",
        "%b %e %H:%M:%S host",
        "I%m%d %H:%M:%S.000000",
        "1:M %d %b %Y %H:%M:%S.000 *",
        "%d.%m.%Y %H:%M:%S",
        "%m/%d/%Y %I:%M:%S %p",
    ] {
        for minutes in [-720, -570, -300, -210, 330, 345, 540, 765, 840] {
            let text = written(form, minutes);
            for zone in [TimeZone::UTC, berlin()] {
                // Written a moment after its last line.
                let (verdict, found) = judged(&text, zone, NOON + 3 * SECOND, NOON - HOUR);
                let Verdict::Part(_, from, to) = verdict else { panic!("{form} {minutes}: {verdict:?}") };
                let kept = text[from as usize..to as usize].iter().filter(|byte| **byte == b'\n').count();
                assert_eq!((kept, found), (7, i16::try_from(minutes).ok()), "{form} {minutes}");
            }
        }
    }
}

#[test]
fn what_was_written_in_the_window_is_not_dropped_for_times_that_tell_nothing() {
    let text = written("%Y-%m-%d %H:%M:%S", 0);
    for (late, expected) in [
        // Seven minutes and a half after the last line, and days after it: no zone explains that.
        (450 * SECOND, Verdict::Whole(Rule::Mtime)),
        (2 * DAY + 450 * SECOND, Verdict::Whole(Rule::Mtime)),
        // The node's zone does.
        (100 * SECOND, Verdict::Nothing),
    ] {
        let mtime = NOON + late;
        assert_eq!(judged(&text, TimeZone::UTC, mtime, mtime - 50 * SECOND).0, expected, "{late}");
    }
    // Times by a clock that is a year ahead.
    let ahead = written("%Y-%m-%d %H:%M:%S", 365 * 24 * 60);
    let mut lens = Lens { window: window(None, Some(NOON + HOUR)), calendar: calendar(TimeZone::UTC, NOON) };
    let verdict = lens.part(&mut Memory::of(&ahead), ahead.len() as u64).expect("memory");
    assert_eq!(verdict, Verdict::Whole(Rule::Mtime));
    // What says its zone says when it was written.
    let said = written("%Y-%m-%dT%H:%M:%SZ", 0);
    assert_eq!(judged(&said, TimeZone::UTC, NOON + DAY, NOON + HOUR).0, Verdict::Nothing);
}

#[test]
fn a_clock_that_is_changed_in_another_zone_makes_older_lines_uncertain() {
    let mut reader = Reader::new(calendar(TimeZone::UTC, NOON));
    reader.first(b"2026-11-21 11:02:01 x").expect("a time");
    assert!(reader.settle(b"2026-11-21 11:02:01 x"));
    assert_eq!(reader.stamp(b"2026-11-21 10:02:01 x"), Some(Stamp::at(NOON - HOUR)));
    // In October it was summer there, for all that anybody knows.
    let old = ms("2026-10-01T15:00:00Z");
    assert_eq!(reader.stamp(b"2026-10-01 10:00:00 x"), Some(Stamp { earliest: old - HOUR, latest: old + HOUR }));
}

#[test]
fn the_zone_of_a_log_of_which_nothing_is_left_out_is_not_asked_for() {
    // Large enough that its end is not read with its beginning.
    let text: Vec<u8> = written("%Y-%m-%d %H:%M:%S", 540).repeat(40);
    let mut place = Memory::of(&text);
    let mut lens = Lens { window: window(Some(NOON - 3 * DAY), None), calendar: calendar(TimeZone::UTC, NOON) };
    let verdict = lens.part(&mut place, text.len() as u64).expect("memory");
    assert_eq!((verdict, place.read <= 64 << 10), (Verdict::Whole(Rule::Iso8601), true), "{}", place.read);
}
