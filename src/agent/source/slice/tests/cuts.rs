//! Cutting: by halves, line by line, and through a reader; each against the plain rule that a test can state in a few lines.

use std::io::Read as _;

use proptest::prelude::*;

use super::super::search::{self, LINEAR};
use super::super::{Filter, Lens, Verdict, is_log};
use super::*;
use crate::agent::source::Content as _;
use crate::bundle::slice::Rule;

fn lens(window: Window) -> Lens {
    Lens { window, calendar: calendar(TimeZone::UTC, NOON + 400 * DAY) }
}

fn stamped(at: i64) -> String {
    jiff::Timestamp::from_millisecond(at).expect("in range").to_string()
}

/// The plain rule: a line without a time belongs to the one before, and those before the first time to that.
fn model(text: &[u8], window: Window) -> Vec<u8> {
    let mut reader = Reader::new(calendar(TimeZone::UTC, NOON + 400 * DAY));
    let holds = |at: i64| window.since.is_none_or(|s| at >= s) && window.until.is_none_or(|u| at <= u);
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let times: Vec<Option<i64>> = lines.iter().map(|line| reader.stamp(line).map(|stamp| stamp.earliest)).collect();
    let mut last = times.iter().flatten().next().copied();
    let mut kept = Vec::new();
    for (line, time) in lines.iter().zip(times) {
        last = time.or(last);
        if last.is_none_or(holds) {
            kept.extend_from_slice(line);
        }
    }
    kept
}

/// What a verdict gives of a text.
fn given(text: &[u8], window: Window) -> Vec<u8> {
    let mut lens = lens(window);
    match lens.part(&mut Memory::of(text), text.len() as u64).expect("memory") {
        Verdict::Whole(_) => text.to_vec(),
        Verdict::Part(_, from, to) => text[from as usize..to as usize].to_vec(),
        Verdict::Nothing => Vec::new(),
        Verdict::Lines => filtered(text, Filter::unsorted(text, lens), 1000).0,
    }
}

/// What a filter lets through, read in steps, and what it says that it left out.
fn filtered(text: &[u8], mut filter: Filter<&[u8]>, step: usize) -> (Vec<u8>, u64) {
    let (mut out, mut piece) = (Vec::new(), vec![0; step]);
    loop {
        let count = filter.read(&mut piece).expect("memory");
        if count == 0 {
            break;
        }
        out.extend_from_slice(&piece[..count]);
    }
    let slice = filter.slice().expect("it has a lens");
    assert!(slice.left_out <= text.len() as u64, "{slice:?}");
    (out, slice.left_out)
}

/// Reads at most so many bytes at once.
struct Drops<'a>(&'a [u8], usize);

impl io::Read for Drops<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = out.len().min(self.1);
        self.0.read(&mut out[..most])
    }
}

