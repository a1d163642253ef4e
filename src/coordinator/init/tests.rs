//! First start, second start, and what must not be started.

use axum::routing::{get, post};
use http::Method;

use super::*;
use crate::coordinator::credential::Credential;
use crate::coordinator::kit::{Kit, PASSWORD, config};
use crate::net::client::Client;

fn clock() -> Clock {
    Clock::system()
}

#[tokio::test]
async fn init_makes_an_admin_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = config(&folder);
    let made = init(&config, clock(), "root", None, false).await.expect("initialised");
    let password = made.password.expect("made here");
    let again = init(&config, clock(), "root", None, false).await.expect_err("there is one");
    assert!(matches!(again, SetupError::Initialised(_)));
    let reset = init(&config, clock(), "root", Some(Secret::new(PASSWORD)), true).await.expect("reset");
    assert!(reset.password.is_none());
    assert_eq!(reset.cluster, made.cluster, "the cluster stays");
    let bound = start(&config, clock(), Shutdown::new()).await.expect("started");
    let enter = |password: &Secret| bound.verbs.authenticate(Credential::Basic("root".into(), password.clone()), None);
    assert!(enter(&password).await.is_err());
    enter(&Secret::new(PASSWORD)).await.expect("the new one");
    assert_eq!(std::fs::read(&made.ca_file).expect("read"), std::fs::read(&bound.ca_file).expect("read"));
    assert!(std::fs::read_to_string(made.seal_file).expect("read").starts_with("-----BEGIN PUBLIC KEY-----"));
}

#[tokio::test]
async fn first_starts_at_the_same_time_agree() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = config(&folder);
    let starts: Vec<_> = (0..6)
        .map(|n| {
            let config = config.clone();
            let user = format!("admin{n}");
            tokio::spawn(async move {
                init(&config, Clock::system(), &user, None, true).await.expect("initialised").cluster
            })
        })
        .collect();
    let mut clusters = std::collections::HashSet::new();
    for one in starts {
        clusters.insert(one.await.expect("joined"));
    }
    assert_eq!(clusters.len(), 1);
    start(&config, clock(), Shutdown::new()).await.expect("the keys open");
}

#[tokio::test]
async fn a_state_has_one_coordinator_at_a_time() {
    let kit = Kit::new().await;
    let second = start(&kit.config, clock(), Shutdown::new()).await.map(drop).expect_err("one is running");
    assert!(matches!(second, SetupError::Running(_)), "{second}");
    let kit = kit.restarted().await;
    kit.verbs.ready().await.expect("ready");
}

#[tokio::test]
async fn a_taken_port_fails_before_the_state_is_touched() {
    let taken = Listener::bind(([127, 0, 0, 1], 0).into()).await.expect("a port");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = CoordinatorConfig { public: taken.addr(), ..config(&folder) };
    let error = start(&config, clock(), Shutdown::new()).await.map(drop).expect_err("taken");
    assert!(matches!(error, SetupError::Bind { .. }), "{error}");
    assert!(!config.state_dir.exists());
}

#[tokio::test]
async fn another_master_key_is_refused() {
    let kit = Kit::new().await;
    let other = Kit::new().await;
    std::fs::copy(other.config.master_key(), kit.config.master_key()).expect("replaced");
    kit.shutdown.stop();
    let (config, (bound, _folder, _)) = (kit.config.clone(), kit.into_bound());
    drop(bound);
    let error = start(&config, clock(), Shutdown::new()).await.map(drop).expect_err("wrong key");
    assert!(matches!(error, SetupError::Vault(VaultError::Sealed(_))), "{error}");
    std::fs::remove_file(config.master_key()).expect("removed");
    let error = start(&config, clock(), Shutdown::new()).await.map(drop).expect_err("no key");
    assert!(matches!(error, SetupError::Vault(VaultError::File { .. })), "{error}");
}

/// Serves two plain routes, one of them on the agents' side.
fn serve_plain(bound: Bound) {
    bound.serve(Router::new().route("/", get(|| async { "\"public\"" })), post(|| async { "\"agents\"" }));
}

#[tokio::test]
async fn both_listeners_are_trusted_by_the_ca_file_under_ip_and_name() {
    let kit = Kit::new().await;
    let (bound, _folder, shutdown) = kit.into_bound();
    let ca = std::fs::read(&bound.ca_file).expect("read");
    let (public, agents) = (bound.public_addr, bound.agents_addr);
    serve_plain(bound);
    for host in ["127.0.0.1", "localhost"] {
        let client = Client::new(&format!("https://{host}:{}", public.port()), &ca).expect("a client");
        let answer: String = client.json(Method::GET, "/", Default::default(), None::<&()>).await.expect("answered");
        assert_eq!(answer, "public");
        let client = Client::new(&format!("https://{host}:{}", agents.port()), &ca).expect("a client");
        let path = "/api/v2/agent/secrets/exchange";
        let answer: String = client.json(Method::POST, path, Default::default(), None::<&()>).await.expect("answered");
        assert_eq!(answer, "agents");
    }
    assert!(shutdown.finish(Duration::from_secs(20)).await, "it stops");
}

#[tokio::test]
async fn a_brought_certificate_is_used() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ca = crate::net::kit::Ca::new();
    let identity = ca.pem_identity(&["127.0.0.1"]);
    let file = |name: &str| folder.path().join(name);
    std::fs::write(file("chain.pem"), &identity.0).expect("written");
    std::fs::write(file("key.pem"), &identity.1).expect("written");
    std::fs::write(file("brought-ca.pem"), ca.pem()).expect("written");
    let brought = crate::coordinator::config::BroughtTls {
        certificate: file("chain.pem"),
        key: file("key.pem"),
        ca: Some(file("brought-ca.pem")),
    };
    let config = CoordinatorConfig { tls: Some(brought), ..config(&folder) };
    let shutdown = Shutdown::new();
    let bound = start(&config, clock(), shutdown.clone()).await.expect("started");
    assert_eq!(std::fs::read(&bound.ca_file).expect("read"), ca.pem());
    let client = Client::new(&format!("https://{}", bound.public_addr), ca.pem()).expect("a client");
    serve_plain(bound);
    let answer: String = client.json(Method::GET, "/", Default::default(), None::<&()>).await.expect("answered");
    assert_eq!(answer, "public");
    shutdown.stop();
    let broken = CoordinatorConfig {
        tls: Some(crate::coordinator::config::BroughtTls {
            certificate: file("chain.pem"),
            key: file("chain.pem"),
            ca: None,
        }),
        ..config
    };
    let other = CoordinatorConfig { state_dir: file("other"), ..broken };
    assert!(matches!(start(&other, clock(), Shutdown::new()).await.map(drop), Err(SetupError::Tls(_))));
}
