//! What each form comes to: years, leap days, zones, daylight saving, fractions, and everything that is none.

use super::*;
use crate::bundle::slice::Rule;

/// What a line comes to on a node in that zone, in a file that was last written then.
fn read(line: &[u8], zone: TimeZone, mtime: i64) -> Option<(Rule, Stamp)> {
    let mut reader = Reader::new(calendar(zone, mtime));
    let stamp = reader.stamp(line)?;
    Some((reader.rule().expect("a rule"), stamp))
}

fn utc(line: &str) -> Option<(Rule, i64)> {
    let (rule, stamp) = read(line.as_bytes(), TimeZone::UTC, NOON + HOUR)?;
    assert_eq!(stamp.earliest, stamp.latest, "{line}");
    Some((rule, stamp.earliest))
}

#[test]
fn every_form_is_read() {
    for (line, rule) in [
        ("2026-11-21T16:02:01Z x", Rule::Rfc3339),
        ("2026-11-21T16:02:01.000Z", Rule::Rfc3339),
        ("2026-11-21t16:02:01z x", Rule::Rfc3339),
        ("2026-11-21 16:02:01+00:00 x", Rule::Rfc3339),
        ("2026-11-21T17:02:01+01:00 x", Rule::Rfc3339),
        ("2026-11-21T17:02:01+0100 x", Rule::Rfc3339),
        ("2026-11-21T17:02:01+01 x", Rule::Rfc3339),
        ("2026-11-21T10:32:01-05:30 x", Rule::Rfc3339),
        ("2026-11-21 17:02:01 +0100 x", Rule::Rfc3339),
        ("2026-11-21 16:02:01 UTC [99] LOG:  x", Rule::Rfc3339),
        ("2026-11-22T10:02:01+18:00", Rule::Rfc3339),
        ("2026-11-21 16:02:01 x", Rule::Iso8601),
        ("2026-11-21  16:02:01 x", Rule::Iso8601),
        ("2026-11-21_16:02:01 x", Rule::Iso8601),
        ("2026-11-21 16:02:01,000 - util.py[DEBUG]: x", Rule::Iso8601),
        ("[2026-11-21 16:02:01,000] INFO x", Rule::Iso8601),
        ("[2026-11-21T16:02:01Z] x", Rule::Rfc3339),
        ("(2026-11-21 16:02:01) x", Rule::Iso8601),
        ("\"2026-11-21 16:02:01\",x", Rule::Iso8601),
        ("2026-11-21 16:02:01-worker x", Rule::Iso8601),
        ("2026-11-21 17:02:01.000 CET [123] LOG:  x", Rule::Rfc3339),
        ("2026-11-21 19:02:01.000 +03 [123] LOG:  x", Rule::Rfc3339),
        ("2026-11-21 11:02:01 EST x", Rule::Rfc3339),
        ("2026-11-21T08:02:01PST x", Rule::Rfc3339),
        ("2026-11-21 16:02:01 NOPE x", Rule::Iso8601),
        ("2026-11-21 16:02:01 CETUS x", Rule::Iso8601),
        ("2026-11-21T16:02:01.000000Z 0 [Note] mysqld x", Rule::Rfc3339),
        ("[2026-11-21T16:02:01,000][INFO ][o.e.n.Node] x", Rule::Iso8601),
        ("2026-11-21 16:02:01.000000+00:00 [info] <0.1.0> x", Rule::Rfc3339),
        ("2026-11-21T16:02:01.000000000Z stdout F x", Rule::Cri),
        ("2026-11-21T17:02:01.000+01:00 stderr P x", Rule::Cri),
        ("Nov 21 16:02:01 host app[1]: x", Rule::Rfc3164),
        ("Nov 21 2026 16:02:01 host app: x", Rule::Rfc3164),
        ("<34>Nov 21 16:02:01 host app: x", Rule::Rfc3164),
        ("<34>1 2026-11-21T16:02:01.000Z host app 1 - - x", Rule::Rfc5424),
        ("I1121 16:02:01.000000   12345 file.go:12] x", Rule::Klog),
        ("E1121 16:02:01.000000       1 x.go:1] x", Rule::Klog),
        ("10.0.0.1 - - [21/Nov/2026:16:02:01 +0000] \"GET / HTTP/1.1\" 200 1", Rule::Clf),
        ("2001:db8::1 - user [21/Nov/2026:17:02:01 +0100] \"GET /\" 200", Rule::Clf),
        ("www.example.com:443 [x] - [21/Nov/2026:16:02:01 +0000] x", Rule::Clf),
        ("[21/Nov/2026:16:02:01 +0000] x", Rule::Clf),
        ("21-Nov-2026 16:02:01.000 named: x", Rule::Clf),
        ("=INFO REPORT==== 21-Nov-2026::16:02:01 ===", Rule::Clf),
        ("10.0.0.1:1234 [21/Nov/2026:16:02:01.000] front back/s1 0/0/1", Rule::Clf),
        ("1234:M 21 Nov 2026 16:02:01.000 * Ready", Rule::Redis),
        ("1234:S 21 Nov 16:02:01.000 # of older Redis", Rule::Redis),
        ("261121 16:02:01 [Note] x", Rule::Compact),
        ("261121 16:02:01\t    1 Query\tx", Rule::Compact),
        ("21.11.2026 16:02:01 x", Rule::Dotted),
        ("21.11.26 17:02:01,000 CET x", Rule::Dotted),
        ("11/21/2026 16:02:01 x", Rule::Numeric),
        ("11/21/2026 4:02:01 PM x", Rule::Numeric),
        ("11/21/26, 04:02:01pm x", Rule::Numeric),
        ("[21/11/2026 16:02:01.000] x", Rule::Numeric),
        ("21-11-2026 17:02:01 +0100 x", Rule::Numeric),
        ("21-11-2026T11:02:01 EST x", Rule::Numeric),
        ("Nov 21, 2026 4:02:01 PM org.apache.catalina.startup.Catalina start", Rule::Asctime),
        ("Sat Nov 21 17:02:01 CET 2026", Rule::Asctime),
        ("Sat Nov 21 16:02:01 NOPE 2026", Rule::Asctime),
        ("2026/11/21 16:02:01 [error] 99#99: *1 x", Rule::Slashed),
        ("2026/11/21 16:02:01.000123 main.go:1: x", Rule::Slashed),
        ("[Sat Nov 21 16:02:01.000123 2026] [core:error] [pid 1] x", Rule::Asctime),
        ("Sat Nov 21 16:02:01 2026 x", Rule::Asctime),
        ("Sat Nov 21 16:02:01 UTC 2026", Rule::Asctime),
        ("Sat, 21 Nov 2026 16:02:01 +0000 x", Rule::Asctime),
        ("{\"ts\":\"2026-11-21T16:02:01Z\",\"msg\":\"x\"}", Rule::Json),
        ("{ \"level\" : \"info\", \"time\" : 1795276921 }", Rule::Json),
        ("{\"timestamp\":1795276921.0004,\"x\":1}", Rule::Json),
        ("{\"ts\":1.795276921e9}", Rule::Json),
        ("{\"@timestamp\":1795276921000}", Rule::Json),
        ("{\"time\":1795276921000999}", Rule::Json),
        ("{\"ts\":\"1795276921000000999\"}", Rule::Json),
        ("{\"x\":{\"ts\":1},\"a\":[{\"time\":2}],\"time\":\"2026-11-21 16:02:01\"}", Rule::Json),
        ("{\"log\":\"{\\\"ts\\\":\\\"1999-01-01T00:00:00Z\\\"}\\n\",\"time\":\"2026-11-21T16:02:01Z\"}", Rule::Json),
        ("{\"t\":{\"$date\":\"2026-11-21T16:02:01.000+00:00\"},\"s\":\"I\"}", Rule::Json),
        ("{\"time\":\"12ms\",\"t\":5,\"stageTimestamp\":\"2026-11-21T16:02:01.000000Z\"", Rule::Json),
        ("1795276921.000 GET x", Rule::Epoch),
        ("1795276921000 x", Rule::Epoch),
        ("[1795276921.000] x", Rule::Epoch),
        ("type=SYSCALL msg=audit(1795276921.000:456): arch=x", Rule::Audit),
        ("node=n1 type=CWD msg=audit(1795276921.000:456): x", Rule::Audit),
        ("time=\"2026-11-21T16:02:01.000Z\" level=info msg=x", Rule::Rfc3339),
        ("ts=2026-11-21T16:02:01Z caller=x", Rule::Rfc3339),
        ("t=1795276921.000 x", Rule::Epoch),
        ("Start-Date: 2026-11-21  16:02:01", Rule::Iso8601),
        ("\u{feff}2026-11-21T16:02:01Z", Rule::Rfc3339),
        ("\u{1b}[32m2026-11-21T16:02:01Z\u{1b}[0m INFO", Rule::Rfc3339),
        ("\u{1b}[1;31m\u{1b}[0mNov 21 16:02:01 x", Rule::Rfc3164),
        ("\0\0\0\0\0Nov 21 16:02:01 host x", Rule::Rfc3164),
    ] {
        assert_eq!(utc(line), Some((rule, NOON)), "{line}");
        // Carriage returns, a missing end, and bytes of another encoding change nothing.
        for end in [b"\r\n".as_slice(), b" gr\xfc\xdfe \xff\xfe\n", b" \0\0\0\n"] {
            if rule != Rule::Json && !line.ends_with("2026") {
                let whole = [line.as_bytes(), end].concat();
                let found = read(&whole, TimeZone::UTC, NOON + HOUR);
                assert_eq!(found.map(|(rule, stamp)| (rule, stamp.earliest)), Some((rule, NOON)), "{line} {end:?}");
            }
        }
    }
}

