//! Joining against a real coordinator: over mutual TLS, once and again, by others, too late; and the daemon that runs after it.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sheaf::agent::config::AgentConfig;
use sheaf::agent::join::{self, Home, JoinError, Mounted, Settings, Ticket, Via};
use sheaf::agent::send::{Dialer, Keys, LinkError, LoginError};
use sheaf::clock::Clock;
use sheaf::coordinator::verbs::{Approach, AuditQuery, ClusterKind};
use sheaf::id::NodeName;
use sheaf::protocol::join::{AccessInfo, JOIN, MEMBERS};
use sheaf::shutdown::Shutdown;

use crate::kit::{Agent, Coordinator, Node};

fn name(text: &str) -> NodeName {
    text.parse().expect("a name")
}

/// A coordinator with an attached cluster, whose clock is turned by hand.
struct Edge {
    coordinator: Coordinator,
    clock: Clock,
}

impl Edge {
    async fn new(start: Timestamp) -> Self {
        let clock = Clock::manual(start);
        let coordinator = Coordinator::with_clock(clock.clone()).await;
        let made = coordinator.verbs.create_cluster(
            &coordinator.admin,
            "edge".parse().expect("a name"),
            ClusterKind::Attached,
        );
        made.await.expect("a cluster");
        Self { coordinator, clock }
    }

    /// The access info, downloaded.
    async fn info(&self) -> AccessInfo {
        let approach = Approach { origin: "https://127.0.0.1:25555", ..Approach::default() };
        let taken = self.coordinator.verbs.take_access_info(&self.coordinator.admin, "edge", approach).await;
        let manifests = taken.expect("allowed").expect("the first download");
        let info = AccessInfo::read(&manifests[0].to_string()).expect("access info");
        assert_eq!(info.endpoint, format!("https://127.0.0.1:{}", SocketAddr::port(&self.coordinator.agents)));
        info
    }

    async fn join(&self, info: &AccessInfo, node: &str, machine: &str, home: &Home) -> Result<(), JoinError> {
        let settings =
            Settings { labels: &BTreeMap::new(), host_root: Path::new("/"), via: &Via::default(), force: false };
        let plan = home.plan(&name(node), info, &settings)?;
        let ticket = Ticket::check(info, &Clock::system())?;
        let shutdown = Shutdown::new();
        let reply = ticket.trade(&name(node), machine, &shutdown).await?;
        assert_eq!((reply.name.as_str(), reply.cluster.as_str()), (node, "edge"));
        Ok(plan.commit(Some(&reply.secret))?)
    }
}

/// As the daemon reads it, over the node's fixture.
fn config(home: &Home, node: &Node) -> AgentConfig {
    AgentConfig {
        host_root: node.path("root"),
        collectors_dirs: Vec::new(),
        ..AgentConfig::load(&home.config).expect("a configuration")
    }
}