/// A log: seconds between lines, lines without a time behind each, and bytes of each.
fn log(steps: &[(i64, usize, usize)], sorted: bool) -> Vec<u8> {
    let (mut text, mut at) = (Vec::new(), NOON);
    for (number, (step, more, width)) in steps.iter().enumerate() {
        at += if sorted { step.abs() } else { *step } * SECOND;
        let fill = "x".repeat(*width);
        text.extend_from_slice(format!("{} line {number} {fill}\n", stamped(at)).as_bytes());
        for continued in 0..*more {
            text.extend_from_slice(format!("    at frame {continued}\n").as_bytes());
        }
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_search_finds_what_looking_at_every_line_finds(
        steps in prop::collection::vec((0i64..40, 0usize..4, 0usize..3000), 1..400),
        since in prop::option::of(-100i64..9000),
        length in prop::option::of(0i64..4000),
        last in any::<bool>(),
    ) {
        let mut text = log(&steps, true);
        if !last {
            text.pop();
        }
        let since = since.map(|since| NOON + since * SECOND);
        let window = window(since, length.map(|length| since.unwrap_or(NOON) + length * SECOND));
        let expected = model(&text, window);
        prop_assert!(given(&text, window) == expected);
        let mut reader = Reader::new(calendar(TimeZone::UTC, NOON));
        let (mut place, size) = (Memory::of(&text), text.len() as u64);
        let first = search::first(&mut place, &mut reader, size).expect("memory").expect("a time");
        let (from, to) = search::part(&mut place, &mut reader, size, first, window).expect("sorted");
        prop_assert!(text[from as usize..to.max(from) as usize] == expected);
        let (out, left_out) = filtered(&text, Filter::new(text.as_slice(), Some(lens(window))), 777);
        prop_assert!(out == expected);
        prop_assert!(out.is_empty() || left_out == (text.len() - out.len()) as u64);
    }

    #[test]
    fn lines_that_do_not_rise_are_looked_at_one_by_one(
        steps in prop::collection::vec((-3000i64..3000, 0usize..3, 0usize..2500), 1..300),
        since in -4000i64..4000,
        length in prop::option::of(0i64..4000),
        step in 1usize..5000,
    ) {
        let text = log(&steps, false);
        let window = window(Some(NOON + since * SECOND), length.map(|length| NOON + (since + length) * SECOND));
        let expected = model(&text, window);
        let slow = Filter::unsorted(text.as_slice(), lens(window));
        let (out, left_out) = filtered(&text, slow, step);
        prop_assert!(out == expected);
        prop_assert_eq!(left_out, (text.len() - out.len()) as u64);
    }

    #[test]
    fn a_log_that_is_a_little_out_of_step_loses_nothing(
        steps in prop::collection::vec((-280i64..290, 0usize..2, 0usize..2500), 200..400),
        since in 0i64..4000,
    ) {
        // Lines that several writers made within five minutes of each other; windows are padded by as much.
        let mut text = Vec::new();
        for (number, (off, more, width)) in steps.iter().enumerate() {
            let at = NOON + (number as i64 * 20 + off / 2) * SECOND;
            text.extend_from_slice(format!("{} {}\n", stamped(at), "y".repeat(*width)).as_bytes());
            text.extend_from_slice("  more\n".repeat(*more).as_bytes());
        }
        let asked = window(Some(NOON + since * SECOND), None);
        let padded = window(Some(NOON + (since - 300) * SECOND), None);
        let (given, wanted) = (given(&text, padded), model(&text, asked));
        let mut rest = given.as_slice();
        for line in wanted.split_inclusive(|byte| *byte == b'\n') {
            let at = memchr::memmem::find(rest, line);
            prop_assert!(at.is_some(), "lost {}", String::from_utf8_lossy(line));
            rest = &rest[at.unwrap_or(0)..];
        }
    }

    #[test]
    fn any_bytes_are_cut_without_panic_and_the_same_in_any_steps(
        noise in prop::collection::vec(prop::sample::select(vec![b'\n', b'\r', 0, b' ', b'x', 0xff, b'2', b'{', b'"']), 0..400),
        at in 0usize..400,
        step in 1usize..300,
        since in -10i64..10,
    ) {
        let mut text = log(&[(1, 1, 5), (2, 0, 10), (3, 2, 0)], true);
        let at = at.min(text.len());
        text.splice(at..at, noise);
        let window = window(Some(NOON + since * SECOND), Some(NOON + (since + 3) * SECOND));
        let whole = filtered(&text, Filter::unsorted(text.as_slice(), lens(window)), 1 << 20);
        let mut steps = Filter::unsorted(Drops(&text, step), lens(window));
        let mut out = Vec::new();
        steps.read_to_end(&mut out).expect("memory");
        prop_assert_eq!(&out, &whole.0);
        prop_assert_eq!(steps.slice().map(|slice| slice.left_out), Some(whole.1));
        let _ = given(&text, window);
    }
}

#[test]
fn a_big_file_is_hardly_read() {
    let text: Vec<u8> = (0..400_000_i64)
        .flat_map(|n| format!("{} a line of a log\n", stamped(NOON + n * SECOND)).into_bytes())
        .collect();
    let mut place = Memory::of(&text);
    let size = text.len() as u64;
    let asked = window(Some(NOON + 300_000 * SECOND), Some(NOON + 300_010 * SECOND));
    let verdict = lens(asked).part(&mut place, size).expect("memory");
    let Verdict::Part(Rule::Rfc3339, from, to) = verdict else { panic!("{verdict:?}") };
    assert_eq!(text[from as usize..to as usize].iter().filter(|byte| **byte == b'\n').count(), 11);
    assert!(place.read < size / 4, "{} of {size} bytes were read", place.read);
    // Where nothing is left out, one block tells.
    let mut place = Memory::of(&text);
    let verdict = lens(window(Some(NOON - DAY), None)).part(&mut place, size).expect("memory");
    assert_eq!((verdict, place.read <= 64 << 10), (Verdict::Whole(Rule::Rfc3339), true), "{}", place.read);
}

#[test]
fn a_big_file_that_goes_back_is_looked_at_line_by_line() {
    // Two logs behind each other, as after a restore.
    let once: Vec<(i64, usize, usize)> = vec![(10, 0, 900); 700];
    let text = [log(&once, true), log(&once, true)].concat();
    assert!(text.len() as u64 > 4 * LINEAR);
    let asked = window(Some(NOON + 3000 * SECOND), Some(NOON + 4000 * SECOND));
    let verdict = lens(asked).part(&mut Memory::of(&text), text.len() as u64).expect("memory");
    assert_eq!(verdict, Verdict::Lines);
    assert_eq!(given(&text, asked), model(&text, asked));
}

#[test]
fn files_at_the_edges_are_whole_or_nothing_and_never_wrong() {
    let inside = window(Some(NOON - SECOND), None);
    let line = "2026-11-21T16:02:01Z x";
    let long = format!("{line}{}\n", "y".repeat(700_000));
    let zeros = format!("{}{line}\n", "\0".repeat(5000));
    for (text, expected) in [
        ("", Verdict::Whole(Rule::Mtime)),
        ("\n\n\n", Verdict::Whole(Rule::Mtime)),
        ("no time at all", Verdict::Whole(Rule::Mtime)),
        (line, Verdict::Whole(Rule::Rfc3339)),
        ("2026-11-21T16:02:01Z x\r\n", Verdict::Whole(Rule::Rfc3339)),
        (&long, Verdict::Whole(Rule::Rfc3339)),
        (&zeros, Verdict::Whole(Rule::Rfc3339)),
    ] {
        let verdict = |window| lens(window).part(&mut Memory::of(text.as_bytes()), text.len() as u64).expect("memory");
        assert_eq!(verdict(inside), expected, "{:.40}", text);
        let after = window(Some(NOON + SECOND), None);
        let nothing = if expected == Verdict::Whole(Rule::Mtime) { expected } else { Verdict::Nothing };
        assert_eq!(verdict(after), nothing, "{:.40}", text);
        assert_eq!(verdict(window(None, Some(NOON - SECOND))), nothing, "{:.40}", text);
        // Both ends are inside.
        assert_eq!(verdict(window(Some(NOON), Some(NOON))), expected, "{:.40}", text);
    }
}

#[test]
fn very_long_lines_are_cut_by_their_beginnings() {
    let text: Vec<u8> = (0..8_i64)
        .flat_map(|n| format!("{} {}\n", stamped(NOON + n * HOUR), "z".repeat(300_000)).into_bytes())
        .collect();
    let asked = window(Some(NOON + 2 * HOUR), Some(NOON + 5 * HOUR));
    let expected = model(&text, asked);
    assert_eq!(expected.iter().filter(|byte| **byte == b'\n').count(), 4);
    assert!(given(&text, asked) == expected);
    assert!(filtered(&text, Filter::new(text.as_slice(), Some(lens(asked))), 4096).0 == expected);
}

#[test]
fn what_stands_before_the_first_time_belongs_to_it() {
    let text = format!("# a head\n# of two lines\n{} a\n{} b\n", stamped(NOON), stamped(NOON + HOUR));
    let whole = window(Some(NOON), None);
    assert_eq!(given(text.as_bytes(), whole), text.as_bytes());
    let second = window(Some(NOON + SECOND), None);
    assert_eq!(given(text.as_bytes(), second), format!("{} b\n", stamped(NOON + HOUR)).as_bytes());
    assert_eq!(
        filtered(text.as_bytes(), Filter::new(text.as_bytes(), Some(lens(second))), 3).0,
        given(text.as_bytes(), second)
    );
}

#[test]
fn of_a_rotated_file_that_begins_after_the_window_no_more_is_read() {
    struct Endless(usize);
    impl io::Read for Endless {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.0 += out.len();
            assert!(self.0 < 1 << 20, "it reads on and on");
            let line = b"2026-11-21T16:02:01Z x\n";
            out.iter_mut().enumerate().for_each(|(at, byte)| *byte = line[at % line.len()]);
            Ok(out.len())
        }
    }
    let mut filter = Filter::new(Endless(0), Some(lens(window(None, Some(NOON - HOUR)))));
    assert_eq!(filter.read(&mut [0; 100]).expect("read"), 0);
    assert_eq!(filter.left_out(), (true, true));
}

