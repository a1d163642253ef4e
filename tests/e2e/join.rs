//! Access info from the command line, a node that joins with it, and a kubeconfig that curl could use: real processes only.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::kit::{AGENT, Site, succeed, text, wait_for};

fn join(file: &Path, folder: &Path, host: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(AGENT);
    command.arg("join").arg(file).arg("--host-root").arg(host);
    command.arg("--config-dir").arg(folder.join("etc")).arg("--state-dir").arg(folder.join("var"));
    command.args(words).stdin(Stdio::null()).output().expect("sheaf runs")
}

fn host(folder: &Path, machine_id: &str) -> std::path::PathBuf {
    let root = folder.join("root");
    fs::create_dir_all(root.join("etc")).expect("a root");
    fs::write(root.join("etc/machine-id"), machine_id).expect("a machine id");
    root
}

#[test]
fn a_node_joins_with_a_file_and_one_command() {
    let site = Site::start("");
    let folder = site.folder.path();
    let (file, one, two) = (folder.join("edge.json"), folder.join("one"), folder.join("two"));
    site.json(&["cluster", "create", "edge", "--json"]);
    let download = ["cluster", "access-info", "edge", "--output", file.to_str().expect("UTF-8")];
    assert!(site.sheaf(&download).status.success());
    assert_eq!(fs::metadata(&file).expect("stat").permissions().mode() & 0o777, 0o600);
    let again = site.sheaf(&["cluster", "access-info", "edge"]);
    assert!(!again.status.success() && text(&again).contains("--reset"), "{}", text(&again));

    let root = host(&one, "11111111111111111111111111111111");
    let joined = join(&file, &one, &root, &["--name", "web-1", "--label", "rack=7", "--json"]);
    assert!(joined.status.success(), "{}", text(&joined));
    let said: serde_json::Value = serde_json::from_slice(&joined.stdout).expect("JSON");
    assert_eq!((&said["name"], &said["cluster"]), (&"web-1".into(), &"edge".into()));
    let mut agent = Command::new(AGENT);
    agent.args(["run", "--config"]).arg(one.join("etc/agent.toml"));
    let mut agent = agent.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
    site.online(&["web-1"]);
    let node = site.json(&["node", "show", "web-1", "--json"]);
    assert_eq!((&node["cluster"], &node["labels"]["rack"]), (&"edge".into(), &"7".into()));

    let taken = join(&file, &two, &host(&two, "22222222222222222222222222222222"), &["--name", "web-1"]);
    assert!(!taken.status.success() && text(&taken).contains("sheaf node remove web-1"), "{}", text(&taken));
    assert!(!two.join("etc").exists() && !two.join("var").exists(), "a failed join leaves nothing");
    let other = join(&file, &one, &root, &["--name", "web-2"]);
    assert!(!other.status.success() && text(&other).contains("--force"), "{}", text(&other));

    // Without --name it stays who it is.
    let again = join(&file, &one, &root, &[]);
    assert!(again.status.success() && text(&again).contains("web-1"), "{}", text(&again));
    assert!(
        text(&again).contains("\n  sheaf-agent run --config "),
        "it names the program that is here: {}",
        text(&again)
    );
    site.online(&["web-1"]);
    assert!(site.sheaf(&["cluster", "access-info", "edge", "--reset"]).status.success());
    let late = join(&file, &two, &root, &["--name", "web-3"]);
    assert!(!late.status.success() && text(&late).contains("revoked"), "{}", text(&late));
    agent.kill().expect("killed");
    agent.wait().expect("reaped");
}

#[test]
fn a_kubeconfig_comes_in_a_file_of_ones_own_and_ends_when_revoked() {
    let site = Site::start("");
    site.json(&["fleet", "create", "edge", "--json"]);
    succeed(site.operator().args(["fleet", "add", "edge", "default"]));
    assert_eq!(site.json(&["fleet", "show", "edge", "--json"])["clusters"], serde_json::json!(["default"]));
    let file = site.folder.path().join("edge.kubeconfig");
    succeed(site.operator().args(["fleet", "kubeconfig", "edge", "--days", "2", "--output"]).arg(&file));
    assert_eq!(fs::metadata(&file).expect("stat").permissions().mode() & 0o777, 0o600);
    let config: serde_json::Value = serde_json::from_slice(&fs::read(&file).expect("read")).expect("JSON");
    assert_eq!(config["clusters"][0]["cluster"]["server"], format!("https://{}", site.public));
    let rows = site.json(&["cert", "list", "--fleet", "edge", "--json"]);
    let serial = rows[0]["id"].as_str().expect("a serial");
    assert_eq!((&rows[0]["name"], &rows[0]["status"]), (&"admin@edge".into(), &"ACTIVE".into()));
    assert_eq!(site.json(&["cert", "revoke", serial, "--json"])["status"], "REVOKED");
    // A file that is there is not written over, and nothing is issued for it.
    let taken = site.sheaf(&["fleet", "kubeconfig", "edge", "--output", file.to_str().expect("UTF-8")]);
    assert!(!taken.status.success(), "{}", text(&taken));
    assert_eq!(site.json(&["cert", "list", "--json"]).as_array().map(Vec::len), Some(1));
    succeed(site.operator().args(["fleet", "remove", "edge", "default"]));
    succeed(site.operator().args(["fleet", "delete", "edge"]));
    wait_for("the fleet is gone", || site.json(&["fleet", "list", "--json"]) == serde_json::json!([]));
}