#[test]
fn what_is_no_time_is_none() {
    for line in [
        "",
        "\n",
        "\r\n",
        "    at com.example.Main.run(Main.java:1)",
        " 2026-11-21T16:02:01Z indented, so a continuation",
        "\t2026-11-21T16:02:01Z",
        "Caused by: java.lang.Error",
        "2026-11-21",
        "2026-11-21T16:02",
        "2026-11-21T16:02:0",
        "2026-11-21T16:02:011",
        "2026-11-31T16:02:01Z",
        "2026-13-01T16:02:01Z",
        "2026-00-01T16:02:01Z",
        "2026-02-29T16:02:01Z",
        "1900-02-29T16:02:01Z",
        "2026-11-21T24:00:01Z",
        "2026-11-21T24:00:00.001Z",
        "2026-11-21T25:00:00Z",
        "11/21/2026 13:02:01 AM",
        "11/21/2026 0:02:01 PM",
        "13/13/2026 16:02:01",
        "31/11/2026 16:02:01",
        "11/21/2026",
        "11/21-2026 16:02:01",
        "11/21/202 16:02:01",
        "10.0.0.1 16:02:01",
        "32.11.2026 16:02:01",
        "11.21.2026 16:02:01",
        "261321 16:02:01",
        "261121 16:02",
        "2611211 16:02:01",
        "1234:M 21 Now 2026 16:02:01",
        "1234:Q 21 Nov 2026 16:02:01",
        "1234:M 31 Nov 16:02:01",
        ":M",
        "Nov 21, 16:02:01",
        "=INFO REPORT==== x",
        "2026-11-21T16:60:01Z",
        "2026-11-21T16:02:61Z",
        "2026-11-21x16:02:01Z",
        "2026-11/21 16:02:01",
        "0000-01-01T00:00:00Z",
        "Nov 31 16:02:01 host",
        "Nov  0 16:02:01 host",
        "Nov 21 16:02 host",
        "nov 21 16:02:01 host",
        "Nox 21 16:02:01 host",
        "November 21 16:02:01 host",
        "<>Nov 21 16:02:01",
        "<34>2 x",
        "I1321 16:02:01.000000 1 x.go:1] x",
        "I1121 25:02:01.000000 1 x.go:1] x",
        "X1121 16:02:01.000000 1 x.go:1] x",
        "10.0.0.1 - - [21/Now/2026:16:02:01 +0000] x",
        "10.0.0.1 - - [32/Nov/2026:16:02:01 +0000] x",
        "10.0.0.1 - - [",
        "[Sat Nov 21 16:02:01]",
        "Sat Nov 21 16:02:01",
        "1795276921 x",
        "179527692.123 x",
        "17952769210.123 x",
        "9999999999.123 x",
        "1795276921.x",
        "1795276921000x",
        "12345",
        "[  12.345678] of a boot that is not known",
        "[  12345]",
        "{}",
        "{\"time\"",
        "{\"time\":",
        "{\"time\":}",
        "{\"time\":\"",
        "{\"time\":null}",
        "{\"time\":12}",
        "{\"time\":-1795276921}",
        "{\"time\":1e400}",
        "{\"time\":99999999999999999999999}",
        "{\"a\":\"time\",\"b\":\"2026-11-21T16:02:01Z\"}",
        "{\"a\":{\"time\":\"2026-11-21T16:02:01Z\"}}",
        "{\"$date\":\"2026-11-21T16:02:01Z\"}",
        "{\"x\":{\"$date\":\"2026-11-21T16:02:01Z\"}}",
        "{\"msg\":\"\\",
        "{}}}}",
        "type=SYSCALL msg=audit(x)",
        "time=soon",
        "=2026-11-21T16:02:01Z",
        "\u{1b}[",
        "\u{1b}[99999999999999999999m2026-11-21T16:02:01Z",
        "\0\0\0",
        "🦀🦀🦀🦀",
    ] {
        assert_eq!(utc(line), None, "{line:?}");
    }
}