#[test]
fn a_filter_without_a_lens_and_one_without_times_change_nothing() {
    let text = log(&[(1, 1, 1); 5], true);
    let mut out = Vec::new();
    let mut plain: Filter<&[u8]> = Filter::new(text.as_slice(), None);
    plain.read_to_end(&mut out).expect("memory");
    assert_eq!((out, plain.slice(), plain.head().len()), (text, None, 0));
    let other = "line\n".repeat(100_000);
    let (out, left_out) =
        filtered(other.as_bytes(), Filter::new(other.as_bytes(), Some(lens(window(Some(NOON), None)))), 9000);
    assert_eq!((out == other.as_bytes(), left_out), (true, 0));
}

#[test]
fn a_content_that_is_filtered_can_be_read_again() {
    let text = log(&[(1, 1, 1); 50], true);
    let asked = window(Some(NOON + 10 * SECOND), Some(NOON + 20 * SECOND));
    let mut content = Filter::unsorted(io::Cursor::new(text.clone()), lens(asked));
    for _ in 0..2 {
        let mut out = Vec::new();
        content.open().expect("opened");
        content.read_to_end(&mut out).expect("read");
        assert_eq!(out, model(&text, asked));
    }
    assert!(content.again());
}

#[test]
fn the_hour_that_comes_twice_is_kept_where_it_may_be_meant() {
    // 02:10 and 02:50 summer time, then 02:10 and 02:50 winter time.
    let text = b"2026-10-25 01:50:00 a\n2026-10-25 02:10:00 b\n2026-10-25 02:50:00 c\n2026-10-25 02:10:00 d\n2026-10-25 02:50:00 e\n2026-10-25 03:10:00 f\n";
    let mut reader = Lens {
        window: window(Some(ms("2026-10-25T01:30:00Z")), None),
        calendar: calendar(berlin(), ms("2026-10-25T02:10:30Z")),
    };
    let mut out = Vec::new();
    match reader.part(&mut Memory::of(text), text.len() as u64).expect("memory") {
        Verdict::Part(_, from, to) => out.extend_from_slice(&text[from as usize..to as usize]),
        Verdict::Lines => out = filtered(text, Filter::unsorted(text, reader), 10).0,
        other => panic!("{other:?}"),
    }
    let kept = String::from_utf8(out).expect("text");
    assert!(kept.contains(" e\n") && kept.contains(" f\n"), "{kept}");
    assert!(!kept.contains(" a\n"), "{kept}");
}

