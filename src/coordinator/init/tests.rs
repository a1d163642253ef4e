//! First start, second start, and what must not be started.

use axum::routing::{get, post};
use http::Method;

use super::*;
use crate::coordinator::credential::Credential;
use crate::coordinator::kit::{Kit, PASSWORD, config};
use crate::net::client::Client;
use crate::net::tls;

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
    assert!(matches!(second, SetupError::Running(_)) && second.is_taken(), "{second}");
    let kit = kit.restarted().await;
    kit.verbs.ready().await.expect("ready");
}

#[tokio::test]
async fn a_taken_port_fails_before_the_state_is_touched() {
    let taken = Listener::bind(([127, 0, 0, 1], 0).into()).await.expect("a port");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = CoordinatorConfig { public: taken.addr(), ..config(&folder) };
    let error = start(&config, clock(), Shutdown::new()).await.map(drop).expect_err("taken");
    assert!(matches!(error, SetupError::Bind { .. }) && error.is_taken() && !error.is_setup(), "{error}");
    let said = error.to_string();
    assert!(said.contains("`public`") && said.contains(&format!("sport = :{}", taken.addr().port())), "{said}");
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

/// The serial number of the certificate that a listener shows to a new connection.
async fn shown(at: SocketAddr, ca: &[u8]) -> Result<String, String> {
    let connector = tokio_rustls::TlsConnector::from(Arc::new(tls::client_config(ca, tls::H1).expect("settings")));
    let tcp = tokio::net::TcpStream::connect(at).await.expect("connected");
    let name = rustls_pki_types::ServerName::try_from("127.0.0.1").expect("a name");
    let stream = connector.connect(name, tcp).await.map_err(|error| error.to_string())?;
    let chain = stream.get_ref().1.peer_certificates().expect("a certificate");
    Ok(tls::serial(&chain[0]).expect("a serial number"))
}

#[tokio::test]
async fn server_certificates_are_renewed_in_time_while_connections_stand() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = config(&folder);
    // Certificates are short-lived to whoever looks from the present: this one is over already.
    let clock = Clock::manual(jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * 95));
    let shutdown = Shutdown::new();
    let bound = start(&config, clock.clone(), shutdown.clone()).await.expect("started");
    let ca = std::fs::read(&bound.ca_file).expect("read");
    let (public, agents, verbs) = (bound.public_addr, bound.agents_addr, bound.verbs.clone());
    let bound = bound.look_every(Duration::from_millis(10));
    let _reloader =
        bound.serve(Router::new().route("/", get(|| async { "\"public\"" })), post(|| async { "\"agents\"" }));
    for at in [public, agents] {
        let error = shown(at, &ca).await.expect_err("over");
        assert!(error.contains("expired"), "{error}");
    }
    // Two thirds of its life are over after 61 days: the next one is good today.
    clock.advance(Duration::from_secs(61 * 86_400));
    let changed = async {
        while shown(public, &ca).await.is_err() || shown(agents, &ca).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), changed).await.expect("renewed");
    let client = Client::new(&format!("https://{public}"), &ca).expect("a client");
    let ask = async || client.json::<String>(Method::GET, "/", Default::default(), None::<&()>).await;
    assert_eq!(ask().await.expect("answered"), "public");
    let before = shown(public, &ca).await.expect("good");
    let days = async || verbs.numbers().await.expect("numbers").certificate_days;
    assert!(
        days().await.iter().any(|(name, days)| *name == "server" && (88..=91).contains(days)),
        "{:?}",
        days().await
    );
    clock.advance(Duration::from_secs(62 * 86_400));
    // What is shown now is made for a later time; the connection that stands is as good as ever.
    let changed = async {
        while shown(public, &ca).await.is_ok_and(|serial| serial == before) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), changed).await.expect("renewed again");
    assert_eq!(ask().await.expect("answered"), "public");
    assert!(shutdown.finish(Duration::from_secs(20)).await, "it stops");
}

