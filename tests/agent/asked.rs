//! Rules of redaction that a request brings along, from the request to what a real node gives.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sheaf::agent::config::AgentConfig;
use sheaf::bundle::Format;
use sheaf::bundle::outcome::Verdict;
use sheaf::bundle::reader::Reader;
use sheaf::coordinator::verbs::BundleRequest;
use sheaf::protocol::redaction::AskedRule;

use crate::kit::{Agent, Coordinator, Node, verdict};

const REMOTE: &str = "/lib/systemd/systemd-journal-remote";
const TEXT: &str = "badge for customer=ACME-4711 was made";

/// Whether there was something to make a journal of one entry with.
fn journal(node: &Node) -> bool {
    let folder = node.path("root/var/log/journal/000000000000000000000000000003ac");
    if !Path::new(REMOTE).exists() || Command::new("journalctl").arg("--version").output().is_err() {
        println!("without a journal: systemd-journal-remote or journalctl is not installed");
        return false;
    }
    fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("system.journal");
    let mut maker = Command::new(REMOTE).arg("-o").arg(file).arg("-").stdin(Stdio::piped()).spawn().expect("started");
    let (boot, machine) = (format!("{:032x}", 0xb007), format!("{:032x}", 0x3ac));
    let entry = format!(
        "__REALTIME_TIMESTAMP=1767225600000000\n__MONOTONIC_TIMESTAMP=1\n_BOOT_ID={boot}\n_MACHINE_ID={machine}\nMESSAGE={TEXT}\n\n"
    );
    maker.stdin.take().expect("a pipe").write_all(entry.as_bytes()).expect("written");
    assert!(maker.wait().expect("ended").success());
    true
}

fn declare(node: &Node, sources: &str) {
    let file = node.path("collectors.d/asked.toml");
    fs::create_dir_all(node.path("collectors.d")).expect("a folder");
    fs::write(&file, format!("name = \"asked\"\nversion = \"1\"\nwhy = \"For the tests.\"\n{sources}"))
        .expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("chmod");
}

fn content(bundle: &Path, end: &str) -> Option<String> {
    let mut reader = Reader::open(fs::File::open(bundle).expect("opened")).expect("a bundle");
    let row = reader.find(&format!("nodes/n1/{end}")).ok()?;
    let mut text = Vec::new();
    reader.copy(&row, &mut text).expect("copied");
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// A bundle of the node, for a request with these rules.
async fn gathered(coordinator: &Coordinator, redact: Vec<AskedRule>) -> PathBuf {
    let request = BundleRequest {
        cluster: "default".to_owned(),
        nodes: Vec::new(),
        collectors: vec!["asked".to_owned()],
        redact,
        budgets: Default::default(),
        window: sheaf::window::Asked::ALL,
        format: Format::TarZst,
        case: None,
        note: None,
    };
    coordinator.saved(coordinator.verbs.start_bundle(&coordinator.admin, request).await.expect("started")).await
}

/// The agent of a configuration takes out of its sources what is asked, and nothing when nothing is.
async fn takes_out(coordinator: &Coordinator, config: AgentConfig, sources: &[&str]) {
    let agent = Agent::start(config);
    coordinator.online("n1").await;
    let rule = AskedRule::parse(r"customer=customer=(\S+)").expect("a rule");
    for asked in [vec![rule], Vec::new()] {
        let bundle = gathered(coordinator, asked.clone()).await;
        assert_eq!(verdict(&bundle), Verdict::Complete);
        for source in sources {
            let text = content(&bundle, source).unwrap_or_else(|| panic!("{source} is not in the bundle"));
            let wanted = if asked.is_empty() { TEXT } else { "badge for customer=[redacted:customer] was made" };
            assert!(text.contains(wanted) && text.contains("ACME") == asked.is_empty(), "{source}: {text}");
        }
        let account = content(&bundle, "REDACTION.json").expect("an account");
        assert_eq!(account.contains("customer"), !asked.is_empty(), "{account}");
    }
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_request_asks_for_is_taken_out_of_files_commands_and_the_journal() {
    let (coordinator, mut node) = (Coordinator::new().await, Node::new());
    node.log("badges.log", format!("{TEXT}\n").into_bytes());
    let journal = journal(&node);
    let config = coordinator.enrol(&node, "n1", coordinator.agents).await;
    let config = AgentConfig { collectors_dirs: vec![node.path("collectors.d")], ..config };
    declare(&node, "roots = [\"/var/log\"]\n[[files]]\npaths = [\"/var/log/*.log\"]\n[[journal]]\nname = \"all\"\n");
    let sources = ["files/var/log/badges.log", "journal/all.export"];
    takes_out(&coordinator, config.clone(), &sources[..if journal { 2 } else { 1 }]).await;
    // Commands speak of the host itself.
    declare(&node, &format!("[[commands]]\nname = \"badges\"\nargv = [\"echo\", {TEXT:?}]\n"));
    takes_out(&coordinator, AgentConfig { host_root: "/".into(), ..config }, &["commands/badges.txt"]).await;
}
