//! Wrong, revoked and foreign credentials, and orders that a node never allowed.

use crate::kit::tree::host_root;
use crate::kit::{Site, state_file, text, wait_for};

#[test]
fn a_wrong_secret_is_said_and_a_right_one_heals_it() {
    let site = Site::start("");
    let root = site.folder.path().join("root");
    host_root(&root, 10, &[("x.log", 100)]);
    let mut node = site.node("node", &root, site.agents);
    let right = std::fs::read_to_string(node.folder.join("secret")).expect("secret");
    state_file(&node.folder.join("secret"), "sheaf1.0011223344556677.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    node.start();
    wait_for("the refusal stands in the agent's log", || node.log().contains("secret"));
    assert!(!node.log().contains("aaaaaaaaaaaaaaaa"), "the secret itself is not in the log");
    let list = site.json(&["node", "list", "--json"]);
    assert!(list.as_array().expect("rows").iter().all(|row| row["online"] != true), "{list}");
    node.kill();
    state_file(&node.folder.join("secret"), &right);
    node.start();
    site.online(&["node"]);
}

#[test]
fn revoking_now_ends_the_connection_for_good() {
    let site = Site::start("");
    let root = site.folder.path().join("root");
    host_root(&root, 11, &[("x.log", 100)]);
    let mut node = site.started("node", &root, site.agents);
    site.online(&["node"]);
    let done = site.sheaf(&["secret", "revoke", "node", "--now"]);
    assert!(done.status.success(), "{}", text(&done));
    let offline =
        || site.json(&["node", "list", "--json"]).as_array().expect("rows").iter().all(|row| row["online"] != true);
    wait_for("the node is offline", offline);
    node.kill();
    node.start();
    wait_for("the agent says so", || node.log().matches("secret").count() > 0);
    assert!(offline(), "a revoked secret opens nothing");
    let again = site.sheaf(&["secret", "create", "node"]);
    assert!(!again.status.success(), "a revoked name stays taken: {}", text(&again));
}

#[test]
fn a_collector_that_the_node_does_not_declare_is_skipped_with_a_warning() {
    let site = Site::start("");
    let root = site.folder.path().join("root");
    host_root(&root, 12, &[("x.log", 100)]);
    let _node = site.started("node", &root, site.agents);
    let mut other = site.node("other", &root, site.agents);
    let shadow = "name = 'shadow'\nversion = '1'\nwhy = 'A test.'\nroots = ['/var']\n[[files]]\npaths = ['/var/**']\n";
    state_file(&site.folder.path().join("nodes/other/collectors.d/shadow.toml"), shadow);
    other.start();
    site.online(&["node", "other"]);
    let output = site.folder.path().join("x.tar.zst");
    let done = site.bundle(&output, &["--collector", "shdow"]).output().expect("sheaf runs");
    assert_eq!(done.status.code(), Some(1), "{}", text(&done));
    assert!(text(&done).contains("the collector `shdow`; there are "), "{}", text(&done));
    assert!(text(&done).contains(", shadow,"), "{}", text(&done));
    let done = site.bundle(&output, &["--collector", "shadow"]).output().expect("sheaf runs");
    assert_eq!(done.status.code(), Some(0), "{}", text(&done));
    let warnings = site.sheaf(&["bundle", "cat", output.to_str().expect("path"), "WARNINGS.txt"]);
    assert!(String::from_utf8_lossy(&warnings.stdout).contains("shadow"), "{}", text(&warnings));
}

#[test]
fn wrong_words_get_clear_answers() {
    let site = Site::start("");
    let cases: &[(&[&str], i32, &str)] = &[
        (&["bundle", "create", "--cluster", "nowhere", "--output", "-"], 1, "nowhere"),
        (&["node", "show", "nobody"], 1, "nobody"),
        (&["secret", "create", "../etc"], 2, "A-Za-z0-9"),
        (&["task", "show", "4711"], 1, "4711"),
    ];
    for (words, code, part) in cases {
        let done = site.sheaf(words);
        assert_eq!(done.status.code(), Some(*code), "{words:?}: {}", text(&done));
        assert!(String::from_utf8_lossy(&done.stderr).contains(part), "{words:?}: {}", text(&done));
    }
    let mut command = site.operator();
    let done = command.env("SHEAF_PASSWORD", "wrong").args(["node", "list"]).output().expect("sheaf runs");
    assert_eq!(done.status.code(), Some(1), "{}", text(&done));
    assert!(String::from_utf8_lossy(&done.stderr).to_lowercase().contains("password"), "{}", text(&done));
}
