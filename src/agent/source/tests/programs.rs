//! Commands and the journal, as parts of a collection.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tokio_util::sync::CancellationToken;

use super::{Fixture, chmod, plan, take};
use crate::agent::config::AgentLimits;
use crate::agent::host::Host;
use crate::agent::source::collector::{self, Boot, Priority};
use crate::agent::source::command;
use crate::agent::source::condition;
use crate::agent::source::ends::Most;
use crate::agent::source::journal::{Journal as _, Journalctl};
use crate::bundle::outcome::{CutBy, Outcome};
use crate::window::Window;

fn own() -> Host {
    Host::open(Path::new("/")).expect("opened")
}

#[test]
fn commands_give_entries_and_errs() {
    let lines = r#"
        [[commands]]
        name = "good"
        argv = ["echo", "hello", "$HOME; id"]
        [[commands]]
        name = "bad"
        argv = ["sh", "-c", "echo part; echo why >&2; exit 1"]
        [[commands]]
        name = "endless"
        argv = ["sleep", "1000"]
        timeout = 1
        [[commands]]
        name = "missing"
        argv = ["sheaf-no-such-program"]
        [[commands]]
        name = "when-path"
        argv = ["echo"]
        when = { path = "/nonexistent/x" }
        [[commands]]
        name = "when-command"
        argv = ["echo"]
        when = { command_exists = "sheaf-no-such-program" }
        [[commands]]
        name = "when-unit"
        argv = ["echo"]
        when = { path_exists = "/", unit_active = "sheaf-no-such-unit.service" }
        [[commands]]
        name = "needs"
        argv = ["echo"]
        needs = ["CAP_BLOCK_SUSPEND", "CAP_CHECKPOINT_RESTORE"]
    "#;
    let taken = take(&own(), &plan(lines), &mut |_| {});
    assert_eq!(taken.content("commands/good.txt"), Some(b"hello $HOME; id\n".as_slice()), "no shell");
    assert_eq!(taken.content("commands/bad.txt"), Some(b"part\n".as_slice()));
    assert_eq!(taken.content("commands/bad.txt.err"), Some(b"exit status 1\n\nwhy\n".as_slice()));
    assert_eq!(taken.content("commands/endless.txt.err"), Some(b"killed after 1 s\n".as_slice()));
    taken.skipped("commands/missing.txt", "not installed");
    taken.skipped("commands/when-path.txt", "/nonexistent/x is not there");
    taken.skipped("commands/when-command.txt", "not installed");
    taken.skipped("commands/when-unit.txt", "sheaf-no-such-unit.service");
    match condition::lacking(&["CAP_BLOCK_SUSPEND".to_owned(), "CAP_CHECKPOINT_RESTORE".to_owned()], None) {
        Some(reason) => taken.skipped("commands/needs.txt", &reason),
        None => assert_eq!(taken.content("commands/needs.txt"), Some(b"\n".as_slice())),
    }
    assert!(!taken.records.contains_key("commands/good.txt.err"));
}

#[test]
fn a_command_is_run_for_each_name_and_bounded_in_number_and_time() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let things = folder.path().join("things");
    fs::create_dir(&things).expect("a folder");
    for name in ["sda", "sdb", "sdc", "loop0", "sd$(id)"] {
        fs::write(things.join(name), "").expect("written");
    }
    let lines = format!(
        r#"
        roots = [{things:?}]
        [[commands]]
        name = "disk"
        argv = ["echo", "/dev/{{{{each}}}}"]
        each = {{ names_in = {things:?}, pattern = "sd[a-z]+", most = 2 }}
        [[commands]]
        name = "container"
        argv = ["cat", "/nonexistent/{{{{each}}}}"]
        each = {{ lines_of = ["printf", 'a/b\n--all\n'], pattern = "[a-z/]+" }}
        [[commands]]
        name = "unlisted"
        argv = ["echo", "{{{{each}}}}"]
        each = {{ lines_of = ["sh", "-c", "echo why >&2; exit 7"], pattern = "[a-z]+" }}
        [[commands]]
        name = "slow"
        argv = ["sleep", "100{{{{each}}}}"]
        timeout = "200ms"
        each = {{ lines_of = ["printf", '1\n2\n3\n4\n5\n6\n'], pattern = "[0-9]" }}
    "#
    );
    let taken = take(&own(), &plan(&lines), &mut |_| {});
    assert_eq!(taken.content("commands/disk/sda.txt"), Some(b"/dev/sda\n".as_slice()));
    assert_eq!(taken.content("commands/disk/sdb.txt"), Some(b"/dev/sdb\n".as_slice()));
    taken.skipped("commands/disk/*", "only the first 2 of 3 are asked for");
    let err = taken.content("commands/container/a_b.txt.err").expect("it fails alone");
    assert!(err.starts_with(b"exit status 1"), "{}", String::from_utf8_lossy(err));
    taken.skipped("commands/container/*", "1 line of the list is not what the pattern takes");
    let unlisted = taken.notes.iter().find(|note| note.path == "commands/unlisted/*").expect("said");
    assert_eq!(unlisted.outcome, Outcome::Failed);
    assert!(unlisted.reason.contains("exit status 7: why"), "{}", unlisted.reason);
    let slow = taken.records.keys().filter(|path| path.starts_with("commands/slow/") && path.ends_with(".txt")).count();
    assert!((1..=4).contains(&slow), "{slow}");
    taken.skipped("commands/slow/*", "more are left out: those before took 0.8 s");
}