#[test]
fn a_containers_log_in_utc_is_cut_right_on_a_node_elsewhere() {
    let text: Vec<u8> = (0..60_i64)
        .flat_map(|n| {
            let at = stamped(NOON + n * 600 * SECOND);
            format!("{} line {n}\n", at.replace('T', " ").trim_end_matches('Z')).into_bytes()
        })
        .collect();
    // Written until the last line, which tells that these are not the node's hours.
    let calendar = calendar(berlin(), NOON + 59 * 600 * SECOND);
    let mut lens = Lens { window: window(Some(NOON + 9 * HOUR), None), calendar };
    let verdict = lens.part(&mut Memory::of(&text), text.len() as u64).expect("memory");
    let Verdict::Part(Rule::Iso8601, from, _) = verdict else { panic!("{verdict:?}") };
    assert!(text[from as usize..].starts_with(b"2026-11-22 01:02:01 line 54\n"));
}

#[test]
fn logs_are_told_by_their_paths() {
    for path in [
        "/var/log/syslog",
        "/var/log/anything/at/all",
        "/srv/app/logs/out",
        "/opt/x/log/y",
        "/srv/app/server.log",
        "/srv/app/server.log.1",
        "/srv/app/server.log-20260101.gz",
        "/srv/app/error_log",
        "/var/lib/docker/containers/0a/0a-json.log",
    ] {
        assert!(is_log(path.as_ref()), "{path}");
    }
    for path in
        ["/etc/x.log", "/etc/log/x", "/proc/1/x.log", "/sys/log", "/srv/app/log", "/srv/catalog", "/srv/x.logs.db", "/"]
    {
        assert!(!is_log(path.as_ref()), "{path}");
    }
}

