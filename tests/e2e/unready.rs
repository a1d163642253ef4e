//! An agent that is not set up: it ends at once, says what to do where people look, and is not to be started again.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output};

use crate::kit::tree::host_root;
use crate::kit::{AGENT, SHEAF, Site, text, wait_for};

/// What the unit's `RestartPreventExitStatus=` names.
const NOT_SET_UP: i32 = 78;

/// Runs the agent under what stands in for systemd, and gives what it was told.
fn run(folder: &Path, config: &str, credentials: Option<&Path>) -> (Output, String) {
    daemon(Command::new(AGENT).arg("run"), folder, config, credentials)
}

fn daemon(command: &mut Command, folder: &Path, config: &str, credentials: Option<&Path>) -> (Output, String) {
    let file = folder.join("daemon.toml");
    fs::write(&file, config).expect("configuration");
    let at = folder.join("notify");
    let _ = fs::remove_file(&at);
    let systemd = UnixDatagram::bind(&at).expect("a socket");
    command.arg("--config").arg(&file).env("NOTIFY_SOCKET", &at);
    match credentials {
        Some(folder) => command.env("CREDENTIALS_DIRECTORY", folder),
        None => command.env_remove("CREDENTIALS_DIRECTORY"),
    };
    let output = command.output().expect("runs");
    systemd.set_nonblocking(true).expect("set");
    let mut told = String::new();
    let mut buffer = [0; 4096];
    while let Ok(read) = systemd.recv(&mut buffer) {
        told.push_str(&String::from_utf8_lossy(&buffer[..read]));
        told.push('\n');
    }
    (output, told)
}

#[test]
fn an_agent_that_is_not_set_up_ends_at_once_and_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let ca = any_ca(folder.path());
    let whole = format!(
        "url = 'https://127.0.0.1:1'\nca_file = '{ca}'\nsecret_file = '{}'\nstate_dir = '{}'\n",
        at("secret"),
        at("state")
    );
    fs::write(folder.path().join("other"), "hunter2").expect("written");
    let malformed = whole.replace(&at("secret"), &at("other"));
    for (config, expected) in [
        ("", "no `url`"),
        ("url = 'https://127.0.0.1:1'\n", "no `ca_file`"),
        (whole.as_str(), "sheaf-agent join FILE"),
        (malformed.as_str(), "holds no agent secret"),
        ("colect = 'off'\n", "unknown key `colect`"),
    ] {
        let (output, told) = run(folder.path(), config, None);
        assert_eq!(output.status.code(), Some(NOT_SET_UP), "{config}: {}", text(&output));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(expected), "{config}: {said}");
        assert!(told.contains("STATUS=not started: ") && told.contains(expected), "{config}: {told}");
        assert!(!told.contains("READY=1"), "{config}: {told}");
    }
    // A credential that systemd hands over is looked at too.
    let credentials = folder.path().join("credentials");
    fs::create_dir(&credentials).expect("a folder");
    fs::write(credentials.join("agent-secret"), "hunter2").expect("written");
    let (output, told) = run(folder.path(), &whole, Some(&credentials));
    assert_eq!(output.status.code(), Some(NOT_SET_UP), "{}", text(&output));
    assert!(told.contains("credentials/agent-secret holds no agent secret"), "{told}");
}

#[test]
fn a_coordinator_that_is_not_set_up_ends_at_once_and_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let whole = format!("public = '127.0.0.1:0'\nagents = '127.0.0.1:0'\nstate_dir = '{}'\n", at("state"));
    let no_certificate = format!("{whole}[tls]\ncertificate = '{0}'\nkey = '{0}'\n", at("other"));
    fs::write(folder.path().join("other"), "no PEM").expect("written");
    for (config, expected) in [
        (format!("pubic = '127.0.0.1:0'\n{whole}"), "unknown key `pubic`; did you mean `public`?"),
        (format!("{whole}[limits]\nactive_nodes = 'x'\n"), "line 5"),
        (no_certificate, "certificate"),
    ] {
        let (output, told) = daemon(Command::new(SHEAF).args(["coordinator", "run"]), folder.path(), &config, None);
        assert_eq!(output.status.code(), Some(NOT_SET_UP), "{config}: {}", text(&output));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(expected), "{config}: {said}");
        assert!(told.contains("STATUS=not started: ") && told.contains(expected), "{config}: {told}");
        assert!(!told.contains("READY=1"), "{config}: {told}");
    }
    let unit = include_str!("../../systemd/system/sheaf-coordinator.service");
    assert!(unit.contains(&format!("RestartPreventExitStatus={NOT_SET_UP}\n")));
}

#[test]
fn who_is_at_the_wrong_listener_or_was_revoked_is_told_what_to_do() {
    let site = Site::start("");
    let at_agents =
        site.operator().env("SHEAF_URL", format!("https://{}", site.agents)).args(["node", "list"]).output();
    let at_agents = text(&at_agents.expect("runs"));
    assert!(at_agents.contains("listener for agents") && at_agents.contains("25555"), "{at_agents}");
    let root = site.folder.path().join("root");
    host_root(&root, 21, &[("x.log", 5000)]);
    let lost = site.started("lost", &root, site.public);
    wait_for("the agent is told of the other listener", || lost.log().contains("agents have the other one"));

    let mut node = site.started("node", &root, site.agents);
    site.online(&["node"]);
    assert!(site.sheaf(&["secret", "revoke", "node", "--now"]).status.success());
    wait_for("the refusal is explained", || node.log().contains("refuses this node's agent secret"));
    let log = node.log();
    assert!(!log.contains("errorMessage"), "a sentence, no JSON: {log}");
    let told = log.lines().find(|line| line.contains("refuses this node's agent secret")).expect("a line");
    let steps = ["sheaf node remove", "sheaf secret create", "put it into"].map(|step| told.find(step));
    assert!(steps.iter().all(Option::is_some) && steps.is_sorted(), "{told}");
    // The steps lead back.
    assert!(site.sheaf(&["node", "remove", "node"]).status.success());
    let secret = site.sheaf(&["secret", "create", "node", "--json"]);
    assert!(secret.status.success(), "{}", text(&secret));
    node.kill();
}

/// A CA's file: any will do where nobody is reached.
fn any_ca(folder: &Path) -> String {
    let key = rcgen::KeyPair::generate().expect("a key");
    let ca = rcgen::CertificateParams::default().self_signed(&key).expect("a certificate");
    let path = folder.join("ca.pem");
    fs::write(&path, ca.pem()).expect("written");
    path.display().to_string()
}
