//! A node's history: recorded whether anybody asks or not, kept through `kill -9`, in every bundle, drawn by the operator's verb.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::kit::tree::host_root;
use crate::kit::{Node, SHEAF, Site, succeed, text, wait_for};

/// Samples ten times a second, averages of half a second.
const QUICK: &str = "[history]\nshort = \"100ms\"\nshort_keep = \"3s\"\nlong = \"500ms\"\nlong_keep = \"60s\"\n";

/// A node of this host's real vitals, that gives one small file; its configuration ends with `more`.
fn node(site: &Site, name: &str, more: &str) -> Node {
    let node = site.node(name, Path::new("/"), site.agents);
    let collector = node.folder.join("collectors.d/logs.toml");
    let told = fs::read_to_string(&collector)
        .expect("read")
        .replace("/var/log/**", "/etc/hostname")
        .replace("/var/log", "/etc");
    fs::write(&collector, told).expect("written");
    let mut config = OpenOptions::new().append(true).open(&node.config).expect("opened");
    config.write_all(more.as_bytes()).expect("written");
    node
}

/// The samples that the live agent has.
fn samples(site: &Site, name: &str) -> Vec<Value> {
    let output = site.sheaf(&["node", "show", name, "--history", "--since", "1h", "--json"]);
    let history: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    history["samples"].as_array().cloned().unwrap_or_default()
}

fn lines(site: &Site, bundle: &Path, name: &str) -> Vec<Value> {
    let bundle = bundle.to_str().expect("a path");
    let output = site.sheaf(&["bundle", "cat", bundle, &format!("nodes/{name}/vitals/history.ndjson")]);
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8(output.stdout).expect("text").lines().map(|l| serde_json::from_str(l).expect("JSON")).collect()
}

#[test]
fn what_was_before_is_kept_through_a_kill_and_stands_in_the_bundle() {
    let site = Site::start("");
    let mut node = node(&site, "web-1", QUICK);
    node.start();
    site.online(&["web-1"]);
    wait_for("there are samples", || samples(&site, "web-1").len() > 8);
    node.kill();
    let before = samples_of(&node.folder);
    assert!(before > 8);

    let dead = site.sheaf(&["node", "show", "web-1", "--history"]);
    assert_eq!(dead.status.code(), Some(1), "{}", text(&dead));
    assert!(text(&dead).contains("not connected") && text(&dead).contains("--bundle"), "{}", text(&dead));

    node.start();
    site.online(&["web-1"]);
    wait_for("there are samples after the start too", || samples_of(&node.folder) > before + 3);
    let bundle = site.folder.path().join("case.tar.zst");
    succeed(
        site.operator()
            .args(["bundle", "create", "--cluster", "default", "--collector", "logs", "--output"])
            .arg(&bundle),
    );

    let lines = lines(&site, &bundle, "web-1");
    let (head, lines) = lines.split_first().expect("lines");
    assert_eq!((&head["format"], &head["damaged_records"]), (&"sheaf-history/1".into(), &0.into()));
    assert_eq!(head["samples"]["interval_seconds"], 0.1);
    let starts = lines.iter().filter(|line| line["event"] == "agent_start").count();
    assert_eq!(starts, 2, "{lines:?}");
    let uptime = |line: &Value| line["uptime_seconds"].as_f64().expect("a number");
    assert!(lines.windows(2).all(|two| uptime(&two[0]) < uptime(&two[1])), "oldest first");
    for line in lines {
        assert!(line["memory_available_kib"].as_f64().is_some_and(|kib| kib > 0.0), "{line}");
        assert_eq!(line["boot_id"], lines[0]["boot_id"]);
    }
    shown(&site, bundle.to_str().expect("a path"));
    own(&site, &node);
    reloaded(&site, &node);
}

/// A reload changes how often samples are taken: what was before lies aside, and what is new begins.
fn reloaded(site: &Site, node: &Node) {
    let config = fs::read_to_string(&node.config).expect("read");
    fs::write(&node.config, config.replace("\"100ms\"", "\"200ms\"")).expect("written");
    node.hang_up();
    wait_for("the file is begun anew", || node.log().contains("the history was set aside and begun anew"));
    assert!(node.folder.join("state/history.ring.aside").exists());
    wait_for("there are samples", || samples(site, "web-1").len() > 2);
}