#[test]
fn no_cut_of_a_line_is_read_as_another_time() {
    for line in [
        "2026-11-21T16:02:01.250Z x",
        "2026-11-21 17:02:01.250 +0100 x",
        "Nov 21 16:02:01.250 host x",
        "<34>1 2026-11-21T16:02:01.250Z x",
        "I1121 16:02:01.250000   12345 x",
        "10.0.0.1 - - [21/Nov/2026:17:02:01 +0100] x",
        "[Sat Nov 21 16:02:01.250 2026] x",
        "{\"a\":1,\"time\":\"2026-11-21T16:02:01.250Z\"}",
        "type=X msg=audit(1795276921.250:1): x",
        "1795276921.250 x",
    ] {
        for cut in 0..line.len() {
            // A cut in a fraction or before a zone may be another time, though never far from this one.
            if let Some((_, at)) = utc(&line[..cut]) {
                assert!((at - NOON).abs() <= HOUR + SECOND, "{line:?} to {cut}: {at}");
            }
        }
    }
}

#[test]
fn fractions_have_any_number_of_digits() {
    for (fraction, expected) in [
        ("", 0),
        (".", 0),
        (".1", 100),
        (".12", 120),
        (".123", 123),
        (",123", 123),
        (".1239", 123),
        (".123456789012", 123),
    ] {
        let line = format!("2026-11-21T16:02:01{fraction}");
        assert_eq!(utc(&line), Some((Rule::Iso8601, NOON + expected)), "{line}");
    }
    for (number, expected) in [("1795276921.5", 500), ("1795276921.0009", 0), ("1795276921.123456789", 123)] {
        assert_eq!(utc(&format!("{{\"ts\":{number}}}")), Some((Rule::Json, NOON + expected)), "{number}");
        assert_eq!(utc(&format!("{number} x")), Some((Rule::Epoch, NOON + expected)), "{number}");
    }
    assert_eq!(utc("2026-12-31T23:59:60Z"), Some((Rule::Rfc3339, ms("2026-12-31T23:59:59Z"))), "a leap second");
}

