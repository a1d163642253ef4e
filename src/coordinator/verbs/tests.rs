//! The door: roles, clusters, nodes, download tokens.

use std::collections::HashSet;
use std::time::Duration;

use uuid::Uuid;

use super::bundles::check_budgets;
use super::*;
use crate::coordinator::kit::Kit;
use crate::coordinator::roster::About;
use crate::coordinator::session::{AgentAuth as _, NodeIdentity};
use crate::id::{ClusterId, ClusterName, NodeName, TaskId};
use crate::protocol::agents::Hello;

fn who(role: Role) -> Principal {
    Principal::new("admin", role, Scope::All, Door::Password)
}

fn name(text: &str) -> ClusterName {
    text.parse().expect("a name")
}

fn hello() -> Hello {
    Hello {
        versions: vec![1],
        instance: Uuid::new_v4(),
        agent_version: "0.1.0".into(),
        machine_id: "m".into(),
        boot_id: String::new(),
        hostname: "h".into(),
        os: "Debian".repeat(1000),
        os_id: String::new(),
        os_version: String::new(),
        kernel: "6.1".into(),
        addresses: (0..1000).map(|n| std::net::Ipv4Addr::from_bits(n + 1).into()).collect(),
        labels: (0..1000).map(|n| (n.to_string(), "ä".repeat(300))).collect(),
        collectors: Default::default(),
        clock_ms: 0,
        packs: Vec::new(),
        deployments: Vec::new(),
        redacts_asked: true,
        refuses: false,
        working: Vec::new(),
    }
}

fn wanted() -> BundleRequest {
    BundleRequest {
        cluster: "default".into(),
        nodes: Vec::new(),
        collectors: Vec::new(),
        redact: Vec::new(),
        budgets: Budgets::default(),
        window: Default::default(),
        format: Format::TarZst,
        case: None,
        note: None,
    }
}

async fn spend(verbs: &Verbs, cluster: ClusterId, token: &str) -> Result<Download, Refusal> {
    verbs.start_bundle_by_token(cluster, token, wanted(), None).await
}

async fn node(kit: &Kit, node: &str, cluster: &str) -> NodeIdentity {
    let made = kit.verbs.create_secret(&kit.admin(), node, Some(cluster)).await.expect("a secret");
    let exchanged = kit.verbs.exchange_secret(made.secret.expose(), None, None).await.expect("exchanged");
    let identity = kit.verbs.agent_by_token(exchanged.access_token.expose()).await.expect("a node");
    kit.verbs.joined(&identity, &hello()).await;
    identity
}

#[tokio::test]
async fn clusters_are_found_by_id_and_by_name() {
    let kit = Kit::new().await;
    let admin = kit.admin();
    let made = kit.verbs.create_cluster(&admin, name("east"), ClusterKind::Attached).await.expect("made");
    for key in ["east", &made.row.id.to_string(), &made.row.id.to_string().to_uppercase()] {
        assert_eq!(kit.verbs.cluster(&admin, key).await.expect("found"), made, "{key}");
    }
    let names: Vec<_> = kit.verbs.clusters(&admin).await.expect("listed").into_iter().map(|c| c.row.name).collect();
    assert_eq!(names, ["default", "east"]);
    let again = kit.verbs.create_cluster(&admin, name("east"), ClusterKind::Managed).await;
    assert!(matches!(again, Err(Refusal::Conflict(_))));
    let confusing = kit.verbs.create_cluster(&admin, name(&Uuid::new_v4().to_string()), ClusterKind::Managed).await;
    assert!(matches!(confusing, Err(Refusal::Invalid(_))));
    assert!(matches!(kit.verbs.cluster(&admin, "a\nb").await, Err(Refusal::NotFound(what)) if !what.contains('\n')));
}

#[tokio::test]
async fn a_cluster_goes_only_when_nothing_belongs_to_it() {
    let kit = Kit::new().await;
    let admin = kit.admin();
    kit.verbs.create_cluster(&admin, name("east"), ClusterKind::Managed).await.expect("made");
    node(&kit, "n1", "east").await;
    kit.verbs
        .bundle_token(&admin, kit.verbs.cluster(&admin, "east").await.expect("found").row.id)
        .await
        .expect("a token");
    assert!(matches!(kit.verbs.delete_cluster(&admin, "east").await, Err(Refusal::Conflict(_))));
    kit.verbs.remove_node(&admin, "n1").await.expect("removed");
    kit.verbs.create_secret(&admin, "n2", Some("east")).await.expect("made");
    assert!(matches!(kit.verbs.delete_cluster(&admin, "east").await, Err(Refusal::Conflict(_))));
    kit.verbs.revoke_secret(&admin, "n2", false).await.expect("revoked");
    kit.verbs.delete_cluster(&admin, "east").await.expect("deleted");
    assert!(matches!(kit.verbs.delete_cluster(&admin, "east").await, Err(Refusal::NotFound(_))));
}

