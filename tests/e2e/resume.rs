//! A cut connection and a restarted agent cost time, not data.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

use crate::kit::proxy::Proxy;
use crate::kit::tree::{host_root, same_tree, untar};
use crate::kit::{Node, Site, text, verify};

const LARGE: usize = 48 << 20;
const BREAK: u64 = 6 << 20;
/// Far inside the large entry.
const FAR: u64 = 16 << 20;
/// What is on its way when an agent dies, and what is said around it.
const LOST: u64 = 6 << 20;

#[test]
fn a_cut_connection_goes_on_where_it_was() {
    let site = Site::start("");
    let root = site.folder.path().join("root");
    host_root(&root, 5, &[("a.log", 2 << 20), ("large.log", LARGE), ("z.log", 7 << 20)]);
    let proxy = Proxy::to(site.agents);
    let node = site.started("node", &root, proxy.address);
    site.online(&["node"]);
    proxy.cut_at(proxy.up() + BREAK);

    let output = site.folder.path().join("cut.tar.zst");
    let done = site.bundle(&output, &[]).output().expect("sheaf runs");
    proxy.wait("the cut happened and the agent came back", |_, cuts, connections| cuts == 1 && connections >= 2);
    assert_eq!(done.status.code(), Some(0), "{}\n{}", text(&done), node.log());
    assert_eq!(verify(&output).0, 0);
    same_tree(&root.join("var"), &untar(&output, &site.folder.path().join("unpacked")).join("nodes/node/files/var"));
    let sent = proxy.up();
    assert!(sent < (LARGE + (9 << 20)) as u64, "{sent} bytes went up: what was acknowledged went up again");
}

/// A download whose node's agent dies when `far` bytes went up, and is started again.
fn restarted_inside(site: &Site, proxy: &Proxy, node: &mut Node, far: u64, output: &Path) -> Output {
    let at = proxy.up() + far;
    proxy.stall_at(at);
    let download = site.bundle(output, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("sheaf runs");
    proxy.wait("the agent is inside its large entry", |up, _, _| up >= at);
    node.kill();
    proxy.release();
    node.start();
    download.wait_with_output().expect("ends")
}

#[test]
fn a_restarted_agent_goes_on_with_what_is_missing() {
    let site = Site::start("");
    let root = site.folder.path().join("root");
    host_root(&root, 6, &[("a.log", 2 << 20), ("large.log", LARGE), ("z.log", 7 << 20)]);
    let proxy = Proxy::to(site.agents);
    let mut node = site.started("node", &root, proxy.address);
    site.online(&["node"]);
    let before = proxy.up();
    let output = site.folder.path().join("restarted.tar.zst");
    let done = restarted_inside(&site, &proxy, &mut node, FAR, &output);
    assert_eq!(done.status.code(), Some(0), "{}\n{}", text(&done), node.log());
    let folder = untar(&output, &site.folder.path().join("unpacked"));
    same_tree(&root.join("var"), &folder.join("nodes/node/files/var"));
    let manifest = fs::read_to_string(folder.join("manifest.json")).expect("manifest");
    assert!(manifest.contains("\"attempts\":2"), "{manifest}");
    let row = manifest.lines().find(|line| line.contains("large.log")).expect("a row");
    assert!(row.contains("\"outcome\":\"collected\""), "{row}");
    let (sent, size) = (proxy.up() - before, fs::metadata(&output).expect("the bundle").len());
    assert!(sent < size + LOST, "{sent} bytes went up for a bundle of {size}: what was held went up again");
}

#[test]
fn the_account_of_redaction_has_what_was_sent_before_a_restart() {
    let site = Site::start("");
    let root = site.folder.path().join("root");
    host_root(&root, 7, &[("a.log", 2 << 20), ("large.log", LARGE / 2), ("z.log", 1 << 20)]);
    // Before the large one, which the agent dies in, and behind it.
    let secrets = |many: usize| (0..many).map(|n| format!("line {n}: password=hunter{n}secret\n")).collect::<String>();
    for (name, many) in [("b-before.log", 3), ("c-before.log", 40), ("y-behind.log", 5)] {
        fs::write(root.join("var/log").join(name), secrets(many)).expect("written");
    }
    for name in ["d-utf16.log", "x-utf16.log"] {
        let text: Vec<u8> = "password=abc\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        fs::write(root.join("var/log").join(name), [&[0xff, 0xfe], text.as_slice()].concat()).expect("written");
    }
    let proxy = Proxy::to(site.agents);
    let mut node = site.started("node", &root, proxy.address);
    site.online(&["node"]);
    let output = site.folder.path().join("account.tar.zst");
    let done = restarted_inside(&site, &proxy, &mut node, BREAK, &output);
    assert_eq!(verify(&output).0, 0, "{}\n{}", text(&done), node.log());

    let folder = untar(&output, &site.folder.path().join("unpacked"));
    let manifest = fs::read_to_string(folder.join("manifest.json")).expect("manifest");
    assert!(manifest.contains("\"attempts\":2"), "{manifest}");
    let json = |line: &str| serde_json::from_str::<serde_json::Value>(line.trim_end_matches(',')).expect("json");
    let files = manifest.lines().filter(|line| line.starts_with("{\"path\":\"")).map(json);
    let redacted = files.filter(|row| row.get("redacted").is_some());
    let expected: BTreeMap<String, serde_json::Value> =
        redacted.map(|row| (row["path"].as_str().expect("a path").to_owned(), row["redacted"].clone())).collect();
    assert_eq!(expected.len(), 3, "{expected:?}");
    let account = fs::read_to_string(folder.join("nodes/node/REDACTION.json")).expect("an account");
    let account = json(&account);
    let rows = account["rows"].as_array().expect("rows");
    let got = rows.iter().filter(|row| row.get("redacted").is_some());
    let below = |row: &serde_json::Value| format!("nodes/node/{}", row["path"].as_str().expect("a path"));
    assert_eq!(got.map(|row| (below(row), row["redacted"].clone())).collect::<BTreeMap<_, _>>(), expected);
    let withheld: Vec<String> = rows.iter().filter(|row| row.get("withheld").is_some()).map(below).collect();
    let log = |name: &str| format!("nodes/node/files/var/log/{name}");
    assert_eq!(withheld, [log("d-utf16.log"), log("x-utf16.log")], "{account}");
    assert_eq!(account["redacted"], serde_json::json!({"password": 48}), "{account}");
    let sources = serde_json::json!({"read": 9, "redacted": 3, "withheld": 2, "unlisted": 0});
    assert_eq!(account["sources"], sources, "eight logs and node.json");
}
