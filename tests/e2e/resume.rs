//! A cut connection and a restarted agent cost time, not data.

use std::process::Stdio;

use crate::kit::proxy::Proxy;
use crate::kit::tree::{host_root, same_tree, untar};
use crate::kit::{Site, text, verify};

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

#[test]
fn a_restarted_agent_goes_on_with_what_is_missing() {
    let site = Site::start("");
    let root = site.folder.path().join("root");
    host_root(&root, 6, &[("a.log", 2 << 20), ("large.log", LARGE), ("z.log", 7 << 20)]);
    let proxy = Proxy::to(site.agents);
    let mut node = site.started("node", &root, proxy.address);
    site.online(&["node"]);
    let before = proxy.up();
    proxy.stall_at(before + FAR);

    let output = site.folder.path().join("restarted.tar.zst");
    let download = site.bundle(&output, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("sheaf runs");
    proxy.wait("the agent is inside its large entry", |up, _, _| up >= before + FAR);
    node.kill();
    proxy.release();
    node.start();
    let done = download.wait_with_output().expect("ends");
    assert_eq!(done.status.code(), Some(0), "{}\n{}", text(&done), node.log());
    let folder = untar(&output, &site.folder.path().join("unpacked"));
    same_tree(&root.join("var"), &folder.join("nodes/node/files/var"));
    let manifest = std::fs::read_to_string(folder.join("manifest.json")).expect("manifest");
    assert!(manifest.contains("\"attempts\":2"), "{manifest}");
    let row = manifest.lines().find(|line| line.contains("large.log")).expect("a row");
    assert!(row.contains("\"outcome\":\"collected\""), "{row}");
    let (sent, size) = (proxy.up() - before, std::fs::metadata(&output).expect("the bundle").len());
    assert!(sent < size + LOST, "{sent} bytes went up for a bundle of {size}: what was held went up again");
}
