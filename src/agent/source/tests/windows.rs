//! Windows of time over fixture trees: which files are cut, where, and what is said of those left out.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::{Fixture, Taken, plan, take};
use crate::agent::source::{Kind, Plan};
use crate::bundle::outcome::Counted;
use crate::bundle::outcome::Outcome;
use crate::bundle::slice::{Rule, Slice};
use crate::window::Window;

const LOGS: &str =
    "roots = [\"/var/log\", \"/srv\", \"/etc\"]\n[[files]]\npaths = [\"/var/log/**\", \"/srv/**\", \"/etc/**\"]\n";
/// 2026-11-21T16:00:00Z.
const NOON: i64 = 1_795_276_800_000;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

fn windowed(lines: &str, since: i64, until: Option<i64>) -> Plan {
    Plan { window: Window { since: Some(since), until }, ..plan(lines) }
}

fn collect(fixture: &Fixture, since: i64, until: Option<i64>) -> Taken {
    take(&fixture.host(), &windowed(LOGS, since, until), &mut |_| {})
}

/// A file that was last written then.
fn put(fixture: &Fixture, path: &str, content: impl AsRef<[u8]>, mtime: i64) {
    let path = fixture.put(path, content);
    touch(&path, mtime);
}

fn touch(path: &Path, mtime: i64) {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(mtime.cast_unsigned());
    File::options().write(true).open(path).expect("opened").set_modified(at).expect("touched");
}

/// A line a minute, from an hour before noon to an hour after.
fn two_hours(form: &str) -> Vec<String> {
    let line = |n: i64| {
        let at = jiff::Timestamp::from_millisecond(NOON + (n - 60) * MINUTE).expect("in range");
        format!("{} line {n}\n", at.strftime(form))
    };
    (0..=120).map(line).collect()
}

#[test]
fn lines_of_the_window_are_taken_with_its_padding() {
    let fixture = Fixture::new();
    let lines = two_hours("%b %e %H:%M:%S host app:");
    put(&fixture, "/var/log/syslog", lines.concat(), NOON + HOUR);
    let taken = collect(&fixture, NOON, Some(NOON + 30 * MINUTE));
    // Five minutes more at each end.
    let expected = lines[55..=95].concat();
    let read = &taken.records["files/var/log/syslog"];
    assert_eq!(String::from_utf8_lossy(&read.content), expected);
    let from = lines[..55].concat().len() as u64;
    let left_out = (lines.concat().len() - expected.len()) as u64;
    assert_eq!(read.slice, Some(Slice { from, left_out, ..Slice::whole(Rule::Rfc3164) }));
    assert_eq!((read.trouble.clone(), taken.notes), (None, Vec::new()));
}

#[test]
fn a_clock_that_is_off_makes_the_window_wider() {
    let fixture = Fixture::new();
    let lines = two_hours("%Y-%m-%dT%H:%M:%SZ");
    put(&fixture, "/var/log/a.log", lines.concat(), NOON + HOUR);
    for (offset, from, to) in [(0, 55, 65), (20 * MINUTE, 55, 85), (-20 * MINUTE, 35, 65)] {
        let mut plan = windowed(LOGS, NOON, Some(NOON));
        plan.known.clock_offset_ms = Some(offset);
        let taken = take(&fixture.host(), &plan, &mut |_| {});
        let content = taken.content("files/var/log/a.log").map(String::from_utf8_lossy);
        assert_eq!(content, Some(lines[from..=to].concat().into()), "{offset}");
    }
}