#[test]
fn a_collector_without_what_it_needs_is_skipped_whole() {
    let lines = "when = { path = \"/nonexistent\" }\n[[commands]]\nname = \"x\"\nargv = [\"echo\"]\n";
    let taken = take(&own(), &plan(lines), &mut |_| {});
    taken.skipped("collectors/test", "/nonexistent is not there");
    assert!(taken.records.is_empty() && taken.notes.len() == 1);
}

#[test]
fn commands_of_another_root_are_skipped() {
    let fixture = Fixture::new();
    let taken = fixture.collect("[[commands]]\nname = \"x\"\nargv = [\"echo\"]\n");
    taken.skipped("commands/*", "another root");
    assert!(taken.records.is_empty());
}

/// A server of one answer on a socket, which tells what it was asked.
fn serve(socket: &Path, answer: &'static str) -> std::thread::JoinHandle<String> {
    let listener = std::os::unix::net::UnixListener::bind(socket).expect("bound");
    std::thread::spawn(move || {
        let (mut link, _) = listener.accept().expect("accepted");
        let mut text = [0; 4096];
        let n = link.read(&mut text).expect("read");
        link.write_all(answer.as_bytes()).expect("written");
        String::from_utf8_lossy(&text[..n]).into_owned()
    })
}

#[test]
fn requests_give_entries_and_errs() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path().canonicalize().expect("a path");
    fs::write(root.join("token"), "abc\n").expect("written");
    std::os::unix::fs::symlink("/etc/passwd", root.join("outside")).expect("a link");
    let good = serve(&root.join("good.sock"), "HTTP/1.0 200 OK\r\n\r\nfine\n");
    let busy = serve(&root.join("busy.sock"), "HTTP/1.0 503 Busy\r\n\r\nnot now\n");
    let block = |name: &str, more: &str| {
        format!(
            "[[http]]\nname = \"{name}\"\nat = \"unix:{}/{name}.sock\"\npath = \"/state\"\n{more}\n",
            root.display()
        )
    };
    let root_shown = root.display();
    let lines = [
        format!("roots = [\"{root_shown}\"]\n"),
        block("good", &format!("token_file = \"{root_shown}/token\"")),
        block("busy", ""),
        block("none", ""),
        block("unmet", "when = { command_exists = \"sheaf-no-such-program\" }"),
        block("tokenless", &format!("token_file = \"{root_shown}/no-token\"")),
        block("stolen", &format!("token_file = \"{root_shown}/outside\"")),
    ];
    let taken = take(&own(), &plan(&lines.concat()), &mut |_| {});
    assert_eq!(taken.content("http/good.txt"), Some(b"fine\n".as_slice()));
    let said = good.join().expect("served");
    assert!(said.starts_with("GET /state HTTP/1.0\r\n") && said.contains("Bearer abc\r\n"), "{said}");
    assert!(!busy.join().expect("served").contains("Bearer"));
    assert_eq!(taken.content("http/busy.txt"), Some(b"not now\n".as_slice()));
    assert_eq!(taken.content("http/busy.txt.err"), Some(b"the server answers 503\n".as_slice()));
    taken.skipped("http/none.txt", "nothing listens on unix:");
    taken.skipped("http/unmet.txt", "not installed");
    taken.skipped("http/tokenless.txt", "no-token is not there");
    let (outcome, reason) = taken.note("http/stolen.txt").expect("a note");
    assert!(outcome == Outcome::Failed && reason.contains("outside of the declared roots"), "{outcome} {reason}");
    let elsewhere = Fixture::new().collect(&lines.concat());
    elsewhere.skipped("http/*", "another root");
}