#[test]
fn a_year_is_inferred_from_when_the_file_was_written() {
    for (line, mtime, expected) in [
        ("Nov 21 16:02:01 x", "2026-11-21T16:02:02Z", "2026-11-21T16:02:01Z"),
        // New Year's, from both sides.
        ("Dec 31 23:59:59 x", "2027-01-01T00:00:05Z", "2026-12-31T23:59:59Z"),
        ("Jan  1 00:00:01 x", "2027-01-01T00:00:05Z", "2027-01-01T00:00:01Z"),
        ("Jan  1 00:00:01 x", "2026-12-31T23:59:59Z", "2027-01-01T00:00:01Z"),
        ("Jan  1 00:00:01 x", "2026-12-31T00:00:00Z", "2026-01-01T00:00:01Z"),
        ("Jan 01 00:00:01 x", "2027-06-01T00:00:00Z", "2027-01-01T00:00:01Z"),
        // Hardly newer than the file is that year's, later is the year's before.
        ("Nov 22 16:00:00 x", "2026-11-21T16:02:02Z", "2026-11-22T16:00:00Z"),
        ("Nov 22 16:03:00 x", "2026-11-21T16:02:02Z", "2025-11-22T16:03:00Z"),
        // A leap day is of the last leap year, over a century without one too.
        ("Feb 29 12:00:00 x", "2028-02-29T12:00:01Z", "2028-02-29T12:00:00Z"),
        ("Feb 29 12:00:00 x", "2028-03-01T00:00:00Z", "2028-02-29T12:00:00Z"),
        ("Feb 29 12:00:00 x", "2027-03-01T00:00:00Z", "2024-02-29T12:00:00Z"),
        ("Feb 29 12:00:00 x", "2028-02-27T00:00:00Z", "2024-02-29T12:00:00Z"),
        ("Feb 29 12:00:00 x", "2104-02-01T00:00:00Z", "2096-02-29T12:00:00Z"),
        ("I1231 23:59:59.000000 1 x] x", "2027-01-01T00:00:05Z", "2026-12-31T23:59:59Z"),
        ("<13>Dec 31 23:59:59 x", "2027-01-01T00:00:05Z", "2026-12-31T23:59:59Z"),
    ] {
        let found = read(line.as_bytes(), TimeZone::UTC, ms(mtime)).map(|(_, stamp)| stamp);
        assert_eq!(found, Some(Stamp::at(ms(expected))), "{line} in a file of {mtime}");
    }
    // In the node's zone it is the new year already.
    let found = read(b"Jan  1 00:30:00 x", berlin(), ms("2026-12-31T23:45:00Z")).map(|(_, stamp)| stamp);
    assert_eq!(found, Some(Stamp::at(ms("2026-12-31T23:30:00Z"))));
}

