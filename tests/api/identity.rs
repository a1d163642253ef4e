//! Users, roles, scopes, keys and limits through the real listener: one principal behind every door.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use ring::{digest, hmac};
use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;

use sheaf::coordinator::principal::Role;

use crate::house::{Answered, House, basic};

const WHOAMI: &str = "/sheaf/v1/session";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(text: &str) -> String {
    hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
}

/// An access key and how it signs, written out after the vendor's documentation.
struct Key {
    access: String,
    secret: String,
}

impl Key {
    async fn new(house: &House, authorization: &str, user: &str) -> Self {
        let made = house.call("POST", &format!("/sheaf/v1/users/{user}/keys"), &auth(authorization), "{}").await;
        assert_eq!(made.status, 201, "{made:?}");
        let text = |name: &str| made.json()[name].as_str().expect(name).to_owned();
        Self { access: text("id"), secret: text("secret") }
    }

    /// The headers of a request that is signed at `seconds` from the house's time. `path` has no query and ends in no slash.
    fn headers(
        &self,
        house: &House,
        seconds: i64,
        method: &str,
        path: &str,
        body: &str,
    ) -> Vec<(&'static str, String)> {
        let at = jiff::Timestamp::from_second(house.clock.now_ms() / 1000 + seconds).expect("a time");
        let date = at.strftime("%Y%m%dT%H%M%SZ").to_string();
        let host = house.url.trim_start_matches("https://").to_owned();
        let canonical =
            format!("{method}\n{path}/\n\nhost:{host}\nx-sdk-date:{date}\n\nhost;x-sdk-date\n{}", sha256(body));
        let to_sign = format!("SDK-HMAC-SHA256\n{date}\n{}", sha256(&canonical));
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes());
        let signature = hex(hmac::sign(&key, to_sign.as_bytes()).as_ref());
        let authorization =
            format!("SDK-HMAC-SHA256 Access={}, SignedHeaders=host;x-sdk-date, Signature={signature}", self.access);
        vec![("host", host), ("x-sdk-date", date), ("authorization", authorization)]
    }

    async fn call(&self, house: &House, method: &str, path: &str, body: &str) -> Answered {
        let headers = self.headers(house, 0, method, path, body);
        house.call(method, path, &borrowed(&headers), body).await
    }
}

fn borrowed<'a>(headers: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    headers.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

fn auth(authorization: &str) -> [(&'static str, &str); 1] {
    [("authorization", authorization)]
}

/// A request with Basic credentials from another address of this host.
async fn from(house: &House, source: &str, authorization: &str) -> (u16, Option<u64>) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((source.parse::<IpAddr>().expect("an address"), 0).into()).expect("an address of this host");
    let tcp = socket.connect(house.public()).await.expect("a connection");
    let name = ServerName::from(house.public().ip());
    let stream = TlsConnector::from(Arc::clone(house.tls())).connect(name, tcp).await.expect("TLS");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
    let connection = tokio::spawn(connection);
    let request = http::Request::get(WHOAMI).header("host", "h").header("authorization", authorization);
    let answer = sender.send_request(request.body(Full::<Bytes>::default()).expect("a request")).await;
    let answer = answer.expect("an answer");
    let wait = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    let status = answer.status().as_u16();
    answer.into_body().collect().await.expect("a body");
    connection.abort();
    (status, wait)
}

async fn who(house: &House, headers: &[(&str, &str)]) -> Value {
    let answer = house.call("GET", WHOAMI, headers, "").await;
    if answer.status == 200 { answer.json()["user"].clone() } else { json!(answer.status) }
}

/// A Keystone token.
async fn token(house: &House, user: &str, password: &str) -> Answered {
    let body = json!({ "auth": { "identity": { "methods": ["password"], "password": { "user": {
        "name": user, "password": password, "domain": { "name": "d" } } } } } });
    house.call("POST", "/v3/auth/tokens", &[("content-type", "application/json")], &body.to_string()).await
}

