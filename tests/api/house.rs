//! A real coordinator on free ports with a clock that is turned by hand, and a client that says exactly what a test wants said.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream;
use http::Request;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use sheaf::api;
use sheaf::clock::Clock;
use sheaf::coordinator::config::CoordinatorConfig;
use sheaf::coordinator::init;
use sheaf::coordinator::principal::Role;
use sheaf::coordinator::store::Store;
use sheaf::coordinator::users::Users;
use sheaf::coordinator::verbs::{Credential, Principal, Verbs};
use sheaf::net::tls;
use sheaf::secret::Secret;
use sheaf::shutdown::Shutdown;

/// What came back.
#[derive(Debug)]
pub struct Answered {
    pub status: u16,
    headers: http::HeaderMap,
    pub body: Bytes,
    /// The body ended, and did not break off.
    pub whole: bool,
}

impl Answered {
    /// A header's value; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// The value of an `Authorization: Basic` header.
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// A coordinator that serves until it is dropped.
pub struct House {
    pub url: String,
    pub cluster: String,
    pub password: String,
    pub clock: Clock,
    public: SocketAddr,
    agents: SocketAddr,
    tls: Arc<ClientConfig>,
    ca: Vec<u8>,
    pub verbs: Verbs,
    shutdown: Shutdown,
    config: CoordinatorConfig,
    state: TempDir,
}

impl Drop for House {
    fn drop(&mut self) {
        self.shutdown.stop();
    }
}

impl House {
    /// A coordinator with its first admin and the cluster `default`.
    pub async fn new() -> Self {
        Self::configured(|_| ()).await
    }

    /// The same, with what `change` makes of the configuration.
    pub async fn configured(change: impl FnOnce(&mut CoordinatorConfig)) -> Self {
        let state = tempfile::tempdir().expect("a temporary folder");
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut config = CoordinatorConfig {
            public: free,
            agents: free,
            state_dir: state.path().join("state"),
            ..CoordinatorConfig::default()
        };
        config.limits.grace_secs = 0;
        change(&mut config);
        let (clock, shutdown) = (Clock::manual(jiff::Timestamp::now()), Shutdown::new());
        let made = init::init(&config, clock.clone(), "admin", None, false).await.expect("a first admin");
        let bound = init::start(&config, clock.clone(), shutdown.clone()).await.expect("a coordinator");
        let (public, agents) = (bound.public_addr, bound.agents_addr);
        let ca = std::fs::read(&bound.ca_file).expect("the CA");
        // Where it is found again after a restart.
        (config.public, config.agents) = (public, agents);
        let verbs = bound.verbs.clone();
        bound.serve(api::mount(verbs.clone()), api::exchange(verbs.clone()));
        Self {
            url: format!("https://{public}"),
            cluster: made.cluster.to_string(),
            password: made.password.expect("made").expose().to_owned(),
            clock,
            public,
            agents,
            tls: Arc::new(tls::client_config(&ca, tls::H1).expect("TLS settings")),
            ca,
            verbs,
            shutdown,
            config,
            state,
        }
    }

    /// The coordinator in a new process's place: the same state, the same addresses.
    pub async fn restart(&mut self) {
        self.shutdown.stop();
        self.shutdown.finish(std::time::Duration::from_secs(20)).await;
        self.shutdown = Shutdown::new();
        let bound = init::start(&self.config, self.clock.clone(), self.shutdown.clone()).await.expect("a coordinator");
        let verbs = bound.verbs.clone();
        bound.serve(api::mount(verbs.clone()), api::exchange(verbs));
    }

    /// Where agents connect to.
    pub fn agents_url(&self) -> String {
        format!("https://{}", self.agents)
    }

    /// The CA that clients and agents trust, PEM.
    pub fn ca(&self) -> Vec<u8> {
        std::fs::read(self.state.path().join("state/ca.pem")).expect("the CA")
    }

    /// The same, and a node that was there once and is not connected: a bundle of it is quick, and partial.
    pub async fn with_node() -> Self {
        Self::with_node_and(|_| ()).await
    }

