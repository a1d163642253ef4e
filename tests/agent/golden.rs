//! Golden bundles: whole hosts as trees of data, and exactly what a bundle of each holds and says is missing.
//!
//! A tree is `golden/NAME.tree`, what a bundle of it must hold `golden/NAME.list`: a line for each entry and each source that gave none, in
//! the bundle's order. Where a change is meant, `SHEAF_BLESS=1` writes the lists anew.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use sheaf::agent::config::AgentConfig;
use sheaf::agent::local::{Collection, Wanted};
use sheaf::bundle::outcome::Verdict;
use sheaf::bundle::reader::Reader;
use sheaf::window::Asked;

use crate::kit::{Node, manifest, verdict};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/agent/golden")
}

/// Makes a tree from its lines: `file PATH = TEXT`, `gzip PATH = TEXT`, `link PATH = TARGET`, `fifo PATH`.
fn plant(tree: &str, root: &Path) {
    for line in tree.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (kind, rest) = line.split_once(' ').expect(line);
        let (path, text) = rest.split_once('=').unwrap_or((rest, ""));
        let (path, text) = (root.join(path.trim()), text.strip_prefix(' ').unwrap_or(text).replace("\\n", "\n"));
        fs::create_dir_all(path.parent().expect("a parent")).expect(line);
        match kind {
            "file" => fs::write(&path, text).expect(line),
            "gzip" => {
                let mut gzip = flate2::write::GzEncoder::new(File::create(&path).expect(line), Default::default());
                gzip.write_all(text.as_bytes()).and_then(|()| gzip.finish().map(drop)).expect(line);
            }
            "link" => symlink(text, &path).expect(line),
            "fifo" => nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600)).expect(line),
            _ => panic!("{line}"),
        }
    }
}

/// What a bundle holds, a line each.
fn listed(bundle: &Path) -> String {
    let manifest = manifest(bundle);
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let mut lines = String::new();
    let rows = |key: &str| manifest[key].as_array().cloned().unwrap_or_default();
    for row in rows("files") {
        let path = text(&row, "path");
        // The bundle's own files say when it was made.
        let Some((_, path)) = path.split_once("nodes/host/") else { continue };
        let of = |key: &str, word: &str| match text(&row, key).as_str() {
            "" => String::new(),
            value => format!(" {word} {value}"),
        };
        let redacted = row["redacted"].as_object().map(|rules| rules.keys().cloned().collect::<Vec<_>>().join(" "));
        let redacted = redacted.filter(|rules| !rules.is_empty()).map(|rules| format!(" without {rules}"));
        let (outcome, collector) = (text(&row, "outcome"), of("collector", "by"));
        let (link, why) = (of("link", "through"), of("reason", "since"));
        lines.push_str(&format!("{outcome} {path}{collector}{link}{}{why}\n", redacted.unwrap_or_default()));
    }
    for row in rows("sources") {
        let (outcome, path) = (text(&row, "outcome"), text(&row, "path"));
        lines.push_str(&format!("{outcome} {path} by {}: {}\n", text(&row, "collector"), text(&row, "reason")));
    }
    lines
}

/// A bundle of a tree by all default collectors that are compiled in.
fn collected(name: &str) -> (Node, PathBuf) {
    let node = Node::new();
    fs::remove_dir_all(node.path("root")).expect("removed");
    let tree = fs::read_to_string(folder().join(format!("{name}.tree"))).expect("a tree");
    plant(&tree, &node.path("root"));
    let config = AgentConfig { node: Some("host".parse().expect("a name")), ..node.config() };
    let wanted = Wanted { window: Asked::ALL, ..Wanted::default() };
    let collection = Collection::prepare(config, wanted).expect("prepared");
    let path = node.path("own.tar.zst");
    collection.into_file(&path, &CancellationToken::new(), &mut |_| ()).expect("collected");
    (node, path)
}

fn golden(name: &str) {
    let (_node, bundle) = collected(name);
    assert_eq!(verdict(&bundle), Verdict::Complete, "what is absent is no reason to call a bundle partial");
    let (list, file) = (listed(&bundle), folder().join(format!("{name}.list")));
    if std::env::var_os("SHEAF_BLESS").is_some() {
        return fs::write(&file, list).expect("written");
    }
    let expected = fs::read_to_string(&file).expect("a list");
    let missing: Vec<&str> = expected.lines().filter(|line| !list.lines().any(|other| other == *line)).collect();
    let more: Vec<&str> = list.lines().filter(|line| !expected.lines().any(|other| other == *line)).collect();
    assert!(list == expected, "{name}: gone {missing:#?}, new {more:#?}, or the order differs");
    // Every file of the tree that must not be read says so in its text, and secrets in the others are one word.
    let mut reader = Reader::open(File::open(&bundle).expect("opened")).expect("a bundle");
    for line in list.lines().filter_map(|line| line.strip_prefix("collected ")) {
        let path = line.split(' ').next().expect("a path");
        let row = reader.find(&format!("nodes/host/{path}")).expect("a row");
        let mut content = Vec::new();
        reader.copy(&row, &mut content).expect("copied");
        let mut plain = Vec::new();
        if path.ends_with(".gz") {
            let mut gzip = flate2::read::MultiGzDecoder::new(&content[..]);
            std::io::Read::read_to_end(&mut gzip, &mut plain).expect("gzip");
        }
        for text in [&content, &plain].map(|bytes| String::from_utf8_lossy(bytes).into_owned()) {
            assert!(!text.contains("never read") && !text.contains("hunter2secret"), "{path}: {text}");
        }
    }
}

#[test]
fn a_debian_host() {
    golden("debian");
}

#[test]
fn an_el_host() {
    golden("el");
}

#[test]
fn a_node_of_kubernetes() {
    golden("kubernetes");
}
