//! The UCS dialect through a real listener, as its SDK and kubectl speak it: tokens, signatures, access info once, kubeconfigs.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use ring::{digest, hmac};
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use sheaf::coordinator::principal::Role;
use sheaf::coordinator::verbs::UserChange;
use sheaf::net::tls;

use crate::house::{Answered, House};
use crate::node::{Agent, online};

const UNKNOWN: &str = "11111111-2222-4333-8444-555555555555";

/// A house with an attached cluster in a fleet, and a second one in no fleet.
struct Site {
    house: House,
    cluster: String,
    other: String,
    fleet: String,
    token: String,
}

impl Site {
    async fn new() -> Self {
        Self::of(House::new().await).await
    }

    async fn of(house: House) -> Self {
        let token = token(&house, "admin", &house.password).await;
        let mut site = Self { house, cluster: String::new(), other: String::new(), fleet: String::new(), token };
        site.cluster = site.made("/sheaf/v1/clusters", json!({ "name": "edge-7" })).await;
        site.other = site.made("/sheaf/v1/clusters", json!({ "name": "far" })).await;
        site.fleet = site.made("/sheaf/v1/fleets", json!({ "name": "edge" })).await;
        let path = format!("/sheaf/v1/fleets/edge/clusters/{}", site.cluster);
        assert_eq!(site.house.call("PUT", &path, &[("authorization", &site.house.admin())], "").await.status, 200);
        site
    }

    async fn made(&self, path: &str, body: Value) -> String {
        let made = self.native("POST", path, &body.to_string()).await;
        assert_eq!(made.status, 201, "{made:?}");
        made.json()["id"].as_str().expect("an id").to_owned()
    }

    async fn native(&self, method: &str, path: &str, body: &str) -> Answered {
        self.house.call(method, path, &[("authorization", &self.house.admin())], body).await
    }

    fn access(&self) -> String {
        format!("/v1/clusters/{}/accessinfo", self.cluster)
    }

    async fn info(&self) -> Answered {
        self.house.call("GET", &self.access(), &[("x-auth-token", &self.token)], "").await
    }

    fn cert(&self) -> String {
        format!("/v1/clustergroups/{}/cert", self.fleet)
    }

    async fn kubeconfig(&self, token: &str, days: i64) -> Answered {
        let headers = [("x-auth-token", token), ("content-type", "application/json")];
        self.house.call("POST", &self.cert(), &headers, &wanted(days).to_string()).await
    }
}

fn wanted(days: i64) -> Value {
    json!({ "projectID": "p", "vpcID": "v", "subnetID": "s", "duration": days })
}

fn log_in(user: &str, password: &str) -> Value {
    json!({ "auth": {
        "identity": {
            "methods": ["password"],
            "password": { "user": { "name": user, "password": password, "domain": { "name": "d" } } },
        },
        "scope": { "project": { "name": "eu-1" } },
    } })
}

async fn token(house: &House, user: &str, password: &str) -> String {
    let answer = house.call("POST", "/v3/auth/tokens", &[], &log_in(user, password).to_string()).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.header("x-subject-token").to_owned()
}

fn is_error(answer: &Answered, status: u16, code: &str, what: &str) {
    assert_eq!(answer.status, status, "{what}: {answer:?}");
    assert!(answer.header("content-type").starts_with("application/json"), "{what}: {answer:?}");
    let body = answer.json();
    assert_eq!(body["error_code"], code, "{what}: {body}");
    assert!(body["error_msg"].as_str().is_some_and(|text| !text.is_empty()), "{what}: {body}");
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(2), "{what}: {body}");
}

fn decoded(value: &Value) -> String {
    let bytes = STANDARD.decode(value.as_str().expect("a text")).expect("base64");
    String::from_utf8(bytes).expect("PEM")
}

/// The SDK's signature, written from its description and not from the code under test.
struct Signer {
    access: String,
    secret: String,
}