#[test]
fn daylight_saving_makes_a_time_uncertain_and_never_wrong() {
    let mtime = ms("2026-11-21T00:00:00Z");
    let at = |line: &str| read(line.as_bytes(), berlin(), mtime).map(|(_, stamp)| (stamp.earliest, stamp.latest));
    let both = |earliest, latest| Some((ms(earliest), ms(latest)));
    assert_eq!(at("2026-07-01 12:00:00 x"), both("2026-07-01T10:00:00Z", "2026-07-01T10:00:00Z"));
    assert_eq!(at("2026-01-01 12:00:00 x"), both("2026-01-01T11:00:00Z", "2026-01-01T11:00:00Z"));
    // 25 October: two o'clock comes twice.
    assert_eq!(at("2026-10-25 01:59:59 x"), both("2026-10-24T23:59:59Z", "2026-10-24T23:59:59Z"));
    assert_eq!(at("Oct 25 02:00:00 x"), both("2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"));
    assert_eq!(at("2026-10-25 02:59:59 x"), both("2026-10-25T00:59:59Z", "2026-10-25T01:59:59Z"));
    assert_eq!(at("2026-10-25 03:00:00 x"), both("2026-10-25T02:00:00Z", "2026-10-25T02:00:00Z"));
    // 29 March: two o'clock never comes; whoever writes it means one or the other.
    assert_eq!(at("2026-03-29 01:59:59 x"), both("2026-03-29T00:59:59Z", "2026-03-29T00:59:59Z"));
    assert_eq!(at("2026-03-29 02:30:00 x"), both("2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z"));
    assert_eq!(at("2026-03-29 03:00:00 x"), both("2026-03-29T01:00:00Z", "2026-03-29T01:00:00Z"));
    // What says its zone is not moved.
    assert_eq!(at("2026-10-25 02:30:00+02:00"), both("2026-10-25T00:30:00Z", "2026-10-25T00:30:00Z"));
}

#[test]
fn a_file_in_another_zone_than_the_node_is_told_by_its_last_line() {
    let line = b"2026-11-21 16:02:01 x";
    for (mtime, unsaid) in [
        (NOON - HOUR, Unsaid::Node),
        (NOON - HOUR + 90 * SECOND, Unsaid::Node),
        (NOON, Unsaid::Utc),
        (NOON + SECOND, Unsaid::Utc),
        (NOON + 5 * DAY, Unsaid::Either),
    ] {
        let mut reader = Reader::new(calendar(berlin(), mtime));
        reader.first(line).expect("a time");
        assert_eq!(reader.own(), Some(false));
        reader.settle(line);
        assert_eq!(reader.calendar.unsaid, unsaid, "{mtime}");
    }
    // Syslog is the node's, whatever the file's time.
    let mut reader = Reader::new(calendar(berlin(), NOON));
    reader.first(b"Nov 21 16:02:01 x").expect("a time");
    assert_eq!(reader.own(), Some(true));
}

