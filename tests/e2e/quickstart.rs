//! The README's first command, as a user types it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::kit::tree::{files_below, untar};
use crate::kit::{SHEAF, text, verify, wait_for};

#[test]
fn two_nodes_one_bundle() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = folder.path().join("first.tar.zst");
    let done = Command::new(SHEAF)
        .args(["quickstart", "--nodes", "2", "--output"])
        .arg(&output)
        .current_dir(folder.path())
        .env("TMPDIR", folder.path().join("."))
        .stdin(Stdio::null())
        .output()
        .expect("sheaf runs");
    assert_eq!(done.status.code(), Some(0), "{}", text(&done));
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(said.contains("first.tar.zst"), "{said}");
    assert_eq!(verify(&output).0, 0);
    let bundle = untar(&output, &folder.path().join("unpacked"));
    let nodes: Vec<_> = fs::read_dir(bundle.join("nodes")).expect("nodes").collect();
    assert_eq!(nodes.len(), 2);
    for node in nodes {
        let files = files_below(&node.expect("entry").path());
        for wanted in ["node.json", "vitals/now.json"] {
            assert!(files.iter().any(|path| path.ends_with(wanted)), "no {wanted} in {files:?}");
        }
    }
}

#[test]
fn kept_open_it_prints_one_line_and_cleans_up() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut child = Command::new(SHEAF)
        .args(["quickstart", "--keep", "--json", "--output"])
        .arg(folder.path().join("kept.tar.zst"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("sheaf runs");
    let mut line = String::new();
    let mut said = BufReader::new(child.stdout.take().expect("piped"));
    said.read_line(&mut line).expect("a line");
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    for member in ["url", "agents_url", "ca_file", "user", "password", "cluster_id", "state_dir", "nodes", "bundle"] {
        assert!(!ready[member].is_null(), "no {member} in {line}");
    }
    let list = Command::new(SHEAF)
        .args(["node", "list", "--json"])
        .env("SHEAF_URL", ready["url"].as_str().expect("url"))
        .env("SHEAF_CA", ready["ca_file"].as_str().expect("ca_file"))
        .env("SHEAF_USER", ready["user"].as_str().expect("user"))
        .env("SHEAF_PASSWORD", ready["password"].as_str().expect("password"))
        .output()
        .expect("sheaf runs");
    assert!(list.status.success(), "{}", text(&list));
    let state = std::path::PathBuf::from(ready["state_dir"].as_str().expect("state_dir"));
    assert!(state.is_dir());
    interrupt(&child);
    let mut rest = String::new();
    said.read_to_string(&mut rest).expect("read");
    assert_eq!(rest, "", "one line, and nothing else on standard output");
    child.wait().expect("ends");
    wait_for("the temporary state is gone", || !state.exists());
}

fn interrupt(child: &Child) {
    let id = rustix::process::Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("a pid");
    rustix::process::kill_process(id, rustix::process::Signal::INT).expect("interrupted");
}

/// Runs a command line as it was printed, and gives what it said.
fn typed(line: &str, folder: &Path) -> String {
    let output = Command::new("sh").args(["-c", &format!("{line} -sS --fail-with-body")]).current_dir(folder).output();
    let output = output.expect("a shell");
    assert!(output.status.success(), "{line}: {}", text(&output));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn kept_open_for_people_it_prints_commands_that_work_as_they_stand() {
    let curl = Command::new("curl").arg("--version").output();
    if !curl.is_ok_and(|output| output.status.success()) {
        let required = std::env::var_os("SHEAF_TEST_REQUIRE_TOOLS").is_some_and(|value| value == "1");
        assert!(!required, "curl is required and not installed");
        return eprintln!("skipped: 1 check, since curl does not answer");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut child = Command::new(SHEAF)
        .args(["quickstart", "--keep", "--output", "kept.tar.zst"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("sheaf runs");
    let mut said = BufReader::new(child.stdout.take().expect("piped")).lines().map(|line| line.expect("a line"));
    let mut commands =
        said.by_ref().filter_map(|line| line.trim().strip_prefix("curl ").map(|rest| format!("curl {rest}")));
    let [nodes, vms, order, fetch] = std::array::from_fn(|_| commands.next().expect("a command"));

    let nodes: serde_json::Value = serde_json::from_str(&typed(&nodes, folder.path())).expect("JSON");
    assert_eq!(nodes[0]["name"], "node-1");
    let vms: serde_json::Value = serde_json::from_str(&typed(&vms, folder.path())).expect("JSON");
    assert_eq!(vms.as_array().map(Vec::len), Some(1), "{vms}");
    let order: serde_json::Value = serde_json::from_str(&typed(&order, folder.path())).expect("JSON");
    let token = order["wcp_support_bundle_token"]["token"].as_str().unwrap_or_else(|| panic!("a token: {order}"));
    typed(&fetch.replace("TOKEN", token), folder.path());
    assert_eq!(verify(&folder.path().join("bundle.tar")).0, 0);
    assert_eq!(verify(&folder.path().join("kept.tar.zst")).0, 0);
    interrupt(&child);
    child.wait().expect("ends");
}