impl Signer {
    fn sign(
        &self,
        at: Timestamp,
        method: &str,
        path: &str,
        query: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Vec<(String, String)> {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let sha256 = |bytes: &[u8]| hex(digest::digest(&digest::SHA256, bytes).as_ref());
        let date = at.strftime("%Y%m%dT%H%M%SZ").to_string();
        let mut signed: Vec<(String, String)> =
            headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        signed.push(("x-sdk-date".to_owned(), date.clone()));
        signed.sort();
        let names: Vec<&str> = signed.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(";");
        let lines: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let mut pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
        pairs.sort_unstable();
        let canonical =
            format!("{method}\n{path}/\n{}\n{lines}\n{names}\n{}", pairs.join("&"), sha256(body.as_bytes()));
        let to_sign = format!("SDK-HMAC-SHA256\n{date}\n{}", sha256(canonical.as_bytes()));
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes());
        let signature = hex(hmac::sign(&key, to_sign.as_bytes()).as_ref());
        let value = format!("SDK-HMAC-SHA256 Access={}, SignedHeaders={names}, Signature={signature}", self.access);
        signed.push(("authorization".to_owned(), value));
        signed
    }
}

fn borrowed(headers: &[(String, String)]) -> Vec<(&str, &str)> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

#[tokio::test]
async fn a_token_is_given_for_a_password() {
    let house = House::new().await;
    let answer = house.call("POST", "/v3/auth/tokens", &[], &log_in("admin", &house.password).to_string()).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let (secret, body) = (answer.header("x-subject-token").to_owned(), answer.json());
    assert!(!secret.is_empty() && !answer.text().contains(&secret), "the token stands in the header alone");
    assert_eq!((&body["token"]["user"]["name"], &body["token"]["project"]["name"]), (&json!("admin"), &json!("eu-1")));
    let until: Timestamp = body["token"]["expires_at"].as_str().expect("a time").parse().expect("RFC 3339");
    assert!(until > house.clock.now());
    // The same user by it at another dialect's door.
    let who = house.call("GET", "/sheaf/v1/session", &[("x-auth-token", &secret)], "").await;
    assert_eq!(who.json()["user"], "admin", "{who:?}");
    for (body, status) in [
        (log_in("admin", "wrong").to_string(), 401),
        (log_in("nobody", "wrong").to_string(), 401),
        ("{".to_owned(), 400),
        ("[]".to_owned(), 400),
        ("{}".to_owned(), 400),
        (json!({ "auth": { "identity": { "methods": ["totp"] } } }).to_string(), 400),
        (json!({ "auth": { "identity": { "methods": ["password"] } } }).to_string(), 400),
        (json!({ "x": "y".repeat(70_000) }).to_string(), 413),
    ] {
        let answer = house.call("POST", "/v3/auth/tokens", &[], &body).await;
        assert_eq!(answer.status, status, "{body:.80}: {answer:?}");
        assert_eq!(answer.json()["error"]["code"], status, "{answer:?}");
        assert_eq!(answer.header("x-subject-token"), "");
    }
}

#[tokio::test]
async fn access_info_is_two_manifests_as_strings_and_then_downloaded() {
    let site = Site::new().await;
    let first = site.info().await;
    assert_eq!((first.status, first.header("cache-control")), (200, "no-store"), "{first:?}");
    let strings: Vec<String> = serde_json::from_value(first.json()).expect("an array of strings");
    let manifests: Vec<Value> = strings.iter().map(|text| serde_json::from_str(text).expect("JSON")).collect();
    let [secret, daemon_set] = &manifests[..] else { panic!("{strings:?}") };
    assert_eq!((&secret["kind"], &secret["metadata"]["name"]), (&json!("Secret"), &json!("sheaf-agent-cert")));
    let certificate = tls::certificates(decoded(&secret["data"]["sheaf-agent.crt"]).as_bytes()).expect("PEM").remove(0);
    tls::Identity::from_pem(
        decoded(&secret["data"]["sheaf-agent.crt"]).as_bytes(),
        decoded(&secret["data"]["sheaf-agent.key"]).as_bytes(),
    )
    .expect("a certificate and its key");
    let (_, certificate) = X509Certificate::from_der(&certificate).expect("a certificate");
    let usage = certificate.extended_key_usage().expect("readable").expect("there").value;
    assert!(usage.client_auth && !usage.server_auth && !certificate.is_ca());
    let days = (certificate.validity().not_after.timestamp() - site.house.clock.now().as_second()) / 86_400;
    assert!((29..=30).contains(&days), "{days}");
    assert_eq!(
        decoded(&secret["data"]["ca.crt"]),
        String::from_utf8(std::fs::read(site.house.ca_file()).expect("the CA")).expect("PEM")
    );
    assert_eq!(decoded(&secret["data"]["endpoint"]), site.house.agents_url());
    let container = &daemon_set["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        (&daemon_set["kind"], &container["image"]),
        (&json!("DaemonSet"), &json!(concat!("sheaf-agent:", env!("CARGO_PKG_VERSION"))))
    );
    for _ in 0..2 {
        let again = site.info().await;
        assert_eq!((again.status, again.json()), (200, json!(["Downloaded"])));
    }
    // A reset lets it be downloaded anew, with another certificate.
    let reset = site.native("POST", "/sheaf/v1/clusters/edge-7/access-info/reset", "").await;
    assert_eq!(reset.status, 204, "{reset:?}");
    let anew = site.info().await;
    assert!(anew.json()[0].as_str().is_some_and(|text| text.contains("sheaf-agent.key")) && anew.body != first.body);
}

