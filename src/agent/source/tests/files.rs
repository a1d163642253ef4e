//! Files: everything that is not one, lies elsewhere, or changes while it is read.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::{Fixture, Kind, chmod, plan, take, without_root};
use crate::agent::host::Host;
use crate::agent::source::{Access, Found, Plan, Row, check, collect};
use crate::bundle::outcome::Outcome;

const LOGS: &str = "roots = [\"/var/log\"]\n[[files]]\npaths = [\"/var/log/**/*.log\"]\n";

#[test]
fn files_come_sorted_with_their_siblings_and_folders() {
    let fixture = Fixture::new();
    for name in ["b.log", "a.log", "a.log.1", "a.log.2.gz", "sub/deep/c.log", "a.txt", "sub/a.log-20260101.xz"] {
        fixture.put(&format!("/var/log/{name}"), name);
    }
    let taken = fixture.collect(LOGS);
    let names: Vec<&str> = taken.order.iter().filter_map(|path| path.strip_prefix("files/var/log/")).collect();
    assert_eq!(names, ["a.log", "a.log.1", "a.log.2.gz", "b.log", "sub/a.log-20260101.xz", "sub/deep/c.log"]);
    assert_eq!(taken, fixture.collect(LOGS), "the same twice");
    assert!(taken.notes.is_empty(), "{:?}", taken.notes);
}

#[test]
fn what_the_files_will_come_to_is_said_before_the_first() {
    let fixture = Fixture::new();
    fixture.put("/var/log/a.log", "12345");
    fixture.put("/var/log/b.log", "x".repeat(50));
    fixture.put("/var/log/b.txt", "not named");
    fs::hard_link(fixture.path("/var/log/a.log"), fixture.path("/var/log/c.log")).expect("a link");
    let said = |lines: &str, estimate| take(&fixture.host(), &Plan { estimate, ..plan(lines) }, &mut |_| {}).estimate;
    assert_eq!(said(LOGS, true), Some(55));
    let capped = format!("{LOGS}max_bytes = 10\n");
    assert_eq!(said(&capped, true), Some(15), "no more of a file than is read");
    assert_eq!(said(LOGS, false), None, "nobody asked");
}

#[test]
fn what_is_no_regular_file_is_never_opened() {
    let fixture = Fixture::new();
    fixture.put("/var/log/real.log", "real");
    let fifo = fixture.path("/var/log/fifo.log");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).expect("a FIFO");
    let _socket = UnixListener::bind(fixture.path("/var/log/socket.log")).expect("a socket");
    fs::create_dir(fixture.path("/var/log/folder.log")).expect("a folder");
    symlink("fifo.log", fixture.path("/var/log/link.log")).expect("a link");
    let device = rustix::fs::makedev(1, 3);
    let node = rustix::fs::mknodat(
        rustix::fs::CWD,
        fixture.path("/var/log/device.log"),
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::Mode::RWXU,
        device,
    );
    let taken = fixture.collect(LOGS);
    taken.skipped("files/var/log/fifo.log", "is a FIFO");
    taken.skipped("files/var/log/socket.log", "is a socket");
    if node.is_ok() {
        // Only root can make one.
        taken.skipped("files/var/log/device.log", "is a device");
    }
    assert_eq!(taken.order, ["files/var/log/real.log"]);
}

#[test]
fn loops_of_folders_end() {
    let fixture = Fixture::new();
    fixture.put("/var/log/app/a.log", "a");
    symlink(".", fixture.path("/var/log/app/self")).expect("a link");
    symlink("/var/log", fixture.path("/var/log/app/top")).expect("a link");
    symlink("circle.log", fixture.path("/var/log/circle.log")).expect("a link");
    symlink("nowhere", fixture.path("/var/log/app/dangling.log")).expect("a link");
    let taken =
        fixture.collect("roots = [\"/var/log\"]\n[[files]]\npaths = [\"/var/log/**\", \"/var/log/*/*/*.log\"]\n");
    assert_eq!(taken.order, ["files/var/log/app/a.log"]);
    taken.skipped("files/var/log/circle.log", "in a circle");
    taken.skipped("files/var/log/app/dangling.log", "link to nothing");
    assert_eq!(taken.notes.len(), 2, "each fact once, however often the folder is entered: {:?}", taken.notes);
}

