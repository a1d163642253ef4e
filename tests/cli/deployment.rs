//! `sheaf deployment list|show|apply|delete`, over the nodes of a quickstart.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use crate::desk::{Desk, Kept, text};
use crate::log_in;

/// A manifest over all nodes.
fn manifest(name: &str, job: &str) -> String {
    format!(
        "# ours\nname: {name}\nreleases:\n- {{name: sheaf-collectors, version: latest}}\ninstance_groups:\n- name: all\n  \
         nodes: ['node-*']\n  jobs:\n  - {{name: {job}, release: sheaf-collectors}}\n"
    )
}

#[test]
fn a_deployment_is_applied_shown_changed_and_deleted() {
    let desk = Desk::new();
    let kept = Kept::start(&desk, 2);
    log_in(&desk, &kept);
    let rows = desk.json(&["deployment", "list", "--json"]);
    assert_eq!((&rows[0]["name"], &rows[0]["nodes"]), (&"quickstart".into(), &2.into()), "{rows}");

    let file = desk.path().join("web.yml");
    fs::write(&file, manifest("web", "system")).expect("written");
    let tried = desk.run(&["deployment", "apply", "web.yml", "--dry-run"]);
    assert!(tried.status.success(), "{}", text(&tried));
    assert_eq!(desk.json(&["deployment", "list", "--json"]).as_array().map(Vec::len), Some(1), "nothing was done");
    let applied = desk.run(&["deployment", "apply", "web.yml"]);
    let said = String::from_utf8_lossy(&applied.stdout).into_owned();
    assert!(applied.status.success(), "{}", text(&applied));
    for node in ["node-1", "node-2"] {
        assert!(said.lines().any(|line| line.contains(node) && line.contains("applied")), "{node}: {said}");
    }
    let shown = desk.json(&["deployment", "show", "web", "--json"]);
    assert_eq!((&shown["name"], &shown["state"]), (&"web".into(), &"current".into()), "{shown}");
    assert_eq!(shown["instances"].as_array().map(Vec::len), Some(2));
    assert_eq!(shown["instances"][0]["jobs"], serde_json::json!(["system"]));
    let sent = desk.run(&["deployment", "show", "web", "--manifest"]);
    assert_eq!(String::from_utf8_lossy(&sent.stdout), manifest("web", "system"), "to the byte");
    let listed = desk.run(&["deployment", "list"]);
    assert!(String::from_utf8_lossy(&listed.stdout).lines().any(|line| line.starts_with("web\tcurrent\t2\t")));
    let shown = desk.run(&["deployment", "show", "web"]);
    assert!(text(&shown).contains("all/0\tnode-1\tdefault\tcurrent\tsystem"), "{}", text(&shown));

    // Changed by standard input; a program gets one object and nothing else.
    let mut apply = desk.command(&["deployment", "apply", "-", "--recreate", "--json"]);
    let mut apply = apply.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("started");
    let changed = manifest("web", "logs");
    apply.stdin.take().expect("piped").write_all(changed.as_bytes()).expect("written");
    let out = apply.wait_with_output().expect("ended");
    assert!(out.status.success(), "{}", text(&out));
    let ended: serde_json::Value = serde_json::from_slice(&out.stdout).expect("one object");
    assert_eq!((&ended["name"], &ended["state"]), (&"web".into(), &"done".into()), "{ended}");
    assert!(ended["id"].is_u64(), "{ended}");
    let shown = desk.json(&["deployment", "show", "web", "--json"]);
    assert_eq!(shown["instances"][1]["jobs"], serde_json::json!(["logs"]));

    refused(&desk);

    assert!(desk.run(&["deployment", "delete", "web"]).status.success());
    let gone = desk.run(&["deployment", "show", "web"]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(text(&gone).contains("deployment `web` not found"), "{}", text(&gone));
    let again = desk.run(&["deployment", "delete", "web", "--force"]);
    assert_eq!(again.status.code(), Some(1), "{}", text(&again));
    kept.stop();
}

/// What cannot be applied says why, and changes nothing.
fn refused(desk: &Desk) {
    let deep = format!("name: a\nx: {}{}\n", "[".repeat(400), "]".repeat(400));
    for (content, word) in [
        (String::new(), "must be a mapping"),
        ("- a list\n".to_owned(), "must be a mapping"),
        ("releases: []\n".to_owned(), "has no `name`"),
        ("name: [unclosed\n".to_owned(), "cannot be read"),
        (deep, "cannot be read"),
        (manifest("../etc", "system"), "name"),
        (manifest("web", "absent"), "absent"),
        (manifest("web", "system").replace("latest", "99.0.0"), "99.0.0"),
        (manifest("web", "system").replace("node-*", "nowhere-*"), "node"),
        (manifest("web", "system").replace("  jobs:", "  instances: 3\n  jobs:"), "3"),
    ] {
        fs::write(desk.path().join("bad.yml"), &content).expect("written");
        for flags in [&["--json"][..], &[]] {
            let out = desk.run(&[&["deployment", "apply", "bad.yml"], flags].concat());
            assert_eq!(out.status.code(), Some(1), "{content:.80}: {}", text(&out));
            assert!(text(&out).contains(word), "{word} for {content:.80}: {}", text(&out));
        }
    }
    let absent = desk.run(&["deployment", "apply", "nowhere.yml"]);
    assert!(absent.status.code() == Some(1) && text(&absent).contains("nowhere.yml"), "{}", text(&absent));
    let shown = desk.json(&["deployment", "show", "web", "--json"]);
    assert_eq!((&shown["state"], &shown["instances"][0]["jobs"]), (&"current".into(), &serde_json::json!(["logs"])));
}
