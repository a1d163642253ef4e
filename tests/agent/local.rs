//! A node's own bundle, with no coordinator.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tokio_util::sync::CancellationToken;

use sheaf::agent::local::{Collection, Finished, LocalError, Wanted};
use sheaf::bundle::outcome::Verdict;
use sheaf::window::Asked;

use crate::kit::{Node, manifest, node_row, verdict};

fn collect(node: &Node, name: &str) -> Result<Finished, LocalError> {
    let collection = Collection::prepare(node.config(), Wanted::default())?;
    collection.into_file(&node.path(name), &CancellationToken::new(), &mut |_| ())
}

#[test]
fn both_formats_hold_every_log() {
    let node = Node::with_logs(9 << 20);
    for name in ["own.tar.zst", "own.tar"] {
        let finished = collect(&node, name).expect("collected");
        let path = finished.path.expect("a file");
        assert_eq!(path, node.path(name));
        assert_eq!(finished.statement.verdict, Verdict::Complete);
        assert_eq!(verdict(&path), Verdict::Complete);
        node.stands_in(&path, "fixture");
        let row = node_row(&path, "fixture");
        assert_eq!((row.files, row.wire_bytes), (finished.progress.entries, finished.progress.wire));
        assert_eq!(fs::metadata(&path).expect("stat").permissions().mode() & 0o777, 0o600);
        assert!(!node.path(&format!("{name}.partial")).exists());
    }
}