#[test]
fn vitals_and_the_inventory_come_first() {
    let fixture = Fixture::new();
    fixture.put("/proc/loadavg", "0.5 0.5 0.5 1/2 3");
    fixture.put("/var/log/a.log", "a");
    let taken = fixture.collect("vitals = true\nroots = [\"/var/log\"]\n[[files]]\npaths = [\"/var/log/*.log\"]\n");
    assert_eq!(taken.order, ["vitals/now.json", "files/var/log/a.log"]);
    let vitals: serde_json::Value =
        serde_json::from_slice(taken.content("vitals/now.json").expect("vitals")).expect("JSON");
    assert_eq!(vitals["load"][0], 0.5);
}

#[test]
fn a_node_without_a_journal_says_so() {
    let taken = Fixture::new().collect("[[journal]]\nname = \"all\"\n");
    taken.skipped("journal/all.export", "keeps no journal");
}

/// Makes a journal of entries in the export format; `false` where there is nothing to make it with.
fn journal_of(fixture: &Fixture, entries: &[u8]) -> bool {
    let remote = Path::new("/lib/systemd/systemd-journal-remote");
    if !remote.exists() || command::find(&command::path(), "journalctl").is_none() {
        // Past what captures the output of tests that pass.
        let _ = writeln!(std::io::stderr(), "skipped: 1 check: systemd-journal-remote or journalctl is not installed");
        return false;
    }
    fixture.put("/var/log/journal/000000000000000000000000000003ac/README", "");
    let file = fixture.path("/var/log/journal/000000000000000000000000000003ac/system.journal");
    fs::remove_file(&file).or_else(|error| if file.exists() { Err(error) } else { Ok(()) }).expect("made anew");
    let mut maker = Command::new(remote).arg("-o").arg(&file).arg("-").stdin(Stdio::piped()).spawn().expect("started");
    maker.stdin.take().expect("a pipe").write_all(entries).expect("written");
    assert!(maker.wait().expect("ended").success());
    true
}

/// Entries in the export format, two units, with a line feed inside a field.
fn entries(count: u64) -> Vec<u8> {
    let mut text = Vec::new();
    for number in 1..=count {
        let unit = if number % 2 == 1 { "a.service" } else { "b.service" };
        let at = 1_767_225_600_000_000 + number;
        let head = format!(
            "__REALTIME_TIMESTAMP={at}\n__MONOTONIC_TIMESTAMP={number}\n_BOOT_ID={:032x}\n_MACHINE_ID={:032x}\n\
             PRIORITY={}\n_SYSTEMD_UNIT={unit}\n",
            0xb007_u32,
            0x3ac_u32,
            number.min(7)
        );
        text.extend_from_slice(head.as_bytes());
        let message = format!("entry {number}\nof {unit}");
        text.extend_from_slice(b"MESSAGE\n");
        text.extend_from_slice(&(message.len() as u64).to_le_bytes());
        text.extend_from_slice(message.as_bytes());
        text.extend_from_slice(b"\n\n");
    }
    text
}

fn wanted(lines: &str) -> collector::Journal {
    toml::from_str(&format!("name = \"x\"\n{lines}")).expect("a journal block")
}

type Exported = (Vec<u8>, Option<(Outcome, String)>);

/// As much as a collection that has no other bounds lets an export have.
fn most(wanted: &collector::Journal) -> Most {
    let bytes = wanted.max_bytes.unwrap_or(AgentLimits::default().journal_bytes);
    Most { bytes, by: CutBy::Limit, why: format!("limit of {bytes} bytes for a journal") }
}

fn export(host: &Host, path: &[PathBuf], lines: &str) -> Result<Exported, String> {
    let bounds = AgentLimits::default();
    let journal = Journalctl { host, path, bounds: &bounds, window: Window::ALL };
    let wanted = wanted(lines);
    let mut export = journal.export(&wanted, most(&wanted), &CancellationToken::new())?;
    let mut content = Vec::new();
    export.content.open().map_err(|e| e.to_string())?;
    export.content.read_to_end(&mut content).map_err(|e| e.to_string())?;
    Ok((content, export.content.after()))
}