#[test]
fn a_link_leads_to_declared_roots_only_and_is_noted() {
    let fixture = Fixture::new();
    fixture.put("/etc/shadow", "secret");
    fixture.put("/srv/app/real.log", "real");
    fixture.put("/srv/app/logs/x.log", "x");
    fixture.put("/var/log/own.log", "own");
    let link = |target: &str, name: &str| symlink(target, fixture.path(name)).expect("a link");
    link("/etc/shadow", "/var/log/out.log");
    link("../../etc/shadow", "/var/log/up.log");
    link("/srv/app/real.log", "/var/log/real.log");
    link("/srv/app/logs", "/var/log/linked");
    link("own.log", "/var/log/zz.log");
    link("/nowhere", "/var/log/dangling.log");
    let lines = "roots = [\"/var/log\", \"/srv/app\"]\n[[files]]\npaths = [\"/var/log/**/*.log\"]\n";
    let taken = fixture.collect(lines);
    assert_eq!(taken.content("files/srv/app/real.log"), Some(b"real".as_slice()), "opened where it lies");
    assert_eq!(taken.records["files/srv/app/real.log"].link.as_deref(), Some("/var/log/real.log"));
    assert_eq!(taken.content("files/srv/app/logs/x.log"), Some(b"x".as_slice()));
    taken.skipped("files/var/log/out.log", "outside of the declared roots");
    taken.skipped("files/var/log/up.log", "link to /etc/shadow");
    taken.skipped("files/var/log/dangling.log", "link to nothing");
    taken.skipped("files/var/log/zz.log", "collected there");
    assert_eq!(taken.records.len(), 3);
}

#[test]
fn links_stay_inside_another_root() {
    let outside = Fixture::new();
    outside.put("/secret.log", "outside");
    let fixture = Fixture::new();
    fixture.put("/var/log/a.log", "a");
    symlink(outside.path("/secret.log"), fixture.path("/var/log/out.log")).expect("a link");
    // The root itself may be a link: a host's /var/log on another disk.
    symlink("/var/log", fixture.path("/logs")).expect("a link");
    let taken = fixture.collect("roots = [\"/logs\"]\n[[files]]\npaths = [\"/logs/*.log\"]\n");
    assert_eq!(taken.order, ["files/var/log/a.log"]);
    taken.skipped("files/var/log/out.log", "link to nothing");
}

#[test]
fn hard_links_are_read_once() {
    let fixture = Fixture::new();
    let first = fixture.put("/var/log/a.log", "a");
    fs::hard_link(first, fixture.path("/var/log/b.log")).expect("a hard link");
    let taken = fixture.collect(LOGS);
    assert_eq!(taken.order, ["files/var/log/a.log"]);
    taken.skipped("files/var/log/b.log", "same file");
}

#[test]
fn a_hole_of_a_tebibyte_is_not_read() {
    let fixture = Fixture::new();
    let hole = fixture.put("/var/log/hole.log", "");
    File::options().write(true).open(&hole).expect("opened").set_len(1 << 40).expect("a hole");
    let small = fixture.put("/var/log/small.log", "");
    File::options().write(true).open(&small).expect("opened").set_len(5000).expect("a hole");
    let taken = fixture.collect(LOGS);
    taken.skipped("files/var/log/hole.log", "is a hole: 1099511627776 bytes, of which");
    assert_eq!(taken.content("files/var/log/small.log").map(<[u8]>::len), Some(5000));
}

#[test]
fn a_file_above_its_limit_is_cut_and_says_so() {
    let fixture = Fixture::new();
    fixture.put("/var/log/large.log", "x".repeat(100_000));
    let taken = fixture.collect(&format!("{LOGS}max_bytes = \"64KiB\"\n"));
    let read = &taken.records["files/var/log/large.log"];
    assert!((65_000..65_536).contains(&read.content.len()), "{}", read.content.len());
    let (outcome, reason) = read.trouble.as_ref().expect("it says so");
    assert!(*outcome == Outcome::Truncated && reason.starts_with("cut by the limit: 34"), "{reason}");
}

#[test]
fn files_that_change_while_they_are_read() {
    let fixture = Fixture::new();
    for name in ["grows", "rotates", "shrinks", "vanishes"] {
        fixture.put(&format!("/var/log/{name}.log"), "0123456789");
    }
    let path = |name: &str| fixture.path(&format!("/var/log/{name}.log"));
    let taken = take(&fixture.host(), &plan(LOGS), &mut |record| {
        let name = record.path.as_str().rsplit('/').next().unwrap_or_default().trim_end_matches(".log").to_owned();
        match name.as_str() {
            "grows" => {
                let mut file = File::options().append(true).open(path("grows")).expect("opened");
                file.write_all(b"more").expect("grown");
                // The next one goes while this one is read.
                fs::remove_file(path("vanishes")).expect("removed");
            }
            "rotates" => {
                fs::rename(path("rotates"), fixture.path("/var/log/elsewhere")).expect("rotated");
                fs::write(path("rotates"), "new").expect("written");
            }
            "shrinks" => {
                record.content.open().expect("opened");
                record.content.read_exact(&mut [0; 4]).expect("a part");
                File::options().write(true).open(path("shrinks")).expect("opened").set_len(4).expect("shrunk");
            }
            _ => {}
        }
    });
    assert_eq!(taken.content("files/var/log/grows.log"), Some(b"0123456789".as_slice()));
    assert_eq!(taken.records["files/var/log/grows.log"].trouble, None);
    assert_eq!(taken.content("files/var/log/rotates.log"), Some(b"0123456789".as_slice()), "what was opened is read");
    let (outcome, reason) = taken.records["files/var/log/shrinks.log"].trouble.clone().expect("trouble");
    assert_eq!((outcome, reason.as_str()), (Outcome::Truncated, "shrank from 10 to 4 bytes while it was read"));
    taken.skipped("files/var/log/vanishes.log", "vanished");
}

