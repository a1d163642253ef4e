//! The daemon against a real coordinator: orders, cut lines, restarts, refusals.

use std::fs;
use std::path::PathBuf;

use tokio::sync::oneshot;

use sheaf::agent::config::AgentConfig;
use sheaf::agent::send::{Dialer, Keys, LoginError, Token};
use sheaf::bundle::outcome::{Outcome, Verdict};
use sheaf::secret::AgentSecret;
use sheaf::shutdown::Shutdown;

use crate::kit::{Agent, Coordinator, Node, log, node_row, until, verdict};
use crate::line::Line;

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_holds_every_log_of_the_node() {
    let (coordinator, node) = (Coordinator::new().await, Node::with_logs(9 << 20));
    let config = coordinator.enrol(&node, "n1", coordinator.agents).await;
    let agent = Agent::start(config.clone());
    coordinator.online("n1").await;
    let bundle = coordinator.download().await;
    assert_eq!(verdict(&bundle), Verdict::Complete);
    node.stands_in(&bundle, "n1");
    agent.stop().await;

    // The secret was rotated: the first one is no longer needed.
    fs::remove_file(node.path("secret")).expect("removed");
    let agent = Agent::start(config);
    coordinator.online("n1").await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_cut_again_and_again_loses_nothing() {
    let (coordinator, node) = (Coordinator::new().await, Node::with_logs(12 << 20));
    // Less than two segments go through a connection.
    let line = Line::new(coordinator.agents, 2 << 20).await;
    let agent = Agent::start(coordinator.enrol(&node, "n1", line.at).await);
    coordinator.online("n1").await;
    let bundle = coordinator.download().await;
    assert_eq!(verdict(&bundle), Verdict::Complete);
    node.stands_in(&bundle, "n1");
    assert!(line.connections() >= 2, "the line was never cut");
    assert_eq!(node_row(&bundle, "n1").attempts, 1);
    agent.stop().await;
}

/// Downloads, and restarts the node's agent once `most` bytes of it are on their way.
async fn download_with_a_restart(coordinator: &Coordinator, node: &Node, most: u64) -> (PathBuf, u64) {
    let line = Line::new(coordinator.agents, u64::MAX).await;
    let config = coordinator.enrol(node, "n1", line.at).await;
    let agent = Agent::start(config.clone());
    coordinator.online("n1").await;
    let before = line.carried();
    let (over, wait) = oneshot::channel();
    let (bundle, ()) = tokio::join!(
        async {
            let bundle = coordinator.download().await;
            over.send(()).expect("the agent is still there");
            bundle
        },
        async {
            until("an upload", async || line.carried() > before + most).await;
            agent.stop().await;
            let again = Agent::start(config);
            wait.await.expect("told");
            again.stop().await;
        }
    );
    (bundle, line.carried() - before)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_restarted_goes_on_where_it_was() {
    let (coordinator, mut node) = (Coordinator::new().await, Node::new());
    for n in 0..8 {
        node.log(&format!("{n}.log"), log(n, 3 << 20));
    }
    let (bundle, carried) = download_with_a_restart(&coordinator, &node, 5 << 20).await;
    assert_eq!(verdict(&bundle), Verdict::Complete);
    node.stands_in(&bundle, "n1");
    let row = node_row(&bundle, "n1");
    assert_eq!(row.attempts, 2);
    let size = fs::metadata(&bundle).expect("stat").len();
    assert!(
        carried < size + (5 << 20),
        "{carried} bytes were sent for a bundle of {size}: what was held was sent again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_inside_a_file_goes_on_inside_it() {
    let (coordinator, node) = (Coordinator::new().await, Node::with_logs(40 << 20));
    let (bundle, carried) = download_with_a_restart(&coordinator, &node, 8 << 20).await;
    assert_eq!(verdict(&bundle), Verdict::Complete);
    node.stands_in(&bundle, "n1");
    assert_eq!(node_row(&bundle, "n1").attempts, 2);
    let size = fs::metadata(&bundle).expect("stat").len();
    assert!(carried < size + (4 << 20), "{carried} bytes were sent for a bundle of {size}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_may_refuse_to_be_collected() {
    let (coordinator, node) = (Coordinator::new().await, Node::with_logs(0));
    let config = coordinator.enrol(&node, "n1", coordinator.agents).await;
    let agent = Agent::start(AgentConfig { collect: false, ..config });
    coordinator.online("n1").await;
    let bundle = coordinator.download().await;
    assert_eq!(verdict(&bundle), Verdict::Partial);
    let row = node_row(&bundle, "n1");
    assert_eq!(row.outcome, Outcome::Skipped);
    assert_eq!(row.reason, "collection is switched off on this node");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_order_leaves_the_agent_free_for_the_next() {
    let (coordinator, node) = (Coordinator::new().await, Node::with_logs(30 << 20));
    let line = Line::new(coordinator.agents, u64::MAX).await;
    let agent = Agent::start(coordinator.enrol(&node, "n1", line.at).await);
    coordinator.online("n1").await;
    let before = line.carried();
    // A reader that goes away cancels its task.
    tokio::select! {
        _ = coordinator.download() => panic!("it cannot be over yet"),
        () = until("the upload has begun", async || line.carried() > before + (1 << 20)) => {}
    }
    let bundle = coordinator.download().await;
    assert_eq!(verdict(&bundle), Verdict::Complete);
    node.stands_in(&bundle, "n1");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_cut_while_idle_is_mended() {
    let (coordinator, node) = (Coordinator::new().await, Node::with_logs(0));
    let line = Line::new(coordinator.agents, u64::MAX).await;
    let agent = Agent::start(coordinator.enrol(&node, "n1", line.at).await);
    coordinator.online("n1").await;
    line.cut();
    until("another connection", async || line.connections() >= 2).await;
    coordinator.online("n1").await;
    assert_eq!(verdict(&coordinator.download().await), Verdict::Complete);
    agent.stop().await;
}

/// Logs in as the daemon does, with what lies in the node's files.
async fn log_in(config: &AgentConfig) -> Result<Token, LoginError> {
    let ca = fs::read(config.ca_file.as_ref().expect("a CA")).expect("read");
    let shutdown = Shutdown::new();
    let link = Dialer::new(config.url.as_ref().expect("a URL"), &ca).expect("a dialer").connect(&shutdown).await?;
    let token = Keys::new(&config.secret_file, &config.state_dir).exchange(&link).await;
    link.close();
    token
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_refused_says_what_to_do() {
    let (coordinator, node) = (Coordinator::new().await, Node::new());
    let config = coordinator.enrol(&node, "n1", coordinator.agents).await;
    log_in(&config).await.expect("logged in");
    coordinator.verbs.revoke_secret(&coordinator.admin, "n1", true).await.expect("revoked");
    let error = log_in(&config).await.expect_err("revoked").to_string();
    assert!(
        error.contains("sheaf secret create") && error.contains(&node.path("secret").display().to_string()),
        "{error}"
    );
    // A new one in the same place is taken up without more ado.
    let config = coordinator.enrol(&node, "n2", coordinator.agents).await;
    log_in(&config).await.expect("logged in");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_secret_that_is_worth_nothing_does_not_lock_the_node_out() {
    let (coordinator, node) = (Coordinator::new().await, Node::new());
    let config = coordinator.enrol(&node, "n1", coordinator.agents).await;
    log_in(&config).await.expect("logged in");
    let kept = node.path("state/agent-secret.json");
    let mut text: serde_json::Value = serde_json::from_slice(&fs::read(&kept).expect("kept")).expect("JSON");
    let worthless = AgentSecret::random();
    text["pending"] = worthless.whole().expose().into();
    fs::write(&kept, text.to_string()).expect("written");
    log_in(&config).await.expect("logged in with the one before");
    let text: serde_json::Value = serde_json::from_slice(&fs::read(&kept).expect("kept")).expect("JSON");
    assert_ne!(text["pending"], worthless.whole().expose());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_with_another_ca_is_not_trusted() {
    let (coordinator, other, node) = (Coordinator::new().await, Coordinator::new().await, Node::new());
    let config = coordinator.enrol(&node, "n1", other.agents).await;
    let error = log_in(&config).await.expect_err("not trusted");
    assert!(error.to_string().contains("does not prove to be the coordinator"), "{error}");
}

#[tokio::test]
async fn a_configuration_that_cannot_work_is_an_error() {
    let node = Node::new();
    for (change, expected) in [
        (AgentConfig::default(), "no `url`"),
        (AgentConfig { url: Some("https://127.0.0.1:1".into()), ..AgentConfig::default() }, "no `ca_file`"),
        (
            AgentConfig {
                url: Some("https://127.0.0.1:1".into()),
                ca_file: Some(node.path("none.pem")),
                ..AgentConfig::default()
            },
            "cannot read the CA file",
        ),
    ] {
        let config = AgentConfig { host_root: node.path("root"), state_dir: node.path("state"), ..change };
        let error = sheaf::agent::run::run(config, Shutdown::new()).await.expect_err("refused");
        assert!(error.to_string().contains(expected), "{error}");
    }
}