async fn records(house: &House, query: &str) -> Vec<Value> {
    let answer = house.call("GET", &format!("/sheaf/v1/audit?{query}"), &auth(&house.admin()), "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["records"].as_array().expect("records").clone()
}

#[tokio::test]
async fn every_credential_names_the_same_user_at_every_door() {
    let house = House::new().await;
    let operator = house.user("ada", Role::Operator).await;
    let session = house.call("POST", "/api/session", &auth(&operator), "").await.json();
    let session = session.as_str().expect("an id");
    let bearer = format!("Bearer {session}");
    let ops = format!("OpsToken {session}");
    let keystone = token(&house, "ada", "a long password").await;
    assert_eq!(keystone.status, 201, "{keystone:?}");
    let keystone = keystone.header("x-subject-token");
    let keystone_bearer = format!("Bearer {keystone}");
    for header in [
        ("authorization", operator.as_str()),
        ("authorization", bearer.as_str()),
        ("authorization", ops.as_str()),
        ("authorization", keystone_bearer.as_str()),
        ("vmware-api-session-id", session),
        ("x-jwt-token", session),
        ("x-auth-token", session),
        ("x-auth-token", keystone),
        ("x-jwt-token", keystone),
        ("vmware-api-session-id", keystone),
    ] {
        assert_eq!(who(&house, &[header]).await, json!("ada"), "{}", header.0);
        // And at a door of each other dialect: what an operator may read is answered.
        for path in [
            "/api/vcenter/namespace-management/clusters",
            "/rest/vcenter/namespace-management/clusters",
            "/api/v2/agent/secrets",
            "/deployments",
        ] {
            assert_eq!(house.call("GET", path, &[header], "").await.status, 200, "{path} by {}", header.0);
        }
        let info = house.call("GET", "/info", &[header], "").await.json();
        assert_eq!(info["user"], json!("ada"), "{}", header.0);
        let path = format!("/v1/clusters/{}/accessinfo", house.cluster);
        assert_eq!(house.call("GET", &path, &[header], "").await.json()["error_code"], json!("UCS.00000004"));
    }
    let key = Key::new(&house, &operator, "ada").await;
    for path in [WHOAMI, "/api/v2/agent/secrets", "/deployments", "/api/vcenter/namespace-management/clusters"] {
        assert_eq!(key.call(&house, "GET", path, "").await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_signature_covers_the_body_and_does_not_last() {
    let house = House::new().await;
    let key = Key::new(&house, &house.admin(), "admin").await;
    let (path, body) = ("/sheaf/v1/clusters", r#"{"name":"edge"}"#);
    let headers = key.headers(&house, 0, "POST", path, body);
    let status = async |headers: &[(&'static str, String)], body: &str| {
        house.call("POST", path, &borrowed(headers), body).await.status
    };
    assert_eq!(status(&headers, r#"{"name":"oops"}"#).await, 401, "another body");
    assert_eq!(status(&headers, "").await, 401, "no body");
    let mut lying = headers.clone();
    lying.push(("x-sdk-content-sha256", sha256("other")));
    assert_eq!(status(&lying, body).await, 401, "a digest that is not the body's");
    let mut named = headers.clone();
    named[0].1 = "elsewhere.example".to_owned();
    assert_eq!(status(&named, body).await, 401, "another host");
    for (seconds, expected) in [(-901, 401), (901, 401)] {
        assert_eq!(status(&key.headers(&house, seconds, "POST", path, body), body).await, expected, "{seconds}");
    }
    let mut told = headers.clone();
    told.push(("x-sdk-content-sha256", sha256(body)));
    assert_eq!(status(&told, body).await, 201, "and then it is taken");
    assert_eq!(status(&told, body).await, 401, "and not again, for whoever overheard it");
    house.clock.advance(Duration::from_secs(1));
    assert_eq!(status(&key.headers(&house, 0, "POST", path, body), body).await, 409, "signed again it is a new one");
    let reading = key.headers(&house, 0, "GET", WHOAMI, "");
    for _ in 0..2 {
        assert_eq!(who(&house, &borrowed(&reading)).await, json!("admin"), "what only reads may be repeated");
    }
    let in_time = key.headers(&house, -890, "POST", path, body);
    assert_eq!(status(&in_time, body).await, 409, "an older one is as good: the name is taken");
    let long = format!(r#"{{"name":"{}"}}"#, "x".repeat(70_000));
    assert_eq!(status(&key.headers(&house, 0, "POST", path, &long), &long).await, 401, "longer than can be signed");
    let other = Key { access: key.access.clone(), secret: "A".repeat(40) };
    assert_eq!(other.call(&house, "GET", WHOAMI, "").await.status, 401);
    let unknown = Key { access: "A".repeat(20), secret: key.secret.clone() };
    assert_eq!(unknown.call(&house, "GET", WHOAMI, "").await.status, 401);
    // A good token beside a bad signature is enough, and the other way round.
    let session = house.call("POST", "/api/session", &auth(&house.admin()), "").await.json();
    let mut both = borrowed(&headers);
    both.push(("x-auth-token", session.as_str().expect("an id")));
    assert_eq!(who(&house, &both).await, json!("admin"));
    let good = key.headers(&house, 0, "GET", WHOAMI, "");
    let mut both = borrowed(&good);
    both.push(("x-auth-token", "nobody's"));
    assert_eq!(who(&house, &both).await, json!("admin"));
    let listed = house.call("GET", "/sheaf/v1/keys?user=admin", &auth(&house.admin()), "").await;
    assert!(listed.json()[0]["last_used"].is_string() && !listed.text().contains(&key.secret), "{listed:?}");
    let revoked = house.call("DELETE", &format!("/sheaf/v1/keys/{}", key.access), &auth(&house.admin()), "").await;
    assert_eq!(revoked.status, 204, "{revoked:?}");
    assert_eq!(key.call(&house, "GET", WHOAMI, "").await.status, 401, "revoked");
}

#[tokio::test]
async fn a_signature_that_was_used_is_remembered_across_a_restart_and_as_long_as_it_could_be_good() {
    let mut house = House::new().await;
    let key = Key::new(&house, &house.admin(), "admin").await;
    let path = "/sheaf/v1/clusters/edge";
    // Made as late as may be, so that it could be good for twice the window.
    let late = key.headers(&house, 890, "DELETE", path, "");
    let status = async |house: &House| house.call("DELETE", path, &borrowed(&late), "").await.status;
    assert_eq!(status(&house).await, 404, "there is none");
    assert_eq!(status(&house).await, 401);
    house.restart().await;
    assert_eq!(status(&house).await, 401);
    house.clock.advance(Duration::from_secs(1780));
    assert_eq!(status(&house).await, 401);
    // Of many at the same time exactly one is taken.
    let racing = key.headers(&house, 0, "POST", "/sheaf/v1/clusters", r#"{"name":"race"}"#);
    let borrowed = borrowed(&racing);
    let calls = (0..16).map(|_| house.call("POST", "/sheaf/v1/clusters", &borrowed, r#"{"name":"race"}"#));
    let statuses: Vec<_> = futures_util::future::join_all(calls).await.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 15, "{statuses:?}");
    // Each dialect says it in its own words.
    let body = r#"{"projectID":"p","vpcID":"v","subnetID":"s","duration":1}"#;
    let path = "/v1/clustergroups/11111111-2222-4333-8444-555555555555/cert";
    let mut headers = key.headers(&house, 0, "POST", path, body);
    headers.push(("content-type", "application/json".to_owned()));
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(house.call("POST", path, &headers, body).await.status, 404);
    let again = house.call("POST", path, &headers, body).await;
    assert_eq!((again.status, &again.json()["error_code"]), (401, &json!("UCS.00000018")), "{again:?}");
}

#[tokio::test]
async fn who_shows_nothing_is_recorded_where_somebody_must_be_known() {
    let house = House::new().await;
    for (method, path) in [
        ("GET", "/sheaf/v1/clusters"),
        ("GET", "/api/v2/agent/secrets"),
        ("GET", "/api/session"),
        ("GET", "/tasks"),
        ("GET", "/v1/clusters/x/accessinfo"),
        ("GET", "/info"),
        ("GET", "/healthz"),
    ] {
        house.call(method, path, &[], "").await;
    }
    let nameless = records(&house, "").await.into_iter().filter(|record| record["door"] == "none");
    let told: Vec<_> = nameless.map(|record| (record["who"].clone(), record["outcome"].clone())).collect();
    assert_eq!(told, vec![(json!(""), json!("refused")); 5]);
}

#[tokio::test]
async fn a_hammering_source_waits_and_keeps_nobody_else_out() {
    let house = House::new().await;
    let (right, wrong) = (house.admin(), basic("admin", "wrong horse"));
    let mut limited = None;
    for _ in 0..12 {
        limited = Some(from(&house, "127.0.0.2", &wrong).await);
    }
    let Some((429, Some(wait))) = limited else { panic!("{limited:?}") };
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(from(&house, "127.0.0.2", &right).await.0, 429, "nothing is checked for it meanwhile");
    assert_eq!(from(&house, "127.0.0.3", &right).await.0, 200, "the same user from a quiet source");
    assert_eq!(from(&house, "127.0.0.3", &basic("nobody", "wrong horse")).await.0, 401, "and others are answered");
    house.clock.advance(Duration::from_secs(wait));
    assert_eq!(from(&house, "127.0.0.2", &right).await.0, 200, "nobody is locked out for good");
    // Each dialect says it with what its clients know.
    for _ in 0..30 {
        house.call("POST", "/api/session", &auth(&wrong), "").await;
    }
    let log_in = json!({ "username": "admin", "password": "wrong horse" }).to_string();
    for (method, path, body, status) in [
        ("POST", "/api/session", "", 503),
        ("POST", "/api/v2/sessions", log_in.as_str(), 503),
        ("GET", "/sheaf/v1/session", "", 429),
    ] {
        let answer = house.call(method, path, &auth(&wrong), body).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(answer.header("retry-after").parse::<u64>().is_ok_and(|wait| wait > 0), "{path}: {answer:?}");
    }
    for answer in [token(&house, "admin", "wrong horse").await, house.call("GET", "/tasks", &auth(&wrong), "").await] {
        assert!(matches!(answer.status, 401 | 403 | 429 | 503), "{answer:?}");
    }
    assert_eq!(house.call("GET", "/info", &auth(&wrong), "").await.status, 200, "this one always answers");
}

#[tokio::test]
async fn a_disabled_user_is_nobody_at_once_and_a_deleted_one_for_good() {
    let house = House::new().await;
    let admin = house.admin();
    let make = async || {
        let body = json!({ "name": "ada", "password": "a long password", "role": "admin" }).to_string();
        assert_eq!(house.call("POST", "/sheaf/v1/users", &auth(&admin), &body).await.status, 201);
    };
    make().await;
    let ada = basic("ada", "a long password");
    let session = house.call("POST", "/api/session", &auth(&ada), "").await.json();
    let session = session.as_str().expect("an id").to_owned();
    let keystone = token(&house, "ada", "a long password").await.header("x-subject-token").to_owned();
    let key = Key::new(&house, &ada, "ada").await;
    let path = format!("/api/vcenter/namespace-management/clusters/{}/support-bundle", house.cluster);
    let given = house.call("POST", &path, &[("vmware-api-session-id", &session)], "").await.json();
    let download = given["wcp_support_bundle_token"]["token"].as_str().expect("a token").to_owned();
    let entries = async || {
        let mut all = vec![who(&house, &auth(&ada)).await];
        for header in [("vmware-api-session-id", session.as_str()), ("x-auth-token", keystone.as_str())] {
            all.push(who(&house, &[header]).await);
        }
        all.push(json!(key.call(&house, "GET", WHOAMI, "").await.status));
        all
    };
    assert_eq!(entries().await, [json!("ada"), json!("ada"), json!("ada"), json!(200)]);
    let change = async |body: &str| house.call("PATCH", "/sheaf/v1/users/ada", &auth(&admin), body).await.status;
    assert_eq!(change(r#"{"disabled":true}"#).await, 200);
    assert_eq!(entries().await, [json!(401), json!(401), json!(401), json!(401)]);
    let bundle = house.call("GET", &format!("{path}/download"), &[("wcp-support-bundle-token", &download)], "").await;
    assert_eq!(bundle.status, 401, "{bundle:?}");
    assert_eq!(change(r#"{"disabled":false}"#).await, 200);
    assert_eq!(entries().await, [json!("ada"), json!(401), json!(401), json!(200)], "what it had open stays closed");
    // A role counts from the next request on, whatever the credential.
    assert_eq!(change(r#"{"role":"viewer"}"#).await, 200);
    assert_eq!(key.call(&house, "POST", "/sheaf/v1/clusters", r#"{"name":"edge"}"#).await.status, 403);
    assert_eq!(house.call("DELETE", "/sheaf/v1/users/ada", &auth(&admin), "").await.status, 204);
    make().await;
    assert_eq!(entries().await, [json!("ada"), json!(401), json!(401), json!(401)], "a namesake inherits nothing");
}

#[tokio::test]
async fn one_admin_of_everything_is_always_left() {
    let house = House::new().await;
    let admin = house.admin();
    let change =
        async |method: &str, body: &str| house.call(method, "/sheaf/v1/users/admin", &auth(&admin), body).await.status;
    let limit = json!({ "scope": { "clusters": ["default"] } }).to_string();
    let ways = [
        ("PATCH", r#"{"disabled":true}"#),
        ("PATCH", r#"{"role":"operator"}"#),
        ("PATCH", limit.as_str()),
        ("DELETE", ""),
    ];
    for (method, body) in ways {
        assert_eq!(change(method, body).await, 409, "{method} {body}");
    }
    // One that is limited, disabled or less does not count.
    for (name, more) in [("limited", json!({ "scope": { "clusters": ["default"] } })), ("off", json!({}))] {
        let mut body = json!({ "name": name, "password": "a long password", "role": "admin" });
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        assert_eq!(house.call("POST", "/sheaf/v1/users", &auth(&admin), &body.to_string()).await.status, 201);
    }
    let off = house.call("PATCH", "/sheaf/v1/users/off", &auth(&admin), r#"{"disabled":true}"#).await;
    assert_eq!(off.status, 200);
    assert_eq!(change("DELETE", "").await, 409);
    house.call("PATCH", "/sheaf/v1/users/off", &auth(&admin), r#"{"disabled":false}"#).await;
    assert_eq!(change("DELETE", "").await, 204);
    assert_eq!(who(&house, &auth(&admin)).await, json!(401));
}

#[tokio::test]
async fn whoever_is_limited_sees_a_part_and_touches_nothing_else() {
    let house = House::with_node().await;
    let admin = house.admin();
    let post = async |path: &str, body: Value| {
        let made = house.call("POST", path, &auth(&admin), &body.to_string()).await;
        assert!(made.status < 300, "{made:?}");
        made.json()
    };
    post("/sheaf/v1/clusters", json!({ "name": "mine" })).await;
    post("/sheaf/v1/clusters", json!({ "name": "later" })).await;
    post("/sheaf/v1/fleets", json!({ "name": "ours" })).await;
    post("/sheaf/v1/secrets", json!({ "name": "n2", "cluster": "mine" })).await;
    let add = async |cluster: &str| {
        let path = format!("/sheaf/v1/fleets/ours/clusters/{cluster}");
        assert!(house.call("PUT", &path, &auth(&admin), "").await.status < 300);
    };
    add("mine").await;
    let task = post("/sheaf/v1/stored", json!({ "cluster": "default" })).await;
    let scope = json!({ "fleets": ["ours"] });
    let user = json!({ "name": "ada", "password": "a long password", "role": "admin", "scope": scope });
    let shown = post("/sheaf/v1/users", user).await;
    assert_eq!(shown["scope"]["fleets"].as_array().expect("fleets").len(), 1, "{shown}");
    let ada = basic("ada", "a long password");
    let names = async |path: &str| {
        let rows = house.call("GET", path, &auth(&ada), "").await.json();
        rows.as_array()
            .expect("rows")
            .iter()
            .map(|row| row["name"].as_str().expect("a name").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names("/sheaf/v1/clusters").await, ["mine"]);
    add("later").await;
    assert_eq!(names("/sheaf/v1/clusters").await, ["later", "mine"], "a fleet is what it holds at the time");
    assert_eq!(names("/sheaf/v1/fleets").await, ["ours"]);
    assert_eq!(names("/sheaf/v1/secrets").await, ["n2"]);
    assert!(names("/sheaf/v1/nodes").await.is_empty());
    assert!(names("/sheaf/v1/tasks").await.is_empty());
    assert!(names("/sheaf/v1/stored").await.is_empty());
    let task = task["id"].to_string();
    let bundle = |cluster: &str| json!({ "cluster": cluster }).to_string();
    let token = format!("/api/vcenter/namespace-management/clusters/{}/support-bundle", house.cluster);
    for (method, path, body) in [
        ("GET", "/sheaf/v1/clusters/default", String::new()),
        ("GET", "/sheaf/v1/clusters/nowhere", String::new()),
        ("DELETE", "/sheaf/v1/clusters/default", String::new()),
        ("POST", "/sheaf/v1/clusters", json!({ "name": "more" }).to_string()),
        ("GET", "/sheaf/v1/nodes/n1", String::new()),
        ("GET", "/sheaf/v1/nodes/nowhere", String::new()),
        ("GET", "/sheaf/v1/nodes?cluster=default", String::new()),
        ("DELETE", "/sheaf/v1/nodes/n1", String::new()),
        ("POST", "/sheaf/v1/secrets", json!({ "name": "n3" }).to_string()),
        ("POST", "/sheaf/v1/secrets/n1/revoke?now=true", String::new()),
        ("POST", "/sheaf/v1/bundles", bundle("default")),
        ("POST", "/sheaf/v1/stored", bundle("default")),
        ("GET", &format!("/sheaf/v1/tasks/{task}"), String::new()),
        ("GET", &format!("/sheaf/v1/tasks/{task}/events"), String::new()),
        ("POST", &format!("/sheaf/v1/tasks/{task}/cancel"), String::new()),
        ("POST", "/sheaf/v1/fleets", json!({ "name": "more" }).to_string()),
        ("PUT", "/sheaf/v1/fleets/ours/clusters/default", String::new()),
        ("GET", "/sheaf/v1/users", String::new()),
        ("POST", "/sheaf/v1/users", json!({ "name": "x", "password": "a long password", "role": "admin" }).to_string()),
        ("PATCH", "/sheaf/v1/users/ada", json!({ "unlimited": true }).to_string()),
        ("DELETE", "/sheaf/v1/users/admin", String::new()),
        ("POST", "/sheaf/v1/users/admin/password", json!({ "password": "another password" }).to_string()),
        ("POST", "/sheaf/v1/users/admin/keys", "{}".to_owned()),
        ("GET", "/sheaf/v1/keys", String::new()),
        ("GET", "/sheaf/v1/audit", String::new()),
        ("POST", &token, String::new()),
    ] {
        let answer = house.call(method, path, &auth(&ada), &body).await;
        assert_eq!(answer.status, 403, "{method} {path}: {answer:?}");
    }
    // Nothing of it changed anything, and each was recorded.
    assert_eq!(who(&house, &auth(&admin)).await, json!("admin"));
    assert_eq!(house.call("GET", "/sheaf/v1/nodes/n1", &auth(&admin), "").await.status, 200);
    let refused: Vec<_> = records(&house, "user=ada&limit=1000").await;
    let refused = refused.iter().filter(|record| record["outcome"] == json!("refused"));
    let whats: std::collections::BTreeSet<_> = refused.map(|record| record["what"].to_string()).collect();
    for what in [
        "cluster.read",
        "cluster.create",
        "node.read",
        "node.remove",
        "user.delete",
        "user.password",
        "key.create",
        "audit.read",
    ] {
        assert!(whats.contains(&format!("\"{what}\"")), "{what} in {whats:?}");
    }
    // Its own part it administers.
    assert_eq!(house.call("POST", "/sheaf/v1/secrets/n2/revoke", &auth(&ada), "").await.status, 200);
}

/// A certificate of ada's, and its key.
async fn certificate(house: &House) -> (String, String) {
    let admin = house.admin();
    let made = house.call("POST", "/sheaf/v1/fleets", &auth(&admin), r#"{"name":"all"}"#).await;
    assert_eq!(made.status, 201, "{made:?}");
    let ada = basic("ada", "a long password");
    let config = house.call("POST", "/sheaf/v1/fleets/all/kubeconfig", &auth(&ada), r#"{"days":1}"#).await;
    assert_eq!(config.status, 201, "{config:?}");
    let user = &config.json()["users"][0]["user"];
    let pem = |name: &str| {
        let bytes = STANDARD.decode(user[name].as_str().expect("a text")).expect("base64");
        String::from_utf8(bytes).expect("PEM")
    };
    (pem("client-certificate-data"), pem("client-key-data"))
}

#[tokio::test]
async fn passwords_are_changed_by_oneself_or_an_admin() {
    let house = House::new().await;
    let admin = house.admin();
    let ada = house.user("ada", Role::Viewer).await;
    let session = house.call("POST", "/api/session", &auth(&ada), "").await.json();
    let session = session.as_str().expect("an id").to_owned();
    let keystone = token(&house, "ada", "a long password").await.header("x-subject-token").to_owned();
    let key = Key::new(&house, &ada, "ada").await;
    let pair = certificate(&house).await;
    let by_certificate = async || house.certified((&pair.0, &pair.1), ("GET", WHOAMI, "")).await.status;
    let path = "/sheaf/v1/users/ada/password";
    let change = async |who: &str, body: Value| house.call("POST", path, &auth(who), &body.to_string()).await.status;
    assert_eq!(change(&ada, json!({ "password": "another password" })).await, 400, "the current one is needed");
    assert_eq!(change(&ada, json!({ "password": "another password", "current": "wrong" })).await, 403);
    assert_eq!(change(&ada, json!({ "password": "short", "current": "a long password" })).await, 400);
    assert_eq!(who(&house, &[("x-jwt-token", &session)]).await, json!("ada"), "nothing changed");
    assert_eq!(change(&ada, json!({ "password": "another password", "current": "a long password" })).await, 204);
    assert_eq!(who(&house, &[("x-jwt-token", &session)]).await, json!(401), "its sessions have ended");
    assert_eq!(who(&house, &[("x-auth-token", &keystone)]).await, json!(401), "and its tokens");
    assert_eq!(who(&house, &auth(&ada)).await, json!(401));
    assert_eq!(key.call(&house, "GET", WHOAMI, "").await.status, 200, "its keys stay");
    assert_eq!(by_certificate().await, 200, "and its certificates");
    let fresh = token(&house, "ada", "another password").await.header("x-subject-token").to_owned();
    assert_eq!(change(&admin, json!({ "password": "a third password", "revoke_keys": true })).await, 204);
    assert_eq!(who(&house, &[("x-auth-token", &fresh)]).await, json!(401));
    assert_eq!(key.call(&house, "GET", WHOAMI, "").await.status, 401, "now they end as well");
    assert_eq!(by_certificate().await, 401);
    let rows = house.call("GET", "/sheaf/v1/certificates", &auth(&admin), "").await.json();
    assert_eq!(rows[0]["status"], "REVOKED", "{rows}");
    assert_eq!(who(&house, &auth(&basic("ada", "a third password"))).await, json!("ada"));
    let (path, body) = ("/sheaf/v1/users/nobody/password", r#"{"password":"a long password"}"#);
    assert_eq!(house.call("POST", path, &auth(&admin), body).await.status, 404);
}

#[tokio::test]
async fn what_makes_no_sense_is_said_to() {
    let house = House::new().await;
    let admin = house.admin();
    let user = |name: &str, role: &str, password: &str| {
        json!({ "name": name, "role": role, "password": password }).to_string()
    };
    let nowhere =
        json!({ "name": "x", "role": "viewer", "password": "a long password", "scope": { "clusters": ["no"] } });
    for (method, path, body, status, code) in [
        ("POST", "/sheaf/v1/users", user("a:b", "viewer", "a long password"), 400, "invalid"),
        ("POST", "/sheaf/v1/users", user("ada", "king", "a long password"), 400, "invalid"),
        ("POST", "/sheaf/v1/users", user("ada", "viewer", "short"), 400, "invalid"),
        ("POST", "/sheaf/v1/users", nowhere.to_string(), 400, "invalid"),
        ("POST", "/sheaf/v1/users", user("admin", "viewer", "a long password"), 409, "conflict"),
        ("POST", "/sheaf/v1/users", "[]".to_owned(), 400, "bad_body"),
        ("GET", "/sheaf/v1/users/nobody", String::new(), 404, "not_found"),
        ("PATCH", "/sheaf/v1/users/nobody", "{}".to_owned(), 404, "not_found"),
        ("PATCH", "/sheaf/v1/users/admin", r#"{"role":"king"}"#.to_owned(), 400, "invalid"),
        ("PATCH", "/sheaf/v1/users/admin", r#"{"unlimited":true,"scope":{}}"#.to_owned(), 400, "invalid"),
        ("DELETE", "/sheaf/v1/users/nobody", String::new(), 404, "not_found"),
        ("PUT", "/sheaf/v1/users/admin", String::new(), 405, "method_not_allowed"),
        ("POST", "/sheaf/v1/users/nobody/keys", "{}".to_owned(), 404, "not_found"),
        ("POST", "/sheaf/v1/users/admin/keys", r#"{"name":""}"#.to_owned(), 400, "invalid"),
        ("DELETE", "/sheaf/v1/keys/NOBODYS", String::new(), 404, "not_found"),
        ("GET", "/sheaf/v1/audit?since=yesterday", String::new(), 400, "invalid"),
        ("GET", "/sheaf/v1/audit?after=here", String::new(), 400, "invalid"),
        ("GET", "/sheaf/v1/audit?limit=-1", String::new(), 400, "invalid"),
    ] {
        let answer = house.call(method, path, &auth(&admin), &body).await;
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (status, &json!(code)),
            "{method} {path} {body}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn the_audit_log_tells_who_did_what_and_is_read_in_pages() {
    let house = House::new().await;
    let admin = house.admin();
    let start = jiff::Timestamp::from_millisecond(house.clock.now_ms()).expect("a time");
    house.call("GET", WHOAMI, &auth(&basic("admin", "wrong horse")), "").await;
    house.call("GET", WHOAMI, &auth(&basic("my own passw0rd", "typed into the wrong field")), "").await;
    house.clock.advance(Duration::from_secs(60));
    for n in 0..5 {
        let body = json!({ "name": format!("c{n}") }).to_string();
        assert_eq!(house.call("POST", "/sheaf/v1/clusters", &auth(&admin), &body).await.status, 201);
    }
    let all = records(&house, "").await;
    let tell = |record: &Value| {
        let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        (text("who"), text("door"), text("from"), text("what"), text("target"), text("outcome"))
    };
    let told: Vec<_> = all.iter().map(tell).collect();
    let line = |who: &str, door: &str, from: &str, what: &str, target: &str, outcome: &str| {
        (who.into(), door.into(), from.into(), what.into(), target.into(), outcome.into())
    };
    assert_eq!(told[0], line("root", "console", "", "admin.init", "admin", "done"));
    assert_eq!(told[1], line("admin", "password", "127.0.0.1", "login", "", "refused"));
    assert_eq!(
        told[2],
        line("", "password", "127.0.0.1", "login", "", "refused"),
        "a name that nobody has is not kept"
    );
    assert_eq!(told[3], line("admin", "password", "127.0.0.1", "login", "", "done"));
    assert_eq!(told[4], line("admin", "password", "127.0.0.1", "cluster.create", "c0", "done"));
    assert_eq!(told.len(), 10, "and the reading itself: {told:?}");
    let later = start.checked_add(jiff::SignedDuration::from_secs(30)).expect("a time");
    assert_eq!(tell(&records(&house, &format!("since={later}")).await[0]), told[3], "not before");
    assert!(records(&house, "user=nobody").await.is_empty());
    // Page by page it is the same.
    let (mut pages, mut after) = (Vec::new(), String::new());
    while pages.len() < 10 {
        let path = format!("/sheaf/v1/audit?limit=3{after}");
        let page = house.call("GET", &path, &auth(&admin), "").await.json();
        pages.extend(page["records"].as_array().expect("records").iter().map(tell));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(pages[..10], told[..]);
    // On disk it is its owner's alone.
    use std::os::unix::fs::PermissionsExt as _;
    for entry in std::fs::read_dir(house.state().join("audit")).expect("a folder") {
        let mode = entry.expect("an entry").metadata().expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
