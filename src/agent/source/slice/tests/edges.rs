//! Each form at the edges of the calendar and of the clock: the year's turn, leap days and seconds, midnight, hours of one digit, years of two.

use super::*;

/// What a line comes to in UTC, in a file that was last written then.
fn read(line: &str, mtime: &str) -> Option<i64> {
    let stamp = Reader::new(calendar(TimeZone::UTC, ms(mtime))).stamp(line.as_bytes())?;
    assert_eq!(stamp.earliest, stamp.latest, "{line}");
    Some(stamp.earliest)
}

/// A form: how `strftime` writes it.
const FORMS: [&str; 21] = [
    "%Y-%m-%dT%H:%M:%SZ x",
    "%Y-%m-%d %H:%M:%S,000 x",
    "%Y-%m-%d %H:%M:%S UTC [1] x",
    "[%Y-%m-%dT%H:%M:%S,000] x",
    "%Y/%m/%d %H:%M:%S x",
    "%Y-%m-%dT%H:%M:%S.000000000Z stdout F x",
    "<34>1 %Y-%m-%dT%H:%M:%SZ x",
    "%b %e %H:%M:%S host x",
    "%b %d %Y %H:%M:%S host x",
    "I%m%d %H:%M:%S.000000 1 x.go:1] x",
    "10.0.0.1 - - [%d/%b/%Y:%H:%M:%S +0000] x",
    "[%a %b %d %H:%M:%S.000000 %Y] [core:error] x",
    "%b %e, %Y %I:%M:%S %p x",
    "1:M %d %b %Y %H:%M:%S.000 * x",
    "1:M %d %b %H:%M:%S.000 * x",
    "%y%m%d %H:%M:%S x",
    "%d.%m.%Y %H:%M:%S x",
    "=INFO REPORT==== %d-%b-%Y::%H:%M:%S ===",
    "{\"ts\":\"%Y-%m-%dT%H:%M:%S.000Z\"}",
    "ts=%Y-%m-%dT%H:%M:%SZ x",
    "%m/%d/%Y %I:%M:%S %p x",
];

#[test]
fn every_form_is_read_at_every_edge_of_the_calendar() {
    for form in FORMS {
        for at in [
            "2026-12-31T23:59:59Z",
            "2027-01-01T00:00:00Z",
            "2028-02-28T23:59:59Z",
            "2028-02-29T00:00:00Z",
            "2028-02-29T23:59:59Z",
            "2028-03-01T00:00:00Z",
            "2026-02-28T12:00:00Z",
            "2026-11-21T12:59:59Z",
            "2026-11-01T01:02:03Z",
        ] {
            let at: jiff::Timestamp = at.parse().expect("a time");
            let line = at.strftime(form).to_string();
            // A date that may be read with its month first or its day has no time by itself.
            let is_open =
                form.starts_with("%m/") && at.strftime("%-d").to_string().parse::<u8>().is_ok_and(|day| day <= 12);
            let expected = (!is_open).then_some(at.as_millisecond());
            let found = read(&line, &(at + jiff::SignedDuration::from_secs(5)).to_string());
            // A day that would be yet to come is not meant.
            assert!(found == expected || (is_open && found == Some(at.as_millisecond())), "{line}: {found:?}");
        }
        for never in ["2026-02-29", "2027-02-29", "2100-02-29"] {
            let line = jiff::civil::DateTime::constant(2028, 2, 29, 12, 0, 0, 0)
                .to_zoned(TimeZone::UTC)
                .expect("a time")
                .strftime(form)
                .to_string()
                .replace("2028", &never[..4])
                .replace("280229", &format!("{}0229", &never[2..4]));
            // What has no year is of the last leap year.
            if line.contains(&never[..4]) || line.starts_with("270229") || line.starts_with("260229") {
                assert_eq!(read(&line, "2101-01-01T00:00:00Z"), None, "{line}");
            }
        }
    }
}