#[tokio::test]
async fn of_many_first_calls_exactly_one_gets_it() {
    let site = Site::new().await;
    let answers = futures_util::future::join_all((0..8).map(|_| site.info())).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    let given = answers.iter().filter(|answer| answer.json() != json!(["Downloaded"])).count();
    assert_eq!(given, 1, "{answers:?}");
}

#[tokio::test]
async fn a_refused_call_says_why_and_uses_nothing_up() {
    let house = House::configured(|config| {
        let table = "[[endpoints]]\nvpcendpoint = '10.0.0.1'\nregion = 'eu-1'\nurl = 'https://10.0.0.1:25556'";
        config.access = toml::from_str(table).expect("a table");
    });
    let site = Site::of(house.await).await;
    site.house.user("watcher", Role::Viewer).await;
    let viewer = token(&site.house, "watcher", "a long password").await;
    let good = [("x-auth-token", site.token.as_str())];
    let managed = format!("/v1/clusters/{}/accessinfo", site.house.cluster);
    let unknown = format!("/v1/clusters/{UNKNOWN}/accessinfo");
    let (own, region) = (site.access(), format!("{}?region=eu-9", site.access()));
    let vpc = format!("{own}?vpcendpoint=10.9.9.9&region=eu-1");
    let bare = format!("/v1/clusters/{}/accessinfo", site.cluster.replace('-', ""));
    for (method, path, headers, status, code) in [
        ("GET", own.as_str(), &[][..], 401, "UCS.00000018"),
        ("GET", &own, &[("x-auth-token", "wrong")], 401, "UCS.00000018"),
        ("GET", &own, &[("x-auth-token", "")], 401, "UCS.00000018"),
        ("GET", "/v1/clusters/default/accessinfo", &[], 401, "UCS.00000018"),
        ("GET", "/v1/clusters/default/accessinfo", &good, 400, "UCS.00000011"),
        ("GET", "/v1/clusters/%ff/accessinfo", &good, 400, "UCS.00000011"),
        ("GET", &bare, &good, 400, "UCS.00000011"),
        ("GET", &managed, &good, 400, "UCS.00000011"),
        ("GET", &unknown, &good, 403, "UCS.00000004"),
        ("GET", &own, &[("x-auth-token", viewer.as_str())], 403, "UCS.00000004"),
        ("GET", &region, &good, 400, "UCS.00000011"),
        ("GET", &vpc, &good, 400, "UCS.00000011"),
        ("POST", &own, &good, 405, "UCS.00000013"),
        ("DELETE", &own, &good, 405, "UCS.00000013"),
        ("GET", "/v1/clusters", &good, 404, "UCS.00000013"),
        ("GET", "/v1", &good, 404, "UCS.00000013"),
        ("GET", "/v3/projects", &good, 404, "UCS.00000013"),
    ] {
        is_error(
            &site.house.call(method, path, headers, "").await,
            status,
            code,
            &format!("{method} {path} {headers:?}"),
        );
    }
    assert_eq!(site.house.call("HEAD", &own, &good, "").await.status, 405);
    let query = format!("{own}?vpcendpoint=10.0.0.1&region=eu-1");
    let given = site.house.call("GET", &query, &good, "").await;
    let secret: Value = serde_json::from_str(given.json()[0].as_str().expect("a string")).expect("a manifest");
    assert_eq!(decoded(&secret["data"]["endpoint"]), "https://10.0.0.1:25556");
}