#[test]
fn no_cut_leaves_the_rest_of_a_key() {
    // A program that logs a key, each line with its time, over the beginning of the window.
    let body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7";
    let mut lines = vec!["before".to_owned(), "-----BEGIN PRIVATE KEY-----".to_owned()];
    lines.extend((0..20).map(|n| format!("{body}{n:02}")));
    lines.extend(["-----END PRIVATE KEY-----".to_owned(), "after".to_owned(), "last".to_owned()]);
    let stamp = |(n, line): (usize, &String)| format!("{} {line}\n", stamped(NOON + n as i64 * SECOND));
    let text: String = lines.iter().enumerate().map(stamp).collect();
    for filler in [0, 600_000] {
        let text = [text.as_bytes(), "2026-11-21T17:00:00Z x\n".repeat(filler / 23).as_bytes()].concat();
        for since in 1..30_i64 {
            let asked = window(Some(NOON + since * SECOND), Some(NOON + HOUR));
            let packed = Filter::new(text.as_slice(), Some(lens(asked)));
            let jumps = Filter::unsorted(Drops(&text, 100), lens(asked));
            let mut dripped = Vec::new();
            let mut jumps = jumps;
            jumps.read_to_end(&mut dripped).expect("memory");
            for given in [filtered(&text, packed, 999).0, dripped] {
                let given = String::from_utf8(given).expect("text");
                let whole = given.contains("-----BEGIN");
                assert_eq!(given.contains(body), whole, "{since}: {given:.300}");
                assert_eq!(given.contains("after"), since <= 23, "{since}: {given:.300}");
            }
        }
    }
}

#[test]
fn the_end_of_a_certificate_takes_no_line_with_it() {
    let stamp = |n: i64| format!("{} line {n}\n", stamped(NOON + n * SECOND));
    let lines: String = (0..60).map(stamp).collect();
    let text = format!("{lines}-----END CERTIFICATE-----\n{}-----END PRIVATE KEY-----\n", stamp(60));
    for (since, until) in [(20, 100), (20, 60), (20, 50), (59, 59)] {
        let asked = window(Some(NOON + since * SECOND), Some(NOON + until * SECOND));
        let expected = String::from_utf8(model(text.as_bytes(), asked)).expect("text");
        let packed = Filter::new(text.as_bytes(), Some(lens(asked)));
        let unsorted = Filter::unsorted(text.as_bytes(), lens(asked));
        for kept in [
            given(text.as_bytes(), asked),
            filtered(text.as_bytes(), packed, 99).0,
            filtered(text.as_bytes(), unsorted, 99).0,
        ] {
            assert_eq!(String::from_utf8(kept).expect("text"), expected);
        }
    }
}
