//! Budgets: what is cut, what falls out, and what is said of it.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::{Fixture, Taken, plan, take};
use crate::agent::host::Host;
use crate::agent::source::{Kind, Plan};
use crate::bundle::outcome::Outcome;

const LOGS: &str = "roots = [\"/var/log\", \"/etc\"]\n[[files]]\npaths = [\"/var/log/**/*.log\", \"/etc/*.conf\"]\n";
const HOUR: Duration = Duration::from_secs(3600);

fn lines(count: usize) -> String {
    (0..count).map(|n| format!("{n:09}\n")).collect()
}

/// A file that was last written `hours` ago.
fn put(fixture: &Fixture, path: &str, hours: u32, content: impl AsRef<[u8]>) {
    let path = fixture.put(path, content);
    let file = File::options().write(true).open(path).expect("opened");
    file.set_modified(SystemTime::now() - HOUR * hours).expect("a time");
}

fn collect(fixture: &Fixture, lines: &str, total_bytes: u64) -> Taken {
    let mut plan: Plan = plan(lines);
    plan.bounds.total_bytes = total_bytes;
    take(&fixture.host(), &plan, &mut |_| {})
}

fn of(taken: &Taken, name: &str) -> Option<usize> {
    taken.content(&format!("files/{name}")).map(<[u8]>::len)
}

#[test]
fn the_oldest_falls_out_and_what_is_at_the_edge_keeps_head_and_tail() {
    let fixture = Fixture::new();
    put(&fixture, "/etc/app.conf", 9000, "state\n");
    put(&fixture, "/var/log/a.log", 1, lines(1000));
    put(&fixture, "/var/log/a.log.1", 24, lines(10_000));
    put(&fixture, "/var/log/a.log.2", 48, lines(10_000));
    put(&fixture, "/var/log/b.log.1", 72, lines(10_000));
    let taken = collect(&fixture, LOGS, 200_000);
    assert_eq!(of(&taken, "etc/app.conf"), Some(6));
    assert_eq!((of(&taken, "var/log/a.log"), of(&taken, "var/log/a.log.1")), (Some(10_000), Some(100_000)));
    let cut = &taken.records["files/var/log/a.log.2"];
    let text = String::from_utf8(cut.content.clone()).expect("text");
    assert!(text.starts_with("000000000\n") && text.ends_with("000009999\n"));
    assert!(text.contains("lines left out here (budget of 200000 bytes) ---\n"), "{text}");
    let (outcome, reason) = cut.trouble.as_ref().expect("it says so");
    assert!(*outcome == Outcome::Truncated && reason.starts_with("cut by the budget: "), "{reason}");
    taken.skipped("files/var/log/b.log.1", "left out: 100000 bytes beyond the budget of 200000 bytes");
    let sum: usize = taken.records.values().map(|read| read.content.len()).sum();
    assert!(sum < 200_000, "{sum}");
}

#[test]
fn what_is_no_use_in_parts_is_left_out_whole() {
    let fixture = Fixture::new();
    let packed = [b"\x1f\x8b\x08\x00".as_slice(), &vec![7; 150_000]].concat();
    put(&fixture, "/var/log/a.log.2.gz", 1, &packed);
    put(&fixture, "/var/log/a.log.3.gz", 9, &packed[..20_000]);
    let taken = collect(&fixture, LOGS, 100_000);
    taken.skipped("files/var/log/a.log.2.gz", "left out: 150004 bytes");
    assert_eq!(of(&taken, "var/log/a.log.3.gz"), Some(20_000));
}

#[test]
fn a_files_own_limit_keeps_head_and_tail_too() {
    let fixture = Fixture::new();
    put(&fixture, "/var/log/a.log", 1, lines(10_000));
    put(&fixture, "/var/log/b.log", 1, [b"\x28\xb5\x2f\xfd".as_slice(), &[7; 50_000]].concat());
    let taken = fixture.collect(&format!("{LOGS}max_bytes = 20000\n"));
    let text = String::from_utf8(taken.records["files/var/log/a.log"].content.clone()).expect("text");
    assert!(text.len() <= 20_000 && text.ends_with("000009999\n"), "{}", text.len());
    assert!(text.contains("(limit of 20000 bytes a file)"), "{text}");
    taken.skipped("files/var/log/b.log", "50004 bytes that are of no use in parts; the limit is 20000");
}

#[test]
fn a_collectors_priority_goes_before_age() {
    let fixture = Fixture::new();
    put(&fixture, "/var/log/old.log", 9000, lines(6000));
    put(&fixture, "/etc/new.conf", 1, lines(6000));
    let mut both = plan("priority = 9\nroots = [\"/var/log\"]\n[[files]]\npaths = [\"/var/log/*.log\"]\n");
    let mut other = plan("roots = [\"/etc\"]\n[[files]]\npaths = [\"/etc/*.conf\"]\n");
    both.collectors.append(&mut other.collectors);
    both.bounds.total_bytes = 90_000;
    let taken = take(&fixture.host(), &both, &mut |_| {});
    assert_eq!(of(&taken, "var/log/old.log"), Some(60_000));
    assert!(of(&taken, "etc/new.conf").is_none_or(|bytes| bytes < 30_000), "{:?}", taken.order);
}

