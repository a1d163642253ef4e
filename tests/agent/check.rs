//! `sheaf-agent check` with the real program: what it finds in collector files, what it shows, and how it ends.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use serde_json::Value;

use crate::kit::{Node, log};

const WEB: &str = "name = \"web\"\nversion = \"1\"\nwhy = \"A test.\"\nroots = [\"/var/log\"]\n\n[[files]]\npaths = [\"/var/log/*.log\"]\n";

/// A node with this collector file, checked.
fn check(text: &str, words: &[&str]) -> Output {
    check_by(text, "", words)
}

/// The same with more lines in the configuration.
fn check_by(text: &str, more: &str, words: &[&str]) -> Output {
    let mut node = Node::new();
    node.log("a.log", log(1, 1000));
    let folder = node.path("collectors.d");
    fs::create_dir(&folder).expect("a folder");
    let file = folder.join("web.toml");
    fs::write(&file, text).expect("written");
    for (path, mode) in [(&folder, 0o755), (&file, 0o644)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    }
    let config = node.path("agent.toml");
    let lines = format!(
        "host_root = {:?}\nstate_dir = {:?}\ncollectors_dirs = [{folder:?}]\nbuiltin_collectors = false\n{more}",
        node.path("root"),
        node.path("state")
    );
    fs::write(&config, lines).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sheaf-agent"));
    command.args(["check", "--config"]).arg(&config).args(words).output().expect("started")
}

#[test]
fn a_good_file_shows_what_would_be_read() {
    let out = check(WEB, &["--json"]);
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    let rows: Vec<Value> = serde_json::from_slice(&out.stdout).expect("JSON");
    let log = rows.iter().find(|row| row["source"] == "/var/log/a.log").expect("the log");
    assert_eq!((log["access"].as_str(), log["size"].as_u64()), (Some("ok"), Some(1000)));
    assert!(rows.iter().all(|row| row["level"].is_null()), "nothing is found: {rows:?}");
}

#[test]
fn a_fault_has_its_line_and_ends_the_check_with_one() {
    let broken = WEB.replace("/var/log/*.log", "/etc/*.conf");
    let out = check(&broken, &["--json"]);
    assert_eq!(out.status.code(), Some(1));
    let rows: Vec<Value> = serde_json::from_slice(&out.stdout).expect("JSON");
    let fault = rows.iter().find(|row| row["level"] == "error").expect("a fault");
    assert_eq!(
        (fault["line"].as_u64(), fault["access"].as_str(), fault["collector"].as_str()),
        (Some(7), Some("lint"), Some("web"))
    );
    assert!(fault["source"].as_str().is_some_and(|file| file.ends_with("/collectors.d/web.toml")), "{fault}");
    let out = check(&broken, &[]);
    assert_eq!(out.status.code(), Some(1));
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(said.contains("web.toml:7: files[0]: `/etc/*.conf` lies below none of the declared roots"), "{said}");
    assert!(String::from_utf8_lossy(&out.stderr).contains("1 error in collector files"));
    let out = check(&WEB.replace("roots", "root"), &[]);
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(
        out.status.code() == Some(1) && said.contains("web.toml:4: unknown key `root`; did you mean `roots`?"),
        "{said}"
    );
}

#[test]
fn a_bad_rule_and_a_bad_value_hide_nothing() {
    let rule = "[[redact.rules]]\nname = \"case\"\npattern = \"(case\"\n";
    let broken = WEB.replace("roots", "root");
    let out = check_by(&broken, &format!("orders_per_hour = 0\n{rule}"), &["--json"]);
    assert_eq!(out.status.code(), Some(1));
    let rows: Vec<Value> = serde_json::from_slice(&out.stdout).expect("JSON");
    let errors: Vec<&str> =
        rows.iter().filter(|row| row["level"] == "error").map(|row| row["why"].as_str().expect("why")).collect();
    assert_eq!(errors.len(), 3, "{rows:#?}");
    for (error, part) in
        errors.iter().zip(["orders_per_hour: must be 1 to 3600", "unclosed group", "unknown key `root`"])
    {
        assert!(error.contains(part), "{part}: {error}");
    }
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("2 errors in the configuration") && said.contains("1 error in collector files"), "{said}");
    // What can be read is shown all the same.
    let out = check_by(WEB, rule, &[]);
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(
        out.status.code() == Some(1) && said.contains("/var/log/a.log") && said.contains("unclosed group"),
        "{said}"
    );
}