#[tokio::test]
async fn what_a_node_says_of_itself_is_kept_and_bounded() {
    let kit = Kit::new().await;
    let admin = kit.admin();
    let identity = node(&kit, "n1", "default").await;
    let row = kit.verbs.node(&admin, "n1").await.expect("found").row;
    assert_eq!((row.cluster_name.as_str(), row.about.kernel.as_str()), ("default", "6.1"));
    assert!(row.about.addresses.len() <= 16);
    assert!(
        row.about.os.len() <= 256 && row.about.labels.len() <= 128 && row.about.labels.values().all(|v| v.len() <= 256)
    );
    kit.clock.advance(Duration::from_secs(9));
    kit.verbs.left(&identity).await;
    let after = kit.verbs.node(&admin, "n1").await.expect("found").row;
    assert_eq!(after.last_seen_ms - after.first_seen_ms, 9000);
    assert_eq!(kit.verbs.cluster(&admin, "default").await.expect("found").nodes, 1);
}

#[tokio::test]
async fn a_removed_node_is_gone_and_cannot_come_back_by_its_session() {
    let kit = Kit::new().await;
    let admin = kit.admin();
    let identity = node(&kit, "n1", "default").await;
    kit.verbs.remove_node(&admin, "n1").await.expect("removed");
    assert!(matches!(kit.verbs.remove_node(&admin, "n1").await, Err(Refusal::NotFound(_))));
    kit.verbs.joined(&identity, &hello()).await;
    assert!(kit.verbs.nodes(&admin, None).await.expect("listed").is_empty());
    assert!(matches!(kit.verbs.nodes(&admin, Some("nowhere")).await, Err(Refusal::NotFound(_))));
}

#[tokio::test]
async fn globs_choose_nodes_of_one_cluster() {
    let kit = Kit::new().await;
    let admin = kit.admin();
    kit.verbs.create_cluster(&admin, name("east"), ClusterKind::Managed).await.expect("made");
    for (n, cluster) in [("db-1", "default"), ("db-2", "default"), ("web-1", "default"), ("db-9", "east")] {
        node(&kit, n, cluster).await;
    }
    let cluster = kit.verbs.cluster(&admin, "default").await.expect("there").row.id;
    let matching = async |globs: &[&str]| {
        let globs: Vec<String> = globs.iter().map(|&glob| glob.to_owned()).collect();
        kit.verbs.matching_nodes(cluster, &globs).await
    };
    let names = |nodes: Vec<NodeName>| nodes.into_iter().map(String::from).collect::<Vec<_>>();
    assert_eq!(names(matching(&[]).await.expect("all")), ["db-1", "db-2", "web-1"]);
    assert_eq!(names(matching(&["db-*"]).await.expect("some")), ["db-1", "db-2"]);
    assert_eq!(names(matching(&["web-1", "db-2"]).await.expect("some")), ["db-2", "web-1"]);
    assert!(matching(&["nothing"]).await.expect("none").is_empty());
    assert!(matches!(matching(&["[a"]).await, Err(Refusal::Invalid(_))));
}

#[tokio::test]
async fn secrets_need_a_good_name_and_a_cluster() {
    let kit = Kit::new().await;
    let admin = kit.admin();
    for bad in ["", "a b", "../x", "a\n"] {
        assert!(matches!(kit.verbs.create_secret(&admin, bad, None).await, Err(Refusal::Invalid(_))), "{bad:?}");
    }
    assert!(matches!(kit.verbs.create_secret(&admin, "n1", Some("nowhere")).await, Err(Refusal::Invalid(_))));
    let by_default = kit.verbs.create_secret(&admin, "n1", None).await.expect("made").row;
    assert_eq!(by_default.cluster_name, "default");
    assert!(matches!(kit.verbs.revoke_secret(&admin, "n2", false).await, Err(Refusal::NotFound(_))));
}