#[test]
fn seconds_and_midnights_that_a_clock_shows_but_once() {
    let mtime = "2027-01-01T00:10:00Z";
    for (line, expected) in [
        ("2026-12-31T23:59:60Z x", "2026-12-31T23:59:59Z"),
        ("2026-12-31 23:59:60,500 x", "2026-12-31T23:59:59.500Z"),
        ("Dec 31 23:59:60 host x", "2026-12-31T23:59:59Z"),
        ("I1231 23:59:60.000000 1 x] x", "2026-12-31T23:59:59Z"),
        ("[31/Dec/2026:23:59:60 +0000] x", "2026-12-31T23:59:59Z"),
        ("2027-01-01T00:59:60+01:00 x", "2026-12-31T23:59:59Z"),
        ("1:M 31 Dec 2026 23:59:60.000 * x", "2026-12-31T23:59:59Z"),
        ("12/31/2026 11:59:60 PM x", "2026-12-31T23:59:59Z"),
        // The end of a day is the beginning of the next.
        ("2026-12-31T24:00:00Z x", "2027-01-01T00:00:00Z"),
        ("2026-12-31 24:00:00 x", "2027-01-01T00:00:00Z"),
        ("Dec 31 24:00:00 host x", "2027-01-01T00:00:00Z"),
        ("31.12.2026 24:00:00 x", "2027-01-01T00:00:00Z"),
        ("261231 24:00:00 x", "2027-01-01T00:00:00Z"),
        // Twelve comes before one.
        ("12/31/2026 12:00:00 AM x", "2026-12-31T00:00:00Z"),
        ("12/31/2026 12:59:59 AM x", "2026-12-31T00:59:59Z"),
        ("12/31/2026 12:00:00 PM x", "2026-12-31T12:00:00Z"),
        ("12/31/2026 1:00:00 PM x", "2026-12-31T13:00:00Z"),
        ("Dec 31, 2026 12:00:01 AM x", "2026-12-31T00:00:01Z"),
        ("12/31/2026 11:00:00 AMBER x", "2026-12-31T11:00:00Z"),
        // Hours and days of one digit, with a blank or without.
        ("2026-12-31  9:05:03 0 [Note] x", "2026-12-31T09:05:03Z"),
        ("261231  9:05:03 [Note] x", "2026-12-31T09:05:03Z"),
        ("2026/12/31 9:05:03 x", "2026-12-31T09:05:03Z"),
        ("1-Dec-2026 9:05:03 x", "2026-12-01T09:05:03Z"),
        ("1.2.2026 9:05:03 x", "2026-02-01T09:05:03Z"),
        ("Dec  1 09:05:03 x", "2026-12-01T09:05:03Z"),
        // Years of two digits are of this century, or of the end of the last.
        ("991231 23:59:59 x", "1999-12-31T23:59:59Z"),
        ("700101 00:00:00 x", "1970-01-01T00:00:00Z"),
        ("31.12.69 00:00:00 x", "2069-12-31T00:00:00Z"),
        ("12/31/26 00:00:00 x", "2026-12-31T00:00:00Z"),
        ("26/12/31 00:00:00 INFO x", "2026-12-31T00:00:00Z"),
    ] {
        assert_eq!(read(line, mtime), Some(ms(expected)), "{line}");
    }
}

#[test]
fn the_hours_that_come_twice_or_never_are_uncertain_in_every_form_without_a_zone() {
    let twice = "2026-10-25T02:30:00".parse::<jiff::civil::DateTime>().expect("a time");
    let never = "2026-03-29T02:30:00".parse::<jiff::civil::DateTime>().expect("a time");
    for form in FORMS {
        let says = form.contains('Z') || form.contains("+0000") || form.contains("UTC");
        for (shown, hour) in [(twice, "2026-10-25T00:30:00Z"), (never, "2026-03-29T00:30:00Z")] {
            let line = shown.to_zoned(TimeZone::UTC).expect("a time").strftime(form).to_string();
            let stamp = Reader::new(calendar(berlin(), ms("2026-11-21T00:00:00Z"))).stamp(line.as_bytes());
            let expected = match says {
                true => Stamp::at(ms(hour) + 2 * HOUR),
                false => Stamp { earliest: ms(hour), latest: ms(hour) + HOUR },
            };
            assert_eq!(stamp, Some(expected), "{line}");
        }
    }
    // What says its zone by a name says which of both it is.
    for (line, expected) in [
        ("2026-10-25 02:30:00 CEST x", "2026-10-25T00:30:00Z"),
        ("2026-10-25 02:30:00 CET x", "2026-10-25T01:30:00Z"),
        ("Sun Oct 25 02:30:00 CEST 2026 x", "2026-10-25T00:30:00Z"),
    ] {
        let stamp = Reader::new(calendar(berlin(), ms("2026-11-21T00:00:00Z"))).stamp(line.as_bytes());
        assert_eq!(stamp, Some(Stamp::at(ms(expected))), "{line}");
    }
}