#[tokio::test]
async fn a_ca_is_renewed_while_it_serves_and_who_trusts_the_older_one_goes_on_beyond_its_end() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = config(&folder);
    // Eleven years ago, for a CA of ten: by now it is over.
    let days = |days: u64| Duration::from_secs(86_400 * days);
    let clock = Clock::manual(jiff::Timestamp::now() - days(4000));
    let shutdown = Shutdown::new();
    let bound =
        start(&config, clock.clone(), shutdown.clone()).await.expect("started").look_every(Duration::from_millis(5));
    let (public, ca_file) = (bound.public_addr, bound.ca_file.clone());
    let old = std::fs::read(&ca_file).expect("read");
    let verbs = bound.verbs.clone();
    serve_plain(bound);
    assert!(shown(public, &old).await.is_err(), "a certificate of eleven years ago");
    clock.advance(days(4000));
    let renewed = async {
        while std::fs::read(&ca_file).expect("read") == old || shown(public, &old).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), renewed).await.expect("renewed");
    let new = std::fs::read(&ca_file).expect("read");
    assert_eq!(shown(public, &old).await.expect("trusted"), shown(public, &new).await.expect("trusted"));
    let left = verbs.numbers().await.expect("numbers").certificate_days;
    assert!(left.iter().all(|(name, days)| *days > if *name == "server" { 80 } else { 3600 }), "{left:?}");
    assert!(shutdown.finish(Duration::from_secs(20)).await, "it stops");
}

#[tokio::test]
async fn a_brought_certificate_is_read_again_and_a_broken_one_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (ca, file) = (crate::net::kit::Ca::new(), |name: &str| folder.path().join(name));
    let bring = || {
        let (chain, key) = ca.pem_identity(&["127.0.0.1"]);
        std::fs::write(file("chain.pem"), chain).expect("written");
        std::fs::write(file("key.pem"), key).expect("written");
    };
    bring();
    let brought = |key: &str, ca: Option<PathBuf>| {
        let (certificate, key) = (file("chain.pem"), file(key));
        Some(crate::coordinator::config::BroughtTls { certificate, key, ca })
    };
    std::fs::write(file("ca-of-it.pem"), ca.pem()).expect("written");
    let trusted = Some(file("ca-of-it.pem"));
    let config = CoordinatorConfig { tls: brought("key.pem", trusted.clone()), ..config(&folder) };
    let shutdown = Shutdown::new();
    let bound = start(&config, clock(), shutdown.clone()).await.expect("started");
    let (public, agents, engine) = (bound.public_addr, bound.agents_addr, bound.engine().clone());
    let mut reloader = bound.serve(Router::new(), post(|| async {}));
    let first = shown(public, ca.pem()).await.expect("good");
    bring();
    assert_eq!(reloader.take(&config).expect("taken"), Vec::<&str>::new());
    let second = shown(public, ca.pem()).await.expect("good");
    assert_ne!(first, second);
    assert_eq!(shown(agents, ca.pem()).await.expect("good"), second);

    // Nothing of what follows can be used, and nothing of it changes anything.
    std::fs::write(file("broken.pem"), "no key").expect("written");
    let (_, other) = ca.pem_identity(&["127.0.0.1"]);
    std::fs::write(file("other.pem"), other).expect("written");
    let zero = crate::coordinator::config::Limits { active_nodes: 0, ..Default::default() };
    for broken in [
        CoordinatorConfig { tls: brought("broken.pem", trusted.clone()), ..config.clone() },
        CoordinatorConfig { tls: brought("absent.pem", trusted.clone()), ..config.clone() },
        CoordinatorConfig { tls: brought("other.pem", trusted.clone()), ..config.clone() },
        CoordinatorConfig { tls: brought("key.pem", Some(file("absent-ca.pem"))), ..config.clone() },
        CoordinatorConfig { limits: zero, ..config.clone() },
    ] {
        reloader.take(&broken).expect_err("refused");
        assert_eq!(shown(public, ca.pem()).await.expect("good"), second);
    }
    let mut old = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("names");
    old.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let key = rcgen::KeyPair::generate().expect("a key");
    std::fs::write(file("chain.pem"), old.self_signed(&key).expect("signed").pem()).expect("written");
    std::fs::write(file("key.pem"), key.serialize_pem()).expect("written");
    let error = reloader.take(&config).expect_err("over");
    assert!(matches!(error, SetupError::OutOfTime { .. }), "{error}");
    assert_eq!(shown(public, ca.pem()).await.expect("good"), second);

    // Our own again, which is another CA: whoever is told of it is told after a restart.
    let limits = crate::coordinator::config::Limits { active_nodes: 3, connections: 9, ..Default::default() };
    let own = CoordinatorConfig { tls: None, limits, ..config };
    assert_eq!(reloader.take(&own).expect("taken"), ["limits.connections", "tls.ca"]);
    assert_eq!(engine.settings().active_nodes, 3);
    assert!(shown(public, ca.pem()).await.is_err(), "not of that CA any more");
    shutdown.stop();
}
