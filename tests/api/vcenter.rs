//! The vCenter dialect through a real listener: what its clients send and what they must hear.

use std::io::Read as _;

use serde_json::{Value, json};

use sheaf::coordinator::principal::Role;

use crate::house::{Answered, House, basic};
use crate::node::{Agent, online};

const CLUSTERS: &str = "/api/vcenter/namespace-management/clusters";

async fn log_in(house: &House) -> String {
    let answer = house.call("POST", "/api/session", &[("authorization", &house.admin())], "").await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json().as_str().expect("a bare JSON string").to_owned()
}

async fn provision(house: &House, session: &str, cluster: &str) -> Answered {
    let path = format!("{CLUSTERS}/{cluster}/support-bundle");
    house.call("POST", &path, &[("vmware-api-session-id", session), ("content-type", "application/json")], "").await
}

/// Path and token of a fresh location.
async fn location(house: &House) -> (String, String) {
    let session = log_in(house).await;
    let answer = provision(house, &session, &house.cluster).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let body = answer.json();
    let url = body["url"].as_str().expect("a url");
    let path = url.strip_prefix(&house.url).expect("our own host and port").to_owned();
    (path, body["wcp_support_bundle_token"]["token"].as_str().expect("a token").to_owned())
}

/// The dialect's error, plain or wrapped.
fn is_error(answer: &Answered, status: u16, kind: &str, path: &str) {
    assert_eq!(answer.status, status, "{path}: {answer:?}");
    assert!(answer.header("content-type").starts_with("application/json"), "{path}: {answer:?}");
    let body = answer.json();
    let inner = if path.starts_with("/rest") {
        let word = format!("com.vmware.vapi.std.errors.{}", kind.to_ascii_lowercase());
        assert_eq!(body["type"], json!(word), "{path}");
        &body["value"]
    } else {
        &body
    };
    assert_eq!(inner["error_type"], json!(kind), "{path}: {body}");
    let message = &inner["messages"][0];
    assert!(message["id"].is_string() && message["args"] == json!([]), "{path}: {body}");
    assert!(message["default_message"].as_str().is_some_and(|text| !text.is_empty()), "{path}: {body}");
}

#[tokio::test]
async fn sessions_of_both_styles_open_each_others_doors() {
    let house = House::new().await;
    let id = log_in(&house).await;
    let rest = house
        .call(
            "POST",
            "/rest/com/vmware/cis/session",
            &[("authorization", &house.admin()), ("vmware-use-header-authn", "true")],
            "",
        )
        .await;
    assert_eq!(rest.status, 200, "{rest:?}");
    let other = rest.json()["value"].as_str().expect("an id").to_owned();
    for session in [&id, &other] {
        let header = [("vmware-api-session-id", session.as_str())];
        let shown = house.call("GET", "/api/session", &header, "").await;
        assert_eq!(shown.status, 200, "{shown:?}");
        assert_eq!(shown.json()["user"], json!("admin"));
        assert!(shown.json()["created_time"].is_string() && shown.json()["last_accessed_time"].is_string());
        let asked = house.call("POST", "/rest/com/vmware/cis/session?~action=get", &header, "").await;
        assert_eq!((asked.status, asked.json()["value"]["user"].clone()), (200, json!("admin")));
    }
    let header = [("vmware-api-session-id", id.as_str())];
    assert_eq!(house.call("DELETE", "/api/session", &header, "").await.status, 204);
    is_error(&house.call("GET", "/api/session", &header, "").await, 401, "UNAUTHENTICATED", "/api/session");
    let header = [("vmware-api-session-id", other.as_str())];
    assert_eq!(house.call("DELETE", "/rest/com/vmware/cis/session", &header, "").await.status, 200);
    let path = "/rest/com/vmware/cis/session?~action=get";
    is_error(&house.call("POST", path, &header, "").await, 401, "UNAUTHENTICATED", path);
}