#[tokio::test]
async fn a_scope_that_does_not_hold_the_cluster_is_refused() {
    let site = Site::new().await;
    let body = json!({ "name": "limited", "password": "a long password", "role": "admin", "fleets": ["edge"] });
    let admin = site.house.principal().await;
    let limits = sheaf::coordinator::verbs::WantedLimits { fleets: vec!["edge".into()], clusters: Vec::new() };
    let limited = sheaf::coordinator::verbs::WantedUser {
        name: "limited".into(),
        password: sheaf::secret::Secret::new(body["password"].as_str().expect("a text")),
        role: Role::Admin,
        limits: Some(limits),
    };
    site.house.verbs.create_user(&admin, limited).await.expect("made");
    let limited = token(&site.house, "limited", "a long password").await;
    let head = [("x-auth-token", limited.as_str())];
    let far = format!("/v1/clusters/{}/accessinfo", site.other);
    is_error(&site.house.call("GET", &far, &head, "").await, 403, "UCS.00000004", "out of scope");
    let own = site.house.call("GET", &site.access(), &head, "").await;
    assert!(own.json()[0].as_str().is_some_and(|text| text.contains("sheaf-agent-cert")), "{own:?}");
    // Nor may it widen what it is limited to.
    for (method, path) in [
        ("PUT", format!("/sheaf/v1/fleets/edge/clusters/{}", site.cluster)),
        ("POST", "/sheaf/v1/fleets".to_owned()),
        ("DELETE", "/sheaf/v1/fleets/edge".to_owned()),
    ] {
        let answer = site.house.call(method, &path, &head, r#"{"name":"new"}"#).await;
        assert_eq!(answer.status, 403, "{method} {path}: {answer:?}");
    }
    let unknown = format!("/v1/clustergroups/{UNKNOWN}/cert");
    let json = [head[0], ("content-type", "application/json")];
    let refused = site.house.call("POST", &unknown, &json, &wanted(1).to_string()).await;
    is_error(&refused, 403, "UCS.00000004", "a fleet that is not there, to whoever is limited");
}

#[tokio::test]
async fn requests_are_signed_as_the_sdk_signs() {
    let site = Site::new().await;
    let (row, secret) = site.house.verbs.create_key(&site.house.principal().await, "admin", None).await.expect("a key");
    let signer = Signer { access: row.id, secret: secret.expose().to_owned() };
    let host = site.house.url.trim_start_matches("https://").to_owned();
    let head = [("content-type", "application/json"), ("host", host.as_str())];
    let (now, path) = (site.house.clock.now(), site.access());
    let get = |headers: Vec<(String, String)>, query: &'static str| {
        let (house, path) = (&site.house, format!("{path}{query}"));
        async move { house.call("GET", &path, &borrowed(&headers), "").await }
    };
    let stale = signer.sign(now - SignedDuration::from_mins(16), "GET", &path, "", &head, "");
    is_error(&get(stale, "").await, 401, "UCS.00000018", "a signature of long ago");
    let elsewhere = signer.sign(now, "GET", "/v1/clusters/x/accessinfo", "", &head, "");
    is_error(&get(elsewhere, "").await, 401, "UCS.00000018", "a signature of another path");
    let other = Signer { access: signer.access.clone(), secret: "wrong".into() };
    is_error(&get(other.sign(now, "GET", &path, "", &head, ""), "").await, 401, "UCS.00000018", "another key");
    let good = signer.sign(now, "GET", &path, "region=eu-1&vpcendpoint=10.0.0.1", &head, "");
    is_error(&get(good.clone(), "?region=eu-2&vpcendpoint=10.0.0.1").await, 401, "UCS.00000018", "another query");
    let given = get(good, "?vpcendpoint=10.0.0.1&region=eu-1").await;
    assert!(given.json()[0].as_str().is_some_and(|text| text.contains("sheaf-agent-cert")), "{given:?}");
    // The SDK always signs: a good token beside a signature of nobody's key is enough.
    let mut both = Signer { access: "NOBODY".into(), secret: "x".into() }.sign(now, "GET", &path, "", &head, "");
    both.push(("x-auth-token".to_owned(), site.token.clone()));
    assert_eq!(get(both, "").await.json(), json!(["Downloaded"]));

    let (path, body) = (site.cert(), wanted(1).to_string());
    let signed = signer.sign(now, "POST", &path, "", &head, &body);
    let changed = site.house.call("POST", &path, &borrowed(&signed), &wanted(1825).to_string()).await;
    is_error(&changed, 401, "UCS.00000018", "another body than the one that was signed");
    assert_eq!(site.house.call("POST", &path, &borrowed(&signed), &body).await.status, 201);
}