#[tokio::test]
async fn roles_hold_at_the_door() {
    let kit = Kit::new().await;
    let (viewer, operator) = (who(Role::Viewer), who(Role::Operator));
    let cluster = kit.verbs.cluster(&viewer, "default").await.expect("viewers read").row.id;
    kit.verbs.bundle_token(&operator, cluster).await.expect("operators collect");
    let request = BundleRequest {
        cluster: "default".into(),
        nodes: Vec::new(),
        collectors: Vec::new(),
        redact: Vec::new(),
        budgets: Budgets::default(),
        window: Default::default(),
        format: Format::Tar,
        case: None,
        note: None,
    };
    let forbidden = [
        kit.verbs.bundle_token(&viewer, cluster).await.map(drop),
        kit.verbs.start_bundle(&viewer, request).await.map(drop),
        kit.verbs.cancel_task(&viewer, TaskId(1)).await.map(drop),
        kit.verbs.create_cluster(&operator, name("x"), ClusterKind::Managed).await.map(drop),
        kit.verbs.delete_cluster(&operator, "default").await,
        kit.verbs.create_secret(&operator, "n1", None).await.map(drop),
        kit.verbs.revoke_secret(&operator, "n1", true).await.map(drop),
        kit.verbs.remove_node(&operator, "n1").await,
    ];
    assert!(forbidden.iter().all(|result| *result == Err(Refusal::Forbidden)), "{forbidden:?}");
}

#[tokio::test]
async fn a_download_token_is_the_same_until_it_is_used_or_over() {
    let kit = Kit::new().await;
    let admin = kit.admin();
    let cluster = kit.verbs.cluster(&admin, "default").await.expect("found").row.id;
    node(&kit, "n1", "default").await;
    let first = kit.verbs.bundle_token(&admin, cluster).await.expect("given");
    kit.clock.advance(Duration::from_secs(299));
    let same = kit.verbs.bundle_token(&admin, cluster).await.expect("given");
    assert!(first.token.same(same.token.expose()));
    assert_eq!(first.expires_ms, same.expires_ms);
    for wrong in ["", "x", &first.token.expose()[1..]] {
        assert_eq!(spend(&kit.verbs, cluster, wrong).await.map(drop), Err(Refusal::Unauthenticated));
    }
    assert!(spend(&kit.verbs, ClusterId::random(), first.token.expose()).await.is_err());
    let download = spend(&kit.verbs, cluster, first.token.expose()).await.expect("good");
    assert_eq!(kit.verbs.task(&admin, download.task).await.expect("there").user, "admin");
    let used = spend(&kit.verbs, cluster, first.token.expose()).await.map(drop);
    assert_eq!(used, Err(Refusal::Unauthenticated));
    let second = kit.verbs.bundle_token(&admin, cluster).await.expect("given");
    assert!(!second.token.same(first.token.expose()));
    kit.clock.advance(Duration::from_secs(300));
    assert!(spend(&kit.verbs, cluster, second.token.expose()).await.is_err());
    let third = kit.verbs.bundle_token(&admin, cluster).await.expect("given");
    assert!(!third.token.same(second.token.expose()));
    assert!(matches!(kit.verbs.bundle_token(&admin, ClusterId::random()).await, Err(Refusal::NotFound(_))));
}

#[tokio::test]
async fn one_of_many_uses_a_download_token() {
    let kit = Kit::new().await;
    let admin = kit.admin();
    let cluster = kit.verbs.cluster(&admin, "default").await.expect("found").row.id;
    let asked: Vec<_> = (0..20)
        .map(|_| {
            let (verbs, admin) = (kit.verbs.clone(), admin.clone());
            tokio::spawn(async move { verbs.bundle_token(&admin, cluster).await.expect("given") })
        })
        .collect();
    let mut tokens = HashSet::new();
    for one in asked {
        tokens.insert(one.await.expect("joined").token.expose().to_owned());
    }
    assert_eq!(tokens.len(), 1, "all got the same");
    node(&kit, "n1", "default").await;
    let token = tokens.into_iter().next().expect("one");
    let used: Vec<_> = (0..50)
        .map(|n| {
            let (verbs, token) = (kit.verbs.clone(), if n % 5 == 0 { format!("{token}x") } else { token.clone() });
            tokio::spawn(async move {
                spend(&verbs, cluster, &token).await.map_err(|refusal| assert_eq!(refusal, Refusal::Unauthenticated))
            })
        })
        .collect();
    let mut won = Vec::new();
    for one in used {
        won.extend(one.await.expect("joined"));
    }
    assert_eq!(won.len(), 1);
}

#[tokio::test]
async fn a_pending_download_token_outlives_a_restart_and_is_not_stored_in_the_clear() {
    let kit = Kit::new().await;
    let cluster = kit.verbs.cluster(&kit.admin(), "default").await.expect("found").row.id;
    let token = kit.verbs.bundle_token(&kit.admin(), cluster).await.expect("given").token;
    let kit = kit.restarted().await;
    let same = kit.verbs.bundle_token(&kit.admin(), cluster).await.expect("given").token;
    assert!(token.same(same.expose()));
    for file in std::fs::read_dir(&kit.config.state_dir).expect("listed") {
        let path = file.expect("listed").path();
        let bytes = if path.is_file() { std::fs::read(&path).expect("read") } else { Vec::new() };
        let found = memchr::memmem::find(&bytes, token.expose().as_bytes());
        assert_eq!(found, None, "{}", path.display());
    }
    node(&kit, "n1", "default").await;
    spend(&kit.verbs, cluster, token.expose()).await.expect("good");
}

