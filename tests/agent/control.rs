//! What a site has to say about its node's agent: how often, by which way, and that it changes while it runs.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;

use jiff::{SignedDuration, Timestamp};
use sheaf::agent::config::AgentConfig;
use sheaf::agent::join::{self, JoinError, Mounted, Via};
use sheaf::agent::send::LinkError;
use sheaf::bundle::outcome::{Outcome, Verdict};
use sheaf::bundle::reader::Reader;
use sheaf::clock::Clock;
use sheaf::coordinator::verbs::{Approach, ClusterKind};
use sheaf::protocol::join::{AccessInfo, MEMBERS};
use sheaf::shutdown::Shutdown;
use tokio::sync::oneshot;

use crate::kit::{Agent, Coordinator, Node, node_row, until, verdict};
use crate::line::Line;
use crate::tunnel::Tunnel;

/// Nobody listens there.
const NOBODY: &str = "https://localhost:1";
/// `ada:geheim`
const ADA: &str = "Basic YWRhOmdlaGVpbQ==";

#[tokio::test(flavor = "multi_thread")]
async fn orders_beyond_the_hours_measure_are_refused_with_the_time_of_the_next() {
    let (coordinator, node) = (Coordinator::new().await, Node::with_logs(0));
    let config = AgentConfig { orders_per_hour: Some(1), ..coordinator.enrol(&node, "n1", coordinator.agents).await };
    let agent = Agent::start(config.clone());
    coordinator.online("n1").await;
    assert_eq!(verdict(&coordinator.download().await), Verdict::Complete);
    // The second, and one after a restart.
    let mut agent = Some(agent);
    for restart in [false, true] {
        if restart {
            agent.take().expect("running").stop().await;
            agent = Some(Agent::start(config.clone()));
            until("a new session", async || coordinator.is_online("n1").await).await;
        }
        let bundle = coordinator.download().await;
        assert_eq!(verdict(&bundle), Verdict::Partial);
        let row = node_row(&bundle, "n1");
        assert_eq!(row.outcome, Outcome::Skipped);
        let next = row.reason.rsplit(' ').next().expect("a time").parse::<Timestamp>().expect("a time");
        assert!(row.reason.contains("orders_per_hour"), "{}", row.reason);
        let wait = next.duration_since(Timestamp::now());
        assert!(wait > SignedDuration::from_mins(50) && wait <= SignedDuration::from_mins(60), "{}", row.reason);
    }
    agent.take().expect("running").stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_carries_a_whole_bundle_to_a_coordinator_that_only_it_can_reach() {
    let (coordinator, node) = (Coordinator::new().await, Node::with_logs(1 << 20));
    let tunnel = Tunnel::new(coordinator.agents, Some(ADA)).await;
    let config = coordinator.enrol(&node, "n1", coordinator.agents).await;
    fs::write(node.path("proxy.auth"), "ada:geheim\n").expect("written");
    let config = AgentConfig {
        url: Some(NOBODY.to_owned()),
        proxy: Some(tunnel.url()),
        proxy_auth_file: Some(node.path("proxy.auth")),
        ..config
    };
    let agent = Agent::start(config);
    coordinator.online("n1").await;
    let bundle = coordinator.download().await;
    assert_eq!(verdict(&bundle), Verdict::Complete);
    node.stands_in(&bundle, "n1");
    agent.stop().await;
    assert_eq!(tunnel.asked(), ["CONNECT localhost:1 HTTP/1.1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_needs_no_proxy_is_reached_without_it() {
    let (coordinator, node) = (Coordinator::new().await, Node::new());
    let config = coordinator.enrol(&node, "n1", coordinator.agents).await;
    let no_proxy = vec!["127.0.0.0/8".to_owned()];
    let agent = Agent::start(AgentConfig { proxy: Some("http://127.0.0.1:1".to_owned()), no_proxy, ..config });
    coordinator.online("n1").await;
    agent.stop().await;
}

/// A container's join through `via`, to a coordinator that answers at `to`.
async fn join_by(via: Via, info: &AccessInfo, node: &Node) -> Result<AgentConfig, JoinError> {
    let access = node.path("access");
    fs::create_dir_all(&access).expect("a folder");
    for (member, text) in MEMBERS.iter().zip([info.ca.as_str(), info.certificate.as_str(), info.key.expose(), NOBODY]) {
        fs::write(access.join(member), text).expect("mounted");
    }
    fs::write(node.path("root/etc/machine-id"), "0123456789abcdef0123456789abcdef\n").expect("a machine id");
    let mounted = Mounted {
        access,
        node: "n1".parse().expect("a name"),
        state_dir: node.path("state"),
        host_root: node.path("root"),
        via,
    };
    join::at_start(&mounted, &Shutdown::new()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_joins_by_way_of_a_proxy_and_stays_with_it() {
    let (coordinator, node) = (Coordinator::new().await, Node::new());
    let (verbs, admin) = (&coordinator.verbs, &coordinator.admin);
    let attached = ClusterKind::Attached;
    verbs.create_cluster(admin, "edge".parse().expect("a name"), attached).await.expect("a cluster");
    let approach = Approach { origin: "https://127.0.0.1:25555", ..Approach::default() };
    let manifests = verbs.take_access_info(admin, "edge", approach).await.expect("allowed").expect("the first");
    let info = AccessInfo::read(&manifests[0].to_string()).expect("access info");
    let tunnel = Tunnel::new(coordinator.agents, Some(ADA)).await;
    let via = Via { proxy: Some(tunnel.url()), auth_file: Some(node.path("absent")), ..Via::default() };
    let error = join_by(via.clone(), &info, &node).await.expect_err("no such file");
    assert!(error.to_string().contains("proxy_auth_file") && error.to_string().contains("absent"), "{error}");
    fs::write(node.path("absent"), "ada:geheim").expect("written");
    let config = join_by(via, &info, &node).await.expect("joined");
    assert_eq!((config.proxy.as_deref(), config.proxy_auth_file), (Some(&*tunnel.url()), Some(node.path("absent"))));
    let config = AgentConfig::load(&node.path("state/agent.toml")).expect("a configuration");
    let agent = Agent::start(AgentConfig { collectors_dirs: Vec::new(), ..config });
    coordinator.online("n1").await;
    agent.stop().await;
    assert_eq!(tunnel.asked(), ["CONNECT localhost:1 HTTP/1.1"; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_does_not_let_through_is_an_error_that_says_so() {
    let (coordinator, node) = (Coordinator::new().await, Node::new());
    let tunnel = Tunnel::new(coordinator.agents, Some(ADA)).await;
    let config = coordinator.enrol(&node, "n1", coordinator.agents).await;
    fs::write(node.path("wrong"), "ada:wrong").expect("written");
    for (proxy, file, expected) in [
        (tunnel.url(), None, "wants a user and a password"),
        (tunnel.url(), Some(node.path("wrong")), "refuses the user and the password"),
        ("http://127.0.0.1:1".to_owned(), None, "cannot reach the proxy 127.0.0.1:1"),
    ] {
        let config = AgentConfig { proxy: Some(proxy), proxy_auth_file: file, ..config.clone() };
        let ca = fs::read(config.ca_file.as_ref().expect("a CA")).expect("read");
        let dialer = sheaf::agent::send::Dialer::new(NOBODY, &ca).expect("a dialer");
        let dialer = dialer.through(config.proxy().expect("a proxy"));
        let error = dialer.connect(&Shutdown::new()).await.map(drop).expect_err("no way through");
        assert!(matches!(error, LinkError::Proxy(_)) && error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_distance_of_the_clocks_is_known_on_both_sides() {
    let ahead = SignedDuration::from_mins(90);
    let coordinator = Coordinator::with_clock(Clock::manual(Timestamp::now() - ahead)).await;
    let node = Node::with_logs(0);
    let agent = Agent::start(coordinator.enrol(&node, "n1", coordinator.agents).await);
    coordinator.online("n1").await;
    let bundle = coordinator.download().await;
    let mut reader = Reader::open(File::open(&bundle).expect("opened")).expect("a bundle");
    let row = reader.find("nodes/n1/node.json").expect("a row");
    let mut text = Vec::new();
    reader.copy(&row, &mut text).expect("copied");
    let node: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    let near = |ms: i64| ms.abs_diff(ahead.as_millis() as i64) < 60_000;
    assert!(near(node["clock_offset_ms"].as_i64().expect("an offset")), "{node}");
    assert!(node["round_trip_ms"].as_u64().is_some_and(|ms| ms < 60_000), "{node}");
    let seen = async || coordinator.verbs.node(&coordinator.admin, "n1").await.ok().and_then(|node| node.online);
    until("a heartbeat with what was measured", async || seen().await.is_some_and(|n| n.round_trip_ms.is_some())).await;
    assert!(near(seen().await.expect("online").clock_offset_ms.expect("an offset")));
    agent.stop().await;
}

const OWN: &str = "name = \"own\"\nversion = \"1\"\nwhy = \"A test.\"\ndefault = false\n[[files]]\nroots = [\"/etc\"]\npaths = [\"/etc/hostname\"]\n";

fn labelled(config: &AgentConfig, rack: &str) -> AgentConfig {
    AgentConfig { labels: BTreeMap::from([("rack".to_owned(), rack.to_owned())]), ..config.clone() }
}

/// Waits until the coordinator knows the node by that label, and says whether it knows its collector `own`.
async fn known(coordinator: &Coordinator, rack: &str) -> bool {
    let about = async || coordinator.verbs.node(&coordinator.admin, "n1").await.expect("a node").row.about;
    until(&format!("rack {rack}"), async || about().await.labels.get("rack").is_some_and(|found| found == rack)).await;
    about().await.collectors.contains_key("own")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_is_heard_of_by_the_coordinator_and_cuts_no_collection() {
    let (coordinator, node) = (Coordinator::new().await, Node::with_logs(30 << 20));
    let (line, other) = (Line::new(coordinator.agents, u64::MAX).await, Line::new(coordinator.agents, u64::MAX).await);
    let folder = node.path("collectors.d");
    fs::create_dir(&folder).expect("a folder");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("chmod");
    let config = coordinator.enrol(&node, "n1", line.at).await;
    let config = AgentConfig { collectors_dirs: vec![folder.clone()], ..config };
    let (agent, reloads) = Agent::reloading(config.clone());
    coordinator.online("n1").await;
    let before = line.carried();
    let (over, is_over) = oneshot::channel();
    let (bundle, ()) = tokio::join!(
        async {
            let bundle = coordinator.download().await;
            let _ = over.send(());
            bundle
        },
        async {
            until("an upload", async || line.carried() > before + (1 << 20)).await;
            fs::write(folder.join("own.toml"), OWN).expect("written");
            fs::set_permissions(folder.join("own.toml"), fs::Permissions::from_mode(0o644)).expect("chmod");
            reloads.take(Ok(labelled(&config, "1"))).await;
            assert!(known(&coordinator, "1").await, "the new collector is known");
            assert_eq!(line.connections(), 1, "the connection stays");
            // The same coordinator by another way, in the middle of it all.
            let elsewhere = AgentConfig { url: Some(format!("https://{}", other.at)), ..labelled(&config, "2") };
            reloads.take(Ok(elsewhere)).await;
            known(&coordinator, "2").await;
            assert_eq!(other.connections(), 1, "the new way is taken");
            is_over.await.expect("told");
        }
    );
    assert_eq!(verdict(&bundle), Verdict::Complete);
    node.stands_in(&bundle, "n1");
    assert_eq!(node_row(&bundle, "n1").attempts, 1, "the collection was not begun anew");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_configuration_changes_nothing() {
    let (coordinator, node) = (Coordinator::new().await, Node::with_logs(0));
    let line = Line::new(coordinator.agents, u64::MAX).await;
    let config = coordinator.enrol(&node, "n1", line.at).await;
    let (agent, reloads) = Agent::reloading(config.clone());
    coordinator.online("n1").await;
    fs::write(node.path("other.pem"), "no certificate").expect("written");
    reloads.take(Err("agent.toml: line 1: unknown key".to_owned())).await;
    for broken in [
        AgentConfig { ca_file: Some(node.path("other.pem")), ..labelled(&config, "broken") },
        AgentConfig { ca_file: Some(node.path("absent.pem")), ..labelled(&config, "broken") },
        AgentConfig { url: None, ..labelled(&config, "broken") },
        AgentConfig { host_root: node.path("absent"), ..labelled(&config, "broken") },
        AgentConfig {
            proxy: Some("http://127.0.0.1:1".into()),
            proxy_auth_file: Some(node.path("absent")),
            ..labelled(&config, "broken")
        },
    ] {
        reloads.take(Ok(broken)).await;
    }
    reloads.take(Ok(AgentConfig { state_dir: node.path("elsewhere"), ..labelled(&config, "sound") })).await;
    known(&coordinator, "sound").await;
    assert_eq!(line.connections(), 1, "it was never cut");
    assert!(!node.path("elsewhere").exists(), "the state stays where it is until a restart");
    assert_eq!(verdict(&coordinator.download().await), Verdict::Complete);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_takes_another_secret_and_wakes_a_node_that_waits() {
    let (coordinator, node) = (Coordinator::new().await, Node::with_logs(0));
    let config = coordinator.enrol(&node, "n1", coordinator.agents).await;
    // It begins where nobody is.
    let (agent, reloads) = Agent::reloading(AgentConfig { url: Some("https://127.0.0.1:1".into()), ..config.clone() });
    reloads.take(Ok(config.clone())).await;
    coordinator.online("n1").await;
    coordinator.enrol(&node, "n2", coordinator.agents).await;
    reloads.take(Ok(config.clone())).await;
    coordinator.online("n2").await;
    // One that the coordinator does not know costs nothing: what goes on goes on.
    fs::write(node.path("secret"), sheaf::secret::AgentSecret::random().whole().expose()).expect("written");
    reloads.take(Ok(labelled(&config, "3"))).await;
    let about = async || coordinator.verbs.node(&coordinator.admin, "n2").await.expect("a node").row.about;
    until("the label", async || about().await.labels.contains_key("rack")).await;
    assert_eq!(verdict(&coordinator.download().await), Verdict::Partial, "n1 is gone, n2 is there");
    agent.stop().await;
}
