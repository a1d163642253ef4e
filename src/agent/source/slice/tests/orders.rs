//! Dates of three numbers: which order a file's lines tell, and what becomes of one that does not tell.

use super::super::{Filter, Lens, Verdict};
use super::*;
use crate::bundle::slice::Rule;

/// The verdict on a text in UTC that was last written then, with all from `since` on wanted.
fn verdict(text: &str, mtime: &str, since: &str) -> Verdict {
    let calendar = calendar(TimeZone::UTC, ms(mtime));
    let mut lens = Lens { window: window(Some(ms(since)), None), calendar };
    lens.part(&mut Memory::of(text.as_bytes()), text.len() as u64).expect("memory")
}

/// Where the last line of a text begins.
fn last(text: &str) -> u64 {
    text.trim_end().rfind('\n').map_or(0, |end| end as u64 + 1)
}

#[test]
fn one_number_above_twelve_tells_the_order_of_all() {
    for text in [
        "05/11/2026 10:00:00 a\n05/12/2026 10:00:00 b\n05/13/2026 10:00:00 c\n",
        "11/05/2026 10:00:00 a\n12/05/2026 10:00:00 b\n13/05/2026 10:00:00 c\n",
        "11-05-2026 10:00:00 a\n12-05-2026 10:00:00 b\n13-05-2026 10:00:00 c\n",
        "05/11/26 10:00:00 AM a\n05/12/26 10:00:00 AM b\n05/13/26 10:00:00 AM c\n",
        "26/05/11 10:00:00 INFO a\n26/05/12 10:00:00 INFO b\n26/05/13 10:00:00 INFO c\n",
    ] {
        let (second, third) = (text.find('\n').expect("a line") as u64 + 1, last(text));
        let size = text.len() as u64;
        let of = |since| verdict(text, "2026-05-13T10:00:00Z", since);
        assert_eq!(of("2026-05-01T00:00:00Z"), Verdict::Whole(Rule::Numeric), "{text}");
        assert_eq!(of("2026-05-12T00:00:00Z"), Verdict::Part(Rule::Numeric, second, size), "{text}");
        assert_eq!(of("2026-05-13T00:00:00Z"), Verdict::Part(Rule::Numeric, third, size), "{text}");
        // By the lines alone; of three numbers of two digits they may leave more than one order.
        let later = verdict(text, "2026-06-20T10:00:00Z", "2026-05-12T00:00:00Z");
        let is_open = text.starts_with("26/");
        let expected = if is_open { Verdict::Whole(Rule::Mtime) } else { Verdict::Part(Rule::Numeric, second, size) };
        assert_eq!(later, expected, "{text}");
    }
}

#[test]
fn a_date_that_is_yet_to_come_is_not_meant() {
    // In May, the tenth of June is no day that a log has.
    let text = "05/06/2026 10:00:00 a\n05/07/2026 10:00:00 b\n";
    let expected = Verdict::Part(Rule::Numeric, last(text), text.len() as u64);
    assert_eq!(verdict(text, "2026-05-07T10:00:00Z", "2026-05-07T00:00:00Z"), expected);
}

#[test]
fn the_last_line_was_written_when_the_file_was() {
    // Both orders are in the past; only one of them is when the file was written.
    for (text, mtime, since) in [
        ("02/03/2026 10:00:00 a\n02/04/2026 10:00:00 b\n", "2026-04-02T10:00:00Z", "2026-04-01T00:00:00Z"),
        ("03/02/2026 10:00:00 a\n04/02/2026 10:00:00 b\n", "2026-04-02T20:00:00Z", "2026-04-01T00:00:00Z"),
        ("01/02/03 10:00:00 a\n01/03/03 10:00:00 b\n", "2003-03-01T10:00:00Z", "2003-02-20T00:00:00Z"),
    ] {
        let expected = Verdict::Part(Rule::Numeric, last(text), text.len() as u64);
        assert_eq!(verdict(text, mtime, since), expected, "{text}");
    }
}

#[test]
fn what_nothing_tells_is_whole_by_its_files_time() {
    for (text, mtime) in [
        // Both orders may be, long ago.
        ("01/02/2026 10:00:00 a\n02/03/2026 10:00:00 b\n", "2026-11-21T10:00:00Z"),
        // None can be.
        ("13/05/2026 10:00:00 a\n05/13/2026 10:00:00 b\n14/05/2026 10:00:00 c\n", "2020-01-01T10:00:00Z"),
    ] {
        assert_eq!(verdict(text, mtime, "2026-10-01T00:00:00Z"), Verdict::Whole(Rule::Mtime), "{text}");
    }
}

#[test]
fn an_order_is_known_to_whoever_looks_at_each_line() {
    use std::io::Read as _;
    let at = |day: u32, month: u32| format!("{day:02}/{month:02}/2026 10:00:00 x\n");
    // Not sorted, and only the last line tells the order.
    let text = [at(4, 5), at(1, 5), at(3, 5), at(2, 5), at(20, 5)].concat();
    let calendar = calendar(TimeZone::UTC, ms("2026-06-30T00:00:00Z"));
    let mut lens = Lens { window: window(Some(ms("2026-05-03T00:00:00Z")), None), calendar };
    let verdict = lens.part(&mut Memory::of(text.as_bytes()), text.len() as u64).expect("memory");
    assert_eq!(verdict, Verdict::Whole(Rule::Numeric), "its first line lies inside");
    lens.window = window(Some(ms("2026-05-02T12:00:00Z")), Some(ms("2026-05-03T23:00:00Z")));
    let verdict = lens.part(&mut Memory::of(text.as_bytes()), text.len() as u64).expect("memory");
    let line = at(1, 5).len() as u64;
    assert_eq!(verdict, Verdict::Part(Rule::Numeric, 2 * line, 3 * line));
    let mut out = String::new();
    let mut filter = Filter::unsorted(text.as_bytes(), lens);
    filter.read_to_string(&mut out).expect("memory");
    assert_eq!(out, at(3, 5));
}