/// Records that the file holds.
fn samples_of(folder: &Path) -> usize {
    let file = fs::read(folder.join("state/history.ring")).expect("the ring");
    file[4096..].chunks(512).take(30).filter(|record| record.iter().any(|byte| *byte != 0)).count()
}

/// The operator's views of it.
fn shown(site: &Site, bundle: &str) {
    let live = site.sheaf(&["node", "show", "web-1", "--history"]);
    assert!(live.status.success(), "{}", text(&live));
    let table = String::from_utf8(live.stdout).expect("text");
    let load: Vec<&str> = table.lines().find(|line| line.starts_with("load\t")).expect("a row").split('\t').collect();
    assert_eq!(load.len(), 4, "plain when piped: {table}");
    assert!(table.contains("the agent started"), "{table}");
    // From the bundle nobody is asked, and nobody need be known.
    let mut alone = Command::new(SHEAF);
    alone.env_remove("SHEAF_URL").args(["node", "show", "web-1", "--history", "--bundle", bundle]);
    let kept = String::from_utf8(succeed(&mut alone).stdout).expect("text");
    assert!(kept.lines().any(|line| line.starts_with("memory used\t")), "{kept}");
    let json: Value = serde_json::from_slice(&succeed(alone.arg("--json")).stdout).expect("JSON");
    assert!(json["samples"].as_array().is_some_and(|samples| samples.len() > 8), "{json}");
    let other = site.sheaf(&["node", "show", "web-2", "--history", "--bundle", bundle]);
    assert!(text(&other).contains("no history of web-2"), "{}", text(&other));
    let unknown = site.sheaf(&["node", "show", "web-2", "--history"]);
    assert!(text(&unknown).contains("not found"), "{}", text(&unknown));
}

/// A node's own bundle reads the file of the daemon that runs.
fn own(site: &Site, node: &Node) {
    let own = site.folder.path().join("own.tar");
    let mut collect = Command::new(SHEAF);
    collect.args(["agent", "collect", "--collector", "logs", "--config"]).arg(&node.config).arg("--output").arg(&own);
    succeed(collect.stdin(Stdio::null()));
    let name = String::from_utf8(succeed(Command::new("tar").arg("-tf").arg(&own)).stdout).expect("text");
    assert!(name.lines().any(|line| line.ends_with("/vitals/history.ndjson")), "{name}");
}

#[test]
fn without_room_for_it_the_history_is_off_and_all_else_goes_on() {
    let site = Site::start("");
    let root = site.folder.path().join("root");
    host_root(&root, 3, &[("a.log", 100)]);
    let mut full = site.node("full", &root, site.agents);
    full.start_with_full_disk(512);
    // Nobody may make a file there, root neither.
    let mut fixed = site.node("fixed", &root, site.agents);
    let config = fs::read_to_string(&fixed.config).expect("read");
    let lines: Vec<&str> = config.lines().filter(|line| !line.starts_with("state_dir")).collect();
    fs::write(&fixed.config, format!("state_dir = \"/sys/kernel\"\n{}\n", lines.join("\n"))).expect("written");
    fixed.start();
    site.online(&["full", "fixed"]);
    for node in [&full, &fixed] {
        wait_for("it is said", || node.log().contains("the history is not recorded; all else goes on"));
    }
    let left =
        fs::read_dir(full.folder.join("state")).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().starts_with("history")), "no room is wasted");
    for name in ["full", "fixed"] {
        let none = site.sheaf(&["node", "show", name, "--history"]);
        assert!(text(&none).contains("the node has no history: none was recorded"), "{}", text(&none));
    }
    let bundle = site.folder.path().join("case.tar.zst");
    let done = site.bundle(&bundle, &[]).output().expect("sheaf runs");
    assert_eq!(done.status.code(), Some(0), "{}", text(&done));
}