#[test]
fn two_bundles_of_a_node_have_one_signer() {
    let node = Node::with_logs(0);
    let key = |name: &str| {
        let path = collect(&node, name).expect("collected").path.expect("a file");
        let reader = sheaf::bundle::reader::Reader::open(fs::File::open(path).expect("opened")).expect("a bundle");
        reader.key().to_string()
    };
    assert_eq!(key("one.tar.zst"), key("two.tar.zst"));
    assert_eq!(fs::metadata(node.path("state/seal.key")).expect("stat").permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_writer_gets_the_same() {
    let node = Node::with_logs(5 << 20);
    let collection = Collection::prepare(node.config(), Wanted::default()).expect("prepared");
    let path = node.path("piped");
    let finished = collection
        .into_writer(fs::File::create(&path).expect("a file"), &CancellationToken::new(), &mut |_| ())
        .expect("collected");
    assert!(finished.path.is_none());
    assert_eq!(verdict(&path), Verdict::Complete);
    node.stands_in(&path, "fixture");
}

#[test]
fn a_stop_leaves_a_sealed_start_that_says_so() {
    let node = Node::with_logs(30 << 20);
    let stop = CancellationToken::new();
    let collection = Collection::prepare(node.config(), Wanted::default()).expect("prepared");
    let path = node.path("own.tar.zst");
    // The first segment comes while the large log is still to be read.
    let finished = collection.into_file(&path, &stop, &mut |_| stop.cancel()).expect("ended");
    let partial = finished.path.expect("a file");
    assert_eq!(partial, node.path("own.tar.zst.partial"));
    assert!(!path.exists());
    assert_eq!(verdict(&partial), Verdict::Aborted);
    assert_eq!(finished.statement.reason, "interrupted");
    let names = manifest(&partial)["files"].to_string();
    assert!(names.contains("small-03.log") && !names.contains("zz-last.log"), "{names}");
}

#[test]
fn what_cannot_be_is_said_before_anything_is_written() {
    let node = Node::new();
    let wanted = Wanted { collectors: vec!["logz".to_owned()], ..Wanted::default() };
    let error = Collection::prepare(node.config(), wanted).err().expect("refused");
    assert!(error.to_string().contains("no collector `logz`"), "{error}");
    let error = collect(&node, "no/such/folder/own.tar.zst").expect_err("refused");
    assert!(matches!(error, LocalError::Output(..)), "{error}");
}

#[test]
fn a_full_device_is_an_error_and_leaves_nothing() {
    let node = Node::with_logs(1 << 20);
    let collection = Collection::prepare(node.config(), Wanted::default()).expect("prepared");
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("the device");
    let error = collection.into_writer(full, &CancellationToken::new(), &mut |_| ()).expect_err("full");
    assert!(sheaf::report::chain(&error).contains("No space left"), "{error}");
}

#[test]
fn without_a_folder_for_state_or_spool_it_collects_all_the_same() {
    let node = Node::with_logs(9 << 20);
    let config = sheaf::agent::config::AgentConfig { state_dir: node.path("no/state"), ..node.config() };
    let path = node.path("own.tar.zst");
    let collection = Collection::prepare(config, Wanted::default()).expect("prepared");
    collection.into_file(&path, &CancellationToken::new(), &mut |_| ()).expect("collected");
    assert_eq!(verdict(&path), Verdict::Complete);
    node.stands_in(&path, "fixture");
}

#[test]
fn a_window_cuts_the_logs_and_the_bundle_says_so() {
    let node = Node::new();
    let now = jiff::Timestamp::now();
    let line = |minutes: i64| format!("{} {minutes} minutes ago\n", now - jiff::SignedDuration::from_mins(minutes));
    let text: String = (0..=240).rev().map(line).collect();
    fs::write(node.path("root/var/log/a.log"), &text).expect("a log");
    fs::write(node.path("root/var/log/b.log"), "no time in it\n").expect("a log");
    let window = Asked { since: Some("2h".parse().expect("a moment")), until: Some("1h".parse().expect("a moment")) };
    let wanted = Wanted { window, ..Wanted::default() };
    let collection = Collection::prepare(node.config(), wanted).expect("prepared");
    let path = node.path("own.tar.zst");
    collection.into_file(&path, &CancellationToken::new(), &mut |_| ()).expect("collected");
    assert_eq!(verdict(&path), Verdict::Complete);

    let mut reader = sheaf::bundle::reader::Reader::open(fs::File::open(&path).expect("opened")).expect("a bundle");
    let asked = reader.request().expect("a request").window;
    assert_eq!(asked.until.zip(asked.since).map(|(until, since)| until - since), Some(3_600_000));
    let row = reader.find("nodes/fixture/files/var/log/a.log").expect("a row");
    let mut copy = Vec::new();
    reader.copy(&row, &mut copy).expect("copied");
    let (first, last) = (copy.split(|b| *b == b'\n').next(), copy.trim_ascii_end().rsplit(|b| *b == b'\n').next());
    let ago = |line: Option<&[u8]>| {
        let line = String::from_utf8_lossy(line.expect("a line")).into_owned();
        line.split(' ').nth(1).and_then(|word| word.parse::<i64>().ok()).expect("minutes")
    };
    // Padded by five minutes at both ends, and the test takes its time.
    assert!((124..=126).contains(&ago(first)) && (54..=56).contains(&ago(last)), "{first:?} {last:?}");
    let rows = manifest(&path)["files"].clone();
    let row = |name: &str| {
        let mut rows = rows.as_array().expect("rows").iter();
        rows.find(|row| row["path"].as_str().is_some_and(|path| path.ends_with(name))).expect("a row").clone()
    };
    let cut = &row("a.log")["window"];
    assert_eq!((&cut["rule"], &cut["left_out"]), (&"rfc3339".into(), &(text.len() - copy.len()).into()));
    assert!(cut["from"].as_u64().is_some_and(|from| from > 0), "{cut}");
    assert_eq!(row("b.log")["window"], serde_json::json!({ "rule": "mtime" }));
    assert!(row("etc/hostname")["window"].is_null(), "state is never cut");
}

#[test]
fn a_window_that_cannot_be_meant_is_refused() {
    let node = Node::new();
    for (since, until, words) in
        [("1h", "2h", "after its end"), ("2999-01-01T00:00:00Z", "now", "yet to come"), ("1h", "all", "`all`")]
    {
        let moment = |text: &str| Some(text.parse().expect("a moment"));
        let wanted = Wanted { window: Asked { since: moment(since), until: moment(until) }, ..Wanted::default() };
        let error = Collection::prepare(node.config(), wanted).err().expect("refused").to_string();
        assert!(error.contains(words), "{error}");
    }
}