/// Certificate and key of a kubeconfig.
fn pair(kubeconfig: &Value) -> (String, String) {
    let user = &kubeconfig["users"][0]["user"];
    (decoded(&user["client-certificate-data"]), decoded(&user["client-key-data"]))
}

#[tokio::test]
async fn a_kubeconfig_is_what_kubectl_takes() {
    let site = Site::new().await;
    let answer = site.kubeconfig(&site.token, 30).await;
    assert_eq!((answer.status, answer.header("cache-control")), (201, "no-store"), "{answer:?}");
    let config = answer.json();
    assert_eq!((&config["kind"], &config["apiVersion"]), (&json!("Config"), &json!("v1")));
    let (cluster, user, context) = (&config["clusters"][0], &config["users"][0], &config["contexts"][0]);
    assert_eq!(config["current-context"], context["name"]);
    assert_eq!((&context["context"]["cluster"], &context["context"]["user"]), (&cluster["name"], &user["name"]));
    assert_eq!(cluster["cluster"]["server"], site.house.url);
    assert!(cluster["cluster"].get("insecure-skip-tls-verify").is_none());
    tls::certificates(decoded(&cluster["cluster"]["certificate-authority-data"]).as_bytes()).expect("a CA");
    let (certificate, _) = pair(&config);
    let der = tls::certificates(certificate.as_bytes()).expect("PEM").remove(0);
    let (_, parsed) = X509Certificate::from_der(&der).expect("a certificate");
    let seconds = parsed.validity().not_after.timestamp() - site.house.clock.now().as_second();
    assert!((30 * 86_400 - 60..=30 * 86_400).contains(&seconds), "{seconds}");
    let usage = parsed.extended_key_usage().expect("readable").expect("there").value;
    assert!(usage.client_auth && !usage.server_auth && !parsed.is_ca());
}