#[test]
fn a_real_journal_is_exported_from_another_root() {
    let fixture = Fixture::new();
    if !journal_of(&fixture, &entries(3)) {
        return;
    }
    let host = fixture.host();
    let (all, trouble) = export(&host, &command::path(), "").expect("exported");
    assert_eq!(trouble, None);
    let count = |text: &[u8], needle: &str| String::from_utf8_lossy(text).matches(needle).count();
    assert_eq!(count(&all, "__CURSOR="), 3);
    assert!(count(&all, "entry 3\nof a.service") == 1, "fields with line feeds are whole");
    let (one, _) = export(&host, &command::path(), "units = [\"a.service\"]").expect("exported");
    assert_eq!(count(&one, "__CURSOR="), 2);
    let (worst, _) = export(&host, &command::path(), "priority = \"alert\"").expect("exported");
    assert_eq!(count(&worst, "__CURSOR="), 1);
    let (cut, trouble) = export(&host, &command::path(), "max_bytes = 100").expect("exported");
    assert_eq!((cut.len(), trouble.map(|t| t.0)), (100, Some(Outcome::Truncated)));
}

/// The numbers of the entries of [`entries`] in an export, in its order, and the messages of others.
fn numbers(export: &[u8]) -> (Vec<u64>, Vec<String>) {
    let text = String::from_utf8_lossy(export);
    let number = |line: &str| line.rsplit_once("entry ").and_then(|(_, number)| number.parse().ok());
    let marks = text.lines().filter_map(|line| line.strip_prefix("MESSAGE=")).map(str::to_owned).collect();
    (text.lines().filter_map(number).collect(), marks)
}

#[test]
fn an_export_beyond_its_limit_keeps_its_oldest_and_its_newest_entries_whole() {
    let fixture = Fixture::new();
    if !journal_of(&fixture, &entries(3000)) {
        return;
    }
    let (host, path) = (fixture.host(), command::path());
    let (all, _) = export(&host, &path, "").expect("exported");
    assert_eq!(numbers(&all), ((1..=3000).collect(), Vec::new()));
    let whole = all.len() as u64;
    // Where it just fits nothing is cut, although it was looked at from its end.
    let room = whole + 2048 + whole / 64;
    assert!(export(&host, &path, &format!("max_bytes = {room}\n")).expect("exported") == (all.clone(), None));
    for limit in [whole / 2, whole / 10] {
        let (cut, trouble) = export(&host, &path, &format!("max_bytes = {limit}\n")).expect("exported");
        assert!(cut.len() as u64 <= limit && cut.len() as u64 > limit * 9 / 10, "{} of {limit}", cut.len());
        let (kept, marks) = numbers(&cut);
        let head = kept.windows(2).position(|two| two[1] != two[0] + 1).expect("a gap") as u64 + 1;
        let gone = 3000 - kept.len() as u64;
        let expected: Vec<u64> = (1..=head).chain(head + gone + 1..=3000).collect();
        assert_eq!(kept, expected);
        assert!((2..=5).contains(&(kept.len() as u64 / head)), "a quarter is head: {head} of {}", kept.len());
        let bytes = whole + marks_bytes(&cut) - cut.len() as u64;
        let mark = format!("{gone} entries left out here (limit of {limit} bytes for a journal) ---");
        assert!(marks.len() == 1 && marks[0].starts_with(&format!("--- sheaf: {bytes} bytes, ")), "{marks:?} {bytes}");
        assert!(marks[0].ends_with(&mark), "{marks:?}");
        let (outcome, reason) = trouble.expect("it says so");
        assert!(outcome == Outcome::Truncated && reason.starts_with(&format!("cut by the limit: {bytes} bytes, ")));
        // What is given is an export still, the mark an entry of it.
        let again = Fixture::new();
        assert!(journal_of(&again, &cut));
        let (again, _) = export(&again.host(), &path, "").expect("exported");
        assert_eq!(numbers(&again), (kept, marks));
    }
}

/// Bytes of the mark's entry.
fn marks_bytes(export: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(export);
    text.split("\n\n").find(|entry| entry.contains("MESSAGE=---")).expect("a mark").len() as u64 + 2
}