#[tokio::test]
async fn clusters_are_listed_plain_and_wrapped() {
    let house = House::new().await;
    let session = log_in(&house).await;
    let header = [("vmware-api-session-id", session.as_str())];
    let plain = house.call("GET", CLUSTERS, &header, "").await;
    assert_eq!(plain.status, 200, "{plain:?}");
    let rows = plain.json();
    assert_eq!((&rows[0]["cluster"], &rows[0]["cluster_name"]), (&json!(house.cluster), &json!("default")));
    let wrapped = house.call("GET", "/rest/vcenter/namespace-management/clusters", &header, "").await;
    assert_eq!(wrapped.json(), json!({ "value": rows }));
    let supervisors = house.call("GET", "/api/vcenter/namespace-management/supervisors/summaries", &header, "").await;
    assert_eq!(supervisors.json()["items"][0]["supervisor"], json!(house.cluster));
    // Scripts ask here first and turn to the clusters when there is nothing.
    let path = "/api/vcenter/namespace-management/supervisors";
    is_error(&house.call("GET", path, &header, "").await, 404, "NOT_FOUND", path);
}

#[tokio::test]
async fn every_error_has_the_dialects_shape() {
    let house = House::new().await;
    let session = log_in(&house).await;
    let good: &[(&str, &str)] = &[("vmware-api-session-id", &session)];
    let dead: &[(&str, &str)] = &[("vmware-api-session-id", "0123456789abcdef")];
    let wrong = basic("admin", "wrong");
    let nobody = basic("nobody", "x");
    let unknown = "11111111-2222-4333-8444-555555555555";
    let bundle = |cluster: &str| format!("{CLUSTERS}/{cluster}/support-bundle");
    let rest = |path: &str| path.replacen("/api", "/rest", 1);
    for (method, path, headers, status, kind) in [
        ("POST", "/api/session".to_owned(), &[][..], 401, "UNAUTHENTICATED"),
        ("POST", "/api/session".to_owned(), &[("authorization", wrong.as_str())], 401, "UNAUTHENTICATED"),
        ("POST", "/api/session".to_owned(), &[("authorization", nobody.as_str())], 401, "UNAUTHENTICATED"),
        ("POST", "/api/session".to_owned(), &[("authorization", "Basic !!")], 401, "UNAUTHENTICATED"),
        (
            "POST",
            "/rest/com/vmware/cis/session".to_owned(),
            &[("authorization", wrong.as_str())],
            401,
            "UNAUTHENTICATED",
        ),
        ("POST", "/rest/com/vmware/cis/session?~action=drop".to_owned(), good, 404, "NOT_FOUND"),
        ("GET", "/api/session".to_owned(), &[], 401, "UNAUTHENTICATED"),
        ("DELETE", "/api/session".to_owned(), dead, 401, "UNAUTHENTICATED"),
        ("PATCH", "/api/session".to_owned(), good, 405, "OPERATION_NOT_FOUND"),
        ("GET", CLUSTERS.to_owned(), &[], 401, "UNAUTHENTICATED"),
        ("GET", rest(CLUSTERS), dead, 401, "UNAUTHENTICATED"),
        // A dead session is told so before anything about the cluster.
        ("POST", bundle(unknown), dead, 401, "UNAUTHENTICATED"),
        ("POST", bundle(unknown), good, 404, "NOT_FOUND"),
        ("POST", rest(&bundle(unknown)), good, 404, "NOT_FOUND"),
        ("POST", bundle("domain-c8"), good, 404, "NOT_FOUND"),
        ("POST", bundle("..%2f..%2fetc"), good, 404, "NOT_FOUND"),
        ("POST", bundle("%ff"), good, 404, "NOT_FOUND"),
        ("GET", format!("{}/download", bundle("%ff")), good, 401, "UNAUTHENTICATED"),
        ("GET", bundle(&house.cluster), good, 405, "OPERATION_NOT_FOUND"),
        ("GET", format!("{}/download", bundle(unknown)), good, 401, "UNAUTHENTICATED"),
        ("GET", "/api".to_owned(), good, 404, "NOT_FOUND"),
        ("GET", "/api/vcenter/vm".to_owned(), good, 404, "NOT_FOUND"),
        ("GET", "/rest/vcenter/vm".to_owned(), &[], 404, "NOT_FOUND"),
    ] {
        is_error(&house.call(method, &path, headers, "").await, status, kind, &path);
    }
}