#[tokio::test]
async fn a_certificate_opens_every_dialect_for_its_fleet_alone() {
    let site = Site::new().await;
    let (certificate, key) = pair(&site.kubeconfig(&site.token, 1).await.json());
    let call = async |method: &str, path: &str, body: &str| {
        site.house.certified((&certificate, &key), (method, path, body)).await
    };
    let session = call("GET", "/sheaf/v1/session", "").await;
    assert_eq!((session.status, &session.json()["user"]), (200, &json!("admin")), "{session:?}");
    let clusters = call("GET", "/sheaf/v1/clusters", "").await.json();
    assert_eq!((&clusters[0]["name"], clusters.as_array().map(Vec::len)), (&json!("edge-7"), Some(1)), "{clusters}");
    let vcenter = call("GET", "/api/vcenter/namespace-management/clusters", "").await;
    assert_eq!((vcenter.status, vcenter.json().as_array().map(Vec::len)), (200, Some(1)), "{vcenter:?}");
    assert_eq!(call("GET", "/api/v2/agent/secrets", "").await.status, 200);
    let far = format!("/v1/clusters/{}/accessinfo", site.other);
    is_error(&call("GET", &far, "").await, 403, "UCS.00000004", "a cluster of no fleet");
    assert!(call("GET", &site.access(), "").await.json()[0].is_string());
    let again = call("POST", &site.cert(), &wanted(1).to_string()).await;
    is_error(&again, 403, "UCS.00000004", "a certificate that would outlive its own revocation");
    assert_eq!(call("POST", "/sheaf/v1/clusters", r#"{"name":"new"}"#).await.status, 403);
    // What is put into the fleet is within reach from the next request on.
    let path = format!("/sheaf/v1/fleets/edge/clusters/{}", site.other);
    assert_eq!(site.native("PUT", &path, "").await.json()["clusters"], json!(["edge-7", "far"]));
    assert_eq!(call("GET", "/sheaf/v1/clusters", "").await.json().as_array().map(Vec::len), Some(2));
    // And it is no join certificate.
    let join = site.house.certified((&certificate, &key), ("POST", "/agent/v1/join", "{}")).await;
    assert_eq!(join.status, 404, "joining is no call of the public listener");
}

#[tokio::test]
async fn a_certificate_ends_with_what_it_stands_on() {
    let site = Site::new().await;
    let admin = site.house.principal().await;
    site.house.user("watcher", Role::Viewer).await;
    let viewer = token(&site.house, "watcher", "a long password").await;
    let status = async |pair: &(String, String)| {
        site.house.certified((&pair.0, &pair.1), ("GET", "/sheaf/v1/session", "")).await.status
    };
    let issue = async || pair(&site.kubeconfig(&viewer, 1).await.json());

    let revoked = issue().await;
    let head = [("authorization", site.house.admin())];
    assert_eq!(status(&revoked).await, 200);
    let rows = site.native("GET", "/sheaf/v1/certificates?fleet=edge", "").await.json();
    assert_eq!(
        (&rows[0]["user"], &rows[0]["role"], &rows[0]["status"]),
        (&json!("watcher"), &json!("viewer"), &json!("ACTIVE"))
    );
    let path = format!("/sheaf/v1/certificates/{}/revoke", rows[0]["id"].as_str().expect("a serial"));
    assert_eq!(site.house.call("POST", &path, &[(head[0].0, &head[0].1)], "").await.json()["status"], "REVOKED");
    assert_eq!(status(&revoked).await, 401);
    assert_eq!(site.native("POST", "/sheaf/v1/certificates/00ff/revoke", "").await.status, 404);

    let (disabled, deleted) = (issue().await, issue().await);
    let secret = ("POST", "/sheaf/v1/secrets", r#"{"name":"n1","cluster":"edge-7"}"#);
    let made = site.house.certified((&disabled.0, &disabled.1), secret).await;
    assert_eq!(made.status, 403, "a viewer's certificate is a viewer's: {made:?}");
    let change = |disabled| UserChange { disabled: Some(disabled), ..UserChange::default() };
    site.house.verbs.change_user(&admin, "watcher", change(true)).await.expect("disabled");
    assert_eq!(status(&disabled).await, 401);
    site.house.verbs.change_user(&admin, "watcher", change(false)).await.expect("enabled");
    assert_eq!(status(&deleted).await, 200);
    site.house.verbs.delete_user(&admin, "watcher").await.expect("deleted");
    assert_eq!(status(&deleted).await, 401);
    site.house.user("watcher", Role::Viewer).await;
    assert_eq!(status(&deleted).await, 401, "another user of that name is somebody else");

    let expired = pair(&site.kubeconfig(&site.token, 1).await.json());
    let gone = pair(&site.kubeconfig(&site.token, 2).await.json());
    site.house.clock.advance(Duration::from_secs(86_400));
    assert_eq!((status(&expired).await, status(&gone).await), (401, 200));
    assert_eq!(site.native("DELETE", "/sheaf/v1/fleets/edge", "").await.status, 204);
    assert_eq!(status(&gone).await, 401);
}

#[tokio::test]
async fn so_many_certificates_are_good_at_the_same_time_and_no_more() {
    let house = House::configured(|config| config.federation.certificates = 2).await;
    let site = Site::of(house).await;
    for days in [1, 2] {
        assert_eq!(site.kubeconfig(&site.token, days).await.status, 201);
    }
    let many = site.kubeconfig(&site.token, 1).await;
    is_error(&many, 400, "UCS.00000012", "a third one");
    assert!(many.json()["error_msg"].as_str().is_some_and(|said| said.contains("revoke some first")), "{many:?}");
    let native = site.native("POST", "/sheaf/v1/fleets/edge/kubeconfig", r#"{"days":1}"#).await;
    assert_eq!((native.status, &native.json()["code"]), (409, &json!("conflict")), "{native:?}");
    // Another user, another fleet: their own.
    site.house.user("ada", Role::Operator).await;
    let other = token(&site.house, "ada", "a long password").await;
    assert_eq!(site.kubeconfig(&other, 1).await.status, 201);
    site.made("/sheaf/v1/fleets", json!({ "name": "second" })).await;
    assert_eq!(site.native("POST", "/sheaf/v1/fleets/second/kubeconfig", r#"{"days":1}"#).await.status, 201);
    // One that is revoked or over makes room.
    let rows = site.native("GET", "/sheaf/v1/certificates?fleet=edge", "").await.json();
    let mine = rows.as_array().expect("rows").iter().find(|row| row["user"] == "admin").expect("mine");
    let revoke = format!("/sheaf/v1/certificates/{}/revoke", mine["id"].as_str().expect("a serial"));
    assert_eq!(site.native("POST", &revoke, "").await.status, 200);
    assert_eq!(site.kubeconfig(&site.token, 3).await.status, 201);
    assert_eq!(site.kubeconfig(&site.token, 3).await.status, 400);
    site.house.clock.advance(Duration::from_secs(2 * 86_400));
    let again = token(&site.house, "admin", &site.house.password).await;
    assert_eq!(site.kubeconfig(&again, 3).await.status, 201);
    // What was over or revoked for long is forgotten.
    site.house.clock.advance(Duration::from_secs(95 * 86_400));
    let again = token(&site.house, "admin", &site.house.password).await;
    assert_eq!(site.kubeconfig(&again, 3).await.status, 201);
    let rows = site.native("GET", "/sheaf/v1/certificates", "").await.json();
    assert_eq!(rows.as_array().map(Vec::len), Some(1), "{rows}");
}

#[tokio::test]
async fn what_is_no_request_for_a_kubeconfig_says_why() {
    let site = Site::new().await;
    let closed = site.made("/sheaf/v1/fleets", json!({ "name": "closed", "federation": false })).await;
    let closed = format!("/v1/clustergroups/{closed}/cert");
    let (own, token, kind) = (site.cert(), ("x-auth-token", site.token.as_str()), ("content-type", "application/json"));
    let unknown = format!("/v1/clustergroups/{UNKNOWN}/cert");
    let good = wanted(30);
    let with = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body.to_string()
    };
    let without = |name: &str| {
        let mut body = good.clone();
        body.as_object_mut().expect("an object").remove(name);
        body.to_string()
    };
    let body = good.to_string();
    let both = &[token, kind][..];
    let (only_kind, only_token) = (&[kind][..], &[token][..]);
    let wrong = &[("x-auth-token", "wrong"), kind][..];
    let yaml = &[token, ("content-type", "text/yaml")][..];
    for (path, headers, body, status, code) in [
        (&own, only_kind, body.clone(), 401, "UCS.00000018"),
        (&own, wrong, body.clone(), 401, "UCS.00000018"),
        (&own, only_token, body.clone(), 400, "UCS.00000016"),
        (&own, yaml, body.clone(), 400, "UCS.00000016"),
        (&own, both, String::new(), 400, "UCS.00000012"),
        (&own, both, "{".into(), 400, "UCS.00000012"),
        (&own, both, "[]".into(), 400, "UCS.00000012"),
        (&own, both, without("projectID"), 400, "UCS.00000012"),
        (&own, both, without("vpcID"), 400, "UCS.00000012"),
        (&own, both, without("subnetID"), 400, "UCS.00000012"),
        (&own, both, without("duration"), 400, "UCS.00000012"),
        (&own, both, with("projectID", json!(1)), 400, "UCS.00000012"),
        (&own, both, with("subnetID", json!("")), 400, "UCS.00000012"),
        (&own, both, with("duration", json!(0)), 400, "UCS.00000012"),
        (&own, both, with("duration", json!(1826)), 400, "UCS.00000012"),
        (&own, both, with("duration", json!(-1)), 400, "UCS.00000012"),
        (&own, both, with("duration", json!(30.5)), 400, "UCS.00000012"),
        (&own, both, with("duration", json!("30")), 400, "UCS.00000012"),
        (&own, both, with("duration", json!(1u64 << 40)), 400, "UCS.00000012"),
        (&own, both, with("x", json!("y".repeat(70_000))), 413, "UCS.00000012"),
        (&closed, both, body.clone(), 400, "UCS.00000012"),
        (&unknown, both, body.clone(), 404, "UCS.00000013"),
    ] {
        let answer = site.house.call("POST", path, headers, &body).await;
        is_error(&answer, status, code, &format!("{path} {headers:?} {body:.80}"));
    }
    is_error(&site.house.call("GET", &own, &[token], "").await, 405, "UCS.00000013", "GET");
    let parameters = [token, ("content-type", "application/json; charset=utf-8")];
    assert_eq!(site.house.call("POST", &own, &parameters, &with("duration", json!(1825))).await.status, 201);
    assert_eq!(site.native("GET", "/sheaf/v1/certificates", "").await.json().as_array().map(Vec::len), Some(1));
    // Nine years on, the CA itself has one left.
    site.house.clock.advance(Duration::from_secs(86_400 * 365 * 9));
    let late = token_header(&site.house).await;
    let late = [("x-auth-token", late.as_str()), kind];
    is_error(
        &site.house.call("POST", &own, &late, &with("duration", json!(1825))).await,
        400,
        "UCS.00000012",
        "too long",
    );
    assert_eq!(site.house.call("POST", &own, &late, &with("duration", json!(30))).await.status, 201);
}

async fn token_header(house: &House) -> String {
    token(house, "admin", &house.password).await
}

#[tokio::test]
async fn a_configured_place_has_its_own_server() {
    let house = House::configured(|config| {
        let table = "[[endpoints]]\nproject = 'p'\nvpc = 'v'\nsubnet = 's'\nserver = 'https://10.0.0.9:25555'";
        config.federation = toml::from_str(table).expect("a table");
    });
    let site = Site::of(house.await).await;
    let answer = site.kubeconfig(&site.token, 1).await;
    assert_eq!(answer.json()["clusters"][0]["cluster"]["server"], "https://10.0.0.9:25555");
    let head = [("x-auth-token", site.token.as_str()), ("content-type", "application/json")];
    for name in ["projectID", "vpcID", "subnetID"] {
        let mut body = wanted(1);
        body[name] = json!("elsewhere");
        is_error(&site.house.call("POST", &site.cert(), &head, &body.to_string()).await, 400, "UCS.00000012", name);
    }
}

/// As an operator goes: access info, a real agent that joins with it, a fleet's kubeconfig; all of it good after a restart of the coordinator,
/// and what was used up or revoked is so still.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joined_nodes_and_kubeconfigs_outlive_a_restart() {
    let mut site = Site::new().await;
    let folder = tempfile::tempdir().expect("a folder");
    let access = site.info().await.text();
    let _node = Agent::joined(folder.path().join("edge-1"), "edge-1", &access);
    online(&site.house, "edge-1", true).await;
    let good = pair(&site.kubeconfig(&site.token, 1).await.json());
    let rows = site.native("GET", "/sheaf/v1/certificates?fleet=edge", "").await.json();
    let id = rows[0]["id"].as_str().expect("a serial").to_owned();
    let bad = pair(&site.kubeconfig(&site.token, 2).await.json());
    let rows = site.native("GET", "/sheaf/v1/certificates?fleet=edge", "").await.json();
    let other = rows.as_array().expect("rows").iter().find(|row| row["id"] != id.as_str()).expect("a second one");
    let revoke = format!("/sheaf/v1/certificates/{}/revoke", other["id"].as_str().expect("a serial"));
    assert_eq!(site.native("POST", &revoke, "").await.status, 200);

    site.house.restart().await;
    assert_eq!(site.info().await.json(), json!(["Downloaded"]), "with the token of before, and given once");
    online(&site.house, "edge-1", true).await;
    let nodes = ("GET", "/sheaf/v1/nodes", "");
    let seen = site.house.certified((&good.0, &good.1), nodes).await;
    assert_eq!((seen.status, &seen.json()[0]["name"]), (200, &json!("edge-1")), "{seen:?}");
    assert_eq!(site.house.certified((&bad.0, &bad.1), nodes).await.status, 401, "what was revoked");
}