#[test]
fn a_boot_that_the_journal_has_not_is_no_failure() {
    let fixture = Fixture::new();
    fixture.put("/run/log/journal/3ac/system.journal", "LPKSHHRH");
    let tool = fixture.put("/bin/journalctl", "#!/bin/sh\necho 'No such boot ID in journal' >&2; exit 1\n");
    chmod(&tool, 0o755);
    let path = [tool.parent().expect("a folder").to_owned()];
    let none = export(&fixture.host(), &path, "boot = -2").expect_err("skipped");
    assert_eq!(none, "the journal has no such boot: No such boot ID in journal");
    let (content, trouble) = export(&fixture.host(), &path, "boot = 0").expect("exported");
    assert_eq!((content.len(), trouble.map(|trouble| trouble.0)), (0, Some(Outcome::Failed)), "this one there must be");
    fs::write(&tool, "#!/bin/sh\nprintf '%0100000d' 0\nexit 1\n").expect("written");
    let (content, trouble) = export(&fixture.host(), &path, "boot = -2").expect("exported");
    assert_eq!(
        (content.len(), trouble.map(|trouble| trouble.0)),
        (100_000, Some(Outcome::Failed)),
        "what came is kept"
    );
}

#[test]
fn what_is_asked_of_journalctl() {
    let fixture = Fixture::new();
    fixture.put("/run/log/journal/3ac/system.journal", "LPKSHHRH");
    let tool = fixture.put("/bin/journalctl", "#!/bin/sh\nprintf '%s\\n' \"$@\"\n");
    chmod(&tool, 0o755);
    let path = [tool.parent().expect("a folder").to_owned()];
    let lines = "units = [\"a.service\", \"b.service\"]\npriority = \"warning\"\nwindow = false\nsince = \"2d\"\nboot = \"previous\"\n";
    let (said, trouble) = export(&fixture.host(), &path, lines).expect("exported");
    assert_eq!(trouble, None);
    let folder = fs::canonicalize(fixture.path("/run/log/journal")).expect("a path");
    let expected = format!(
        "--output=export\n--no-pager\n--quiet\n--directory={}\n--unit=a.service\n--unit=b.service\n\
         --priority=warning\n--since=-172800s\n--boot=-1\n",
        folder.display()
    );
    assert_eq!(String::from_utf8_lossy(&said), expected);
    assert_eq!(export(&fixture.host(), &[], ""), Err("`journalctl` is not installed".to_owned()));
    for (boot, expected) in [("0", "--boot=0\n"), ("-3", "--boot=-3\n"), ("\"current\"", "--boot=0\n"), ("\"all\"", "")]
    {
        let lines = format!("boot = {boot}\ntransports = [\"kernel\", \"audit\"]\n");
        let (said, _) = export(&fixture.host(), &path, &lines).expect("exported");
        let expected = format!("{expected}_TRANSPORT=kernel\n_TRANSPORT=audit\n");
        assert!(String::from_utf8_lossy(&said).ends_with(&expected), "{boot}");
    }
    assert_eq!((wanted("").boot, wanted("priority = \"err\"").priority), (Boot::All, Some(Priority::Err)));
}

#[test]
fn a_window_bounds_the_journal_and_not_what_its_collector_says() {
    let fixture = Fixture::new();
    fixture.put("/var/log/journal/machine/system.journal", "");
    chmod(&fixture.put("/tools/journalctl", "#!/bin/sh\n"), 0o755);
    let (host, path, bounds) = (fixture.host(), [fixture.path("/tools")], AgentLimits::default());
    let times = |lines: &str, window| {
        let journal = Journalctl { host: &host, path: &path, bounds: &bounds, window };
        let arguments = journal.program(&wanted(lines)).expect("a program").arguments;
        let times = arguments.into_iter().filter(|word| word.starts_with("--since") || word.starts_with("--until"));
        times.collect::<Vec<_>>().join(" ")
    };
    let both = Window { since: Some(1_795_276_800_999), until: Some(1_795_280_400_001) };
    assert_eq!(times("", both), "--since=@1795276800 --until=@1795280401");
    assert_eq!(times("since = \"1h\"", both), "--since=@1795276800 --until=@1795280401");
    assert_eq!(times("since = \"1h\"", Window::ALL), "", "all is all");
    assert_eq!(times("since = \"1h\"\nwindow = false", both), "--since=-3600s");
    assert_eq!(times("", Window::ALL), "");
}