#[test]
fn kernel_messages_count_from_this_boot_only() {
    let line = b"[   61.500000] usb 1-1: new device\n";
    let at = |mtime| Reader::new(Calendar::new(TimeZone::UTC, mtime, Some(NOON))).stamp(line);
    assert_eq!(at(NOON + HOUR), Some(Stamp::at(NOON + 61_500)));
    assert_eq!(at(NOON - HOUR), None, "the file is of an earlier boot");
}

#[test]
fn a_time_behind_a_level_is_read_where_a_file_begins_so() {
    let mut reader = Reader::new(calendar(TimeZone::UTC, NOON));
    assert_eq!(reader.stamp(b"INFO  [main] 2026-11-21 16:02:01 x"), None, "not in the midst of another form");
    assert_eq!(reader.first(b"INFO  [main] 2026-11-21 16:02:01 x"), Some(Stamp::at(NOON)));
    assert_eq!(reader.rule(), Some(Rule::Iso8601));
    assert_eq!(reader.stamp(b"WARN  [main] 2026-11-21 16:02:02 x"), Some(Stamp::at(NOON + SECOND)));
    assert_eq!(reader.stamp(b"Caused by: x"), None);
    let mut reader = Reader::new(calendar(TimeZone::UTC, NOON));
    reader.first(b"2026-11-21 16:02:01 x").expect("a time");
    assert_eq!(reader.stamp(b"Certificate expired 2020-01-01 00:00:00"), None, "what is said is no time of a line");
}

#[test]
fn a_file_may_change_its_form_at_any_line() {
    let mut reader = Reader::new(calendar(TimeZone::UTC, NOON + HOUR));
    for line in ["Nov 21 16:02:01 x", "2026-11-21T16:02:01Z x", "I1121 16:02:01.0 x", "{\"ts\":1795276921}"] {
        assert_eq!(reader.stamp(line.as_bytes()), Some(Stamp::at(NOON)), "{line}");
    }
    assert_eq!(reader.rule(), Some(Rule::Rfc3164), "the first is what is told");
}

proptest::proptest! {
    #[test]
    fn any_line_is_read_without_panic(line: Vec<u8>, mtime: i64) {
        let mut reader = Reader::new(calendar(berlin(), mtime));
        let _ = reader.first(&line);
        let _ = reader.stamp(&line);
        reader.settle(&line);
    }

    #[test]
    fn a_line_that_nearly_has_a_time_is_read_without_panic(
        at in 0usize..18,
        cut: proptest::sample::Index,
        noise: Vec<u8>,
        mtime in -10_000_000_000_000_i64..300_000_000_000_000,
    ) {
        const LINES: [&str; 18] = [
            "2026-11-21T16:02:01.250Z x", "Nov 21 16:02:01 host", "<34>1 2026-11-21T16:02:01Z", "I1121 16:02:01.250000 1",
            "x [21/Nov/2026:16:02:01 +0000]", "[Sat Nov 21 16:02:01.25 2026]", "{\"t\":{\"$date\":\"2026-11-21T16:02:01Z\"}}",
            "{\"ts\":1795276921.25e0,\"x\":[]}", "type=x msg=audit(1795276921.250:1)", "[  12.345678] x", "time=\"2026-11-21T16:02:01Z\"",
            "\u{1b}[1m\0\0Nov 21 16:02:01", "1:M 21 Nov 2026 16:02:01.25 * x", "261121  9:02:01 x", "11/21/2026 4:02:01 PM CST",
            "21.11.26 16:02:01 x", "Nov 21, 2026 4:02:01 PM x", "=X==== 21-Nov-2026::16:02:01 =",
        ];
        let line = LINES[at].as_bytes();
        let cut = cut.index(line.len());
        let whole = [&line[..cut], &noise, &line[cut..]].concat();
        let mut reader = Reader::new(Calendar::new(berlin(), mtime, Some(mtime)));
        if let Some(stamp) = reader.first(&whole) {
            proptest::prop_assert!(stamp.earliest <= stamp.latest);
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar(day in -700_000_i64..2_900_000) {
        let at = jiff::Timestamp::from_millisecond(day * DAY).expect("in range");
        let shown = TimeZone::UTC.to_datetime(at);
        let found = super::super::civil::date(shown.year().into(), shown.month() as u32, shown.day() as u32);
        proptest::prop_assert_eq!(found, (shown.year() >= 1).then_some(day * DAY));
    }
}
