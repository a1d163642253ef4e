//! No secret reaches a log, an error, an event, a list, the audit log or the state: distinct ones are shown at every door, right and
//! wrong, with everything logged that there is to log, and then looked for everywhere.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::house::{Answered, House, basic};
use crate::node::{Agent, join, online, until};

/// What the process logs, of all tests in it.
static LOG: LazyLock<Arc<Mutex<Vec<u8>>>> = LazyLock::new(Arc::default);

struct Into(Arc<Mutex<Vec<u8>>>);

impl io::Write for Into {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What was shown, by what it is, and what was answered to those who may not see it.
#[derive(Default)]
struct Seen {
    secrets: BTreeMap<String, String>,
    answers: Vec<(String, Answered)>,
}

impl Seen {
    fn secret(&mut self, what: &str, text: impl std::convert::Into<String>) -> String {
        let text = text.into();
        assert!(text.len() >= 12, "{what}: too short to be looked for");
        self.secrets.insert(what.to_owned(), text.clone());
        text
    }

    /// A value that is shown this once.
    fn shown(&mut self, what: &str, value: &Value) -> String {
        self.secret(what, value.as_str().unwrap_or_else(|| panic!("{what} in {value}")))
    }

    fn answer(&mut self, what: &str, answer: Answered) {
        self.answers.push((what.to_owned(), answer));
    }

    /// Every form in which a secret could have been written down.
    fn forms(&self) -> Vec<(&str, Vec<u8>)> {
        let mut forms = Vec::new();
        for (what, text) in &self.secrets {
            forms.push((what.as_str(), text.as_bytes().to_vec()));
            // Without padding and the first characters, which depend on what stands before it.
            let encoded = STANDARD.encode(text);
            forms.push((what.as_str(), encoded.trim_end_matches('=').as_bytes()[..16].to_vec()));
            for user in ["ada", "admin"] {
                let pair = STANDARD.encode(format!("{user}:{text}"));
                forms.push((what.as_str(), pair.trim_end_matches('=').as_bytes().to_vec()));
            }
        }
        forms
    }