#[tokio::test]
async fn a_bundle_of_nothing_is_refused_before_it_begins() {
    let kit = Kit::new().await;
    let admin = kit.admin();
    let request = wanted();
    let start = async |request: BundleRequest| kit.verbs.start_bundle(&admin, request).await.map(drop);
    assert!(matches!(start(request.clone()).await, Err(Refusal::Invalid(_))), "no nodes");
    let nowhere = BundleRequest { cluster: "nowhere".into(), ..request.clone() };
    assert!(matches!(start(nowhere).await, Err(Refusal::NotFound(_))));
    node(&kit, "n1", "default").await;
    for bad in [
        BundleRequest { nodes: vec!["n2".into()], ..request.clone() },
        BundleRequest { nodes: vec!["[".into()], ..request.clone() },
        BundleRequest { collectors: vec!["../x".into()], ..request.clone() },
        BundleRequest { budgets: Budgets { node: Some((64 << 10) - 1), bundle: None }, ..request.clone() },
        BundleRequest { budgets: Budgets { node: None, bundle: Some((64 << 10) - 1) }, ..request.clone() },
        BundleRequest { case: Some("x".repeat(129)), ..request.clone() },
        BundleRequest { note: Some("x".repeat(4097)), ..request.clone() },
        BundleRequest { nodes: vec!["x".into(); 257], ..request.clone() },
    ] {
        assert!(matches!(start(bad.clone()).await, Err(Refusal::Invalid(_))), "{bad:?}");
    }
    assert!(kit.verbs.tasks(&admin, TaskFilter::default()).await.expect("listed").is_empty(), "no task was made");
}

#[tokio::test]
async fn a_collector_that_no_chosen_node_declares_is_a_word_misspelled() {
    let kit = Kit::new().await;
    let admin = kit.admin();
    let request = |collector: &str, node: &str| BundleRequest {
        collectors: vec![collector.into()],
        nodes: vec![node.into()],
        ..wanted()
    };
    let check =
        async |request: BundleRequest| kit.verbs.chosen_nodes(&admin, &request).await.map(|(_, nodes)| nodes.len());
    node(&kit, "n1", "default").await;
    assert_eq!(check(request("lgos", "*")).await, Ok(1), "nobody knows yet what it declares");
    for (name, collector) in [("n2", "logs"), ("n3", "system")] {
        node(&kit, name, "default").await;
        let about = About { collectors: [(collector.to_owned(), true)].into(), ..About::default() };
        let name = name.parse().expect("a name");
        kit.verbs.rooms.store.node_seen(&name, &about, 1).await.expect("seen");
    }
    assert_eq!(check(request("logs", "*")).await, Ok(3));
    let refused = |answer| matches!(answer, Err(Refusal::Invalid(why)) if why.contains("lgos") && why.contains("logs"));
    assert!(refused(check(request("lgos", "*")).await));
    assert_eq!(check(request("lgos", "n1")).await, Ok(1));
    assert!(matches!(check(request("logs", "n3")).await, Err(Refusal::Invalid(_))), "others do not count");
}

#[test]
fn a_budget_that_is_too_small_is_told_in_the_units_that_options_take() {
    let told = |node, bundle, nodes| match check_budgets(Budgets { node, bundle }, nodes) {
        Err(Refusal::Invalid(why)) => why,
        other => panic!("refused, not {other:?}"),
    };
    assert_eq!(told(Some(1000), None, 3), "a budget of 1000 B is too small for a node; give 64K at least, or none");
    let one = told(None, Some(1 << 10), 1);
    assert_eq!(one, "a budget of 1.0 KiB is too small for 1 node; give 64K at least, or none");
    let three = told(None, Some(70_000), 3);
    assert_eq!(three, "a budget of 68.4 KiB is too small for 3 nodes; give 192K (64K for each) at least, or none");
    assert!(check_budgets(Budgets { node: Some(64 << 10), bundle: Some(192 << 10) }, 3).is_ok());
}

#[tokio::test]
async fn readiness_ends_with_the_stop() {
    let kit = Kit::new().await;
    kit.verbs.ready().await.expect("ready");
    let numbers = kit.verbs.numbers().await.expect("counted");
    assert_eq!((numbers.clusters, numbers.nodes), (1, 0));
    kit.shutdown.stop();
    assert_eq!(kit.verbs.ready().await, Err(Refusal::Busy));
}