    /// The same, with what `change` makes of the configuration.
    pub async fn with_node_and(change: impl FnOnce(&mut CoordinatorConfig)) -> Self {
        let house = Self::configured(change).await;
        let admin = house.admin();
        let header = [("authorization", admin.as_str())];
        let made = house.call("POST", "/sheaf/v1/secrets", &header, r#"{"name":"n1"}"#).await;
        let exchange = json!({ "secret": made.json()["secret"] }).to_string();
        let path = "/api/v2/agent/secrets/exchange";
        let token = house.send(house.agents, "POST", path, &[], &[&exchange]).await.collected().await;
        let bearer = format!("Bearer {}", token.json()["access_token"].as_str().expect("a token"));
        let hello = json!({
            "versions": [1], "instance": "11111111-2222-4333-8444-555555555555", "agent_version": "0",
            "clock_ms": house.clock.now_ms(), "addresses": ["192.0.2.7", "2001:db8::7"],
            "packs": [{ "name": "p", "version": "1", "jobs": ["j"] }],
        });
        let headers = [("authorization", bearer.as_str())];
        let mut session = house.send(house.agents, "POST", "/agent/v1/session", &headers, &[&hello.to_string()]).await;
        assert_eq!(session.head.status, 200, "{:?}", session.head);
        let welcome = session.body.frame().await.expect("a line").expect("a frame");
        assert!(welcome.is_data());
        drop(session);
        // Gone again, as the roster sees it.
        while house.call("GET", "/sheaf/v1/nodes/n1", &header, "").await.json()["online"] != json!(false) {
            tokio::task::yield_now().await;
        }
        house
    }

    /// The public listener's address.
    pub fn public(&self) -> SocketAddr {
        self.public
    }

    /// TLS as a client without a certificate has it.
    pub fn tls(&self) -> &Arc<ClientConfig> {
        &self.tls
    }

    /// The state folder.
    pub fn state(&self) -> std::path::PathBuf {
        self.state.path().join("state")
    }

    /// The admin's `Authorization`.
    pub fn admin(&self) -> String {
        basic("admin", &self.password)
    }

    /// The file of the CA that clients trust.
    pub fn ca_file(&self) -> std::path::PathBuf {
        self.state.path().join("state/ca.pem")
    }

    /// The admin behind the verbs.
    pub async fn principal(&self) -> Principal {
        let password = Secret::new(self.password.as_str());
        self.verbs.authenticate(Credential::Basic("admin".into(), password), None).await.expect("the admin")
    }

    /// Another user's `Authorization`.
    pub async fn user(&self, name: &str, role: Role) -> String {
        let store = Store::open(&self.state.path().join("state")).expect("the state");
        let added = Users::new(store, self.clock.clone()).add(name, &Secret::new("a long password"), role, None).await;
        assert!(added.expect("added"));
        basic(name, "a long password")
    }

    /// One request on a connection of its own.
    pub async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answered {
        self.send(self.public, method, path, headers, &[body]).await.collected().await
    }

    /// The same, with a client certificate (both PEM) and no other credential.
    pub async fn certified(&self, pair: (&str, &str), what: (&str, &str, &str)) -> Answered {
        self.certified_as(pair, "application/json", what).await
    }

    /// The same with a body of some kind.
    pub async fn certified_as(&self, pair: (&str, &str), kind: &str, what: (&str, &str, &str)) -> Answered {
        let identity = tls::Identity::from_pem(pair.0.as_bytes(), pair.1.as_bytes()).expect("an identity");
        let tls = Arc::new(tls::client_config_with(&self.ca, identity, tls::H1).expect("TLS settings"));
        let kind = [("content-type", kind)];
        self.send_by(tls, self.public, (what.0, what.1), &kind, &[what.2]).await.collected().await
    }

    /// The same with a body in chunks.
    pub async fn chunked(&self, method: &str, path: &str, headers: &[(&str, &str)], pieces: &[&str]) -> Answered {
        self.send(self.public, method, path, headers, pieces).await.collected().await
    }

    /// One request whose answer's body may still come; dropped, its connection ends.
    pub async fn begin(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answering {
        self.send(self.public, method, path, headers, &[body]).await
    }

    /// Sends; one piece has its length said, as curl does, more are sent in chunks.
    async fn send(
        &self,
        to: SocketAddr,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        pieces: &[&str],
    ) -> Answering {
        self.send_by(Arc::clone(&self.tls), to, (method, path), headers, pieces).await
    }

    async fn send_by(
        &self,
        tls: Arc<ClientConfig>,
        to: SocketAddr,
        (method, path): (&str, &str),
        headers: &[(&str, &str)],
        pieces: &[&str],
    ) -> Answering {
        let tcp = TcpStream::connect(to).await.expect("a connection");
        let name = ServerName::from(to.ip());
        let stream = TlsConnector::from(tls).connect(name, tcp).await.expect("TLS");
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
        let connection = tokio::spawn(async move {
            let _ = connection.await;
        });
        let mut request = Request::builder().method(method).uri(path);
        if headers.iter().all(|(name, _)| *name != "host") {
            request = request.header("host", to.to_string());
        }
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty() || pieces.len() == 1) {
            request = request.header(*name, *value);
        }
        if pieces.len() == 1 && (method == "POST" || !pieces[0].is_empty()) {
            request = request.header("content-length", pieces[0].len());
        }
        let frames: Vec<_> = pieces
            .iter()
            .filter(|piece| !piece.is_empty())
            .map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(piece.as_bytes()))))
            .collect();
        let body = StreamBody::new(stream::iter(frames));
        let answer = sender.send_request(request.body(body).expect("a request")).await.expect("an answer");
        let (parts, body) = answer.into_parts();
        let head = Answered { status: parts.status.as_u16(), headers: parts.headers, body: Bytes::new(), whole: false };
        Answering { head, body, connection }
    }
}

/// An answer whose body may still come. The connection ends with it.
pub struct Answering {
    /// Status and headers.
    pub head: Answered,
    body: Incoming,
    connection: JoinHandle<()>,
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Answering {
    /// The rest of the answer.
    pub async fn collected(mut self) -> Answered {
        let (mut body, mut whole) = (Vec::new(), true);
        while let Some(frame) = self.body.frame().await {
            match frame.map(|frame| frame.into_data()) {
                Ok(Ok(data)) => body.extend_from_slice(&data),
                Ok(Err(_)) => {}
                Err(_) => {
                    whole = false;
                    break;
                }
            }
        }
        let head = &self.head;
        Answered { status: head.status, headers: head.headers.clone(), body: body.into(), whole }
    }
}