    fn assert_clean(&self, place: &str, bytes: &[u8]) {
        for (what, form) in self.forms() {
            assert!(memchr::memmem::find(bytes, &form).is_none(), "{place} holds the {what}");
        }
    }
}

const JSON: (&str, &str) = ("content-type", "application/json");

/// Shows a name and a password at every door that takes them.
async fn log_in_everywhere(house: &House, seen: &mut Seen, user: &str, password: &str, right: bool) {
    let basic = basic(user, password);
    let flat = json!({ "username": user, "password": password }).to_string();
    let keystone = json!({ "auth": { "identity": { "methods": ["password"], "password": { "user": {
        "name": user, "password": password, "domain": { "name": "d" } } } } } })
    .to_string();
    for (method, path, by_header, body) in [
        ("POST", "/api/session", true, ""),
        ("POST", "/rest/com/vmware/cis/session", true, ""),
        ("POST", "/sheaf/v1/session", true, ""),
        ("GET", "/sheaf/v1/clusters", true, ""),
        ("GET", "/info", true, ""),
        ("GET", "/tasks", true, ""),
        ("GET", "/v1/clusters/x/accessinfo", true, ""),
        ("POST", "/api/v2/sessions", false, flat.as_str()),
        ("POST", "/suite-api/api/auth/token/acquire", false, flat.as_str()),
        ("POST", "/v3/auth/tokens", false, keystone.as_str()),
    ] {
        let mut headers = vec![JSON];
        if by_header {
            headers.push(("authorization", &basic));
        }
        let answer = house.call(method, path, &headers, body).await;
        let place = format!("{method} {path}");
        if !right || answer.status >= 300 {
            seen.answer(&place, answer);
            continue;
        }
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        for id in [&body, &body["value"], &body["token"], &body["sessionId"]] {
            if id.is_string() {
                seen.shown(&format!("session of {place}"), id);
            }
        }
        if !answer.header("x-subject-token").is_empty() {
            seen.secret("Keystone token", answer.header("x-subject-token"));
        }
    }
}

/// Shows a text in every header that carries a credential.
async fn show_everywhere(house: &House, seen: &mut Seen, what: &str, text: &str) {
    let schemes = [format!("Bearer {text}"), format!("OpsToken {text}"), format!("Basic {text}"), text.to_owned()];
    let signed = format!("SDK-HMAC-SHA256 Access={text}, SignedHeaders=host;x-sdk-date, Signature={text}");
    let mut headers: Vec<(&str, &str)> = schemes.iter().map(|value| ("authorization", value.as_str())).collect();
    headers.push(("authorization", &signed));
    for name in ["vmware-api-session-id", "x-jwt-token", "x-auth-token", "wcp-support-bundle-token"] {
        headers.push((name, text));
    }
    let download = format!("/api/vcenter/namespace-management/clusters/{}/support-bundle/download", house.cluster);
    for header in headers {
        for path in [
            "/sheaf/v1/session",
            "/api/session",
            "/api/v2/agent/secrets",
            "/tasks",
            "/v1/clusters/x/accessinfo",
            &download,
        ] {
            let answer = house.call("GET", path, &[JSON, header], "").await;
            if answer.status >= 400 {
                seen.answer(&format!("{what} at {path} in {}", header.0), answer);
            }
        }
    }
    for (path, body) in [
        (download.as_str(), json!({ "wcp-support-bundle-token": text })),
        ("/api/v2/agent/secrets/exchange", json!({ "secret": text })),
    ] {
        let answer = house.call("POST", path, &[], &body.to_string()).await;
        if answer.status >= 400 {
            seen.answer(&format!("{what} to {path}"), answer);
        }
    }
}

/// Bodies that are wrong in a way that a reader could complain of by repeating them.
async fn break_bodies(house: &House, seen: &mut Seen, admin: &str) {
    let text = seen.secret("password in a broken body", "canary-in-a-broken-body");
    let number = seen.secret("password as a number", "918273645546372819");
    for path in [
        "/api/v2/sessions",
        "/suite-api/api/auth/token/acquire",
        "/v3/auth/tokens",
        "/api/v2/agent/secrets/exchange",
        "/sheaf/v1/users",
        "/sheaf/v1/users/nobody/password",
        "/sheaf/v1/users/nobody/keys",
    ] {
        for body in [
            format!(r#""{text}""#),
            format!(r#"["{text}"]"#),
            format!(r#"{{"password":"{text}"#),
            format!(r#"{{"username":"a","name":"a","role":"viewer","password":{number},"secret":{number}}}"#),
            format!(r#"{{"password":["{text}"],"secret":["{text}"],"name":["{text}"]}}"#),
            format!(r#"{{"username":"a","name":"a","password":"{text}","role":"{text}"}}"#)
                .replace(&format!(r#""role":"{text}""#), r#""role":7"#),
            format!(r#"{{"auth":"{text}"}}"#),
            format!(r#"{{"auth":{{"identity":{{"methods":["password"],"password":"{text}"}}}}}}"#),
        ] {
            let answer = house.call("POST", path, &[JSON, ("authorization", admin)], &body).await;
            assert!(answer.status >= 400, "{path} {body}: {answer:?}");
            seen.answer(&format!("a broken body to {path}"), answer);
        }
    }
}

/// Everything that the APIs make and show once.
async fn make_everything(house: &House, seen: &mut Seen, admin: &str) -> String {
    let auth = [JSON, ("authorization", admin)];
    let post = async |path: &str, body: Value| {
        let answer = house.call("POST", path, &auth, &body.to_string()).await;
        assert!(answer.status < 300, "{path}: {answer:?}");
        answer.json()
    };
    let key = post("/sheaf/v1/users/ada/keys", json!({})).await;
    seen.shown("secret key", &key["secret"]);
    let made = post("/api/v2/agent/secrets", json!({ "name": "canary-node" })).await;
    let secret = seen.shown("agent secret", &made["secret"]);
    let traded = post("/api/v2/agent/secrets/exchange", json!({ "secret": secret })).await;
    seen.shown("access token", &traded["access_token"]);
    seen.shown("next agent secret", &traded["new_secret"]);
    let path = format!("/api/vcenter/namespace-management/clusters/{}/support-bundle", house.cluster);
    seen.shown("download token", &post(&path, json!({})).await["wcp_support_bundle_token"]["token"]);
    let fleet = post("/sheaf/v1/fleets", json!({ "name": "canaries" })).await;
    let fleet = fleet["id"].as_str().expect("an id");
    let wanted = json!({ "projectID": "p", "vpcID": "v", "subnetID": "s", "duration": 30 });
    let kubeconfig = post(&format!("/v1/clustergroups/{fleet}/cert"), wanted).await;
    seen.shown("operator's key", &kubeconfig["users"][0]["user"]["client-key-data"]);
    let cluster = post("/sheaf/v1/clusters", json!({ "name": "canary-cluster" })).await;
    let path = format!("/v1/clusters/{}/accessinfo", cluster["id"].as_str().expect("an id"));
    let info = house.call("GET", &path, &auth, "").await.json();
    let manifests = info.as_array().expect("manifests").iter().map(|text| text.as_str().expect("a text"));
    let manifests: Vec<Value> = manifests.map(|text| serde_json::from_str(text).expect("JSON")).collect();
    let key = manifests.iter().find_map(|manifest| manifest["data"]["sheaf-agent.key"].as_str());
    let key = seen.secret("join key", key.expect("a key"));
    let pem = String::from_utf8(STANDARD.decode(key).expect("base64")).expect("PEM");
    seen.secret("join key itself", pem.lines().nth(1).expect("a line"));
    let access = info.to_string();
    // A task, for its logs.
    let task = post("/sheaf/v1/stored", json!({ "cluster": "default", "case": "c" })).await["id"].to_string();
    loop {
        let row = house.call("GET", &format!("/sheaf/v1/tasks/{task}"), &auth, "").await;
        if ["done", "errored", "cancelled"].contains(&row.json()["state"].as_str().expect("a state")) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    for log in ["events", "debug", "result"] {
        let answer = house.call("GET", &format!("/sheaf/v1/tasks/{task}/{log}"), &auth, "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        seen.answer(log, answer);
    }
    access
}

/// Nodes with real agents: one that was given its secret, and one that joins. Their logs have all there is to log.
struct Nodes {
    folder: tempfile::TempDir,
    given: Agent,
    joined: Option<Agent>,
}

impl Nodes {
    async fn new(house: &House) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let given = Agent::new(house, folder.path(), "canary-given", "default").await;
        online(house, "canary-given", true).await;
        Self { folder, given, joined: None }
    }

    /// Joins a cluster by its access info and runs what that made, each a process of its own.
    async fn join(&mut self, house: &House, seen: &mut Seen, access: &str) {
        let folder = self.folder.path().join("joined");
        // Cut before it is used whole: what is said of it repeats nothing.
        assert!(!join(&folder, "canary-joined", &access[..access.len() / 2]));
        self.joined = Some(Agent::joined(folder, "canary-joined", access));
        online(house, "canary-joined", true).await;
        self.secrets(seen);
    }

    /// The agent that was given its secret takes up the next one, as after each exchange.
    async fn rotate(&mut self, house: &House, seen: &mut Seen) {
        for _ in 0..2 {
            self.given.stop();
            online(house, "canary-given", false).await;
            self.secrets(seen);
            self.given.start();
            online(house, "canary-given", true).await;
        }
        self.secrets(seen);
    }

    /// Every agent secret that stands in a file made for it.
    fn secrets(&self, seen: &mut Seen) {
        let files = [
            "canary-given/secret",
            "canary-given/state/agent-secret.json",
            "joined/state/agent-secret",
            "joined/state/agent-secret.json",
        ];
        let mut found = 0;
        for file in files {
            let text = std::fs::read_to_string(self.folder.path().join(file)).unwrap_or_default();
            for secret in text.split(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c))) {
                if secret.starts_with("sheaf1.") {
                    found += 1;
                    // The last part is what is secret of it.
                    seen.secret(&format!("agent secret {found} of {file}"), secret);
                    seen.secret(&format!("random part {found} of {file}"), secret.rsplit('.').next().expect("a part"));
                }
            }
        }
        assert!(found > 0, "no agent secret in {files:?}");
    }

    /// Looks through what the agents wrote for others to read.
    fn assert_clean(&self, seen: &Seen) {
        for name in ["canary-given", "joined"] {
            let log = std::fs::read(self.folder.path().join(name).join("log")).expect("a log");
            let words = |word: &str| memchr::memmem::find(&log, word.as_bytes()).is_some();
            assert!(words("TRACE") || words("DEBUG"), "{name} logs in all detail");
            assert!(!words("sheaf1.") && !words("Bearer ") && !words("PRIVATE KEY"), "{name}");
            seen.assert_clean(&format!("the log of {name}"), &log);
        }
    }
}

/// Deploys with a property that nobody but the node is to know, once as it may be and once as it may not, and collects by it. Gives
/// what no log and no event may hold; the state holds it, and whoever may see the deployment sees it in the manifest.
async fn deploy(house: &House, seen: &mut Seen, admin: &str) -> Seen {
    let mut quiet = Seen::default();
    let value = quiet.secret("value of a property", "canaryinaproperty");
    let bad = quiet.secret("value that a property may not have", "Canary-In-A-Refused-Property");
    let auth = [("authorization", admin), ("content-type", "text/yaml")];
    let mut tasks = Vec::new();
    for (value, state) in [(&value, "done"), (&bad, "errored")] {
        let text = format!(
            "name: canary\nreleases:\n- {{name: web-pack, version: 1.4.0}}\ninstance_groups:\n- name: g\n  \
             nodes: [canary-given]\n  jobs:\n  - {{name: sites, release: web-pack, properties: {{site: {value}}}}}\n"
        );
        let diff = house.call("POST", "/deployments/canary/diff?redact=true", &auth, &text).await;
        assert_eq!(diff.status, 200, "{diff:?}");
        quiet.answer("a redacted diff", diff);
        tasks.push((house.call("POST", "/deployments", &auth, &text).await, state));
        if state == "done" {
            ended(house, admin, &tasks[0].0, state).await;
            let begun = house.call("GET", "/deployments/canary/vms?format=full", &auth, "").await;
            tasks.push((begun, "done"));
            let begun = house.call("GET", "/deployments/canary/jobs/*/*/logs?type=job", &auth, "").await;
            tasks.push((begun, "done"));
        }
    }
    for (begun, state) in &tasks {
        let path = ended(house, admin, begun, state).await;
        for log in ["event", "debug", "result"] {
            let answer = house.call("GET", &format!("{path}/output?type={log}"), &auth, "").await;
            assert!(matches!(answer.status, 200 | 204), "{answer:?}");
            quiet.answer(&format!("{path} {log}"), answer);
        }
        quiet.answer(&path, house.call("GET", &path, &auth, "").await);
    }
    for path in
        ["/deployments", "/tasks?verbose=2", "/sheaf/v1/tasks", "/sheaf/v1/deployments", "/sheaf/v1/audit?limit=1000"]
    {
        quiet.answer(path, house.call("GET", path, &auth, "").await);
    }
    for (place, answer) in &quiet.answers {
        quiet.assert_clean(place, &answer.body);
        seen.assert_clean(place, &answer.body);
    }
    quiet
}

/// Waits for what became a task to end in a state; gives its path.
async fn ended(house: &House, admin: &str, begun: &Answered, state: &str) -> String {
    let path = format!("/tasks/{}", begun.header("location").rsplit('/').next().expect("an id"));
    until(&format!("{path} is {state}"), async || {
        let task = house.call("GET", &path, &[("authorization", admin)], "").await.json();
        assert!(task["state"] == state || ["queued", "processing"].iter().any(|word| task["state"] == *word), "{task}");
        task["state"] == state
    })
    .await;
    path
}

fn look_through(seen: &Seen, folder: &Path, files: &mut usize) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            look_through(seen, &path, files);
        } else if !path.ends_with("master.key") {
            // The one file that holds a secret by design, outside of the state proper.
            seen.assert_clean(&path.display().to_string(), &std::fs::read(&path).expect("a file"));
            *files += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_written_down_anywhere() {
    let writer = || Into(Arc::clone(&LOG));
    let detail = Targets::new().with_default(LevelFilter::DEBUG).with_target("sheaf", LevelFilter::TRACE);
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer);
    tracing_subscriber::registry().with(lines).with(detail).init();
    let house = House::with_node().await;
    // A session, since so many wrong passwords from one address make it wait for its right ones.
    let session = house.call("POST", "/api/session", &[("authorization", &house.admin())], "").await.json();
    let admin = format!("Bearer {}", session.as_str().expect("an id"));
    let mut seen = Seen::default();
    seen.secret("admin's password", house.password.as_str());
    seen.shown("admin's session", &session);
    let master = std::fs::read_to_string(house.state().join("master.key")).expect("the master key");
    seen.secret("master key", master.trim());

    let right = seen.secret("right password", "canary-right-password");
    let user = json!({ "name": "ada", "password": right, "role": "admin" }).to_string();
    assert_eq!(house.call("POST", "/sheaf/v1/users", &[("authorization", &admin)], &user).await.status, 201);
    log_in_everywhere(&house, &mut seen, "ada", &right, true).await;
    assert!(seen.secrets.len() >= 8, "sessions of every door: {:?}", seen.secrets.keys());
    let access = make_everything(&house, &mut seen, &admin).await;
    let mut nodes = Nodes::new(&house).await;
    nodes.join(&house, &mut seen, &access).await;
    nodes.rotate(&house, &mut seen).await;
    let quiet = deploy(&house, &mut seen, &admin).await;
    break_bodies(&house, &mut seen, &admin).await;
    let wrong = seen.secret("wrong password", "canary-wrong-password");
    log_in_everywhere(&house, &mut seen, "ada", &wrong, false).await;
    let typed = seen.secret("password in the name's place", "canary-in-the-names-place");
    log_in_everywhere(&house, &mut seen, &typed, "x", false).await;
    let token = seen.secret("wrong token", "canary-wrong-token");
    show_everywhere(&house, &mut seen, "a wrong token", &token).await;
    // Good ones too, where they do not belong.
    for (what, text) in seen.secrets.clone() {
        if text.len() < 200 && text.parse::<http::HeaderValue>().is_ok() {
            show_everywhere(&house, &mut seen, &what, &text).await;
        }
    }
    let next = seen.secret("next password", "canary-next-password");
    let change = json!({ "password": next, "current": wrong }).to_string();
    let refused = house.call("POST", "/sheaf/v1/users/admin/password", &[("authorization", &admin)], &change).await;
    assert!(refused.status >= 400, "{refused:?}");
    seen.answer("a change of password", refused);

    for path in [
        "users",
        "keys",
        "secrets",
        "certificates",
        "tasks",
        "clusters",
        "fleets",
        "nodes",
        "stored",
        "audit?limit=1000",
    ] {
        let answer = house.call("GET", &format!("/sheaf/v1/{path}"), &[("authorization", &admin)], "").await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        seen.answer(path, answer);
    }
    seen.answer("metrics", house.call("GET", "/metrics", &[], "").await);
    for (place, answer) in &seen.answers {
        seen.assert_clean(place, &answer.body);
        seen.assert_clean(place, format!("{answer:?}").as_bytes());
    }
    nodes.assert_clean(&seen);
    nodes.assert_clean(&quiet);
    let mut files = 0;
    look_through(&seen, &house.state(), &mut files);
    assert!(files >= 3, "the state, the audit log and more: {files}");
    look_through(&quiet, &house.state().join("audit"), &mut files);
    let database = std::fs::read(house.state().join("sheaf.db")).expect("the state");
    assert!(database.starts_with(b"SQLite format 3"), "it is what was looked through");
    let log = LOG.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let words = |text: &str| memchr::memmem::find(&log, text.as_bytes()).is_some();
    assert!(words("session.open") && words("DEBUG"), "the log is there, in all detail");
    seen.assert_clean("the log", &log);
    quiet.assert_clean("the log", &log);
}