#[tokio::test]
async fn a_viewer_may_look_but_not_collect() {
    let house = House::new().await;
    let viewer = house.user("watcher", Role::Viewer).await;
    let answer = house.call("POST", "/api/session", &[("authorization", &viewer)], "").await;
    let session = answer.json().as_str().expect("an id").to_owned();
    let header = [("vmware-api-session-id", session.as_str())];
    assert_eq!(house.call("GET", CLUSTERS, &header, "").await.status, 200);
    is_error(&provision(&house, &session, &house.cluster).await, 403, "UNAUTHORIZED", CLUSTERS);
}

#[tokio::test]
async fn one_token_is_good_per_cluster_and_time() {
    let house = House::new().await;
    let session = log_in(&house).await;
    let first = provision(&house, &session, &house.cluster).await.json();
    let again = provision(&house, &session, &house.cluster).await.json();
    assert_eq!(first, again);
    let expiry = first["wcp_support_bundle_token"]["expiry"].as_str().expect("an expiry");
    let until: jiff::Timestamp = expiry.parse().expect("RFC 3339");
    assert_eq!(until.as_millisecond() - house.clock.now_ms(), 300_000);
    let rest = CLUSTERS.replacen("/api", "/rest", 1) + &format!("/{}/support-bundle", house.cluster);
    let wrapped = house.call("POST", &rest, &[("vmware-api-session-id", &session)], "").await;
    assert_eq!((wrapped.status, wrapped.json()), (201, json!({ "value": first })));
    let path = format!("/api/vcenter/namespace-management/supervisors/{}/support-bundles", house.cluster);
    let newer = house.call("POST", &path, &[("vmware-api-session-id", &session)], "").await;
    assert_eq!((newer.status, &newer.json()["support_bundle_token"]), (201, &first["wcp_support_bundle_token"]));

    house.clock.advance(std::time::Duration::from_secs(301));
    let next = provision(&house, &session, &house.cluster).await.json();
    assert_ne!(next["wcp_support_bundle_token"]["token"], first["wcp_support_bundle_token"]["token"]);
    let url = first["url"].as_str().expect("a url").strip_prefix(&house.url).expect("ours").to_owned();
    let old = first["wcp_support_bundle_token"]["token"].as_str().expect("a token");
    let late = house.call("GET", &url, &[("wcp-support-bundle-token", old)], "").await;
    is_error(&late, 401, "UNAUTHENTICATED", &url);
}

#[tokio::test]
async fn the_url_is_by_the_name_that_the_caller_used() {
    let house = House::new().await;
    let session = log_in(&house).await;
    let path = format!("{CLUSTERS}/{}/support-bundle", house.cluster);
    for (host, expected) in [("relay.example:8443", "https://relay.example:8443/"), ("c.example", "https://c.example/")]
    {
        let headers = [("vmware-api-session-id", session.as_str()), ("host", host)];
        let answer = house.call("POST", &path, &headers, "").await;
        assert_eq!(answer.status, 201, "{answer:?}");
        assert!(answer.json()["url"].as_str().expect("a url").starts_with(expected), "{answer:?}");
    }
    let headers = [("vmware-api-session-id", session.as_str()), ("host", "admin@evil")];
    let refused = house.call("POST", &path, &headers, "").await;
    assert_eq!(refused.status, 400, "{refused:?}");
}

