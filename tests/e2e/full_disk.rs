//! A full disk on any side: a clear error or another way, and nothing else lost.

use std::fs;

use crate::kit::tree::{host_root, same_tree, untar};
use crate::kit::{AGENT, SHEAF, Site, full_disk, text, verify};

#[test]
fn an_output_that_cannot_be_written_is_said_and_leaves_no_bundle() {
    let site = Site::start("");
    let root = site.folder.path().join("root");
    host_root(&root, 7, &[("large.log", 12 << 20)]);
    let _node = site.started("node", &root, site.agents);
    site.online(&["node"]);

    let output = site.folder.path().join("full.tar.zst");
    let whole = site.bundle(&output, &[]);
    let mut command = full_disk(SHEAF, 1024);
    command.args(whole.get_args());
    for (name, value) in whole.get_envs() {
        command.env(name, value.expect("set"));
    }
    let done = command.output().expect("sheaf runs");
    assert_eq!(done.status.code(), Some(1), "{}", text(&done));
    assert!(String::from_utf8_lossy(&done.stderr).contains("full.tar.zst"), "{}", text(&done));
    assert!(!output.exists(), "nothing under the name that was asked for");

    // The coordinator and the node go on.
    let done = site.bundle(&output, &[]).output().expect("sheaf runs");
    assert_eq!(done.status.code(), Some(0), "{}", text(&done));
}

#[test]
fn a_node_without_room_to_spool_reads_twice() {
    let site = Site::start("");
    let root = site.folder.path().join("root");
    host_root(&root, 8, &[("a.log", 100), ("large.log", 40 << 20)]);
    let mut node = site.node("node", &root, site.agents);
    node.start_with_full_disk(512);
    site.online(&["node"]);
    let output = site.folder.path().join("twice.tar.zst");
    let done = site.bundle(&output, &[]).output().expect("sheaf runs");
    assert_eq!(done.status.code(), Some(0), "{}\n{}", text(&done), node.log());
    same_tree(&root.join("var"), &untar(&output, &site.folder.path().join("unpacked")).join("nodes/node/files/var"));
}

#[test]
fn a_nodes_own_bundle_on_a_full_disk_is_never_called_complete() {
    let site = Site::start("");
    let root = site.folder.path().join("root");
    host_root(&root, 9, &[("large.log", 12 << 20)]);
    let node = site.node("node", &root, site.agents);
    let output = site.folder.path().join("own.tar.zst");
    let done = full_disk(AGENT, 1024)
        .args(["collect", "--config"])
        .arg(&node.config)
        .arg("--output")
        .arg(&output)
        .output()
        .expect("sheaf runs");
    assert!(!done.status.success(), "{}", text(&done));
    assert!(String::from_utf8_lossy(&done.stderr).contains("own.tar.zst"), "{}", text(&done));
    for entry in fs::read_dir(site.folder.path()).expect("folder") {
        let path = entry.expect("entry").path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("own.tar.zst")) {
            assert!(![0, 3].contains(&verify(&path).0), "{}", path.display());
        }
    }
}