#[test]
fn what_may_not_be_read_fails_alone_with_an_err_in_its_place() {
    let fixture = Fixture::new();
    chmod(&fixture.put("/var/log/a.log", "secret"), 0o200);
    fixture.put("/var/log/b.log", "b");
    let closed = fixture.put("/var/log/closed/c.log", "c").parent().expect("a folder").to_owned();
    chmod(&closed, 0o300);
    let root = fixture.folder.path().to_owned();
    let taken = without_root(move || take(&Host::open(&root).expect("opened"), &plan(LOGS), &mut |_| {}));
    assert_eq!(taken.note("files/var/log/a.log").map(|note| note.0), Some(Outcome::Failed));
    assert!(
        String::from_utf8_lossy(taken.content("files/var/log/a.log.err").expect("an err"))
            .contains("permission denied")
    );
    assert!(taken.content("files/var/log/closed.err").is_some(), "{:?}", taken.order);
    assert_eq!(taken.content("files/var/log/b.log"), Some(b"b".as_slice()));
    chmod(&closed, 0o700);
}

#[test]
fn a_masked_file_is_not_taken_for_an_empty_one() {
    let fixture = Fixture::new();
    chmod(&fixture.put("/var/log/masked.log", ""), 0);
    let taken = fixture.collect(LOGS);
    if nix::unistd::geteuid().is_root() {
        taken.skipped("files/var/log/masked.log", "masked");
    } else {
        assert_eq!(taken.note("files/var/log/masked.log").map(|note| note.0), Some(Outcome::Failed));
    }
}

#[test]
fn names_that_are_no_text_keep_their_bytes() {
    let fixture = Fixture::new();
    fixture.put("/var/log/a.log", "a");
    let odd = fixture.path("/var/log").join(OsStr::from_bytes(b"b\xff\n.log"));
    fs::write(odd, "odd").expect("written");
    let taken = fixture.collect(LOGS);
    let (path, read) = taken.records.iter().find(|(_, read)| read.content == b"odd").expect("collected");
    assert!(path.starts_with("files/var/log/b") && path.ends_with(".log"), "{path}");
    assert!(read.original.as_deref().is_some_and(|name| name.contains("%FF")), "{read:?}");
}

#[test]
fn excludes_and_the_agents_own_files_are_left_out_without_a_word() {
    let fixture = Fixture::new();
    fixture.put("/var/log/a.log", "a");
    fixture.put("/var/log/private/b.log", "b");
    let own = fixture.put("/var/log/agent.secret.log", "sheaf1.…");
    symlink("agent.secret.log", fixture.path("/var/log/link.log")).expect("a link");
    let mut plan = plan(&format!("{LOGS}exclude = [\"/var/log/priv*\"]\n"));
    plan.never.push(own.canonicalize().expect("a path"));
    let taken = take(&fixture.host(), &plan, &mut |_| {});
    assert_eq!(taken.order, ["files/var/log/a.log"]);
    assert!(taken.notes.is_empty(), "{:?}", taken.notes);
}

#[test]
fn what_is_absent_is_said_once_for_a_block() {
    let fixture = Fixture::new();
    fixture.put("/var/log/a.log", "a");
    let lines = format!("{LOGS}[[files]]\npaths = [\"/var/log/none/*.x\", \"/var/log/nothing\"]\nrotated = false\n");
    let taken = fixture.collect(&lines);
    taken.skipped("files/var/log/none/*.x", "is not there");
    assert_eq!(taken.notes.len(), 1);
    assert!(!taken.records.keys().any(|path| path.ends_with(".err")), "absent is no failure");
}