#[test]
fn what_was_not_written_in_the_window_is_left_out_and_told_of_together() {
    let fixture = Fixture::new();
    put(&fixture, "/var/log/new.log", "no time in it\n", NOON + 1);
    for number in 1..=12 {
        put(&fixture, &format!("/var/log/old.log.{number}"), "0123456789", NOON - HOUR);
    }
    put(&fixture, "/var/log/zz.log", two_hours("%Y-%m-%dT%H:%M:%SZ")[..3].concat(), NOON + HOUR);
    let taken = collect(&fixture, NOON, None);
    assert_eq!(taken.order, ["files/var/log/new.log"]);
    assert_eq!(taken.records["files/var/log/new.log"].slice, Some(Slice::whole(Rule::Mtime)));
    let (outcome, reason) = taken.note("files/var/log/*").expect("a note");
    assert_eq!((outcome, taken.notes.len()), (Outcome::Skipped, 1));
    assert!(reason.starts_with("nothing in the window: 13 files, ") && reason.ends_with(", …"), "{reason}");
    assert!(reason.contains("/var/log/old.log.1"), "{reason}");
}

#[test]
fn state_and_what_its_collector_exempts_is_never_cut() {
    let fixture = Fixture::new();
    let old = "2020-01-01T00:00:00Z an old line\n2020-01-01T00:00:01Z another\n";
    for path in ["/etc/app.log", "/srv/app/data.txt", "/srv/app/app.log", "/var/log/app"] {
        put(&fixture, path, old, NOON - 24 * HOUR);
    }
    let taken = collect(&fixture, NOON, None);
    assert_eq!(taken.order, ["files/etc/app.log", "files/srv/app/data.txt"]);
    assert!(taken.records.values().all(|read| read.slice.is_none()), "no window counts for them");
    let exempt = take(&fixture.host(), &windowed(&format!("{LOGS}window = false\n"), NOON, None), &mut |_| {});
    assert_eq!((exempt.order.len(), exempt.notes.len()), (4, 0));
    let all = take(&fixture.host(), &windowed(&format!("{LOGS}window = true\n"), NOON, None), &mut |_| {});
    assert_eq!(all.order.len(), 0, "even state, where its collector says so");
    assert_eq!(fixture.collect(LOGS).order.len(), 4, "no window was asked for");
}

#[test]
fn compressed_and_binary_files_are_judged_by_when_they_were_written() {
    let fixture = Fixture::new();
    put(&fixture, "/var/log/a.log.1.gz", b"\x1f\x8b\x08\0not looked into here", NOON + HOUR);
    put(&fixture, "/var/log/a.log.2.gz", b"\x1f\x8b\x08\0", NOON - HOUR);
    put(&fixture, "/var/log/wtmp", b"\0\x01\x02", NOON + HOUR);
    let taken = collect(&fixture, NOON, None);
    let gzipped = &taken.records["files/var/log/a.log.1.gz"];
    assert_eq!((gzipped.kind, gzipped.lens, gzipped.slice), (Kind::Gzip, true, None), "redaction looks inside");
    assert_eq!(taken.records["files/var/log/wtmp"].slice, Some(Slice::whole(Rule::Mtime)));
    assert_eq!(taken.records.len(), 2);
    assert!(
        taken
            .note("files/var/log/*")
            .is_some_and(|(_, reason)| reason.contains("1 file, 4 bytes: /var/log/a.log.2.gz"))
    );
}

#[test]
fn times_without_a_zone_are_those_of_the_hosts_zone() {
    let fixture = Fixture::new();
    // TZif, version 2, with nothing but its footer: two hours east of Greenwich.
    let header = |version: u8| {
        [
            b"TZif".as_slice(),
            &[version],
            &[0; 15],
            &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4],
        ]
        .concat()
    };
    let body = [&[0, 0, 0x1c, 0x20, 0, 0], b"EET\0".as_slice()].concat();
    let zone = [header(b'2'), body.clone(), header(b'2'), body, b"\nEET-2\n".to_vec()].concat();
    fixture.put("/usr/share/zoneinfo/Fixture", zone);
    std::os::unix::fs::symlink("/usr/share/zoneinfo/Fixture", fixture.path("/etc-localtime")).expect("a link");
    std::fs::create_dir_all(fixture.path("/etc")).expect("a folder");
    std::fs::rename(fixture.path("/etc-localtime"), fixture.path("/etc/localtime")).expect("renamed");
    let local = |hour: i64| format!("Nov 21 {:02}:00:00 host app: x\n", hour + 2);
    put(&fixture, "/var/log/syslog", [local(14), local(15), local(16), local(17)].concat(), NOON + HOUR);
    let lines = "roots = [\"/var/log\"]\n[[files]]\npaths = [\"/var/log/**\"]\n";
    let taken = take(&fixture.host(), &windowed(lines, NOON, None), &mut |_| {});
    let content = taken.content("files/var/log/syslog").map(String::from_utf8_lossy);
    assert_eq!(content, Some([local(16), local(17)].concat().into()));
}

