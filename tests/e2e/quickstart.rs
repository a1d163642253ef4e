//! The README's first command, as a user types it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

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
    BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("a line");
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
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("a pid"),
        rustix::process::Signal::INT,
    )
    .expect("interrupted");
    child.wait().expect("ends");
    wait_for("the temporary state is gone", || !state.exists());
}