#[tokio::test]
async fn a_configured_url_comes_before_the_callers() {
    let house = House::configured(|config| config.external_url = Some("https://sheaf.example".to_owned())).await;
    let session = log_in(&house).await;
    let answer = provision(&house, &session, &house.cluster).await;
    assert!(
        answer.json()["url"].as_str().is_some_and(|url| url.starts_with("https://sheaf.example/api/")),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_wrong_token_costs_nothing_and_the_right_one_is_spent() {
    let house = House::with_node().await;
    let (path, token) = location(&house).await;
    let session = log_in(&house).await;
    let body = |token: &str| format!("{}\n", json!({ "wcp-support-bundle-token": token }));
    for (method, headers, text) in [
        ("GET", vec![], String::new()),
        ("GET", vec![("vmware-api-session-id", session.as_str())], String::new()),
        ("GET", vec![("wcp-support-bundle-token", "wrong")], String::new()),
        ("GET", vec![("wcp-support-bundle-token", "")], String::new()),
        ("POST", vec![], String::new()),
        ("POST", vec![], body("wrong")),
        ("POST", vec![], json!({ "wcp_support_bundle_token": token }).to_string()),
        ("POST", vec![("vmware-api-session-id", session.as_str())], "{}".to_owned()),
    ] {
        let answer = house.call(method, &path, &headers, &text).await;
        is_error(&answer, 401, "UNAUTHENTICATED", &path);
    }
    for text in ["{", "not json", &"x".repeat(70_000)] {
        let answer = house.call("POST", &path, &[], text).await;
        let expected = if text.len() > 1000 { 413 } else { 400 };
        is_error(&answer, expected, "INVALID_REQUEST", &path);
    }
    let header = [("wcp-support-bundle-token", token.as_str())];
    for query in ["format=zip", "collectors=..%2Fx", "since=yesterday", "since=1h&until=2h"] {
        is_error(&house.call("GET", &format!("{path}?{query}"), &header, "").await, 400, "INVALID_ARGUMENT", query);
    }
    // HEAD must not spend it either.
    assert_eq!(house.call("HEAD", &path, &header, "").await.status, 405);

    // As govc sends it: no content type, a trailing newline, a session that counts for nothing.
    let answer = house.call("POST", &path, &[("vmware-api-session-id", "dead")], &body(&token)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/tar");
    let disposition = answer.header("content-disposition");
    assert!(
        disposition.starts_with("attachment; filename=sheaf_default_") && disposition.ends_with(".tar"),
        "{disposition}"
    );
    assert_eq!(answer.header("content-length"), "");
    assert!(answer.whole, "the body ended cleanly");
    for again in 0..2 {
        let spent = house.call("GET", &path, &header, "").await;
        assert_eq!(spent.status, 401, "attempt {again}: {spent:?}");
    }
}

#[tokio::test]
async fn two_racing_downloads_have_one_winner() {
    let house = House::with_node().await;
    let (path, token) = location(&house).await;
    let header = [("wcp-support-bundle-token", token.as_str())];
    let tries = (0..8).map(|_| house.call("GET", &path, &header, ""));
    let mut statuses: Vec<u16> =
        futures_util::future::join_all(tries).await.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401, 401, 401, 401, 401, 401, 401]);
}

#[tokio::test]
async fn the_compressed_bundle_is_asked_for_by_accept_or_query_alone() {
    let house = House::with_node().await;
    for (accept, encoding, query, kind, magic) in [
        ("*/*", "zstd, gzip", "", "application/tar", None),
        ("application/zstd", "", "", "application/zstd", Some([0x28, 0xb5, 0x2f, 0xfd])),
        ("*/*", "", "?format=tar.zst&case=4711&nodes=n*", "application/zstd", Some([0x28, 0xb5, 0x2f, 0xfd])),
        ("application/zstd", "", "?format=tar", "application/tar", None),
    ] {
        let (path, token) = location(&house).await;
        let headers = [("wcp-support-bundle-token", token.as_str()), ("accept", accept), ("accept-encoding", encoding)];
        let answer = house.call("GET", &format!("{path}{query}"), &headers, "").await;
        assert_eq!((answer.status, answer.header("content-type")), (200, kind), "{answer:?}");
        assert_eq!(answer.header("content-encoding"), "");
        match magic {
            Some(magic) => {
                assert_eq!(answer.body[..4], magic);
                assert!(answer.header("content-disposition").ends_with(".tar.zst"));
            }
            None => assert_eq!(&answer.body[257..262], b"ustar"),
        }
    }
}

#[tokio::test]
async fn a_request_may_come_in_chunks() {
    let house = House::with_node().await;
    let (path, token) = location(&house).await;
    let text = json!({ "wcp-support-bundle-token": token }).to_string();
    let (front, back) = text.split_at(10);
    let answer = house.chunked("POST", &path, &[], &[front, back]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn each_download_is_a_task() {
    let house = House::with_node().await;
    let (path, token) = location(&house).await;
    let header = [("wcp-support-bundle-token", token.as_str())];
    assert_eq!(house.call("GET", &path, &header, "").await.status, 200);
    let tasks: Value = house.call("GET", "/sheaf/v1/tasks", &[("authorization", &house.admin())], "").await.json();
    assert_eq!((&tasks[0]["user"], &tasks[0]["state"]), (&json!("admin"), &json!("done")), "{tasks}");
}

/// The dialect has no word for budgets, so the coordinator's own are all that bounds such a download.
#[tokio::test]
async fn a_download_has_the_coordinators_budgets() {
    let mib = 1_u64 << 20;
    for (node, bundle, expected) in [
        (Some(2), Some(50), json!({ "node": 2 * mib, "bundle": 50 * mib })),
        (Some(3), None, json!({ "node": 3 * mib })),
        (None, None, Value::Null),
    ] {
        let house = House::with_node_and(|config| {
            (config.bundle.node_budget_mib, config.bundle.budget_mib) = (node, bundle);
        })
        .await;
        let (path, token) = location(&house).await;
        let answer = house.call("GET", &path, &[("wcp-support-bundle-token", token.as_str())], "").await;
        assert!(answer.status == 200 && answer.whole, "{answer:?}");
        let mut archive = tar::Archive::new(&answer.body[..]);
        let mut first = archive.entries().expect("a tar").next().expect("an entry").expect("whole");
        assert!(first.path().expect("a path").ends_with("REQUEST.json"));
        let mut request = String::new();
        first.read_to_string(&mut request).expect("read");
        let request: Value = serde_json::from_str(&request).expect("json");
        assert_eq!(request["budgets"], expected, "{request}");
    }
}

/// As a script goes: log in, ask, download what a real agent gives; with a restart of the coordinator at each step.
#[tokio::test]
async fn a_clients_whole_way_over_restarts() {
    let mut house = House::new().await;
    let folder = tempfile::tempdir().expect("a folder");
    let _node = Agent::new(&house, folder.path(), "n1", "default").await;
    online(&house, "n1", true).await;
    let session = log_in(&house).await;
    house.restart().await;
    let asked = provision(&house, &session, &house.cluster).await;
    assert_eq!(asked.status, 201, "the session outlives a restart: {asked:?}");
    house.restart().await;
    online(&house, "n1", true).await;
    let token = &asked.json()["wcp_support_bundle_token"]["token"];
    let path = format!("{CLUSTERS}/{}/support-bundle/download?collectors=sites", house.cluster);
    let header = [("wcp-support-bundle-token", token.as_str().expect("a token"))];
    let bundle = house.call("GET", &path, &header, "").await;
    assert!(bundle.status == 200 && bundle.whole, "so does the token: {:?}", bundle.status);
    let mut tar = tar::Archive::new(&bundle.body[..]);
    let names: Vec<String> = tar
        .entries()
        .expect("a tar")
        .map(|entry| entry.expect("an entry").path().expect("a path").to_string_lossy().into_owned())
        .collect();
    for end in ["/nodes/n1/node.json", "/SEAL.json"] {
        assert!(names.iter().any(|name| name.ends_with(end)), "{end} in {names:?}");
    }
    house.restart().await;
    is_error(&house.call("GET", &path, &header, "").await, 401, "UNAUTHENTICATED", "a spent token stays spent");
    let header = [("vmware-api-session-id", session.as_str())];
    assert_eq!(house.call("DELETE", "/api/session", &header, "").await.status, 204);
    house.restart().await;
    is_error(
        &provision(&house, &session, &house.cluster).await,
        401,
        "UNAUTHENTICATED",
        "an ended session stays ended",
    );
}