#[test]
fn a_log_that_jumps_is_cut_line_by_line() {
    let fixture = Fixture::new();
    let at = |minutes: i64| {
        let at = jiff::Timestamp::from_millisecond(NOON + minutes * MINUTE).expect("in range");
        format!("{} x\n  and more of it\n", at.strftime("%Y-%m-%dT%H:%M:%SZ"))
    };
    let text = [at(-60), at(10), at(-50), at(20)].concat();
    put(&fixture, "/var/log/a.log", &text, NOON + HOUR);
    let taken = collect(&fixture, NOON, None);
    let read = &taken.records["files/var/log/a.log"];
    assert_eq!(String::from_utf8_lossy(&read.content), [at(10), at(20)].concat());
    let (from, left_out) = (at(0).len() as u64, 2 * at(0).len() as u64);
    assert_eq!(read.slice, Some(Slice { from, left_out, ..Slice::whole(Rule::Rfc3339) }));
}

#[test]
fn a_log_that_jumps_is_filtered_before_it_is_cut_to_its_limit() {
    let fixture = Fixture::new();
    let at = |minutes: i64| {
        let at = jiff::Timestamp::from_millisecond(NOON + minutes * MINUTE).expect("in range");
        format!("{} line {minutes}\n", at.strftime("%Y-%m-%dT%H:%M:%SZ"))
    };
    // Old lines stand before, among and behind those of the window, and are far more than the limit.
    let (old, inside) = (|| (60..500).map(|n| at(-n)).collect::<String>(), (0..50).map(at).collect::<String>());
    let text = [old(), inside[..inside.len() / 2].to_owned(), inside[inside.len() / 2..].to_owned(), old()];
    let text = [&text[0], &text[1], &text[2], &old(), &at(50), &text[3]].map(String::as_str).concat();
    put(&fixture, "/var/log/a.log", &text, NOON + HOUR);
    let expected = format!("{inside}{}", at(50));
    let read = |bytes: usize| {
        let plan = windowed(&format!("{LOGS}max_bytes = {bytes}\n"), NOON, None);
        take(&fixture.host(), &plan, &mut |_| {}).records.remove("files/var/log/a.log").expect("read")
    };
    assert!(expected.len() < 4096 && text.len() > 3 * 4096);
    let whole = read(4096);
    assert_eq!((String::from_utf8_lossy(&whole.content).as_ref(), whole.trouble), (expected.as_str(), None));
    // Many lines inside: head and tail of those stay, and the numbers are of those.
    let inside: String = (0..2000).map(|n| at(n % 50)).collect();
    put(&fixture, "/var/log/a.log", [old(), inside.clone(), old()].concat(), NOON + HOUR);
    let cut = read(5000);
    let kept = String::from_utf8(cut.content).expect("text");
    assert!(kept.len() <= 5000 && kept.starts_with(&at(0)) && kept.ends_with(&at(49)), "{kept}");
    let told = cut.cut.expect("a cut");
    assert_eq!((kept.lines().count() - 1 + told.lines as usize, told.counted), (2000, Counted::All));
    assert_eq!(cut.slice.map(|slice| slice.left_out), Some(2 * old().len() as u64));
}