#[test]
fn output_of_commands_keeps_head_and_tail_and_says_so() {
    let lines = "[[commands]]\nname = \"long\"\nargv = [\"seq\", \"100000\"]\nmax_bytes = 20000\n\
                 [[commands]]\nname = \"short\"\nargv = [\"seq\", \"10\"]\nmax_bytes = 21\n\
                 [[commands]]\nname = \"endless\"\nargv = [\"yes\"]\nmax_bytes = 20000\n";
    let taken = take(&Host::open(Path::new("/")).expect("opened"), &plan(lines), &mut |_| {});
    let long = &taken.records["commands/long.txt"];
    let text = String::from_utf8(long.content.clone()).expect("text");
    assert!(text.starts_with("1\n2\n") && text.ends_with("\n99999\n100000\n") && text.len() <= 20_000, "{text}");
    let cut = long.cut.expect("a cut");
    let mark = format!(
        "\n--- sheaf: {} bytes, {} lines left out here (limit of 20000 bytes for a command) ---\n",
        cut.bytes, cut.lines
    );
    assert_eq!((text.matches(&mark).count(), text.lines().count() as u64 - 1 + cut.lines), (1, 100_000));
    assert_eq!(long.trouble.as_ref().map(|trouble| trouble.0), Some(Outcome::Truncated));
    assert!(!taken.records.contains_key("commands/long.txt.err"), "it did not fail");
    assert_eq!(taken.records["commands/short.txt"].trouble, None, "to the byte");
    let endless = &taken.records["commands/endless.txt"];
    let (_, reason) = endless.trouble.as_ref().expect("it was stopped");
    assert!(reason.contains("stopped at the limit of 268455456 bytes; cut by the limit: "), "{reason}");
    assert!(taken.records.contains_key("commands/endless.txt.err"));
}

#[test]
fn what_is_withheld_costs_the_others_nothing() {
    let fixture = Fixture::new();
    let binary: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 7) as u8).collect();
    for name in ["wtmp.log", "data.log", "z.log"] {
        put(&fixture, &format!("/var/log/{name}"), 1, &binary);
    }
    put(&fixture, "/var/log/e.log", 1, lines(10_000));
    put(&fixture, "/var/log/y.log", 1, lines(8000));
    let taken = collect(&fixture, LOGS, 200_000);
    assert_eq!((of(&taken, "var/log/e.log"), of(&taken, "var/log/y.log")), (Some(100_000), Some(80_000)));
    assert_eq!(taken.notes, Vec::new());
    for name in ["wtmp.log", "data.log", "z.log"] {
        let kind = taken.records[&format!("files/var/log/{name}")].kind;
        assert_eq!(kind, Kind::Binary { declared: false }, "handed on to be withheld, and to say so");
    }
    // A collector that wants it gets what there is room for: none of it.
    let declared = collect(&fixture, &format!("{LOGS}binary = true\n"), 200_000);
    declared.skipped("files/var/log/data.log", "left out: 5000000 bytes");
}

#[test]
fn holes_cost_nothing_and_what_stands_around_them_is_kept() {
    const HOLE: u64 = 512 << 20;
    let fixture = Fixture::new();
    let holed = |name: &str, head: &str, tail: &str| {
        let path = fixture.put(&format!("/var/log/{name}"), head);
        File::options().write(true).open(path).expect("opened").write_all_at(tail.as_bytes(), HOLE).expect("written");
    };
    // Cut short under a writer that went on where it was; and a hole after a crash.
    holed("a.log", "", &lines(100));
    holed("b.log", &lines(100), &lines(100));
    put(&fixture, "/var/log/c.log", 1, lines(8000));
    let mut plan = plan(LOGS);
    (plan.bounds.total_bytes, plan.estimate) = (200_000, true);
    let taken = take(&fixture.host(), &plan, &mut |_| {});
    assert!(taken.estimate.is_some_and(|bytes| bytes < 200_000), "{:?}", taken.estimate);
    assert_eq!(of(&taken, "var/log/c.log"), Some(80_000));
    assert_eq!(taken.content("files/var/log/a.log"), Some(lines(100).as_bytes()));
    let (outcome, reason) = taken.records["files/var/log/a.log"].trouble.clone().expect("it says so");
    assert_eq!(
        (outcome, reason.as_str()),
        (Outcome::Collected, "begins with a hole of 536870912 bytes, which is left out")
    );
    let around = &taken.records["files/var/log/b.log"];
    // The hole belongs to the first line behind it.
    let (head, tail) = (lines(100), &lines(100)[10..]);
    assert!(around.content.starts_with(head.as_bytes()) && around.content.ends_with(tail.as_bytes()));
    assert!(around.content.len() <= 64 << 10, "{}", around.content.len());
    assert_eq!(around.trouble.as_ref().map(|trouble| trouble.0), Some(Outcome::Truncated));
}
