//! A node that has too much to do: its agent pauses, says so, is not taken for one that stalls, and goes on.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::kit::tree::{host_root, same_tree, untar};
use crate::kit::{Site, text, verify, wait_for};

/// Longer than the coordinator waits for one that says nothing.
const PAUSED: Duration = Duration::from_secs(4);

/// What the agent says of it.
const WHY: &str = "memory pressure: full avg10 is 75 %, the limit 20 %";

/// Says what the kernel of this node would say.
fn memory_pressure(root: &Path, full: f64) {
    fs::create_dir_all(root.join("proc/pressure")).expect("folders");
    let line = |who: &str| format!("{who} avg10={full:.2} avg60=0.00 avg300=0.00 total=0\n");
    // Never read half written.
    fs::write(root.join("proc/pressure/new"), line("some") + &line("full")).expect("written");
    fs::rename(root.join("proc/pressure/new"), root.join("proc/pressure/memory")).expect("in place");
}

#[test]
fn a_node_under_pressure_pauses_and_is_not_given_up() {
    let site = Site::start("stall_secs = 1\npatience_secs = 2");
    let root = site.folder.path().join("root");
    host_root(&root, 31, &[("a.log", 3 << 20), ("b.log", 3 << 20)]);
    memory_pressure(&root, 75.0);
    let node = site.started("node", &root, site.agents);
    site.online(&["node"]);
    let output = site.folder.path().join("paused.tar.zst");
    let mut download = site.bundle(&output, &[]);
    let mut download = download.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("sheaf runs");
    let task = || site.json(&["task", "list", "--state", "processing", "--json"])[0]["id"].clone();
    wait_for("the bundle is being made", || task().is_number());
    let task = task().to_string();
    let paused = |event: &serde_json::Value| event.to_string().contains(WHY);
    wait_for("the pause is told", || {
        let shown = site.json(&["task", "show", &task, "--json"]);
        shown["events"].as_array().is_some_and(|events| events.iter().any(paused))
    });
    let began = Instant::now();
    wait_for("a stall would have been noticed", || began.elapsed() > PAUSED);
    assert!(download.try_wait().expect("its state").is_none(), "it waits: {}", node.log());
    memory_pressure(&root, 0.5);
    let done = download.wait_with_output().expect("ends");
    assert_eq!(done.status.code(), Some(0), "{}\n{}", text(&done), node.log());
    let shown = text(&done);
    assert!(shown.contains(&format!("Collecting: node pauses: {WHY}")), "whoever waits is told: {shown}");
    assert_eq!(verify(&output).0, 0);

    let folder = untar(&output, &site.folder.path().join("unpacked"));
    same_tree(&root.join("var"), &folder.join("nodes/node/files/var"));
    let manifest = fs::read_to_string(folder.join("manifest.json")).expect("manifest");
    let row = manifest.lines().find(|line| line.starts_with("{\"name\":\"node\"")).expect("the node's row");
    let row: serde_json::Value = serde_json::from_str(row.trim_end_matches(',')).expect("json");
    let paused = row["paused_ms"].as_u64().expect("milliseconds");
    assert!(row["outcome"] == "collected" && u128::from(paused) >= PAUSED.as_millis(), "{row}");
    let pauses = fs::read(folder.join("nodes/node/vitals/pauses.json")).expect("the node's own word");
    let pauses: serde_json::Value = serde_json::from_slice(&pauses).expect("json");
    assert_eq!((&pauses["pauses"][0]["why"], &pauses["paused_ms"]), (&WHY.into(), &paused.into()));
    assert!(pauses["pauses"][0]["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{pauses}");
}