#[test]
fn a_cut_file_keeps_to_its_limit_and_to_its_size() {
    let fixture = Fixture::new();
    let lines = two_hours("%Y-%m-%dT%H:%M:%SZ");
    put(&fixture, "/var/log/a.log", lines.concat(), NOON + HOUR);
    let inside = lines[55..].concat();
    // The limit is for what is taken, not for what lies before it.
    assert!(inside.len() < 2048 && lines.concat().len() > 2048);
    let capped = take(&fixture.host(), &windowed(&format!("{LOGS}max_bytes = 2048\n"), NOON, None), &mut |_| {});
    let read = &capped.records["files/var/log/a.log"];
    assert_eq!((read.content.as_slice(), read.trouble.clone()), (inside.as_bytes(), None));
    // It goes on growing while it is read.
    let path = fixture.path("/var/log/a.log");
    let grown = take(&fixture.host(), &windowed(LOGS, NOON, None), &mut |_| {
        use std::io::Write as _;
        let mut file = File::options().append(true).open(&path).expect("opened");
        file.write_all(b"2026-11-21T17:30:00Z later\n").expect("written");
    });
    assert_eq!(grown.content("files/var/log/a.log"), Some(inside.as_bytes()));
}

#[test]
fn a_file_that_one_collector_wants_whole_is_whole() {
    let fixture = Fixture::new();
    let lines = two_hours("%Y-%m-%dT%H:%M:%SZ").concat();
    put(&fixture, "/var/log/dpkg.log", &lines, NOON + HOUR);
    put(&fixture, "/var/log/old.log", "an old line\n", NOON - 24 * HOUR);
    let exempt = "[[files]]\npaths = [\"/var/log/{dpkg,old}.log\"]\nwindow = false\n";
    let taken = take(&fixture.host(), &windowed(&format!("{LOGS}{exempt}"), NOON, None), &mut |_| {});
    assert_eq!(taken.content("files/var/log/dpkg.log"), Some(lines.as_bytes()), "though another block comes first");
    assert_eq!(taken.content("files/var/log/old.log"), Some(b"an old line\n".as_slice()));
    assert_eq!(taken.notes, Vec::new());
}

#[test]
fn a_live_log_of_a_container_elsewhere_is_cut_by_its_own_clock_and_says_so() {
    let fixture = Fixture::new();
    // Stamps of Tokyo on a node in UTC: all of them seem yet to come, or those of New York to be long gone.
    for (name, hours) in [("tokyo", 9), ("newyork", -5)] {
        let line = |n: i64| {
            let shown = jiff::Timestamp::from_millisecond(NOON + hours * HOUR + n * MINUTE).expect("in range");
            format!("{} line {n}\n", shown.strftime("%Y-%m-%d %H:%M:%S"))
        };
        put(&fixture, &format!("/var/log/{name}.log"), (-600..=60).map(line).collect::<String>(), NOON + HOUR);
    }
    let taken = collect(&fixture, NOON, None);
    for (name, minutes) in [("tokyo", 540), ("newyork", -300)] {
        let read = &taken.records[&format!("files/var/log/{name}.log")];
        let text = String::from_utf8_lossy(&read.content);
        assert!(text.contains(" line -5\n") && !text.contains(" line -6\n") && text.ends_with(" line 60\n"), "{text}");
        let slice = read.slice.expect("a window counts");
        assert_eq!((slice.rule, slice.zone_minutes), (Rule::Iso8601, Some(minutes)));
    }
    // Times that no zone explains do not speak for a file that was written in the window.
    put(&fixture, "/var/log/frozen.log", "2026-11-01 10:07:30 x\n", NOON + HOUR);
    let taken = collect(&fixture, NOON, None);
    assert_eq!(taken.records["files/var/log/frozen.log"].slice, Some(Slice::whole(Rule::Mtime)));
}