#[test]
fn the_collections_own_limits_end_it_and_are_said_once() {
    let fixture = Fixture::new();
    for name in 0..5 {
        fixture.put(&format!("/var/log/{name}.log"), [b'x'; 100]);
    }
    let mut small = plan(LOGS);
    small.bounds.entries = 3;
    let taken = take(&fixture.host(), &small, &mut |_| {});
    assert_eq!(taken.order.len(), 2, "node.json is one too: {:?}", taken.order);
    let said: Vec<_> = taken.notes.iter().filter(|note| note.reason.contains("limit of")).collect();
    assert_eq!(said.len(), 1, "{:?}", taken.notes);
    assert_eq!(said[0].outcome, Outcome::Truncated);
    let mut none = plan(LOGS);
    none.bounds.total_bytes = 1;
    let taken = take(&fixture.host(), &none, &mut |_| {});
    assert!(taken.order.is_empty());
    taken.skipped("files/var/log/4.log", "beyond the budget of 1 bytes");
    let empty: Vec<_> = taken.notes.iter().filter(|note| note.outcome == Outcome::Truncated).collect();
    assert!(empty.len() == 1 && empty[0].reason.starts_with("nothing is here: "), "{:?}", taken.notes);
}

#[test]
fn kinds_are_told_and_binary_passes_by_rule_only() {
    let fixture = Fixture::new();
    fixture.put("/var/log/a.log", "text");
    fixture.put("/var/log/b.log", b"\x1f\x8b\x08\x00rest");
    fixture.put("/var/log/c.log", b"\x7fELF\0\0\0\0");
    let taken = fixture.collect(LOGS);
    let kind = |name: &str| taken.records[&format!("files/var/log/{name}.log")].kind;
    assert_eq!((kind("a"), kind("b"), kind("c")), (Kind::Text, Kind::Gzip, Kind::Binary { declared: false }));
    let declared = fixture.collect(&format!("{LOGS}binary = true\n"));
    assert_eq!(declared.records["files/var/log/c.log"].kind, Kind::Binary { declared: true });
}

#[test]
fn files_of_proc_are_read_to_their_end() {
    let host = Host::open(Path::new("/")).expect("opened");
    let taken = take(&host, &plan("roots = [\"/proc\"]\n[[files]]\npaths = [\"/proc/meminfo\"]\n"), &mut |_| {});
    assert!(taken.content("files/proc/meminfo").is_some_and(|text| text.starts_with(b"MemTotal:")));
    assert_eq!(taken.records["files/proc/meminfo"].trouble, None);
}

#[test]
fn a_stop_and_a_break_end_it() {
    let fixture = Fixture::new();
    for name in 0..3 {
        fixture.put(&format!("/var/log/{name}.log"), "x");
    }
    let stop = CancellationToken::new();
    let mut seen = 0;
    let ended = collect(&plan(LOGS), &fixture.host(), &stop, &mut |found| {
        if let Found::Record(record) = found
            && record.path.as_str().starts_with("files/")
        {
            seen += 1;
            stop.cancel();
        }
        ControlFlow::Continue(())
    });
    assert_eq!((ended, seen), (ControlFlow::Break(()), 1));
    let mut seen = 0;
    let ended = collect(&plan(LOGS), &fixture.host(), &CancellationToken::new(), &mut |_| {
        seen += 1;
        ControlFlow::Break(())
    });
    assert_eq!((ended, seen), (ControlFlow::Break(()), 1));
}

#[test]
fn a_check_shows_what_a_collection_would_take() {
    let fixture = Fixture::new();
    fixture.put("/var/log/a.log", "12345");
    chmod(&fixture.put("/var/log/b.log", "secret"), 0o200);
    symlink("/etc/shadow", fixture.path("/var/log/c.log")).expect("a link");
    fixture.put("/etc/shadow", "x");
    let root: PathBuf = fixture.folder.path().to_owned();
    let rows: Vec<Row> = without_root(move || {
        let lines =
            format!("{LOGS}[[files]]\npaths = [\"/var/log/none\"]\n[[commands]]\nname = \"x\"\nargv = [\"x\"]\n");
        let mut rows = Vec::new();
        let host = Host::open(&root).expect("opened");
        let _ = check(&plan(&lines), &host, &CancellationToken::new(), &mut |row| {
            rows.push(row);
            ControlFlow::Continue(())
        });
        rows
    });
    let told: Vec<(&str, Access, Option<u64>)> =
        rows.iter().map(|row| (row.source.as_str(), row.access, row.size)).collect();
    assert_eq!(
        told,
        [
            ("command x", Access::Skipped, None),
            ("/var/log/a.log", Access::Ok, Some(5)),
            ("/var/log/b.log", Access::Denied, None),
            ("/var/log/c.log", Access::Skipped, None),
            ("/var/log/none", Access::Absent, None),
        ]
    );
}
