//! Budgets and estimates: nobody is refused for having too much, and one can know before.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::kit::tree::{host_root, untar};
use crate::kit::{Site, text, verify, wait_for};

const MIB: usize = 1 << 20;

/// A log and its rotated siblings, each an hour older than the one before.
fn logs(root: &Path) {
    let names = ["app.log", "app.log.1", "app.log.2"];
    host_root(root, 5, &[(names[0], MIB), (names[1], 4 * MIB), (names[2], 4 * MIB)]);
    for (hours, name) in (1..).zip(names) {
        let file = File::options().write(true).open(root.join("var/log").join(name)).expect("opened");
        file.set_modified(SystemTime::now() - Duration::from_secs(3600) * hours).expect("a time");
    }
}

#[test]
fn a_node_beyond_the_coordinators_limit_is_cut_and_not_refused() {
    let site = Site::start("node_mib = 3");
    let root = site.folder.path().join("root");
    logs(&root);
    let node = site.started("node", &root, site.agents);
    site.online(&["node"]);
    let output = site.folder.path().join("cut.tar.zst");
    let done = site.bundle(&output, &[]).output().expect("sheaf runs");
    assert_eq!(done.status.code(), Some(3), "{}\n{}", text(&done), node.log());
    assert_eq!(verify(&output).0, 3);
    let folder = untar(&output, &site.folder.path().join("unpacked"));
    let read = |name: &str| fs::read(folder.join("nodes/node/files/var/log").join(name));
    let source = |name: &str| fs::read(root.join("var/log").join(name)).expect("source");
    assert!(read("app.log").expect("the newest is whole") == source("app.log"));
    let (cut, whole) = (read("app.log.1").expect("the next is cut"), source("app.log.1"));
    let mark = cut.windows(11).position(|part| part == b"--- sheaf: ").expect("a mark");
    assert!(cut[..mark] == whole[..mark], "its head is there");
    let tail = cut[mark..].iter().position(|byte| *byte == b'\n').expect("the mark's end") + mark + 1;
    assert!(whole.ends_with(&cut[tail..]) && cut.len() - tail > mark, "and more of its tail");
    assert!(read("app.log.2").is_err(), "the oldest fell out");
    let manifest = fs::read_to_string(folder.join("manifest.json")).expect("manifest");
    let row = manifest.lines().find(|line| line.contains("app.log.1\"")).expect("a row");
    assert!(row.contains("\"cut\":{\"by\":\"budget\",\"bytes\":"), "{row}");
    let node_row = manifest.lines().find(|line| line.contains("\"name\":\"node\"")).expect("the node's row");
    assert!(node_row.contains("\"outcome\":\"collected\""), "{node_row}");
    let warnings = fs::read_to_string(folder.join("WARNINGS.txt")).expect("warnings");
    assert!(warnings.contains("app.log.2") && warnings.contains("beyond the budget"), "{warnings}");

    let tight = site.folder.path().join("tight.tar.zst");
    let done = site.bundle(&tight, &["--budget-node", "600K"]).output().expect("sheaf runs");
    assert_eq!(done.status.code(), Some(3), "{}", text(&done));
    let folder = untar(&tight, &site.folder.path().join("tight"));
    let request = fs::read_to_string(folder.join("REQUEST.json")).expect("request");
    assert!(request.contains("614400"), "{request}");
    let newest = fs::metadata(folder.join("nodes/node/files/var/log/app.log")).expect("cut").len();
    assert!((400_000..614_400).contains(&newest), "{newest}");
    assert!(!folder.join("nodes/node/files/var/log/app.log.1").exists());
}

#[test]
fn sizes_are_asked_of_all_nodes_and_nothing_is_collected() {
    let site = Site::start("");
    let root = site.folder.path().join("root");
    logs(&root);
    let _node = site.started("node-a", &root, site.agents);
    let mut dead = site.started("node-b", &root, site.agents);
    site.online(&["node-a", "node-b"]);
    dead.kill();
    wait_for("node-b is gone", || site.json(&["node", "show", "node-b", "--json"])["online"] == false);
    let words = ["bundle", "estimate", "--cluster", "default", "--collector", "logs", "--budget-node", "3M", "--json"];
    let done = site.sheaf(&words);
    assert_eq!(done.status.code(), Some(3), "a node did not answer: {}", text(&done));
    let estimate: serde_json::Value = serde_json::from_slice(&done.stdout).expect("json");
    let bytes: u64 = ["app.log", "app.log.1", "app.log.2"]
        .iter()
        .map(|name| fs::metadata(root.join("var/log").join(name)).expect("there").len())
        .sum();
    let [alive, dead] = estimate["nodes"].as_array().expect("nodes").as_slice() else { panic!("{estimate}") };
    assert_eq!(alive["collectors"][0]["collector"], "logs");
    assert_eq!((&alive["collectors"][0]["files"], &alive["collectors"][0]["bytes"]), (&3.into(), &bytes.into()));
    assert_eq!((&alive["allowed"], &alive["left_out"]), (&(3 << 20).into(), &(bytes - (3 << 20)).into()));
    assert_eq!(dead["problem"], "the node is not connected");
    assert_eq!((&estimate["bytes"], &estimate["unknown"]), (&bytes.into(), &1.into()));
    assert!(site.json(&["task", "list", "--json"]).as_array().expect("tasks").is_empty(), "nothing was collected");

    let shown = site.sheaf(&["bundle", "estimate", "--cluster", "default", "--node", "node-a", "--collector", "logs"]);
    assert_eq!(shown.status.code(), Some(0), "{}", text(&shown));
    assert!(String::from_utf8_lossy(&shown.stdout).starts_with("node-a\tlogs\t3\t"), "{}", text(&shown));
    let refused = site.sheaf(&["bundle", "estimate", "--cluster", "nowhere"]);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
}

#[test]
fn a_request_that_names_no_budget_has_the_coordinators() {
    let site = Site::start("\n[bundle]\nnode_budget_mib = 2\nbudget_mib = 50");
    let root = site.folder.path().join("root");
    logs(&root);
    let node = site.started("node", &root, site.agents);
    site.online(&["node"]);
    let request = |name: &str, words: &[&str]| {
        let output = site.folder.path().join(format!("{name}.tar.zst"));
        let done = site.bundle(&output, words).output().expect("sheaf runs");
        assert_eq!(done.status.code(), Some(3), "{}\n{}", text(&done), node.log());
        let said = site.sheaf(&["bundle", "cat", output.to_str().expect("path"), "REQUEST.json"]);
        let request: serde_json::Value = serde_json::from_slice(&said.stdout).expect("json");
        (request["budgets"].clone(), fs::metadata(&output).expect("a bundle").len())
    };
    let (budgets, bytes) = request("default", &[]);
    assert_eq!(budgets, serde_json::json!({"node": 2 * MIB, "bundle": 50 * MIB}));
    assert!(bytes < 2 * MIB as u64, "{bytes}");
    let (budgets, _) = request("own", &["--budget-node", "600K"]);
    assert_eq!(budgets, serde_json::json!({"node": 600 << 10, "bundle": 50 * MIB}));
    let estimate = site.json(&["bundle", "estimate", "--cluster", "default", "--collector", "logs", "--json"]);
    assert_eq!(estimate["nodes"][0]["allowed"], 2 * MIB, "{estimate}");
}
