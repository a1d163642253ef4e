//! A node's own bundle, with no coordinator.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tokio_util::sync::CancellationToken;

use sheaf::agent::local::{Collection, Finished, LocalError, Wanted};
use sheaf::bundle::outcome::Verdict;

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