fn home(node: &Node) -> Home {
    Home::new(&node.path("etc"), &node.path("state"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joined_runs_and_joins_again_as_itself() {
    let (edge, node) = (Edge::new(Timestamp::now()).await, Node::new());
    let (info, home) = (edge.info().await, home(&node));
    edge.join(&info, "n1", "machine-1", &home).await.expect("joined");
    let first = fs::read(&home.secret).expect("a secret");
    let agent = Agent::start(config(&home, &node));
    edge.coordinator.online("n1").await;
    let row = edge.coordinator.verbs.node(&edge.coordinator.admin, "n1").await.expect("a node").row;
    assert_eq!(row.cluster_name, "edge");

    edge.join(&info, "n1", "machine-1", &home).await.expect("joined again");
    assert_ne!(fs::read(&home.secret).expect("a secret"), first);
    // The daemon finds the new secret where the old one was.
    edge.coordinator.online("n1").await;
    agent.stop().await;
    let secrets = edge.coordinator.verbs.secrets(&edge.coordinator.admin).await.expect("secrets");
    assert_eq!(secrets.len(), 1, "one identity");

    // The old one is retired, and so is what was rotated from it.
    let old = node.path("old");
    fs::write(&old, &first).expect("written");
    let config = config(&home, &node);
    let ca = fs::read(config.ca_file.as_ref().expect("a CA")).expect("the CA");
    let shutdown = Shutdown::new();
    let link = Dialer::new(&info.endpoint, &ca).expect("a dialer").connect(&shutdown).await.expect("a connection");
    let refused = Keys::new(&old, &node.path("elsewhere")).exchange(&link).await;
    assert!(matches!(refused, Err(LoginError::Refused { .. })), "{refused:?}");
    shutdown.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_machine_does_not_get_a_name_that_is_taken() {
    let edge = Edge::new(Timestamp::now()).await;
    let (one, two) = (Node::new(), Node::new());
    let info = edge.info().await;
    edge.join(&info, "n1", "machine-1", &home(&one)).await.expect("joined");
    let refused = edge.join(&info, "n1", "machine-2", &home(&two)).await.expect_err("taken");
    assert!(matches!(&refused, JoinError::Refused(why) if why.contains("sheaf node remove n1")), "{refused}");
    assert!(!home(&two).config.exists() && !home(&two).secret.exists(), "nothing is left");
    // A name with a secret made by hand is nobody's to take either.
    let (verbs, admin) = (&edge.coordinator.verbs, &edge.coordinator.admin);
    verbs.create_secret(admin, "n2", Some("edge")).await.expect("a secret");
    assert!(matches!(edge.join(&info, "n2", "machine-2", &home(&two)).await, Err(JoinError::Refused(_))));
    let page = verbs.audit(admin, AuditQuery { limit: 1000, ..AuditQuery::default() }).await.expect("the audit log");
    let told: Vec<_> = page
        .records
        .iter()
        .filter(|row| row.what == "node.join")
        .map(|row| (row.who.as_str(), row.outcome.as_str()))
        .collect();
    assert!(told.contains(&("node:n1", "done")) && told.contains(&("node:n1", "refused")), "{told:?}");

    // A revoked name stays shut, also for its own machine, until the node is removed.
    verbs.revoke_secret(admin, "n1", true).await.expect("revoked");
    assert!(matches!(edge.join(&info, "n1", "machine-1", &home(&one)).await, Err(JoinError::Refused(_))));
    verbs.remove_node(admin, "n1").await.expect("removed");
    edge.join(&info, "n1", "machine-2", &home(&two)).await.expect("the name is free");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_certificate_that_is_not_good_any_more_says_so() {
    let (edge, node) = (Edge::new(Timestamp::now()).await, Node::new());
    let (first, home) = (edge.info().await, home(&node));
    edge.coordinator.verbs.reset_access_info(&edge.coordinator.admin, "edge").await.expect("reset");
    let refused = edge.join(&first, "n1", "m", &home).await.expect_err("revoked");
    assert!(refused.to_string().contains("revoked"), "{refused}");

    let second = edge.info().await;
    edge.clock.advance(Duration::from_secs(31 * 86_400));
    let refused = edge.join(&second, "n1", "m", &home).await.expect_err("expired");
    assert!(refused.to_string().contains("expired"), "{refused}");
    // The node sees it by itself, if its clock is right.
    let late = Clock::manual(Timestamp::now() + SignedDuration::from_hours(24 * 31));
    assert!(matches!(Ticket::check(&second, &late), Err(JoinError::Expired(_))));

    // And TLS turns it down, whatever both clocks said.
    let start = Timestamp::now() - SignedDuration::from_hours(24 * 40);
    let past = Edge::new(start).await;
    let info = past.info().await;
    let ticket = Ticket::check(&info, &Clock::manual(start)).expect("good in its time");
    let refused = ticket.trade(&name("n1"), "m", &Shutdown::new()).await.expect_err("over");
    assert!(matches!(refused, JoinError::HungUp(_)), "{refused:?}");
    assert!(!home.config.exists() && !home.secret.exists(), "nothing is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_join_certificate_nobody_joins() {
    let edge = Edge::new(Timestamp::now()).await;
    let info = edge.info().await;
    let shutdown = Shutdown::new();
    let link =
        Dialer::new(&info.endpoint, info.ca.as_bytes()).expect("a dialer").connect(&shutdown).await.expect("connected");
    let body = serde_json::json!({ "name": "n1", "machine_id": "m" });
    let refused = link.json::<serde_json::Value>(http::Method::POST, JOIN, &body).await;
    assert!(matches!(&refused, Err(LinkError::Status { status, .. }) if status.as_u16() == 401), "{refused:?}");
    // Nor with what says nothing of the machine, and the certificate speaks for no node.
    let refused = edge.join(&info, "n1", "", &home(&Node::new())).await.expect_err("no machine");
    assert!(refused.to_string().contains("machine"), "{refused}");
    shutdown.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_joins_at_its_start_and_not_again() {
    let (edge, node) = (Edge::new(Timestamp::now()).await, Node::new());
    let info = edge.info().await;
    let access = node.path("access");
    fs::create_dir(&access).expect("a folder");
    for (member, text) in MEMBERS.iter().zip([&info.ca, &info.certificate, info.key.expose(), &info.endpoint]) {
        fs::write(access.join(member), text).expect("mounted");
    }
    fs::write(node.path("root/etc/machine-id"), "0123456789abcdef0123456789abcdef\n").expect("a machine id");
    let mounted = Mounted {
        access,
        node: name("n1"),
        state_dir: node.path("state"),
        host_root: node.path("root"),
        via: Via::default(),
    };
    let config = join::at_start(&mounted, &Shutdown::new()).await.expect("joined");
    assert_eq!((config.node.as_ref(), config.host_root.as_path()), (Some(&name("n1")), node.path("root").as_path()));
    let secret = fs::read(&config.secret_file).expect("a secret");
    let agent = Agent::start(AgentConfig { collectors_dirs: Vec::new(), ..config });
    edge.coordinator.online("n1").await;
    agent.stop().await;

    // The next container needs no join certificate any more.
    edge.coordinator.verbs.reset_access_info(&edge.coordinator.admin, "edge").await.expect("reset");
    let config = join::at_start(&mounted, &Shutdown::new()).await.expect("known");
    assert_eq!(fs::read(&config.secret_file).expect("a secret"), secret);
    let agent = Agent::start(AgentConfig { collectors_dirs: Vec::new(), ..config });
    edge.coordinator.online("n1").await;
    agent.stop().await;
}
